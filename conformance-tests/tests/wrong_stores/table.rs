use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use statestore_api::backend::expiry::{self, Expiry};
use statestore_api::backend::{self, Decision, Mutation, Stamp, Stored, TransactDecision, check};
use statestore_api::{
    Action, Attempt, Bytes, Capabilities, Clock as _, Conflict, Current, DeleteOptions, Entry, Error,
    GetOptions, Item, Key, ListOptions, ManualClock, Page, PageToken, Precondition, Projection, PutOptions,
    Resolution, Result, ScanOptions, StateStore, TouchOptions, TransactOp, TransactOptions, Ttl, Version,
    WriteId,
};

use crate::fault::{Fault, Reader, Write};

/// More calls than this of one case are an endless loop.
const MAX_CALLS: u32 = 1_000_000;

/// What is stored, by address.
pub(crate) type Slots = BTreeMap<Key, Slot>;

/// What is stored under a key, expired or not.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) value: Bytes,
    /// The write that is there, then those it replaced, the newest first.
    pub(crate) lineage: Vec<Written>,
    pub(crate) expires_at: Option<u64>,
}

/// A write that was applied.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) stamp: Stamp,
    pub(crate) version: Version,
}

impl Slot {
    pub(crate) fn version(&self) -> &Version {
        &self.lineage[0].version
    }

    pub(crate) fn written_by(&self, id: WriteId) -> Option<&Written> {
        self.lineage.iter().find(|written| written.stamp.write_id() == id)
    }

    pub(crate) fn entry(&self) -> Entry {
        let mut entry = Entry::new(self.value.clone(), self.version().clone());
        entry.expires_at = self.expires_at.map(expiry::from_ms);
        entry
    }
}

/// A store of the plainest kind, in steps that a [`Fault`] can get wrong. Each of its own methods is atomic.
pub(crate) struct Table {
    slots: Arc<Mutex<Slots>>,
    clock: ManualClock,
    fault: Arc<dyn Fault>,
    /// What the store says it can do, and what it does.
    declared: Capabilities,
    kept: Capabilities,
    /// The version of each stamp there ever was, for the answer to a transaction whose entries are gone.
    versions: Arc<Mutex<HashMap<Stamp, Version>>>,
    calls: AtomicU32,
}

impl Table {
    pub(crate) fn new(fault: Arc<dyn Fault>, clock: ManualClock) -> Self {
        let mut declared = Capabilities::portable("wrong");
        // Small, since the suite goes to each limit; and no two the same.
        declared.max_partition_bytes = 300;
        declared.max_id_bytes = 600;
        declared.max_transaction_ops = 110;
        declared.remembered_writes = 3;
        declared.sweeps_itself = false;
        declared.durable = false;
        let mut kept = declared.clone();
        fault.limits(&mut declared, &mut kept);
        Self {
            slots: Arc::default(),
            versions: Arc::default(),
            clock,
            fault,
            declared,
            kept,
            calls: AtomicU32::new(0),
        }
    }

    /// The same table, as the next process finds it.
    pub(crate) fn reopen(&self) -> Self {
        self.fault.restart(&mut self.slots());
        Self {
            slots: self.slots.clone(),
            versions: self.versions.clone(),
            clock: self.clock.clone(),
            fault: self.fault.clone(),
            declared: self.declared.clone(),
            kept: self.kept.clone(),
            calls: AtomicU32::new(0),
        }
    }

