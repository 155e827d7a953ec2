//! Transactions: one commit, whose writes carry the conditions.
//!
//! A check has no write to carry its condition. So with checks the commit ends a read-write transaction of Firestore's, in which the
//! checked documents were read; and those alone, since what is read in it is locked until then.

use statestore_api::backend::expiry::Expiry;
use statestore_api::backend::{Mutation, Stamp, TransactDecision, check, decide_transaction};
use statestore_api::{Action, Attempt, Error, Key, Precondition, Result, TransactOp, Version, WriteId};

use super::FirestoreStore;
use super::codec::{Found, Identity, UpdateTime, Written, by_stamp};
use super::commit::{Basis, Outcome, plan, timeless};
use super::connection::to_its_end;
use super::write::{MOST_ROUNDS, conflict, first_basis, over, parts_for, unsettled};
use crate::change::Change;

/// A transaction, ready to be judged and written.
struct Plan {
    /// As they were handed in.
    ops: Vec<TransactOp>,
    changes: Vec<Change>,
    keys: Vec<Key>,
    attempt: Attempt,
    nonce: u64,
    now: u64,
}

impl Plan {
    fn new(ops: Vec<TransactOp>, attempt: Attempt, now: u64) -> Result<Self> {
        // A version that is none is found here, before anything is read under lock.
        for op in &ops {
            by_stamp(&op.precondition)?;
        }
        Ok(Self {
            changes: ops
                .iter()
                .map(|op| Change::of(&op.action, now))
                .collect::<Result<_>>()?,
            keys: ops.iter().map(|op| op.key.clone()).collect(),
            ops,
            attempt,
            nonce: Stamp::new_nonce(),
            now,
        })
    }

    fn is_check(&self, place: usize) -> bool {
        matches!(self.changes[place], Change::Check)
    }

    fn has_check(&self) -> bool {
        (0..self.ops.len()).any(|place| self.is_check(place))
    }

    /// What each write takes to be there without a look; `None` where one has to look first.
    fn first_bases(&self) -> Result<Vec<Option<Basis>>> {
        // An earlier attempt that was applied would be refused at what it replaced or deleted by version; but not at what it
        // created, if that was deleted since, although another of its puts may remember it.
        let tells = |op: &TransactOp| matches!(op.precondition, Precondition::Matches(_));
        if self.attempt.is_retry() && (self.has_check() || !self.ops.iter().any(tells)) {
            return Ok(vec![None; self.ops.len()]);
        }
        self.ops
            .iter()
            .zip(&self.changes)
            .map(|(op, change)| first_basis(&op.key, change, &op.precondition, self.attempt, self.now))
            .collect()
    }

    fn written(&self, key: &Key) -> Written {
        Written {
            stamp: Stamp::new(self.attempt.id, self.nonce, key),
            at: self.now,
        }
    }

    /// The versions that an earlier attempt with this nonce gave, of which at least one document tells.
    fn earlier_versions(&self, nonce: u64, found: &[Option<Found>]) -> Result<Vec<Option<Version>>> {
        let stamp = |key: &Key| Stamp::new(self.attempt.id, nonce, key);
        let told: Vec<Option<Identity>> = found
            .iter()
            .zip(&self.keys)
            .map(|(found, key)| found.as_ref()?.write_of(stamp(key)))
            .collect();
        let Some(any) = told.iter().flatten().next().copied() else {
            return Err(unsettled());
        };
        // All documents of one commit have one update time, and their expiries were counted from one time.
        let identity = |key: &Key, action: &Action| {
            let expires_ms = match action {
                Action::Put { ttl, .. } => match Expiry::new(*ttl, any.written.at) {
                    Ok(Expiry::Set(at)) => at,
                    // It is not known what was kept. The entry is gone, so its version matches nothing either way.
                    Ok(Expiry::Keep) | Err(_) => None,
                },
                Action::Delete | Action::Check => None,
            };
            Identity {
                update_time: any.update_time,
                written: Written {
                    stamp: stamp(key),
                    at: any.written.at,
                },
                expires_ms,
            }
        };
        self.ops
            .iter()
            .zip(told)
            .map(|(op, told)| match op.action {
                Action::Put { .. } => {
                    let identity = told.unwrap_or_else(|| identity(&op.key, &op.action));
                    identity.version(&op.key).map(Some)
                }
                Action::Delete | Action::Check => Ok(None),
            })
            .collect()
    }
}

/// What a look found.
struct Look {
    /// The operations whose documents were looked at.
    places: Vec<usize>,
    /// The documents, by the places of all operations.
    found: Vec<Option<Found>>,
    /// The transaction that locks those of the checks; empty when there is none.
    transaction: Vec<u8>,
}

impl FirestoreStore {
    pub(super) async fn transact_ops(
        &self,
        ops: Vec<TransactOp>,
        brought: Option<Attempt>,
    ) -> Result<Vec<Option<Version>>> {
        check::transaction(&self.capabilities, &ops)?;
        let attempt = brought.unwrap_or_else(|| Attempt::first(WriteId::new()));
        let plan = Plan::new(ops, attempt, self.now())?;
        if plan.ops.is_empty() {
            return Ok(Vec::new());
        }
        if !plan.has_check() {
            return self.apply(&plan).await;
        }
        let store = self.clone();
        to_its_end(async move { store.apply(&plan).await }).await
    }

