//! Mutations of one key: one request under the ETag that the version tells; after a refusal, or where only the entity tells what is to be
//! done, rounds of a read and a request under the ETag that it found.

use std::time::Duration;

use bytes::Bytes;
use statestore_api::backend::expiry::{Expiry, is_live};
use statestore_api::backend::{Decision, Mutation, Stamp, decide};
use statestore_api::{
    Applied, Attempt, Conflict, Current, Error, Key, Precondition, Result, Version, WriteId,
};

use super::AzureTableStore;
use super::codec::{Found, Given, Written};
use super::error::{is_condition, is_missing};
use super::rest::{self, Kind};
use super::version::{Tag, Token};

/// How often a request is made under what was just read, while others change it each time.
const MOST_ROUNDS: u32 = 64;

/// The upper bound of the wait after the fourth round that was lost; it doubles with each that follows.
const BASE_DELAY: Duration = Duration::from_millis(2);
const LONGEST_DELAY: Duration = Duration::from_millis(64);

/// What is done to an entry.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put(Bytes, Expiry),
    Touch(Expiry),
    Delete,
    /// Nothing: the condition is checked, in a transaction.
    Check,
}

impl Change {
    pub(super) fn mutation(&self) -> Mutation {
        match self {
            Self::Put(..) => Mutation::Put,
            Self::Touch(_) => Mutation::Touch,
            Self::Delete => Mutation::Delete,
            Self::Check => Mutation::Check,
        }
    }

    pub(super) fn size(&self) -> usize {
        match self {
            Self::Put(value, _) => value.len(),
            _ => 0,
        }
    }

    fn expiry(&self) -> Expiry {
        match self {
            Self::Put(_, expiry) | Self::Touch(expiry) => *expiry,
            Self::Delete | Self::Check => Expiry::Set(None),
        }
    }
}

/// A precondition, with the version that it names taken apart.
#[derive(Clone, Debug)]
pub(super) struct Condition<'a> {
    pub(super) precondition: &'a Precondition,
    pub(super) token: Option<Token>,
}

impl<'a> Condition<'a> {
    /// # Errors
    /// [`Error::InvalidVersion`] when the version is none of this store's.
    pub(super) fn new(precondition: &'a Precondition) -> Result<Self> {
        let token = match precondition {
            Precondition::Matches(version) => Some(Token::of(version)?),
            _ => None,
        };
        Ok(Self { precondition, token })
    }

    /// The same in stamps, for the judgement that all stores share.
    pub(super) fn in_stamps(&self, key: &Key) -> Precondition {
        match &self.token {
            // A stamp that no write has: another key's version never matches.
            Some(token) if !token.is_of(key) => {
                Precondition::Matches(Stamp::from_bytes([0; Stamp::LEN]).into())
            }
            Some(token) => Precondition::Matches(token.stamp.into()),
            None => self.precondition.clone(),
        }
    }

    /// What `Matches` may be sent under without a read: the ETag, and the expiry that the entry has then.
    fn etag(&self, key: &Key, attempt: Attempt, now: u64) -> Option<(&str, Option<u64>)> {
        let token = self.token.as_ref().filter(|token| token.is_of(key))?;
        // The version that this very write made: it would match, and be written again.
        if token.stamp.write_id() == attempt.id {
            return None;
        }
        match &token.tag {
            // The service would match an expired entry.
            Tag::Of { etag, expires_ms } if is_live(*expires_ms, now) => Some((etag, *expires_ms)),
            _ => None,
        }
    }
}

/// What a mutation means for what is there.
pub(super) enum Verdict {
    Apply,
    /// An earlier attempt was applied and gave this version, of this stamp.
    Already(Version, Stamp),
}