    pub(crate) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().expect("no thread panics with it")
    }

    pub(crate) fn slot(&self, key: &Key) -> Option<Slot> {
        self.slots().get(&self.fault.address(key)).cloned()
    }

    pub(crate) fn now(&self) -> u64 {
        expiry::to_ms(self.clock.now())
    }

    /// The limits that it keeps.
    pub(crate) fn kept(&self) -> &Capabilities {
        &self.kept
    }

    pub(crate) fn get(&self, reader: Reader<'_>, key: &Key) -> Result<Option<Entry>> {
        check::key(&self.kept, key)?;
        let slot = self.slot(key);
        Ok(slot
            .filter(|slot| self.fault.sees(reader, slot, self.now()))
            .map(|slot| slot.entry()))
    }

    pub(crate) fn get_many(&self, keys: &[Key]) -> Vec<Result<Option<Entry>>> {
        keys.iter().map(|key| self.get(Reader::GetMany, key)).collect()
    }

    pub(crate) fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        check::key(&self.kept, key)?;
        check::value(&self.kept, &value)?;
        let expiry = self.fault.expiry(options.ttl, self.now())?;
        self.mutate(
            key,
            Change::Put(value, expiry),
            &options.precondition,
            options.attempt,
        )
    }

    pub(crate) fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        check::key(&self.kept, key)?;
        self.mutate(key, Change::Delete, &options.precondition, options.attempt)
            .map(drop)
    }

    pub(crate) fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        check::key(&self.kept, key)?;
        check::touch(&options.precondition)?;
        let expiry = self.fault.expiry(ttl, self.now())?;
        self.mutate(key, Change::Touch(expiry), &options.precondition, options.attempt)
    }

    fn mutate(
        &self,
        key: &Key,
        change: Change,
        precondition: &Precondition,
        brought: Option<Attempt>,
    ) -> Result<Version> {
        let (attempt, now) = (self.fault.attempt(brought), self.now());
        let mut slots = self.slots();
        let slot = slots.get(&self.fault.address(key));
        let meant = self.meant(precondition, slot)?;
        let reader = Reader::Change(change.mutation(), precondition);
        let stored = Lineage::of(slot, slot.is_some_and(|slot| self.fault.sees(reader, slot, now)));
        let stored = stored.as_ref().map(Lineage::stored);
        match self.fault.decide(change.mutation(), &meant, attempt, stored)? {
            Decision::Apply => {
                let stamp = Stamp::new(attempt.id, self.fault.nonce(), key);
                Ok(self.apply(&mut slots, key, change, precondition, stamp, now))
            }
            Decision::Already(stamp) => Ok(slot
                .and_then(|slot| slot.written_by(stamp.write_id()))
                .map_or(stamp.into(), |written| written.version.clone())),
            Decision::Conflict => Err(self.conflict(key, slot).into()),
            Decision::Indeterminate => Err(indeterminate(attempt)),
        }
    }

    /// The same precondition, with a stamp for its version.
    fn meant(&self, precondition: &Precondition, slot: Option<&Slot>) -> Result<Precondition> {
        let Precondition::Matches(version) = precondition else {
            return Ok(precondition.clone());
        };
        let known = slot.and_then(|slot| slot.lineage.iter().find(|written| written.version == *version));
        let stamp = match known {
            Some(written) => written.stamp,
            None => self.fault.stamp(version)?,
        };
        Ok(Precondition::Matches(stamp.into()))
    }

    pub(crate) fn conflict(&self, key: &Key, slot: Option<&Slot>) -> Conflict {
        let seen = slot.filter(|slot| self.fault.sees(Reader::Conflict, slot, self.now()));
        let current = seen.map_or(Current::Absent, |slot| Current::Entry(slot.entry()));
        self.fault.conflict(Conflict::new(key.clone(), current), slot)
    }

    fn apply(
        &self,
        slots: &mut Slots,
        key: &Key,
        change: Change,
        precondition: &Precondition,
        stamp: Stamp,
        now: u64,
    ) -> Version {
        let address = self.fault.address(key);
        let before = slots.get(&address);
        let mutation = change.mutation();
        let is_blind = mutation == Mutation::Put && *precondition == Precondition::None;
        let (value, expiry) = match (change, before) {
            (Change::Put(value, expiry), _) => (self.fault.stored_value(value), expiry),
            (Change::Touch(expiry), Some(slot)) => (slot.value.clone(), expiry),
            (Change::Delete, _) => {
                slots.remove(&address);
                return stamp.into();
            }
            (Change::Touch(_), None) | (Change::Check, _) => return stamp.into(),
        };
        let current = before
            .filter(|slot| self.fault.sees(Reader::Keep, slot, now))
            .and_then(|slot| slot.expires_at);
        let version = self.fault.version(&Write {
            key,
            value: &value,
            mutation,
            stamp,
            before,
            now,
        });
        self.versions
            .lock()
            .expect("as above")
            .insert(stamp, version.clone());
        let mut lineage = vec![Written {
            stamp,
            version: version.clone(),
        }];
        if !(is_blind && self.kept.blind_puts_forget) {
            lineage.extend(before.iter().flat_map(|slot| &slot.lineage).cloned());
        }
        lineage.truncate(1 + self.kept.remembered_writes);
        let expires_at = expiry.over(current);
        slots.insert(
            address,
            Slot {
                value,
                lineage,
                expires_at,
            },
        );
        version
    }

    pub(crate) fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        check::key(&self.kept, key)?;
        let slot = self.slot(key);
        if let Some(own) = slot.as_ref().and_then(|slot| slot.written_by(id)) {
            return Ok(Resolution::Applied(own.version.clone()));
        }
        let meant = self.meant(precondition, slot.as_ref())?;
        let stored = Lineage::of(slot.as_ref(), true);
        backend::resolve(id, &meant, stored.as_ref().map(Lineage::stored))
    }

    pub(crate) fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        if !self.kept.listing {
            return Err(self.unsupported("listing"));
        }
        let mut asked = options.clone();
        self.fault.asked(&mut asked);
        check::partition(&self.kept, partition)?;
        check::id(&self.kept, &asked.prefix)?;
        check::id(&self.kept, &asked.start_after)?;
        check::page_size(asked.page_size)?;
        let query = ["list", partition, &options.prefix, &options.start_after];
        let query = self.fault.bound(&query);
        let after = match &options.page_token {
            Some(token) => self.fault.position(token, query)?,
            None => asked.start_after,
        };
        let wanted = |key: &Key| {
            self.fault.is_in(key, partition)
                && self.fault.has_prefix(key.id(), &asked.prefix)
                && self.fault.follows(key.id(), &after, options.page_token.is_some())
        };
        let slots = self.slots();
        let (items, last) = match self.fault.order() {
            Some(order) => {
                let mut found: Vec<_> = self.found(&slots, Reader::List, None).collect();
                found.sort_by(|a, b| order(a.0.id(), b.0.id()));
                let found = found.into_iter().filter(|(key, _)| wanted(key));
                page(found, asked.page_size, asked.projection)
            }
            None => {
                let first = Key::new(partition, if after.is_empty() { "\0" } else { &after })?;
                let found = self.found(&slots, Reader::List, Some(first));
                let found = found.filter(|(key, _)| wanted(key));
                page(found, asked.page_size, asked.projection)
            }
        };
        let next = last.map(|last| PageToken::seal(query, last.id().as_bytes()));
        Ok(Page::new(items, next))
    }

    pub(crate) fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        if !self.kept.listing {
            return Err(self.unsupported("scanning"));
        }
        check::page_size(options.page_size)?;
        let query = self.fault.bound(&["scan"]);
        let after = match &options.page_token {
            Some(token) => Some(token.open_key(query)?),
            None => None,
        };
        let slots = self.slots();
        let found = self.found(&slots, Reader::Scan, after.clone());
        let found = found.filter(|(key, _)| Some(*key) != after.as_ref());
        let (items, last) = page(found, options.page_size, options.projection);
        let next = last.map(|key| PageToken::seal_key(query, &key));
        Ok(Page::new(items, next))
    }

    /// What is there of the keys that are wanted, in their order.
    pub(crate) fn items(
        &self,
        reader: Reader<'_>,
        projection: Projection,
        wanted: impl Fn(&Key) -> bool,
    ) -> Vec<Item> {
        let slots = self.slots();
        let all = self.found(&slots, reader, None);
        page(all.filter(|(key, _)| wanted(key)), usize::MAX, projection).0
    }

    /// What `reader` sees from `first` on, in the order of keys.
    fn found<'a>(
        &'a self,
        slots: &'a Slots,
        reader: Reader<'a>,
        first: Option<Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Slot)> {
        let now = self.now();
        let first = first.map_or(Bound::Unbounded, Bound::Included);
        slots
            .range((first, Bound::Unbounded))
            .filter(move |(_, slot)| self.fault.sees(reader, slot, now))
    }

    pub(crate) fn transact(
        &self,
        ops: Vec<TransactOp>,
        options: TransactOptions,
    ) -> Result<Vec<Option<Version>>> {
        check::transaction(&self.kept, &ops)?;
        let (attempt, now) = (self.fault.attempt(options.attempt), self.now());
        let changes = ops
            .iter()
            .map(|op| self.change(op, now))
            .collect::<Result<Vec<_>>>()?;
        let mut slots = self.slots();
        let mut meant = ops.clone();
        let mut lineages = Vec::new();
        for op in &mut meant {
            let slot = slots.get(&self.fault.address(&op.key));
            lineages.push(Lineage::of(
                slot,
                slot.is_some_and(|slot| self.fault.sees(Reader::Op, slot, now)),
            ));
            op.precondition = self.meant(&op.precondition, slot)?;
        }
        let stored: Vec<_> = lineages
            .iter()
            .map(|lineage| lineage.as_ref().map(Lineage::stored))
            .collect();
        match self.fault.decide_transaction(&meant, attempt, &stored)? {
            TransactDecision::Apply => {}
            TransactDecision::Already(versions) => {
                let made = self.versions.lock().expect("as above");
                let version = |version: Version| match version.stamp() {
                    Ok(stamp) => made.get(&stamp).cloned().unwrap_or(version),
                    Err(_) => version,
                };
                return Ok(versions.into_iter().map(|own| own.map(version)).collect());
            }
            TransactDecision::Conflict(place) => {
                let key = &ops[place].key;
                let slot = slots.get(&self.fault.address(key));
                let conflict = self.conflict(key, slot);
                return Err(match self.fault.names_operations() {
                    true => conflict.of_op(place).into(),
                    false => conflict.into(),
                });
            }
            TransactDecision::Indeterminate(_) => return Err(indeterminate(attempt)),
        }
        let nonce = self.fault.nonce();
        let mut versions = Vec::new();
        for (op, change) in ops.iter().zip(changes) {
            let puts = matches!(change, Change::Put(..));
            let stamp = Stamp::new(attempt.id, nonce, &op.key);
            let version = self.apply(&mut slots, &op.key, change, &op.precondition, stamp, now);
            versions.push(puts.then_some(version));
        }
        Ok(versions)
    }

    fn change(&self, op: &TransactOp, now: u64) -> Result<Change> {
        Ok(match &op.action {
            Action::Put { value, ttl } => Change::Put(value.clone(), self.fault.expiry(*ttl, now)?),
            Action::Delete => Change::Delete,
            Action::Check => Change::Check,
        })
    }

    pub(crate) fn sweep(&self) -> Result<u64> {
        let (mut slots, now) = (self.slots(), self.now());
        let before = slots.len();
        slots.retain(|_, slot| !self.fault.sweeps(slot, now));
        Ok((before - slots.len()) as u64)
    }

    fn unsupported(&self, what: &'static str) -> Error {
        let backend = self.declared.backend;
        Error::Unsupported { backend, what }
    }

    /// The fault, for one more call.
    fn called(&self) -> &dyn Fault {
        let calls = self.calls.fetch_add(1, Relaxed);
        assert!(
            calls < MAX_CALLS,
            "{MAX_CALLS} calls: this seems to be an endless loop"
        );
        &*self.fault
    }
}

