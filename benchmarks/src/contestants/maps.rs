//! Maps in memory, with a version beside each value.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use moka::ops::compute::{CompResult, Op};

use super::engine::{Decide, Engine, Place, Versioned, put};
use crate::contest::{Does, Operation};

/// What a map's reads leave out.
const NO_CALL: &str =
    "what makes a call one that any store can stand behind: a future in a box, limits, expiry";

/// What a map's writes leave out.
const NO_MEMORY: &str =
    "such a call, the four writes that an entry remembers, and a second index, in order where this has none";

/// What a map's updates leave out.
const ONE_STEP: &str = "the two calls of a read and a compare-and-set: it decides under its lock, as only a map in the same process can";

/// How the ordered map writes.
const CHANGE: &str = "read, compare and insert under the write lock, with a number as version";

/// A sharded hash map.
#[derive(Clone, Default)]
pub(crate) struct Dash(Arc<DashMap<Place, Versioned>>);

impl Engine for Dash {
    const WRITES_BLOCK: bool = false;

    fn name(&self) -> &'static str {
        "DashMap"
    }

    fn does(&self, operation: Operation) -> Does {
        match operation {
            Operation::Get | Operation::GetMany => {
                Does::Less("`get` of each key, cloning the `Bytes`", NO_CALL)
            }
            Operation::Page => Does::Cannot("it has no order"),
            Operation::Transact => Does::Cannot("it locks one key at a time"),
            Operation::Update => Does::Less("`entry`, with a number as version", ONE_STEP),
            _ => Does::Less("`entry`, with a number as version", NO_MEMORY),
        }
    }

    fn get(&self, place: &Place) -> Option<Versioned> {
        self.0.get(place).map(|there| there.value().clone())
    }

    fn change(&self, place: &Place, decide: Decide<'_>) -> bool {
        match self.0.entry(place.clone()) {
            Entry::Occupied(mut there) => match decide(Some(there.get().clone())) {
                Some(new) => {
                    there.insert(new);
                    true
                }
                None => false,
            },
            Entry::Vacant(place) => match decide(None) {
                Some(new) => {
                    place.insert(new);
                    true
                }
                None => false,
            },
        }
    }

    fn delete(&self, place: &Place) {
        self.0.remove(place);
    }
}

/// A cache without a limit, so that it evicts nothing.
#[derive(Clone)]
pub(crate) struct Moka(moka::sync::Cache<Place, Versioned>);

impl Default for Moka {
    fn default() -> Self {
        Self(moka::sync::Cache::builder().build())
    }
}

impl Engine for Moka {
    const WRITES_BLOCK: bool = false;

    fn name(&self) -> &'static str {
        "moka"
    }

    fn does(&self, operation: Operation) -> Does {
        match operation {
            Operation::Get | Operation::GetMany => {
                Does::Less("`get` of each key, cloning the `Bytes`", NO_CALL)
            }
            Operation::Page => Does::Cannot("it has no order"),
            Operation::Transact => Does::Cannot("it locks one key at a time"),
            Operation::Update => Does::Less("`entry().and_compute_with`, with a number as version", ONE_STEP),
            _ => Does::Less("`entry().and_compute_with`, with a number as version", NO_MEMORY),
        }
    }

    fn get(&self, place: &Place) -> Option<Versioned> {
        self.0.get(place)
    }

    fn change(&self, place: &Place, decide: Decide<'_>) -> bool {
        let entry = self.0.entry_by_ref(place);
        let result = entry.and_compute_with(|there| match decide(there.map(|there| there.into_value())) {
            Some(new) => Op::Put(new),
            None => Op::Nop,
        });
        matches!(result, CompResult::Inserted(_) | CompResult::ReplacedWith(_))
    }

    fn delete(&self, place: &Place) {
        self.0.invalidate(place);
    }
}

/// The standard library's ordered map behind one lock: what lists and writes several at once.
#[derive(Clone, Default)]
pub(crate) struct Ordered(Arc<RwLock<BTreeMap<Place, Versioned>>>);

impl Engine for Ordered {
    const WRITES_BLOCK: bool = false;

    fn name(&self) -> &'static str {
        "BTreeMap, locked"
    }

    fn does(&self, operation: Operation) -> Does {
        match operation {
            Operation::Get | Operation::GetMany => Does::Less(
                "`get` of each key under the read lock, cloning the `Bytes`",
                NO_CALL,
            ),
            Operation::Page => Does::Less(
                "`range`, cloning keys and `Bytes`",
                "the hash map that finds a single key quickly: a page of ours looks each of its keys up in it",
            ),
            Operation::Transact => Does::Less("inserts under the write lock", NO_MEMORY),
            Operation::Update => Does::Less(CHANGE, ONE_STEP),
            _ => Does::Less(CHANGE, NO_MEMORY),
        }
    }

    fn get(&self, place: &Place) -> Option<Versioned> {
        self.0.read().expect("no panic").get(place).cloned()
    }

    fn change(&self, place: &Place, decide: Decide<'_>) -> bool {
        let mut map = self.0.write().expect("no panic");
        let new = decide(map.get(place).cloned());
        let Some(new) = new else { return false };
        match map.get_mut(place) {
            Some(there) => *there = new,
            None => drop(map.insert(place.clone(), new)),
        }
        true
    }

    fn delete(&self, place: &Place) {
        self.0.write().expect("no panic").remove(place);
    }

    fn page(&self, prefix: &[u8], limit: usize) -> Vec<(Place, Versioned)> {
        let map = self.0.read().expect("no panic");
        let found = map
            .range(prefix.to_vec()..)
            .take_while(|(place, _)| place.starts_with(prefix));
        found
            .take(limit)
            .map(|(place, there)| (place.clone(), there.clone()))
            .collect()
    }

    fn put_all(&self, places: &[Place], value: Bytes) {
        let mut map = self.0.write().expect("no panic");
        for place in places {
            let there = map.get(place).cloned();
            map.insert(place.clone(), put(there, value.clone()));
        }
    }
}
