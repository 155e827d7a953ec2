//! Stores in a file, each of whose writes is on the disk when it returns: one commit and one sync each.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::engine::{Decide, Engine, Place, Versioned, less, put};
use crate::contest::{Does, Operation};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");

/// What [`EmbeddedStore`](statestore::EmbeddedStore) is made of.
#[derive(Clone)]
pub(crate) struct Redb(Arc<Database>);

impl Redb {
    pub(crate) fn open(path: &Path) -> Self {
        let database = Database::create(path).expect("a database");
        let transaction = database.begin_write().expect("a transaction");
        transaction.open_table(TABLE).expect("a table");
        transaction.commit().expect("a commit");
        Self(Arc::new(database))
    }

    fn write<T>(&self, write: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> T) -> T {
        let transaction = self.0.begin_write().expect("a transaction");
        let mut table = transaction.open_table(TABLE).expect("a table");
        let result = write(&mut table);
        drop(table);
        transaction.commit().expect("a commit");
        result
    }

    fn read(&self) -> redb::ReadOnlyTable<&'static [u8], &'static [u8]> {
        let transaction = self.0.begin_read().expect("a transaction");
        transaction.open_table(TABLE).expect("a table")
    }
}

impl Engine for Redb {
    const WRITES_BLOCK: bool = true;

    fn name(&self) -> &'static str {
        "redb"
    }

    fn does(&self, operation: Operation) -> Does {
        let work = match operation {
            Operation::Get | Operation::GetMany => "`get` of each key in a read transaction, copied out",
            Operation::Page => "`range` in a read transaction, copied out",
            Operation::Transact => "inserts in one write transaction, durable",
            _ => "read, compare and insert in one write transaction, durable",
        };
        less(operation, work)
    }

    fn get(&self, place: &Place) -> Option<Versioned> {
        let stored = self.read().get(&place[..]).expect("a read")?;
        Some(Versioned::from_stored(stored.value()))
    }

    fn get_many(&self, places: &[Place]) -> Vec<Versioned> {
        let table = self.read();
        let stored = places
            .iter()
            .filter_map(|place| table.get(&place[..]).expect("a read"));
        stored
            .map(|stored| Versioned::from_stored(stored.value()))
            .collect()
    }

    fn change(&self, place: &Place, decide: Decide<'_>) -> bool {
        self.write(|table| {
            let there = table
                .get(&place[..])
                .expect("a read")
                .map(|there| Versioned::from_stored(there.value()));
            let Some(new) = decide(there) else { return false };
            table.insert(&place[..], &new.to_stored()[..]).expect("an insert");
            true
        })
    }

    fn delete(&self, place: &Place) {
        self.write(|table| drop(table.remove(&place[..]).expect("a removal")));
    }

    fn page(&self, prefix: &[u8], limit: usize) -> Vec<(Place, Versioned)> {
        let table = self.read();
        let found = table
            .range(prefix..)
            .expect("a range")
            .map(|found| found.expect("a read"));
        found
            .take_while(|(place, _)| place.value().starts_with(prefix))
            .take(limit)
            .map(|(place, stored)| (place.value().to_vec(), Versioned::from_stored(stored.value())))
            .collect()
    }

    fn put_all(&self, places: &[Place], value: Bytes) {
        self.write(|table| {
            for place in places {
                let there = table
                    .get(&place[..])
                    .expect("a read")
                    .map(|there| Versioned::from_stored(there.value()));
                let new = put(there, value.clone()).to_stored();
                table.insert(&place[..], &new[..]).expect("an insert");
            }
        });
    }
}

/// A log-structured store.
#[derive(Clone)]
pub(crate) struct Fjall {
    database: fjall::SingleWriterTxDatabase,
    keyspace: fjall::SingleWriterTxKeyspace,
}

impl Fjall {
    pub(crate) fn open(folder: &Path) -> Self {
        let database = fjall::SingleWriterTxDatabase::builder(folder)
            .open()
            .expect("a database");
        let keyspace = database
            .keyspace("state", fjall::KeyspaceCreateOptions::default)
            .expect("a keyspace");
        Self { database, keyspace }
    }

    fn write<T>(&self, write: impl FnOnce(&mut fjall::SingleWriterWriteTx<'_>) -> T) -> T {
        let mut transaction = self
            .database
            .write_tx()
            .durability(Some(fjall::PersistMode::SyncAll));
        let result = write(&mut transaction);
        transaction.commit().expect("a commit");
        result
    }
}

impl Engine for Fjall {
    const WRITES_BLOCK: bool = true;

