use std::collections::HashMap;

use fastrand::Rng;
use statestore_api::{Key, Version};

use super::{Call, History, Operation, Outcome, Seen};

/// A way in which a broken store would have made another history. Each surely makes a linearizable one impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// A read sees a version that was replaced before it began.
    StaleRead,
    /// Two writers replace the same version, and both are told that they did.
    LostUpdate,
    /// A compare-and-set whose value was replaced is there again, under a version of its own.
    DoubleApply,
}

impl Corruption {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::StaleRead, Self::LostUpdate, Self::DoubleApply];

    /// The operations of one key with one of them, chosen by `rng`, answered as a broken store would have. Nothing where
    /// no operation of the history can be corrupted so: there has to be one that follows two acknowledged
    /// compare-and-sets.
    #[must_use]
    pub fn apply(self, history: &History, rng: &mut Rng) -> Option<(Key, Vec<Operation>)> {
        let mut candidates = Vec::new();
        for (key, operations) in history.keys() {
            candidates.extend(
                self.candidates(operations)
                    .into_iter()
                    .map(|corrupt| (key, corrupt)),
            );
        }
        let (key, (place, corrupt)) = rng.choice(candidates)?;
        let (_, operations) = history.keys().find(|(other, _)| *other == key)?;
        let mut operations = operations.to_vec();
        operations[place] = corrupt;
        Some((key.clone(), operations))
    }

    /// The places at which it can be done, with what is there then.
    fn candidates(self, operations: &[Operation]) -> Vec<(usize, Operation)> {
        let value_of: HashMap<&Version, u64> = operations.iter().filter_map(written).collect();
        let mut found = Vec::new();
        // A read or write and the last compare-and-set that was acknowledged before it began.
        let mut replaced: Vec<_> = operations
            .iter()
            .filter(|operation| written(operation).is_some())
            .filter_map(|operation| Some((operation.end(), operation.call.expected()??, operation)))
            .collect();
        replaced.sort_by_key(|(end, ..)| *end);
        for (place, operation) in operations.iter().enumerate() {
            let known = replaced.partition_point(|(end, ..)| *end < operation.invoked);
            let Some(&(_, old, by)) = known.checked_sub(1).map(|last| &replaced[last]) else {
                continue;
            };
            let Some(&value) = value_of.get(old) else { continue };
            let mut corrupt = operation.clone();
            match (self, &operation.outcome, &mut corrupt.call) {
                (Self::StaleRead, Outcome::Read(_), _) => {
                    let version = old.clone();
                    corrupt.outcome = Outcome::Read(Some(Seen { value, version }));
                }
                (Self::DoubleApply, Outcome::Read(_), _) => {
                    // `old` was a compare-and-set's too, and is back.
                    let Some(version) = another(old).filter(|_| is_compare_and_set(operations, value)) else {
                        continue;
                    };
                    corrupt.outcome = Outcome::Read(Some(Seen { value, version }));
                }
                (
                    Self::LostUpdate,
                    Outcome::Written(_),
                    Call::Put {
                        expected: Some(expected),
                        ..
                    },
                ) if by != operation => *expected = old.clone(),
                _ => continue,
            }
            found.push((place, corrupt));
        }
        found
    }
}

fn written(operation: &Operation) -> Option<(&Version, u64)> {
    match (&operation.call, &operation.outcome) {
        (Call::Put { value, .. }, Outcome::Written(version)) => Some((version, *value)),
        _ => None,
    }
}

fn is_compare_and_set(operations: &[Operation], wrote: u64) -> bool {
    operations
        .iter()
        .any(|operation| matches!(operation.call, Call::Put { value, expected: Some(_) } if value == wrote))
}

/// A version that no store has made.
fn another(version: &Version) -> Option<Version> {
    format!("corrupt.{version}").parse().ok()
}
