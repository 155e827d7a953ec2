use std::collections::HashMap;

use statestore_api::Version;

use super::search::{ABSENT, State, Step, StepKind};
use super::{Call, Operation, Outcome, Seen};

/// A rule that is broken, and the places of the operations that show it.
pub(super) type Broken = (&'static str, Vec<usize>);

/// Numbers for versions.
#[derive(Default)]
struct States<'a> {
    by_version: HashMap<&'a Version, State>,
    next: State,
}

impl<'a> States<'a> {
    fn of(&mut self, version: &'a Version) -> State {
        let fresh = ABSENT + 1 + self.next;
        *self.by_version.entry(version).or_insert_with(|| {
            self.next += 1;
            fresh
        })
    }

    /// The state that a write leaves which nobody has seen.
    fn unseen(&mut self) -> State {
        self.next += 1;
        ABSENT + self.next
    }

    fn after(&mut self, version: Option<&'a Version>) -> State {
        version.map_or(ABSENT, |version| self.of(version))
    }
}

/// What the search has to put in order.
pub(super) fn steps(operations: &[Operation]) -> Result<Vec<Step>, Broken> {
    let made = versions_made(operations)?;
    let mut states = States::default();
    let mut steps = Vec::with_capacity(operations.len());
    for (place, operation) in operations.iter().enumerate() {
        let mut push = |kind, completed| {
            steps.push(Step {
                place,
                invoked: operation.invoked,
                completed,
                kind,
            });
        };
        let from = match operation.call.expected() {
            Some(expected) => states.after(expected),
            None => {
                if let Outcome::Read(seen) = &operation.outcome {
                    let seen = states.after(seen.as_ref().map(|seen| &seen.version));
                    push(StepKind::Read(seen), operation.end());
                }
                continue;
            }
        };
        match (&operation.outcome, &operation.call) {
            (Outcome::Refused(current), _) => {
                let current = current.as_ref();
                let current = current.map(|seen| states.after(seen.as_ref().map(|seen| &seen.version)));
                let kind = StepKind::Refused {
                    expected: from,
                    current,
                };
                push(kind, operation.end());
            }
            (_, Call::Put { value, .. }) => {
                // The version that the answer names, else any that was seen, and further ones of a create.
                let versions = made.get(value).map(Vec::as_slice).unwrap_or_default();
                let mut completed = operation.end();
                for version in versions {
                    let to = states.of(version);
                    push(StepKind::Write { from, to }, completed);
                    completed = u64::MAX;
                }
                if versions.is_empty() {
                    let to = states.unseen();
                    push(StepKind::Write { from, to }, completed);
                }
            }
            _ => push(StepKind::Write { from, to: ABSENT }, operation.end()),
        }
    }
    steps.sort_by_key(|step| step.invoked);
    Ok(steps)
}

/// The versions that the put of each value has made, as far as anybody has seen: the acknowledged one first.
fn versions_made(operations: &[Operation]) -> Result<HashMap<u64, Vec<&Version>>, Broken> {
    let mut puts = HashMap::new();
    for (place, operation) in operations.iter().enumerate() {
        if let Call::Put { value, .. } = operation.call
            && let Some(other) = puts.insert(value, place)
        {
            return Err((
                "every write of a key has to write another value",
                vec![other, place],
            ));
        }
    }
    let mut made: HashMap<u64, Vec<&Version>> = HashMap::new();
    let mut value_of: HashMap<&Version, (u64, usize)> = HashMap::new();
    // Acknowledgements first, then what was seen.
    let acknowledged = operations.iter().enumerate().filter_map(|(place, operation)| {
        match (&operation.call, &operation.outcome) {
            (Call::Put { value, .. }, Outcome::Written(version)) => Some((place, *value, version)),
            _ => None,
        }
    });
    let seen = operations.iter().enumerate().filter_map(|(place, operation)| {
        let Seen { value, version } = operation.outcome.seen()?;
        Some((place, *value, version))
    });
    for (place, value, version) in acknowledged.chain(seen) {
        match value_of.insert(version, (value, place)) {
            Some((other, _)) if other == value => continue,
            Some((_, other)) => return Err(("one version has two values", vec![other, place])),
            None => {}
        }
        let Some(&put) = puts.get(&value) else {
            return Err(("nobody wrote this value", vec![place]));
        };
        let versions = made.entry(value).or_default();
        versions.push(version);
        let creates = matches!(operations[put].call, Call::Put { expected: None, .. });
        if versions.len() > 1 && !creates {
            return Err((
                "one compare-and-set was applied twice, under two versions",
                vec![put, place],
            ));
        }
        if matches!(operations[put].outcome, Outcome::Refused(_)) {
            return Err(("a write that was refused is there", vec![put, place]));
        }
    }
    Ok(made)
}
