use super::Stamp;
use crate::error::Result;
use crate::{Action, Attempt, Precondition, Resolution, TransactOp, Version, WriteId};

/// What is stored under a key, as far as a condition looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The version that is there.
    pub stamp: Stamp,
    /// Those it replaced since the key was created, the newest first, as many as are remembered.
    pub replaced: &'a [Stamp],
    /// Whether it has not expired.
    pub live: bool,
}

impl Stored<'_> {
    fn lineage(&self) -> impl Iterator<Item = Stamp> {
        std::iter::once(self.stamp).chain(self.replaced.iter().copied())
    }

    fn written_by(&self, id: WriteId) -> Option<Stamp> {
        self.lineage().find(|stamp| stamp.write_id() == id)
    }
}

/// Which mutation of a single key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Writes a value.
    Put,
    /// Moves the expiry of an entry, which has to be there.
    Touch,
    /// Removes the entry; without one it has nothing to do.
    Delete,
    /// Changes nothing.
    Check,
}

/// What is to be done about a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Its precondition holds: apply it.
    Apply,
    /// It was applied by an earlier attempt, under this stamp: answer with that.
    Already(Stamp),
    /// Its precondition does not hold, and no attempt of it was applied.
    Conflict,
    /// Its precondition does not hold, perhaps because of an earlier attempt of its own.
    Indeterminate,
}

/// What is to be done about `mutation`, with `stored` under its key.
///
/// # Errors
/// [`Error::InvalidVersion`](crate::Error::InvalidVersion) when the precondition names a version that is no [`Stamp`].
pub fn decide(
    mutation: Mutation,
    precondition: &Precondition,
    attempt: Attempt,
    stored: Option<Stored<'_>>,
) -> Result<Decision> {
    let expected = match precondition {
        Precondition::Matches(version) => Some(version.stamp()?),
        _ => None,
    };
    let writes = matches!(mutation, Mutation::Put | Mutation::Touch);
    if let Some(own) = stored
        .and_then(|stored| stored.written_by(attempt.id))
        .filter(|_| writes)
    {
        return Ok(Decision::Already(own));
    }
    let live = stored.filter(|stored| stored.live);
    let holds = match precondition {
        Precondition::None => true,
        Precondition::Absent => live.is_none(),
        Precondition::Exists => live.is_some(),
        Precondition::Matches(_) => live.map(|live| live.stamp) == expected,
    };
    if holds && (mutation != Mutation::Touch || live.is_some()) {
        return Ok(Decision::Apply);
    }
    if !attempt.is_retry() {
        return Ok(Decision::Conflict);
    }
    // All that came after the expected version is remembered, and an earlier attempt is not among it.
    let ruled_out = mutation != Mutation::Check
        && stored
            .zip(expected)
            .is_some_and(|(stored, expected)| stored.lineage().any(|stamp| stamp == expected));
    Ok(if ruled_out {
        Decision::Conflict
    } else {
        Decision::Indeterminate
    })
}

/// What is to be done about a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactDecision {
    /// Every precondition holds: apply it.
    Apply,
    /// It was applied by an earlier attempt, and gave the keys of its puts these versions.
    Already(Vec<Option<Version>>),
    /// The precondition of the operation at this place does not hold, and no attempt of the transaction was applied.
    Conflict(usize),
    /// The precondition of the operation at this place does not hold, perhaps because of an earlier attempt.
    Indeterminate(usize),
}

/// What is to be done about the transaction of `ops`, where `stored(i)` is under the key of the one at place `i`.
///
/// # Errors
/// Those of [`decide`].
pub fn decide_transaction<'a>(
    ops: &[TransactOp],
    attempt: Attempt,
    stored: impl Fn(usize) -> Option<Stored<'a>>,
) -> Result<TransactDecision> {
    // A transaction is applied as a whole, so one operation that is known to be applied (or not) tells of all.
    let (mut conflict, mut unknown) = (None, None);
    for (place, op) in ops.iter().enumerate() {
        let mutation = match op.action {
            Action::Put { .. } => Mutation::Put,
            Action::Delete => Mutation::Delete,
            Action::Check => Mutation::Check,
        };
        match decide(mutation, &op.precondition, attempt, stored(place))? {
            Decision::Apply => {}
            Decision::Already(own) => {
                let nonce = own.nonce(&op.key);
                return Ok(TransactDecision::Already(transaction_versions(
                    ops, attempt.id, nonce,
                )));
            }
            Decision::Conflict => conflict = conflict.or(Some(place)),
            Decision::Indeterminate => unknown = unknown.or(Some(place)),
        }
    }
    Ok(match (conflict, unknown) {
        (Some(place), _) => TransactDecision::Conflict(place),
        (None, Some(place)) => TransactDecision::Indeterminate(place),
        (None, None) => TransactDecision::Apply,
    })
}

/// The versions that a transaction's write gives its keys: one for each put.
#[must_use]
pub fn transaction_versions(ops: &[TransactOp], id: WriteId, nonce: u64) -> Vec<Option<Version>> {
    ops.iter()
        .map(|op| match op.action {
            Action::Put { .. } => Some(Stamp::new(id, nonce, &op.key).into()),
            Action::Delete | Action::Check => None,
        })
        .collect()
}

