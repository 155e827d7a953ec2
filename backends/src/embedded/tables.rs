//! What is in the file, read and written inside of redb's transactions.

use std::ops::Bound;

use redb::{
    AccessGuard, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use statestore_api::backend::expiry::{self, Expiry};
use statestore_api::backend::{Decision, Mutation, decide, transaction_versions};
use statestore_api::backend::{Stamp, TransactDecision, decide_transaction};
use statestore_api::{
    Action, Attempt, Bytes, Conflict, Current, Entry, Error, Item, Key, Precondition, Projection, Result,
    TransactOp, Version,
};

use super::codec::{Damage, Head};
use super::error::{Failure, Stop};

/// The entries, by partition and id, in the byte order of both.
pub(super) const ENTRIES: TableDefinition<'static, Bytes2, &[u8]> = TableDefinition::new("entries");

/// The keys that expire, by the time they do.
pub(super) const EXPIRING: TableDefinition<'static, Expires, ()> = TableDefinition::new("expiring");

/// What kind of file it is.
pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("statestore");

/// Under this name in [`META`] is the format of the file.
pub(super) const FORMAT_KEY: &str = "format";

/// The format of the tables. Another one is never guessed at.
pub(super) const FORMAT: u64 = 1;

type Bytes2 = (&'static [u8], &'static [u8]);
type Expires = (u64, &'static [u8], &'static [u8]);

/// How many bytes of values are in a page, about. A page of large values has fewer items than it was asked for.
const PAGE_BYTES: usize = 32 << 20;

pub(super) fn raw(key: &Key) -> (&[u8], &[u8]) {
    (key.partition().as_bytes(), key.id().as_bytes())
}

fn corrupt(key: &Key, damage: Damage) -> Error {
    Error::Corrupt {
        what: format!("the entry of `{key}`"),
        reason: match damage {
            Damage::Format(format) => format!("it has format {format}, which this version does not know"),
            Damage::Changed => "it is damaged: restore the file from a copy".to_owned(),
        },
        source: None,
    }
}

fn entry(key: &Key, head: &Head, bytes: &[u8]) -> Result<Entry> {
    let value = head.value(bytes).map_err(|damage| corrupt(key, damage))?;
    let mut entry = Entry::new(Bytes::copy_from_slice(value), head.stamp.into());
    entry.expires_at = head.expires_at.map(expiry::from_ms);
    Ok(entry)
}

/// What is under `key`, read as one.
pub(super) type Found<'a> = (Head, AccessGuard<'a, &'static [u8]>);

/// The entry of `key` that was found, unless it has expired at `now`.
pub(super) fn live_entry(found: Option<Found<'_>>, key: &Key, now: u64) -> Result<Option<Entry>, Stop> {
    Ok(match found {
        Some((head, bytes)) if head.is_live(now) => Some(entry(key, &head, bytes.value())?),
        _ => None,
    })
}

fn find<'a>(
    entries: &'a impl ReadableTable<Bytes2, &'static [u8]>,
    key: &Key,
) -> Result<Option<Found<'a>>, Stop> {
    let Some(bytes) = entries.get(raw(key))? else {
        return Ok(None);
    };
    let head = Head::decode(raw(key), bytes.value()).map_err(|damage| corrupt(key, damage))?;
    Ok(Some((head, bytes)))
}

/// The entries as one moment has them.
pub(super) struct Snapshot {
    entries: ReadOnlyTable<Bytes2, &'static [u8]>,
    now: u64,
}

impl Snapshot {
    pub(super) fn of(database: &Database, now: u64) -> Result<Self, Failure> {
        let entries = database.begin_read()?.open_table(ENTRIES)?;
        Ok(Self { entries, now })
    }