/// What is to be done about `mutation`, with `found` under its key.
///
/// # Errors
/// [`Conflict`](Error::Conflict) with what is there, and [`Indeterminate`](Error::Indeterminate).
pub(super) fn judge(
    mutation: Mutation,
    condition: &Condition<'_>,
    attempt: Attempt,
    key: &Key,
    found: Option<&Found>,
    now: u64,
) -> Result<Verdict> {
    let stored = found.map(|found| found.stored(now));
    let mut decision = decide(mutation, &condition.in_stamps(key), attempt, stored)?;
    if let (Decision::Apply, Precondition::Matches(expected), Some(found)) =
        (decision, condition.precondition, found)
        && found.version != *expected
    {
        // The stamp is that of our write, the ETag is not: another program changed the entity without knowing of stamps.
        decision = Decision::Conflict;
    }
    match decision {
        Decision::Apply => Ok(Verdict::Apply),
        Decision::Already(own) => {
            let version = found.map_or_else(|| own.into(), |found| found.version_of(own).clone());
            Ok(Verdict::Already(version, own))
        }
        Decision::Indeterminate => Err(indeterminate(attempt)),
        Decision::Conflict => {
            let current = found.cloned().and_then(|found| found.into_entry(now));
            let current = current.map_or(Current::Absent, Current::Entry);
            Err(Conflict::new(key.clone(), current).into())
        }
    }
}

/// How a change is sent.
pub(super) struct Way<'a> {
    pub(super) kind: Kind,
    /// The version that is replaced, if that is known.
    pub(super) replaced: Option<&'a Version>,
    pub(super) expires_ms: Option<u64>,
}

/// What became of a request.
enum Outcome {
    /// The ETag that the entity has now.
    Applied(String),
    Refused,
    /// The service says that there is no entity.
    Missing,
}

impl AzureTableStore {
    /// Applies `change` to `key`. Returns the version that it leaves; of a delete none.
    pub(super) async fn write(
        &self,
        key: &Key,
        change: Change,
        precondition: &Precondition,
        brought: Option<Attempt>,
        now: u64,
    ) -> Result<Option<Version>> {
        let condition = Condition::new(precondition)?;
        let attempt = brought.unwrap_or_else(|| Attempt::first(WriteId::new()));
        let stamp = Stamp::new(attempt.id, Stamp::new_nonce(), key);
        // What the service says is missing need not be read.
        let mut missing = false;
        if let Some(way) = without_read(key, &change, &condition, attempt, now) {
            match self.send(key, &change, stamp, &way).await? {
                Outcome::Applied(etag) => return version(key, &change, stamp, etag, way.expires_ms),
                Outcome::Refused => {}
                Outcome::Missing => missing = true,
            }
        }
        for round in 0..MOST_ROUNDS {
            let found = match missing {
                true => None,
                // A touch leaves the value where it is.
                false if matches!(change, Change::Touch(_)) => self.find_to_touch(key).await?,
                false => self.find(key).await?,
            };
            missing = false;
            match judge(change.mutation(), &condition, attempt, key, found.as_ref(), now) {
                Ok(Verdict::Already(version, _)) => return Ok(Some(version)),
                Ok(Verdict::Apply) => {}
                Err(error) => return Err(without_value(error, &change)),
            }
            let Some(way) = after_read(&change, &condition, found.as_ref(), now) else {
                return Ok(None);
            };
            match self.send(key, &change, stamp, &way).await? {
                Outcome::Applied(etag) => return version(key, &change, stamp, etag, way.expires_ms),
                Outcome::Refused => {}
                Outcome::Missing => missing = true,
            }
            wait_after(round).await;
        }
        Err(unsettled())
    }

    async fn send(&self, key: &Key, change: &Change, stamp: Stamp, way: &Way<'_>) -> Result<Outcome> {
        let written = Written {
            key,
            stamp,
            replaced: way.replaced,
            given: Given::Own,
            expires_ms: way.expires_ms,
        };
        let body = match change {
            Change::Put(value, _) => written.entity(value),
            Change::Touch(_) => written.changes(),
            Change::Delete | Change::Check => Vec::new(),
        };
        let kind = way.kind.clone();
        let request = rest::Change {
            kind,
            place: super::place_of(key),
            body,
        };
        match self.client.change(request).await {
            Ok(etag) => {
                self.saw_table();
                Ok(Outcome::Applied(etag))
            }
            Err(fault) if is_condition(&fault) => {
                self.saw_table();
                Ok(Outcome::Refused)
            }
            Err(fault) if is_missing(&fault) => {
                self.make_sure_of_table().await?;
                Ok(Outcome::Missing)
            }
            Err(fault) => Err(self.context(true, change.size()).error(fault)),
        }
    }
}