    async fn apply(&self, plan: &Plan) -> Result<Vec<Option<Version>>> {
        let mut bases = plan.first_bases()?;
        for _ in 0..MOST_ROUNDS {
            let unknown = (0..bases.len()).filter(|place| bases[*place].is_none());
            let look = self.look(plan, unknown.collect()).await?;
            match judge(plan, &look) {
                Ok(Some(versions)) => {
                    self.roll_back(look.transaction).await;
                    return Ok(versions);
                }
                Ok(None) => {}
                Err(error) => {
                    self.roll_back(look.transaction).await;
                    return Err(error);
                }
            }
            let known: Vec<Basis> = bases
                .iter()
                .zip(&look.found)
                .map(|(basis, found)| basis.unwrap_or_else(|| over(found.as_ref())))
                .collect();
            if let Some(versions) = self.commit_plan(plan, &known, look.transaction).await? {
                return Ok(versions);
            }
            // It was refused, and Firestore does not tell at which.
            bases.fill(None);
        }
        Err(unsettled())
    }

    /// Looks at the documents of these operations, the checks' last and under lock.
    async fn look(&self, plan: &Plan, places: Vec<usize>) -> Result<Look> {
        let mut look = Look {
            found: std::iter::repeat_with(|| None).take(plan.ops.len()).collect(),
            transaction: Vec::new(),
            places,
        };
        let (checked, written): (Vec<usize>, Vec<usize>) =
            look.places.iter().partition(|place| plan.is_check(**place));
        for (places, locked) in [(written, false), (checked, true)] {
            if places.is_empty() {
                continue;
            }
            let keys = places.iter().map(|place| plan.keys[*place].clone()).collect();
            let parts = parts_for(places.iter().map(|place| &plan.ops[*place].precondition));
            let looked = self.documents(keys, parts, locked).await?;
            look.transaction = looked.transaction;
            for (place, found) in places.into_iter().zip(looked.documents) {
                let Some(found) = found else { continue };
                match found {
                    Ok(found) => look.found[place] = Some(found),
                    Err(error) => {
                        self.roll_back(look.transaction).await;
                        return Err(error);
                    }
                }
            }
        }
        Ok(look)
    }

    /// The versions, or `None` when it was refused.
    async fn commit_plan(
        &self,
        transaction: &Plan,
        bases: &[Basis],
        id: Vec<u8>,
    ) -> Result<Option<Vec<Option<Version>>>> {
        let mut writes = Vec::with_capacity(bases.len());
        let mut left = Vec::with_capacity(bases.len());
        for ((key, change), basis) in transaction.keys.iter().zip(&transaction.changes).zip(bases) {
            let by = transaction.written(key);
            let planned = plan(self.names.document(key), change, *basis, by, transaction.now);
            left.push((key, change, planned.as_ref().map(|planned| planned.expires_ms)));
            writes.extend(planned.map(|planned| planned.write));
        }
        let Outcome::Applied(times) = self.commit(writes, id).await? else {
            return Ok(None);
        };
        let mut times = times.into_iter();
        let mut version = |key: &Key, change: &Change, expires_ms: Option<Option<u64>>| {
            let Some(expires_ms) = expires_ms else {
                return Ok(None);
            };
            let time: Option<UpdateTime> = times.next().flatten();
            if change.mutation() == Mutation::Delete {
                return Ok(None);
            }
            let identity = Identity {
                update_time: time.ok_or_else(timeless)?,
                written: transaction.written(key),
                expires_ms,
            };
            identity.version(key).map(Some)
        };
        left.into_iter()
            .map(|(key, change, expires_ms)| version(key, change, expires_ms))
            .collect::<Result<_>>()
            .map(Some)
    }
}

/// The versions of an earlier attempt that was applied; `None` when the conditions that were looked at hold.
fn judge(plan: &Plan, look: &Look) -> Result<Option<Vec<Option<Version>>>> {
    let by_stamps = |place: &usize| {
        let op = &plan.ops[*place];
        Ok(op.clone().when(by_stamp(&op.precondition)?))
    };
    let judged: Vec<TransactOp> = look.places.iter().map(by_stamps).collect::<Result<_>>()?;
    let stored = |place: usize| {
        let found = look.found[look.places[place]].as_ref();
        found.map(|found| found.stored(plan.now))
    };
    match decide_transaction(&judged, plan.attempt, stored)? {
        TransactDecision::Apply => Ok(None),
        TransactDecision::Already(stamps) => {
            let nonce = stamps
                .iter()
                .zip(&judged)
                .find_map(|(version, op)| Some(version.as_ref()?.stamp().ok()?.nonce(&op.key)));
            let nonce = nonce.ok_or_else(unsettled)?;
            plan.earlier_versions(nonce, &look.found).map(Some)
        }
        TransactDecision::Conflict(place) => {
            let place = look.places[place];
            let conflict = conflict(&plan.keys[place], look.found[place].as_ref(), plan.now)?;
            Err(conflict.of_op(place).into())
        }
        TransactDecision::Indeterminate(_) => Err(Error::indeterminate(plan.attempt.id)),
    }
}