    /// When it was taken.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// What is under `key`, expired or not.
    pub(super) fn find(&self, key: &Key) -> Result<Option<Found<'_>>, Stop> {
        find(&self.entries, key)
    }

    /// The live items from `start` on, as long as `belongs`, and the key after which there are more.
    pub(super) fn page(
        &self,
        start: Bound<(&[u8], &[u8])>,
        belongs: impl Fn(&Key) -> bool,
        size: usize,
        projection: Projection,
    ) -> Result<(Vec<Item>, Option<Key>), Stop> {
        let (mut items, mut bytes_read) = (Vec::<Item>::new(), 0);
        for row in self.entries.range::<(&[u8], &[u8])>((start, Bound::Unbounded))? {
            let (place, bytes) = row?;
            let (place, bytes) = (place.value(), bytes.value());
            let key = key(place)?;
            if !belongs(&key) {
                break;
            }
            let head = Head::decode(place, bytes).map_err(|damage| corrupt(&key, damage))?;
            if !head.is_live(self.now) {
                continue;
            }
            if let Some(last) = items.last()
                && (items.len() == size || bytes_read >= PAGE_BYTES)
            {
                let last = last.key.clone();
                return Ok((items, Some(last)));
            }
            let entry = match projection {
                Projection::Entries => {
                    bytes_read += bytes.len();
                    Some(entry(&key, &head, bytes)?)
                }
                Projection::Keys => None,
            };
            items.push(Item::new(key, entry));
        }
        Ok((items, None))
    }
}

fn key((partition, id): (&[u8], &[u8])) -> Result<Key> {
    let text = |bytes| str::from_utf8(bytes).ok();
    let key = text(partition)
        .zip(text(id))
        .map(|(partition, id)| Key::new(partition, id));
    key.and_then(Result::ok).ok_or_else(|| Error::Corrupt {
        what: "a key".to_owned(),
        reason: "it is damaged: restore the file from a copy".to_owned(),
        source: None,
    })
}

/// What a mutation does to one key.
#[derive(Debug)]
pub(super) enum Change {
    Put(Bytes, Expiry),
    Touch(Expiry),
    Delete,
    Check,
}

impl Change {
    /// What `op` does, begun at `now`.
    pub(super) fn of(op: &TransactOp, now: u64) -> Result<Self> {
        Ok(match &op.action {
            Action::Put { value, ttl } => Self::Put(value.clone(), Expiry::new(*ttl, now)?),
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

    /// About how much it writes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put(value, _) => value.len(),
            Self::Touch(_) | Self::Delete | Self::Check => 0,
        }
    }
}

/// What became of a key that a batch wrote to, by which it is told whether the batch was committed.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) key: Key,
    pub(super) stamp: Option<Stamp>,
}

