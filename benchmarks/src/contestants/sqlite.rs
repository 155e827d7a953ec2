//! SQLite: a write-ahead log that is synced by each commit, one connection that writes, and a few that read.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::engine::{Decide, Engine, Place, Versioned, less, put};
use crate::contest::{Does, Operation};

const READERS: usize = 4;

#[derive(Clone)]
pub(crate) struct Sqlite {
    writer: Arc<Mutex<Connection>>,
    readers: Arc<[Mutex<Connection>; READERS]>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path) -> Self {
        let connect = || {
            let connection = Connection::open(path).expect("a connection");
            let settings =
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;";
            connection.execute_batch(settings).expect("the settings");
            connection
        };
        let writer = connect();
        let table = "CREATE TABLE state (place BLOB PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID";
        writer.execute_batch(table).expect("a table");
        Self {
            writer: Arc::new(Mutex::new(writer)),
            readers: Arc::new(std::array::from_fn(|_| Mutex::new(connect()))),
        }
    }

    /// Reads on any connection that is free.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        match self.readers.iter().find_map(|reader| reader.try_lock().ok()) {
            Some(reader) => read(&reader),
            None => read(&self.readers[0].lock().expect("no panic")),
        }
    }

    fn write<T>(&self, write: impl FnOnce(&Transaction<'_>) -> T) -> T {
        let mut writer = self.writer.lock().expect("no panic");
        let transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .expect("a transaction");
        let result = write(&transaction);
        transaction.commit().expect("a commit");
        result
    }
}

fn get(connection: &Connection, place: &Place) -> Option<Versioned> {
    let query = "SELECT version, value FROM state WHERE place = ?1";
    let mut query = connection.prepare_cached(query).expect("a query");
    let row = query.query_row([place], |row| {
        Ok(Versioned {
            version: row.get::<_, i64>(0)?.cast_unsigned(),
            value: row.get::<_, Vec<u8>>(1)?.into(),
        })
    });
    row.optional().expect("a row")
}

fn insert(connection: &Connection, place: &Place, new: &Versioned) {
    let upsert = "INSERT INTO state VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET version = ?2, value = ?3";
    let mut upsert = connection.prepare_cached(upsert).expect("an upsert");
    upsert
        .execute(params![place, new.version.cast_signed(), &new.value[..]])
        .expect("an upsert");
}

impl Engine for Sqlite {
    const WRITES_BLOCK: bool = true;

    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn does(&self, operation: Operation) -> Does {
        let work = match operation {
            Operation::Get | Operation::GetMany => "SELECT of each key, prepared",
            Operation::Page => "SELECT of a range, prepared",
            Operation::Transact => "upserts in one immediate transaction, WAL, `synchronous=FULL`",
            _ => "SELECT, compare and upsert in one immediate transaction, WAL, `synchronous=FULL`",
        };
        less(operation, work)
    }

    fn get(&self, place: &Place) -> Option<Versioned> {
        self.read(|connection| get(connection, place))
    }

    fn get_many(&self, places: &[Place]) -> Vec<Versioned> {
        self.read(|connection| places.iter().filter_map(|place| get(connection, place)).collect())
    }

    fn change(&self, place: &Place, decide: Decide<'_>) -> bool {
        self.write(|transaction| match decide(get(transaction, place)) {
            Some(new) => {
                insert(transaction, place, &new);
                true
            }
            None => false,
        })
    }

    fn delete(&self, place: &Place) {
        self.write(|transaction| {
            transaction
                .execute("DELETE FROM state WHERE place = ?1", [place])
                .expect("a deletion");
        });
    }

    fn page(&self, prefix: &[u8], limit: usize) -> Vec<(Place, Versioned)> {
        let mut end = prefix.to_vec();
        *end.last_mut().expect("not empty") += 1;
        self.read(|connection| {
            let query = "SELECT place, version, value FROM state WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT ?3";
            let mut query = connection.prepare_cached(query).expect("a query");
            let limit = i64::try_from(limit).expect("few");
            let rows = query.query_map(params![prefix, end, limit], |row| {
                let there = Versioned {
                    version: row.get::<_, i64>(1)?.cast_unsigned(),
                    value: row.get::<_, Vec<u8>>(2)?.into(),
                };
                Ok((row.get(0)?, there))
            });
            rows.expect("rows").map(|row| row.expect("a row")).collect()
        })
    }

    fn put_all(&self, places: &[Place], value: Bytes) {
        self.write(|transaction| {
            for place in places {
                let there = get(transaction, place);
                insert(transaction, place, &put(there, value.clone()));
            }
        });
    }
}
