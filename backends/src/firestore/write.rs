//! Mutations of one key: one commit each, and a look at what is there where a condition needs one or failed.

use statestore_api::backend::expiry::Expiry;
use statestore_api::backend::{Decision, Stamp, decide};
use statestore_api::{
    Applied, Attempt, Conflict, Current, Error, Key, Precondition, Result, Version, WriteId,
};

use super::FirestoreStore;
use super::batch::Parts;
use super::codec::{Found, Identity, Token, Written, by_stamp};
use super::commit::{Basis, Outcome, plan, timeless};
use crate::change::Change;

/// How often a document may change between our look and our write before we give up.
pub(super) const MOST_ROUNDS: usize = 16;

impl FirestoreStore {
    /// Applies `change` to `key`. Returns the version it leaves; of a delete, none.
    pub(super) async fn write(
        &self,
        key: &Key,
        change: Change,
        precondition: &Precondition,
        brought: Option<Attempt>,
        now: u64,
    ) -> Result<Option<Version>> {
        let judged = by_stamp(precondition)?;
        let attempt = brought.unwrap_or_else(|| Attempt::first(WriteId::new()));
        let by = Written {
            stamp: Stamp::new(attempt.id, Stamp::new_nonce(), key),
            at: now,
        };
        let mut basis = first_basis(key, &change, precondition, attempt, now)?;
        for _ in 0..MOST_ROUNDS {
            let there = match basis.take() {
                Some(basis) => basis,
                None => {
                    let found = self.find(key, parts_for([precondition])).await?;
                    let stored = found.as_ref().map(|found| found.stored(now));
                    match decide(change.mutation(), &judged, attempt, stored)? {
                        Decision::Apply => over(found.as_ref()),
                        Decision::Already(own) => return own_version(key, found.as_ref(), own).map(Some),
                        Decision::Indeterminate => return Err(Error::indeterminate(attempt.id)),
                        Decision::Conflict => return Err(conflict(key, found.as_ref(), now)?.into()),
                    }
                }
            };
            let Some(planned) = plan(self.names.document(key), &change, there, by, now) else {
                return Ok(None);
            };
            let Outcome::Applied(times) = self.commit(vec![planned.write], Vec::new()).await? else {
                continue;
            };
            if matches!(change, Change::Delete) {
                return Ok(None);
            }
            let left = Identity {
                update_time: times.first().copied().flatten().ok_or_else(timeless)?,
                written: by,
                expires_ms: planned.expires_ms,
            };
            return left.version(key).map(Some);
        }
        Err(unsettled())
    }
}

/// What a write takes to be there without a look; `None` where it has to look first.
///
/// # Errors
/// [`InvalidVersion`](Error::InvalidVersion).
pub(super) fn first_basis(
    key: &Key,
    change: &Change,
    precondition: &Precondition,
    attempt: Attempt,
    now: u64,
) -> Result<Option<Basis>> {
    Ok(match (precondition, change) {
        // A check has nothing to write that could be refused.
        (_, Change::Check) => None,
        (Precondition::Matches(version), _) => {
            let token = Token::read(version)?;
            // One that expects its own version is a retry, whatever it says.
            let is_own = token.identity.written.stamp.write_id() == attempt.id;
            (!is_own && token.may_match(key, now)).then_some(Basis::At(token.identity))
        }
        (Precondition::Absent, _) => Some(Basis::Missing),
        (Precondition::None, Change::Delete) => Some(Basis::Anything),
        // Without a condition an earlier attempt would be overwritten unseen.
        (Precondition::None, Change::Put(_, Expiry::Set(_))) if !attempt.is_retry() => Some(Basis::Anything),
        (Precondition::None | Precondition::Exists, _) => None,
    })
}

/// What has to be read for a look: a conflict shows the entry that is there, which only these conditions conflict with.
pub(super) fn parts_for<'a>(preconditions: impl IntoIterator<Item = &'a Precondition>) -> Parts {
    let mut preconditions = preconditions.into_iter();
    let shows =
        |precondition: &Precondition| matches!(precondition, Precondition::Absent | Precondition::Matches(_));
    if preconditions.any(shows) {
        Parts::All
    } else {
        Parts::Meta
    }
}

/// The basis of a write over what was found.
pub(super) fn over(found: Option<&Found>) -> Basis {
    found.map_or(Basis::Missing, |found| Basis::At(found.identity))
}

/// The version of a write that was found to be applied.
pub(super) fn own_version(key: &Key, found: Option<&Found>, own: Stamp) -> Result<Version> {
    match found.and_then(|found| found.write_of(own)) {
        Some(identity) => identity.version(key),
        None => Err(unsettled()),
    }
}

/// The conflict with what was found.
pub(super) fn conflict(key: &Key, found: Option<&Found>, now: u64) -> Result<Conflict> {
    let entry = found
        .cloned()
        .map(|found| found.into_entry(key, now))
        .transpose()?
        .flatten();
    let current = entry.map_or(Current::Absent, Current::Entry);
    Ok(Conflict::new(key.clone(), current))
}

/// The document changed between the requests each time.
pub(super) fn unsettled() -> Error {
    Error::Unavailable {
        applied: Applied::No,
        reason: "the document changed between two requests each time".to_owned(),
        source: None,
    }
}
