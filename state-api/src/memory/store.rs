use std::cell::OnceCell;
use std::fmt;
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use bytes::Bytes;
use foldhash::fast::RandomState;

use super::shard::{REMEMBERED, SWEPT_PER_WRITE, Shard, Slot};
use crate::backend::expiry::{self, Expiry};
use crate::backend::{
    self, Decision, ListQuery, Mutation, Stamp, TransactDecision, check, decide, decide_transaction,
};
use crate::error::{Conflict, Error, Result};
use crate::{
    Action, Attempt, Capabilities, Clock, Current, DeleteOptions, Entry, GetOptions, Item, Key, ListOptions,
    Page, PageToken, Precondition, Projection, PutOptions, Resolution, ScanOptions, StateStore, SystemClock,
    TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

/// Shards, so that writers to different partitions seldom wait for each other.
const SHARDS: usize = 64;

/// The contract in memory: for tests, for caches, and as the reference that the other backends are measured by.
///
/// It keeps the whole contract, and nothing when the process ends. Clones share their entries. A partition is
/// in one of 64 shards, each behind a lock of its own; there is no lock over all.
///
/// Limits: 2,048 bytes in each part of a key, 16 MiB a value, 100 operations a transaction; 4 replaced writes are
/// remembered. Expired entries are removed by the writes that follow and by [`sweep`](StateStore::sweep).
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    /// Where this store's write ids begin: random, so that no two stores make the same.
    base: u128,
    clock: Arc<dyn Clock>,
    capabilities: Capabilities,
}

impl MemoryStore {
    /// An empty store.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// An empty store that judges expiry by `clock`.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn with_clock(clock: impl Clock + 'static) -> Self {
        let mut capabilities = Capabilities::portable("memory");
        capabilities.max_partition_bytes = 2048;
        capabilities.max_id_bytes = 2048;
        capabilities.max_value_bytes = 16 << 20;
        capabilities.remembered_writes = REMEMBERED;
        capabilities.durable = false;
        Self {
            inner: Arc::new(Inner {
                shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
                hasher: RandomState::default(),
                base: u128::from_be_bytes(WriteId::new().to_bytes()),
                clock: Arc::new(clock),
                capabilities,
            }),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl Inner {
    fn moment(&self) -> Moment<'_> {
        Moment {
            clock: &*self.clock,
            ms: OnceCell::new(),
        }
    }

    fn shard_number(&self, partition: &str) -> usize {
        usize::try_from(self.hasher.hash_one(partition) % SHARDS as u64).unwrap_or_default()
    }

    // A lock is never poisoned half way through a change: nothing between two steps of one can panic.

    fn read(&self, number: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[number].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, number: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[number]
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The attempt that the caller brings or else a new one, and a nonce, both from `shard`'s count.
    fn attempt(&self, number: usize, shard: &mut Shard, brought: Option<Attempt>) -> (Attempt, u64) {
        let unique = shard.unique();
        let attempt = brought.unwrap_or_else(|| {
            let offset = ((number as u128) << 64) | u128::from(unique);
            Attempt::first(WriteId::from_bytes(self.base.wrapping_add(offset).to_be_bytes()))
        });
        #[allow(clippy::cast_possible_truncation, reason = "its low bits are as random")]
        (attempt, (self.base as u64).wrapping_add(unique))
    }

    /// One mutation of one key. Returns the version it leaves; of a delete, one that is nowhere.
    fn mutate(
        &self,
        key: &Key,
        change: Change,
        precondition: &Precondition,
        brought: Option<Attempt>,
        moment: &Moment<'_>,
    ) -> Result<Version> {
        let number = self.shard_number(key.partition());
        let mut shard = self.write(number);
        let (attempt, nonce) = self.attempt(number, &mut shard, brought);
        let slot = shard.slot(key);
        let live = slot.filter(|slot| moment.is_live(slot));
        let stored = slot.map(|slot| slot.stored(live.is_some()));
        match decide(change.mutation(), precondition, attempt, stored)? {
            Decision::Apply => {}
            Decision::Already(stamp) => return Ok(stamp.into()),
            Decision::Conflict => return Err(conflict(key, live).into()),
            Decision::Indeterminate => return Err(Error::indeterminate(attempt.id)),
        }
        let stamp = Stamp::new(attempt.id, nonce, key);
        apply(&mut shard, key, change, stamp, moment);
        if shard.has_expiring() {
            shard.sweep(moment.ms(), SWEPT_PER_WRITE);
        }
        Ok(stamp.into())
    }

    /// The whole transaction, in its partition's shard.
    fn transact(&self, ops: Vec<TransactOp>, brought: Option<Attempt>) -> Result<Vec<Option<Version>>> {
        check::transaction(&self.capabilities, &ops)?;
        let Some(first) = ops.first() else {
            return Ok(Vec::new());
        };
        let moment = self.moment();
        let changes = ops
            .iter()
            .map(|op| Change::of(op, &moment))
            .collect::<Result<Vec<_>>>()?;
        let number = self.shard_number(first.key.partition());
        let mut shard = self.write(number);
        let (attempt, nonce) = self.attempt(number, &mut shard, brought);
        let live = |place: usize| shard.slot(&ops[place].key).filter(|slot| moment.is_live(slot));
        let stored = |place: usize| {
            shard
                .slot(&ops[place].key)
                .map(|slot| slot.stored(live(place).is_some()))
        };
        match decide_transaction(&ops, attempt, stored)? {
            TransactDecision::Apply => {}
            TransactDecision::Already(versions) => return Ok(versions),
            TransactDecision::Conflict(place) => {
                return Err(conflict(&ops[place].key, live(place)).of_op(place).into());
            }
            TransactDecision::Indeterminate(_) => return Err(Error::indeterminate(attempt.id)),
        }
        for (op, change) in ops.iter().zip(changes) {
            let stamp = Stamp::new(attempt.id, nonce, &op.key);
            apply(&mut shard, &op.key, change, stamp, &moment);
        }
        if shard.has_expiring() {
            shard.sweep(moment.ms(), SWEPT_PER_WRITE);
        }
        Ok(backend::transaction_versions(&ops, attempt.id, nonce))
    }

    /// The live items from `start` on, as long as `belongs`, and the key after which there are more.
    fn page(
        &self,
        number: usize,
        start: Bound<Key>,
        belongs: impl Fn(&Key) -> bool,
        size: usize,
        projection: Projection,
    ) -> (Vec<Item>, Option<Key>) {
        let (shard, moment) = (self.read(number), self.moment());
        let mut live = shard
            .from(start)
            .take_while(|(key, _)| belongs(key))
            .filter(|(_, slot)| moment.is_live(slot));
        let items: Vec<Item> = live
            .by_ref()
            .take(size)
            .map(|(key, slot)| {
                Item::new(
                    key.clone(),
                    (projection == Projection::Entries).then(|| slot.entry()),
                )
            })
            .collect();
        let more = live
            .next()
            .and_then(|_| items.last())
            .map(|item| item.key.clone());
        (items, more)
    }
}

/// The one time that a call judges all expiry by. The clock is read only where it matters.
struct Moment<'a> {
    clock: &'a dyn Clock,
    ms: OnceCell<u64>,
}

impl Moment<'_> {
    fn ms(&self) -> u64 {
        *self.ms.get_or_init(|| expiry::to_ms(self.clock.now()))
    }