/// What became of the write `id`, sent with `precondition`, with `stored` under its key.
///
/// # Errors
/// Those of [`decide`].
pub fn resolve(id: WriteId, precondition: &Precondition, stored: Option<Stored<'_>>) -> Result<Resolution> {
    if let Some(own) = stored.and_then(|stored| stored.written_by(id)) {
        return Ok(Resolution::Applied(own.into()));
    }
    let Precondition::Matches(expected) = precondition else {
        return Ok(Resolution::Unknown);
    };
    let expected = expected.stamp()?;
    let known = stored.is_some_and(|stored| stored.lineage().any(|stamp| stamp == expected));
    Ok(if known {
        Resolution::NotApplied
    } else {
        Resolution::Unknown
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    struct Chain {
        key: Key,
        stamps: Vec<Stamp>,
    }

    impl Chain {
        /// A key written `n` times; `stamps[0]` is the oldest.
        fn of(n: usize) -> Self {
            let key: Key = "p/k".parse().unwrap();
            let stamps = (0..n)
                .map(|_| Stamp::new(WriteId::new(), Stamp::new_nonce(), &key))
                .collect();
            Self { key, stamps }
        }

        fn matches(&self, place: usize) -> Precondition {
            Precondition::Matches(self.stamps[place].into())
        }
    }

    fn retry(id: WriteId) -> Attempt {
        Attempt::first(id).next()
    }

    #[test]
    fn a_retry_of_a_remembered_write_is_answered_with_its_stamp() {
        let chain = Chain::of(3);
        let replaced = [chain.stamps[1], chain.stamps[0]];
        let stored = Some(Stored {
            stamp: chain.stamps[2],
            replaced: &replaced,
            live: true,
        });
        for own in &chain.stamps {
            let decision = decide(
                Mutation::Put,
                &Precondition::Absent,
                retry(own.write_id()),
                stored,
            )
            .unwrap();
            assert_eq!(decision, Decision::Already(*own));
        }
    }

    #[test]
    fn a_retry_conflicts_only_where_its_own_write_is_ruled_out() {
        let chain = Chain::of(3);
        let replaced = [chain.stamps[1]];
        let stored = Some(Stored {
            stamp: chain.stamps[2],
            replaced: &replaced,
            live: true,
        });
        let id = WriteId::new();
        let decided = |attempt, place| decide(Mutation::Put, &chain.matches(place), attempt, stored).unwrap();
        assert_eq!(decided(retry(id), 1), Decision::Conflict);
        assert_eq!(decided(retry(id), 0), Decision::Indeterminate);
        assert_eq!(decided(Attempt::first(id), 0), Decision::Conflict);
        assert_eq!(decided(retry(id), 2), Decision::Apply);
    }

    #[test]
    fn a_retried_delete_that_finds_the_key_gone_cannot_be_told() {
        let chain = Chain::of(1);
        let decided = |attempt| decide(Mutation::Delete, &chain.matches(0), attempt, None).unwrap();
        assert_eq!(decided(Attempt::first(WriteId::new())), Decision::Conflict);
        assert_eq!(decided(retry(WriteId::new())), Decision::Indeterminate);
    }

    #[test]
    fn an_expired_entry_rules_out_a_write_on_top_of_it() {
        let chain = Chain::of(1);
        let stored = Some(Stored {
            stamp: chain.stamps[0],
            replaced: &[],
            live: false,
        });
        let decision = decide(Mutation::Put, &chain.matches(0), retry(WriteId::new()), stored).unwrap();
        assert_eq!(decision, Decision::Conflict);
    }

    #[test]
    fn one_known_operation_tells_of_the_whole_transaction() {
        let chain = Chain::of(2);
        let other: Key = "p/other".parse().unwrap();
        let ops = [
            TransactOp::check(other.clone(), Precondition::Exists),
            TransactOp::put(chain.key.clone(), "x").when(chain.matches(0)),
        ];
        let replaced = [chain.stamps[0]];
        let stored = |place| {
            (place == 1).then_some(Stored {
                stamp: chain.stamps[1],
                replaced: &replaced,
                live: true,
            })
        };
        let decided = |attempt| decide_transaction(&ops, attempt, stored).unwrap();
        assert_eq!(
            decided(Attempt::first(WriteId::new())),
            TransactDecision::Conflict(0)
        );
        // The failed check might have failed because of an earlier attempt's success; the put's lineage says no.
        assert_eq!(decided(retry(WriteId::new())), TransactDecision::Conflict(1));
        let versions = vec![None, Some(chain.stamps[1].into())];
        assert_eq!(
            decided(retry(chain.stamps[1].write_id())),
            TransactDecision::Already(versions)
        );
        let checks = [ops[0].clone()];
        let decision = decide_transaction(&checks, retry(WriteId::new()), |_| None).unwrap();
        assert_eq!(decision, TransactDecision::Indeterminate(0));
    }
}