/// The tables in a transaction that writes. Each mutation is decided on what is there then, and one that is refused
/// writes nothing.
pub(super) struct Tables<'t> {
    entries: Table<'t, Bytes2, &'static [u8]>,
    expiring: Table<'t, Expires, ()>,
    now: u64,
    /// The last effect, if anything was written.
    effect: Option<Effect>,
    /// How many there were.
    effects: u64,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction, now: u64) -> Result<Self, Failure> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            expiring: transaction.open_table(EXPIRING)?,
            now,
            effect: None,
            effects: 0,
        })
    }

    /// The last effect, if anything was written.
    pub(super) fn effect(&self) -> Option<Effect> {
        self.effect.clone()
    }

    /// How many effects there were.
    pub(super) fn effects(&self) -> u64 {
        self.effects
    }

    /// One mutation of one key. Returns the version it leaves; of a delete, one that is nowhere.
    pub(super) fn mutate(
        &mut self,
        key: &Key,
        change: &Change,
        precondition: &Precondition,
        attempt: Attempt,
        nonce: u64,
    ) -> Result<Version, Stop> {
        let head = self.head(key)?;
        let stored = head.as_ref().map(|head| head.stored(self.now));
        match decide(change.mutation(), precondition, attempt, stored)? {
            Decision::Apply => {}
            Decision::Already(stamp) => return Ok(stamp.into()),
            Decision::Conflict => return Err(Error::from(self.conflict(key)?).into()),
            Decision::Indeterminate => return Err(Error::indeterminate(attempt.id).into()),
        }
        let stamp = Stamp::new(attempt.id, nonce, key);
        self.apply(key, head.as_ref(), change, stamp)?;
        Ok(stamp.into())
    }

    /// All of `ops`, or none.
    pub(super) fn transact(
        &mut self,
        ops: &[TransactOp],
        changes: &[Change],
        attempt: Attempt,
        nonce: u64,
    ) -> Result<Vec<Option<Version>>, Stop> {
        let heads = ops.iter().map(|op| self.head(&op.key));
        let heads = heads.collect::<Result<Vec<_>, _>>()?;
        let stored = |place: usize| heads[place].as_ref().map(|head| head.stored(self.now));
        match decide_transaction(ops, attempt, stored)? {
            TransactDecision::Apply => {}
            TransactDecision::Already(versions) => return Ok(versions),
            TransactDecision::Conflict(place) => {
                return Err(Error::from(self.conflict(&ops[place].key)?.of_op(place)).into());
            }
            TransactDecision::Indeterminate(_) => return Err(Error::indeterminate(attempt.id).into()),
        }
        for ((op, change), head) in ops.iter().zip(changes).zip(&heads) {
            self.apply(
                &op.key,
                head.as_ref(),
                change,
                Stamp::new(attempt.id, nonce, &op.key),
            )?;
        }
        Ok(transaction_versions(ops, attempt.id, nonce))
    }

    /// Removes up to `limit` entries that have expired, and returns how many.
    pub(super) fn sweep(&mut self, limit: usize) -> Result<usize, Stop> {
        let start: (u64, &[u8], &[u8]) = (0, &[], &[]);
        let end: (u64, &[u8], &[u8]) = (self.now.saturating_add(1), &[], &[]);
        let mut expired = Vec::new();
        for row in self.expiring.range(start..end)?.take(limit) {
            let (row, _) = row?;
            let (at, partition, id) = row.value();
            expired.push((at, key((partition, id))?));
        }
        for (at, key) in &expired {
            match self.head(key) {
                Ok(Some(head)) if head.expires_at == Some(*at) => self.remove(key, Some(&head))?,
                Err(Stop::Failed(failure)) => return Err(Stop::Failed(failure)),
                // Its entry is of another time, or damaged and left as it is.
                Ok(_) | Err(Stop::Refused(_)) => {
                    let (partition, id) = raw(key);
                    self.expiring.remove((*at, partition, id))?;
                }
            }
        }
        Ok(expired.len())
    }

    fn head(&self, key: &Key) -> Result<Option<Head>, Stop> {
        Ok(find(&self.entries, key)?.map(|(head, _)| head))
    }

    fn conflict(&self, key: &Key) -> Result<Conflict, Stop> {
        let live = live_entry(find(&self.entries, key)?, key, self.now)?;
        let current = live.map_or(Current::Absent, Current::Entry);
        Ok(Conflict::new(key.clone(), current))
    }

    /// Carries out `change` over what is there, whose head is `before`.
    fn apply(&mut self, key: &Key, before: Option<&Head>, change: &Change, stamp: Stamp) -> Result<(), Stop> {
        let live = before.filter(|head| head.is_live(self.now));
        let current = live.and_then(|head| head.expires_at);
        match change {
            Change::Put(value, expiry) => self.write(key, before, value, stamp, expiry.over(current)),
            Change::Touch(expiry) => {
                let value = match find(&self.entries, key)? {
                    Some((head, bytes)) => head
                        .value(bytes.value())
                        .map_err(|damage| corrupt(key, damage))?
                        .to_vec(),
                    None => return Ok(()),
                };
                self.write(key, before, &value, stamp, expiry.over(current))
            }
            Change::Delete => self.remove(key, before),
            Change::Check => Ok(()),
        }
    }

    fn write(
        &mut self,
        key: &Key,
        before: Option<&Head>,
        value: &[u8],
        stamp: Stamp,
        expires_at: Option<u64>,
    ) -> Result<(), Stop> {
        let head = Head::over(before, stamp, expires_at, value);
        let mut place = self.entries.insert_reserve(raw(key), head.len() + value.len())?;
        head.encode(raw(key), value, place.as_mut());
        drop(place);
        let (partition, id) = raw(key);
        let expired_at = before.and_then(|before| before.expires_at);
        if expired_at != expires_at {
            if let Some(at) = expired_at {
                self.expiring.remove((at, partition, id))?;
            }
            if let Some(at) = expires_at {
                self.expiring.insert((at, partition, id), ())?;
            }
        }
        self.wrote(key, Some(stamp));
        Ok(())
    }

    fn remove(&mut self, key: &Key, before: Option<&Head>) -> Result<(), Stop> {
        let Some(before) = before else {
            return Ok(());
        };
        let (partition, id) = raw(key);
        self.entries.remove((partition, id))?;
        if let Some(at) = before.expires_at {
            self.expiring.remove((at, partition, id))?;
        }
        self.wrote(key, None);
        Ok(())
    }

    fn wrote(&mut self, key: &Key, stamp: Option<Stamp>) {
        self.effect = Some(Effect {
            key: key.clone(),
            stamp,
        });
        self.effects += 1;
    }
}