/// The first items, and the key of the last of them if there are more.
fn page<'a>(
    mut found: impl Iterator<Item = (&'a Key, &'a Slot)>,
    size: usize,
    projection: Projection,
) -> (Vec<Item>, Option<Key>) {
    let item = |(key, slot): (&Key, &Slot)| {
        let entry = (projection == Projection::Entries).then(|| slot.entry());
        Item::new(key.clone(), entry)
    };
    let items: Vec<_> = found.by_ref().take(size).map(item).collect();
    let last = found
        .next()
        .and_then(|_| items.last())
        .map(|last| last.key.clone());
    (items, last)
}

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
}

/// What [`Stored`] borrows from.
struct Lineage {
    stamps: Vec<Stamp>,
    live: bool,
}

impl Lineage {
    fn of(slot: Option<&Slot>, live: bool) -> Option<Self> {
        slot.map(|slot| Self {
            stamps: slot.lineage.iter().map(|written| written.stamp).collect(),
            live,
        })
    }

    fn stored(&self) -> Stored<'_> {
        Stored {
            stamp: self.stamps[0],
            replaced: &self.stamps[1..],
            live: self.live,
        }
    }
}

pub(crate) fn indeterminate(attempt: Attempt) -> Error {
    Error::Indeterminate {
        write_id: attempt.id,
        reason: "what is there does not tell".into(),
        source: None,
    }
}

/// The table as a store: every call goes through its fault.
#[derive(Clone, Debug)]
pub(crate) struct TableStore(pub(crate) Arc<Table>);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

#[async_trait]
impl StateStore for TableStore {
    fn capabilities(&self) -> &Capabilities {
        &self.0.declared
    }

    async fn ready(&self) -> Result<()> {
        self.0.called().ready(&self.0).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.0.called().get(&self.0, key, options).await
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        self.0.called().get_many(&self.0, keys, options).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        self.0.called().put(&self.0, key, value, options).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.0.called().delete(&self.0, key, options).await
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        self.0.called().touch(&self.0, key, ttl, options).await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        self.0.called().resolve(&self.0, key, id, precondition).await
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.0.called().list_page(&self.0, partition, options).await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.0.called().scan_page(&self.0, options).await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        self.0.called().transact(&self.0, ops, options).await
    }

    async fn close(&self) -> Result<()> {
        self.0.called().close(&self.0).await
    }

    async fn sweep(&self) -> Result<u64> {
        self.0.called().sweep(&self.0).await
    }
}