/// How a change is sent without looking at what is there, if it can be.
pub(super) fn without_read<'a>(
    key: &Key,
    change: &Change,
    condition: &'a Condition<'_>,
    attempt: Attempt,
    now: u64,
) -> Option<Way<'a>> {
    let set = match change.expiry() {
        Expiry::Set(at) => Some(at),
        Expiry::Keep => None,
    };
    match (condition.precondition, change) {
        (Precondition::Matches(version), _) => {
            let (etag, expires_ms) = condition.etag(key, attempt, now)?;
            Some(Way {
                kind: under(change, etag.to_owned()),
                replaced: Some(version),
                expires_ms: set.unwrap_or(expires_ms),
            })
        }
        (Precondition::Absent, Change::Put(..)) => Some(Way {
            kind: Kind::Insert,
            replaced: None,
            expires_ms: set.flatten(),
        }),
        // A retry looks whether an earlier attempt was applied.
        (Precondition::None, Change::Put(..)) if !attempt.is_retry() => Some(Way {
            kind: Kind::InsertOrReplace,
            replaced: None,
            expires_ms: set?,
        }),
        (Precondition::None, Change::Delete) => Some(Way {
            kind: Kind::Delete("*".to_owned()),
            replaced: None,
            expires_ms: None,
        }),
        _ => None,
    }
}

/// How a change whose precondition holds of `found` is sent, so that it is refused if that changes. `None`: there is nothing to do.
pub(super) fn after_read<'a>(
    change: &Change,
    condition: &Condition<'_>,
    found: Option<&'a Found>,
    now: u64,
) -> Option<Way<'a>> {
    let live = found.filter(|found| found.is_live(now));
    let expires_ms = change.expiry().over(live.and_then(|live| live.expires_ms));
    match (change, found) {
        (Change::Delete, None) | (Change::Check, _) => None,
        // Where absence is wanted an expired entry is as good.
        (Change::Delete, _) if *condition.precondition == Precondition::Absent => None,
        (_, None) => Some(Way {
            kind: Kind::Insert,
            replaced: None,
            expires_ms,
        }),
        (_, Some(found)) => Some(Way {
            kind: under(change, found.etag.clone()),
            replaced: Some(&found.version),
            expires_ms,
        }),
    }
}

fn under(change: &Change, etag: String) -> Kind {
    match change {
        Change::Put(..) => Kind::Replace(etag),
        Change::Touch(_) | Change::Check => Kind::Merge(etag),
        Change::Delete => Kind::Delete(etag),
    }
}

fn version(
    key: &Key,
    change: &Change,
    stamp: Stamp,
    etag: String,
    expires_ms: Option<u64>,
) -> Result<Option<Version>> {
    match change {
        Change::Delete | Change::Check => Ok(None),
        _ => Token::new(key, stamp, Tag::Of { etag, expires_ms })
            .version()
            .map(Some),
    }
}

/// A touch has read no value, so it cannot show one: what a conflict found is left unknown.
fn without_value(error: Error, change: &Change) -> Error {
    match error {
        Error::Conflict(mut conflict) if matches!(change, Change::Touch(_)) => {
            if matches!(conflict.current, Current::Entry(_)) {
                conflict.current = Current::Unknown;
            }
            (*conflict).into()
        }
        error => error,
    }
}

/// Waits a little where several change one entry all the time.
pub(super) async fn wait_after(round: u32) {
    if let Some(exponent) = round.checked_sub(3) {
        let bound = BASE_DELAY
            .saturating_mul(1 << exponent.min(16))
            .min(LONGEST_DELAY);
        tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
    }
}

pub(super) fn indeterminate(attempt: Attempt) -> Error {
    Error::Indeterminate {
        write_id: attempt.id,
        reason: "an earlier attempt may have been applied and then overwritten or deleted".to_owned(),
        source: None,
    }
}

/// The entity changed between the requests each time.
pub(super) fn unsettled() -> Error {
    Error::Unavailable {
        applied: Applied::No,
        reason: "others changed the entity between two requests each time".to_owned(),
        source: None,
    }
}