    fn name(&self) -> &'static str {
        "fjall"
    }

    fn does(&self, operation: Operation) -> Does {
        let work = match operation {
            Operation::Get | Operation::GetMany => "`get` of each key, copied out",
            Operation::Page => "`range` in a snapshot, copied out",
            Operation::Transact => {
                "inserts in one transaction of a single writer, appended to a log, `SyncAll`"
            }
            _ => {
                "read, compare and insert in one transaction of a single writer, appended to a log, `SyncAll`"
            }
        };
        less(operation, work)
    }

    fn get(&self, place: &Place) -> Option<Versioned> {
        let stored = self.keyspace.get(place).expect("a read")?;
        Some(Versioned::from_stored(&stored))
    }

    fn change(&self, place: &Place, decide: Decide<'_>) -> bool {
        use fjall::Readable;
        self.write(|transaction| {
            let there = transaction.get(&self.keyspace, place).expect("a read");
            let Some(new) = decide(there.map(|there| Versioned::from_stored(&there))) else {
                return false;
            };
            transaction.insert(&self.keyspace, &place[..], new.to_stored());
            true
        })
    }

    fn delete(&self, place: &Place) {
        self.write(|transaction| transaction.remove(&self.keyspace, &place[..]));
    }

    fn page(&self, prefix: &[u8], limit: usize) -> Vec<(Place, Versioned)> {
        use fjall::Readable;
        let snapshot = self.database.read_tx();
        let found = snapshot
            .prefix(&self.keyspace, prefix)
            .map(|found| found.into_inner().expect("a read"));
        let copied = found.map(|(place, stored)| (place.to_vec(), Versioned::from_stored(&stored)));
        copied.take(limit).collect()
    }

    fn put_all(&self, places: &[Place], value: Bytes) {
        use fjall::Readable;
        self.write(|transaction| {
            for place in places {
                let there = transaction.get(&self.keyspace, place).expect("a read");
                let new = put(there.map(|there| Versioned::from_stored(&there)), value.clone());
                transaction.insert(&self.keyspace, &place[..], new.to_stored());
            }
        });
    }
}

/// The version of sled that is not a preview.
#[derive(Clone)]
pub(crate) struct Sled(sled::Db);

impl Sled {
    pub(crate) fn open(folder: &Path) -> Self {
        Self(sled::open(folder).expect("a database"))
    }
}

impl Engine for Sled {
    const WRITES_BLOCK: bool = true;

    fn name(&self) -> &'static str {
        "sled"
    }

    fn does(&self, operation: Operation) -> Does {
        let work = match operation {
            Operation::Get | Operation::GetMany => "`get` of each key, copied out",
            Operation::Page => "`scan_prefix`, copied out",
            Operation::Transact => "inserts in one `transaction`, appended to a log, and `flush`",
            _ => "read, compare and insert in one `transaction`, appended to a log, and `flush`",
        };
        less(operation, work)
    }

    fn get(&self, place: &Place) -> Option<Versioned> {
        let stored = self.0.get(place).expect("a read")?;
        Some(Versioned::from_stored(&stored))
    }

    fn change(&self, place: &Place, decide: Decide<'_>) -> bool {
        let transaction: sled::transaction::TransactionResult<bool> = self.0.transaction(|tree| {
            let there = tree.get(place)?.map(|there| Versioned::from_stored(&there));
            let Some(new) = decide(there) else {
                return Ok(false);
            };
            tree.insert(&place[..], new.to_stored())?;
            Ok(true)
        });
        let wrote = transaction.expect("a transaction");
        self.0.flush().expect("a flush");
        wrote
    }

    fn delete(&self, place: &Place) {
        self.0.remove(place).expect("a removal");
    }

    fn page(&self, prefix: &[u8], limit: usize) -> Vec<(Place, Versioned)> {
        let found = self
            .0
            .scan_prefix(prefix)
            .take(limit)
            .map(|found| found.expect("a read"));
        found
            .map(|(place, stored)| (place.to_vec(), Versioned::from_stored(&stored)))
            .collect()
    }

    fn put_all(&self, places: &[Place], value: Bytes) {
        let transaction: sled::transaction::TransactionResult<()> = self.0.transaction(|tree| {
            for place in places {
                let there = tree.get(place)?.map(|there| Versioned::from_stored(&there));
                tree.insert(&place[..], put(there, value.clone()).to_stored())?;
            }
            Ok(())
        });
        transaction.expect("a transaction");
        self.0.flush().expect("a flush");
    }
}
