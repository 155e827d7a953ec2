use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::backend::{Stamp, Stored, expiry};
use crate::{Entry, Key};

/// How many replaced versions an entry remembers.
pub(super) const REMEMBERED: usize = 4;

/// How many expired entries a write removes on its way, at most: more than one, so that they do not pile up.
pub(super) const SWEPT_PER_WRITE: u64 = 2;

/// Some partitions, whole.
#[derive(Default)]
pub(super) struct Shard {
    slots: HashMap<Key, Slot, RandomState>,
    /// The keys of `slots`, in order.
    order: BTreeSet<Key>,
    /// The keys of `slots` that expire, the soonest first.
    expiring: BTreeSet<(u64, Key)>,
    /// How many write ids and nonces were made here.
    made: u64,
}

/// What is stored under a key, expired or not.
pub(super) struct Slot {
    value: Bytes,
    stamp: Stamp,
    replaced: [Stamp; REMEMBERED],
    /// How many of `replaced` are there, from the front.
    remembered: usize,
    pub(super) expires_at: Option<u64>,
}

impl Slot {
    pub(super) fn entry(&self) -> Entry {
        let mut entry = Entry::new(self.value.clone(), self.stamp.into());
        entry.expires_at = self.expires_at.map(expiry::from_ms);
        entry
    }

    pub(super) fn value(&self) -> Bytes {
        self.value.clone()
    }

    pub(super) fn stored(&self, live: bool) -> Stored<'_> {
        Stored {
            stamp: self.stamp,
            replaced: &self.replaced[..self.remembered],
            live,
        }
    }
}

impl Shard {
    /// A number that was not given out before.
    pub(super) fn unique(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    pub(super) fn slot(&self, key: &Key) -> Option<&Slot> {
        self.slots.get(key)
    }

    /// Stores an entry on top of what is there, live or expired.
    pub(super) fn write(&mut self, key: &Key, value: Bytes, stamp: Stamp, expires_at: Option<u64>) {
        let before = if let Some(slot) = self.slots.get_mut(key) {
            slot.replaced.copy_within(..REMEMBERED - 1, 1);
            slot.replaced[0] = slot.stamp;
            slot.remembered = REMEMBERED.min(slot.remembered + 1);
            slot.stamp = stamp;
            slot.value = value;
            std::mem::replace(&mut slot.expires_at, expires_at)
        } else {
            self.order.insert(key.clone());
            let slot = Slot {
                value,
                stamp,
                replaced: [stamp; REMEMBERED],
                remembered: 0,
                expires_at,
            };
            self.slots.insert(key.clone(), slot);
            None
        };
        if before != expires_at {
            if let Some(at) = before {
                self.expiring.remove(&(at, key.clone()));
            }
            if let Some(at) = expires_at {
                self.expiring.insert((at, key.clone()));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let Some(slot) = self.slots.remove(key) else {
            return;
        };
        self.order.remove(key);
        if let Some(at) = slot.expires_at {
            self.expiring.remove(&(at, key.clone()));
        }
    }

    /// Whether a write has something to sweep on its way.
    pub(super) fn has_expiring(&self) -> bool {
        !self.expiring.is_empty()
    }

    /// Removes up to `limit` entries that are expired at `now`, and returns how many.
    pub(super) fn sweep(&mut self, now: u64, limit: u64) -> u64 {
        let mut swept = 0;
        while swept < limit && self.expiring.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.expiring.pop_first() {
                self.remove(&key);
                swept += 1;
            }
        }
        swept
    }

    /// The entries from `start` on, in the order of their keys.
    pub(super) fn from(&self, start: Bound<Key>) -> impl Iterator<Item = (&Key, &Slot)> {
        self.order
            .range((start, Bound::Unbounded))
            .filter_map(|key| Some((key, self.slots.get(key)?)))
    }
}
