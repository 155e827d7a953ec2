//! A backend of one's own in one file: a `BTreeMap` behind a lock, which keeps the whole contract.
//!
//! `docs/write-a-backend.md` walks through it. The lock stands for the service's atomic step; with a real service,
//! what happens under it is one conditional request.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use statestore::backend::expiry::{self, Expiry};
use statestore::backend::{
    self, Decision, ListQuery, Mutation, Stamp, Stored, TransactDecision, check, decide, decide_transaction,
};
use statestore::{
    Action, Attempt, Bytes, Capabilities, Clock, Conflict, Current, DeleteOptions, Entry, Error, GetOptions,
    Item, Key, ListOptions, Page, PageToken, Precondition, Projection, PutOptions, Resolution, Result,
    ScanOptions, StateStore, SystemClock, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

/// A store in a `BTreeMap`.
#[derive(Clone, Debug)]
pub struct MapStore {
    records: Arc<Mutex<BTreeMap<Key, Record>>>,
    capabilities: Capabilities,
}

/// What is stored under a key, expired or not.
#[derive(Clone)]
struct Record {
    value: Bytes,
    stamp: Stamp,
    replaced: Vec<Stamp>,
    expires_at: Option<u64>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({:?})", self.stamp)
    }
}

impl Record {
    fn is_live(&self) -> bool {
        expiry::is_live(self.expires_at, now())
    }

    fn stored(&self) -> Stored<'_> {
        Stored {
            stamp: self.stamp,
            replaced: &self.replaced,
            live: self.is_live(),
        }
    }

    fn entry(&self) -> Entry {
        let mut entry = Entry::new(self.value.clone(), self.stamp.into());
        entry.expires_at = self.expires_at.map(expiry::from_ms);
        entry
    }
}

fn now() -> u64 {
    expiry::to_ms(SystemClock.now())
}

/// What a mutation leaves under its key.
enum Change {
    Put(Bytes, Expiry),
    Touch(Expiry),
    Delete,
    Check,
}

impl Change {
    fn mutation(&self) -> Mutation {
        match self {
            Self::Put(..) => Mutation::Put,
            Self::Touch(_) => Mutation::Touch,
            Self::Delete => Mutation::Delete,
            Self::Check => Mutation::Check,
        }
    }

    /// The record after it, on top of the one before.
    fn apply(self, before: Option<Record>, stamp: Stamp) -> Option<Record> {
        let live = before.as_ref().filter(|record| record.is_live());
        let current = live.and_then(|record| record.expires_at);
        let (value, expires_at) = match self {
            Self::Put(value, expiry) => (value, expiry.over(current)),
            Self::Touch(expiry) => (live?.value.clone(), expiry.over(current)),
            Self::Delete => return None,
            Self::Check => return before,
        };
        let replaced = before.map_or_else(Vec::new, |before| {
            std::iter::once(before.stamp)
                .chain(before.replaced)
                .take(REMEMBERED)
                .collect()
        });
        Some(Record {
            value,
            stamp,
            replaced,
            expires_at,
        })
    }
}

/// How many replaced versions a record remembers.
const REMEMBERED: usize = 2;

impl MapStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let mut capabilities = Capabilities::portable("map");
        capabilities.remembered_writes = REMEMBERED;
        capabilities.sweeps_itself = false;
        capabilities.durable = false;
        Self {
            records: Arc::default(),
            capabilities,
        }
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Key, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One mutation of one key: everything under the lock is the atomic step.
    fn mutate(
        &self,
        key: &Key,
        change: Change,
        precondition: &Precondition,
        brought: Option<Attempt>,
    ) -> Result<Version> {
        check::key(&self.capabilities, key)?;
        let attempt = brought.unwrap_or_else(|| Attempt::first(WriteId::new()));
        let stamp = Stamp::new(attempt.id, Stamp::new_nonce(), key);

        let mut records = self.records();
        let before = records.get(key);
        match decide(
            change.mutation(),
            precondition,
            attempt,
            before.map(Record::stored),
        )? {
            Decision::Apply => {}
            Decision::Already(stamp) => return Ok(stamp.into()),
            Decision::Conflict => return Err(Conflict::new(key.clone(), current(before)).into()),
            Decision::Indeterminate => return Err(Error::indeterminate(attempt.id)),
        }
        let before = records.remove(key);
        if let Some(after) = change.apply(before, stamp) {
            records.insert(key.clone(), after);
        }
        Ok(stamp.into())
    }

    /// The items from `start` on that `belongs` takes, and the key after which there are more.
    fn page(
        &self,
        start: Bound<Key>,
        size: usize,
        projection: Projection,
        belongs: impl Fn(&Key) -> bool,
    ) -> (Vec<Item>, Option<Key>) {
        let records = self.records();
        let live = records
            .range((start, Bound::Unbounded))
            .filter(|(_, record)| record.is_live());
        let mut items: Vec<Item> = live
            .take_while(|(key, _)| belongs(key))
            .take(size + 1)
            .map(|(key, record)| {
                Item::new(
                    key.clone(),
                    (projection == Projection::Entries).then(|| record.entry()),
                )
            })
            .collect();
        let more = items.len() > size;
        items.truncate(size);
        let last = items.last().filter(|_| more).map(|item| item.key.clone());
        (items, last)
    }
}