    fn is_live(&self, slot: &Slot) -> bool {
        slot.expires_at.is_none() || expiry::is_live(slot.expires_at, self.ms())
    }

    /// What `ttl` asks for.
    fn expiry(&self, ttl: Ttl) -> Result<Expiry> {
        match ttl {
            Ttl::None | Ttl::Keep => Expiry::new(ttl, 0),
            Ttl::After(_) | Ttl::At(_) => Expiry::new(ttl, self.ms()),
        }
    }
}

/// What a mutation does to one key.
enum Change {
    Put(Bytes, Expiry),
    Touch(Expiry),
    Delete,
    Check,
}

impl Change {
    fn of(op: &TransactOp, moment: &Moment<'_>) -> Result<Self> {
        Ok(match &op.action {
            Action::Put { value, ttl } => Self::Put(value.clone(), moment.expiry(*ttl)?),
            Action::Delete => Self::Delete,
            Action::Check => Self::Check,
        })
    }

    fn mutation(&self) -> Mutation {
        match self {
            Self::Put(..) => Mutation::Put,
            Self::Touch(_) => Mutation::Touch,
            Self::Delete => Mutation::Delete,
            Self::Check => Mutation::Check,
        }
    }
}

fn apply(shard: &mut Shard, key: &Key, change: Change, stamp: Stamp, moment: &Moment<'_>) {
    let (value, expiry) = match change {
        Change::Put(value, Expiry::Set(at)) => return shard.write(key, value, stamp, at),
        Change::Put(value, expiry) => (Some(value), expiry),
        Change::Touch(expiry) => (None, expiry),
        Change::Delete => return shard.remove(key),
        Change::Check => return,
    };
    let live = shard.slot(key).filter(|slot| moment.is_live(slot));
    let at = expiry.over(live.and_then(|slot| slot.expires_at));
    if let Some(value) = value.or_else(|| live.map(Slot::value)) {
        shard.write(key, value, stamp, at);
    }
}

