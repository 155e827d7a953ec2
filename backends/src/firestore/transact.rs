//! Transactions: one commit, whose writes carry the conditions. Where a look is needed first it is one read of all keys; and
//! for a check, which has no write to carry its condition, both are in a read-write transaction of Firestore's.

use std::panic::resume_unwind;

use statestore_api::backend::expiry::Expiry;
use statestore_api::backend::{Mutation, Stamp, TransactDecision, check, decide_transaction};
use statestore_api::{
    Action, Applied, Attempt, Error, Key, Precondition, Result, TransactOp, Version, WriteId,
};

use super::FirestoreStore;
use super::batch::Parts;
use super::codec::{Found, Identity, UpdateTime, Written, by_stamp};
use super::commit::{Basis, Outcome, plan, timeless};
use super::write::{MOST_ROUNDS, conflict, first_basis, indeterminate, over, parts_for, unsettled};
use crate::change::Change;

/// A transaction, ready to be judged and written.
struct Plan {
    /// As they were handed in.
    ops: Vec<TransactOp>,
    /// The same with stamps in place of versions, for those who judge by stamps.
    judged: Vec<TransactOp>,
    changes: Vec<Change>,
    keys: Vec<Key>,
    attempt: Attempt,
    nonce: u64,
    now: u64,
}

impl Plan {
    fn new(ops: Vec<TransactOp>, attempt: Attempt, now: u64) -> Result<Self> {
        let judged = ops
            .iter()
            .map(|op| Ok(op.clone().when(by_stamp(&op.precondition)?)));
        Ok(Self {
            judged: judged.collect::<Result<_>>()?,
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

    fn has_check(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Check))
    }

    fn parts(&self) -> Parts {
        parts_for(self.ops.iter().map(|op| &op.precondition))
    }

    /// What the writes take to be there without a look; `None` where one has to look first.
    fn first_bases(&self) -> Result<Option<Vec<Basis>>> {
        // An earlier attempt that was applied would be refused at what it replaced or deleted by version; but not at what it
        // created, if that was deleted since, although another of its puts may remember it.
        let tells = |op: &TransactOp| matches!(op.precondition, Precondition::Matches(_));
        if self.attempt.is_retry() && !self.ops.iter().any(tells) {
            return Ok(None);
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

/// What a look says.
enum Verdict {
    /// An earlier attempt was applied, with these versions.
    Already(Vec<Option<Version>>),
    /// All conditions hold of this.
    Apply(Vec<Basis>),
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
        // A task of its own, so that the transaction is ended when this future is dropped, and holds its locks no longer.
        let store = self.clone();
        match tokio::spawn(async move { store.apply(&plan).await }).await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(error) => Err(Error::Unavailable {
                applied: Applied::Maybe,
                reason: "the runtime is ending".to_owned(),
                source: Some(error.into()),
            }),
        }
    }

    async fn apply(&self, plan: &Plan) -> Result<Vec<Option<Version>>> {
        let mut bases = plan.first_bases()?;
        for _ in 0..MOST_ROUNDS {
            let (bases, transaction) = match bases.take() {
                Some(bases) => (bases, Vec::new()),
                None => {
                    let looked = self.documents(&plan.keys, plan.parts(), plan.has_check()).await?;
                    match judge(plan, looked.documents) {
                        Ok(Verdict::Apply(bases)) => (bases, looked.transaction),
                        Ok(Verdict::Already(versions)) => {
                            self.roll_back(looked.transaction).await;
                            return Ok(versions);
                        }
                        Err(error) => {
                            self.roll_back(looked.transaction).await;
                            return Err(error);
                        }
                    }
                }
            };
            if let Some(versions) = self.commit_plan(plan, &bases, transaction).await? {
                return Ok(versions);
            }
        }
        Err(unsettled())
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

/// What is to be done about the transaction, where this was found.
fn judge(
    plan: &Plan,
    documents: Vec<Option<firestore::gcloud_sdk::google::firestore::v1::Document>>,
) -> Result<Verdict> {
    let with_value = plan.parts() == Parts::All;
    let mut found = Vec::with_capacity(documents.len());
    for (key, document) in plan.keys.iter().zip(documents) {
        found.push(
            document
                .map(|document| Found::decode(key, document, with_value))
                .transpose()?,
        );
    }
    let stored = |place: usize| {
        found
            .get(place)?
            .as_ref()
            .map(|found: &Found| found.stored(plan.now))
    };
    match decide_transaction(&plan.judged, plan.attempt, stored)? {
        TransactDecision::Apply => Ok(Verdict::Apply(
            found.iter().map(|found| over(found.as_ref())).collect(),
        )),
        TransactDecision::Already(stamps) => {
            let nonce = stamps
                .iter()
                .zip(&plan.keys)
                .find_map(|(version, key)| Some(version.as_ref()?.stamp().ok()?.nonce(key)));
            let nonce = nonce.ok_or_else(unsettled)?;
            plan.earlier_versions(nonce, &found).map(Verdict::Already)
        }
        TransactDecision::Conflict(place) => {
            let key = &plan.keys[place];
            Err(conflict(key, found.swap_remove(place), plan.now)?
                .of_op(place)
                .into())
        }
        TransactDecision::Indeterminate(_) => Err(indeterminate(plan.attempt)),
    }
}