impl Default for MapStore {
    fn default() -> Self {
        Self::new()
    }
}

fn current(record: Option<&Record>) -> Current {
    match record {
        Some(record) if record.is_live() => Current::Entry(record.entry()),
        _ => Current::Absent,
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateStore for MapStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }

    async fn get(&self, key: &Key, _options: GetOptions) -> Result<Option<Entry>> {
        check::key(&self.capabilities, key)?;
        Ok(self
            .records()
            .get(key)
            .filter(|record| record.is_live())
            .map(Record::entry))
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let mut results = Vec::with_capacity(keys.len());
        for key in keys {
            results.push(self.get(key, options).await);
        }
        results
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        check::value(&self.capabilities, &value)?;
        let change = Change::Put(value, Expiry::new(options.ttl, now())?);
        self.mutate(key, change, &options.precondition, options.attempt)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.mutate(key, Change::Delete, &options.precondition, options.attempt)
            .map(drop)
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        check::touch(&options.precondition)?;
        let change = Change::Touch(Expiry::new(ttl, now())?);
        self.mutate(key, change, &options.precondition, options.attempt)
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        check::key(&self.capabilities, key)?;
        backend::resolve(id, precondition, self.records().get(key).map(Record::stored))
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        let query = ListQuery::new(&self.capabilities, partition, &options)?;
        let start = match query.start() {
            Bound::Included(id) => Bound::Included(Key::new(partition, id)?),
            Bound::Excluded(id) => Bound::Excluded(Key::new(partition, id)?),
            // The smallest id there is.
            Bound::Unbounded => Bound::Included(Key::new(partition, "\0")?),
        };
        let belongs = |key: &Key| key.partition() == partition && query.belongs(key.id());
        let (items, last) = self.page(start, options.page_size, options.projection, belongs);
        Ok(Page::new(items, last.map(|key| query.next(key.id()))))
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        check::page_size(options.page_size)?;
        let start = match &options.page_token {
            Some(token) => Bound::Excluded(token.open_key(&["scan"])?),
            None => Bound::Unbounded,
        };
        let (items, last) = self.page(start, options.page_size, options.projection, |_| true);
        Ok(Page::new(
            items,
            last.map(|key| PageToken::seal_key(&["scan"], &key)),
        ))
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        check::transaction(&self.capabilities, &ops)?;
        let mut changes = Vec::with_capacity(ops.len());
        for op in &ops {
            changes.push(match &op.action {
                Action::Put { value, ttl } => Change::Put(value.clone(), Expiry::new(*ttl, now())?),
                Action::Delete => Change::Delete,
                Action::Check => Change::Check,
            });
        }
        let attempt = options.attempt.unwrap_or_else(|| Attempt::first(WriteId::new()));
        let nonce = Stamp::new_nonce();

        let mut records = self.records();
        match decide_transaction(&ops, attempt, |op| records.get(&ops[op].key).map(Record::stored))? {
            TransactDecision::Apply => {}
            TransactDecision::Already(versions) => return Ok(versions),
            TransactDecision::Conflict(op) => {
                let key = &ops[op].key;
                return Err(Conflict::new(key.clone(), current(records.get(key)))
                    .of_op(op)
                    .into());
            }
            TransactDecision::Indeterminate(_) => return Err(Error::indeterminate(attempt.id)),
        }
        for (op, change) in ops.iter().zip(changes) {
            let before = records.remove(&op.key);
            if let Some(after) = change.apply(before, Stamp::new(attempt.id, nonce, &op.key)) {
                records.insert(op.key.clone(), after);
            }
        }
        Ok(backend::transaction_versions(&ops, attempt.id, nonce))
    }

    async fn sweep(&self) -> Result<u64> {
        let mut records = self.records();
        let before = records.len();
        records.retain(|_, record| record.is_live());
        Ok((before - records.len()) as u64)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