fn conflict(key: &Key, live: Option<&Slot>) -> Conflict {
    Conflict::new(
        key.clone(),
        live.map_or(Current::Absent, |slot| Current::Entry(slot.entry())),
    )
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateStore for MemoryStore {
    fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }

    async fn get(&self, key: &Key, _options: GetOptions) -> Result<Option<Entry>> {
        let inner = &*self.inner;
        check::key(&inner.capabilities, key)?;
        let shard = inner.read(inner.shard_number(key.partition()));
        Ok(shard
            .slot(key)
            .filter(|slot| inner.moment().is_live(slot))
            .map(Slot::entry))
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let mut results = Vec::with_capacity(keys.len());
        for key in keys {
            results.push(self.get(key, options).await);
        }
        results
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let inner = &*self.inner;
        check::key(&inner.capabilities, key)?;
        check::value(&inner.capabilities, &value)?;
        let moment = inner.moment();
        let expiry = moment.expiry(options.ttl)?;
        inner.mutate(
            key,
            Change::Put(value, expiry),
            &options.precondition,
            options.attempt,
            &moment,
        )
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        check::key(&self.inner.capabilities, key)?;
        let moment = self.inner.moment();
        self.inner
            .mutate(
                key,
                Change::Delete,
                &options.precondition,
                options.attempt,
                &moment,
            )
            .map(drop)
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        check::key(&self.inner.capabilities, key)?;
        check::touch(&options.precondition)?;
        let moment = self.inner.moment();
        let expiry = moment.expiry(ttl)?;
        self.inner.mutate(
            key,
            Change::Touch(expiry),
            &options.precondition,
            options.attempt,
            &moment,
        )
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        let inner = &*self.inner;
        check::key(&inner.capabilities, key)?;
        let shard = inner.read(inner.shard_number(key.partition()));
        let stored = shard
            .slot(key)
            .map(|slot| slot.stored(inner.moment().is_live(slot)));
        backend::resolve(id, precondition, stored)
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        let inner = &*self.inner;
        let query = ListQuery::new(&inner.capabilities, partition, &options)?;
        let start = match query.start() {
            Bound::Included(id) => Bound::Included(Key::bound(partition, id)),
            Bound::Excluded(id) => Bound::Excluded(Key::bound(partition, id)),
            Bound::Unbounded => Bound::Included(Key::bound(partition, "")),
        };
        let belongs = |key: &Key| key.partition() == partition && query.belongs(key.id());
        let number = inner.shard_number(partition);
        let (items, more) = inner.page(number, start, belongs, options.page_size, options.projection);
        Ok(Page::new(items, more.map(|last| query.next(last.id()))))
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        check::page_size(options.page_size)?;
        let last = options
            .page_token
            .as_ref()
            .map(|token| token.open_key(&["scan"]))
            .transpose()?;
        let first = last
            .as_ref()
            .map_or(0, |key| self.inner.shard_number(key.partition()));
        let mut start = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut items = Vec::new();
        for number in first..SHARDS {
            let size = options.page_size - items.len();
            let (found, more) = self.inner.page(number, start, |_| true, size, options.projection);
            items.extend(found);
            if more.is_some() || items.len() == options.page_size {
                let next = items
                    .last()
                    .map(|item: &Item| PageToken::seal_key(&["scan"], &item.key));
                return Ok(Page::new(items, next));
            }
            start = Bound::Unbounded;
        }
        Ok(Page::new(items, None))
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        self.inner.transact(ops, options.attempt)
    }

    async fn sweep(&self) -> Result<u64> {
        let now = self.inner.moment().ms();
        Ok((0..SHARDS)
            .map(|number| self.inner.write(number).sweep(now, u64::MAX))
            .sum())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Every look at it is a millisecond later.
    #[derive(Debug)]
    struct TickingClock(AtomicU64);

    impl Clock for TickingClock {
        fn now(&self) -> SystemTime {
            expiry::from_ms(self.0.fetch_add(1, Ordering::SeqCst))
        }
    }

    /// An entry may expire between two looks at the clock: what a call decides on and what it writes is of one time.
    #[tokio::test]
    async fn a_call_judges_all_expiry_by_one_time() {
        let key: Key = "p/k".parse().unwrap();
        for lives in 1..6 {
            let store = MemoryStore::with_clock(TickingClock(AtomicU64::new(1_000)));
            let ttl = Ttl::After(Duration::from_millis(lives));
            store
                .put(&key, "x".into(), PutOptions::expiring(ttl))
                .await
                .unwrap();
            let touched = store.touch(&key, Ttl::Keep, Default::default()).await;
            let options = PutOptions::from(Precondition::Exists).with_ttl(Ttl::Keep);
            let put = store.put(&key, "y".into(), options).await;
            let number = store.inner.shard_number("p");
            let shard = store.inner.read(number);
            let slot = shard.slot(&key);
            if let Ok(version) = put.or(touched) {
                let slot = slot.expect("it was answered as written");
                assert_eq!(
                    Version::from(slot.stored(true).stamp),
                    version,
                    "lives {lives} ms"
                );
                assert_eq!(slot.expires_at, Some(1_000 + lives), "lives {lives} ms");
            }
        }
    }
}
