//! Transactions: entity group transactions, each change under the ETag that its version tells.
//!
//! The service has no change that only checks, none that deletes what may be missing, and no memory of a transaction. So
//! - a check that a key is there merges nothing but its version's ETag into the entity, whose own ETag then is another;
//! - a check that it is absent, and a delete of what turns out to be missing, insert an entity that is expired from the start;
//! - a retry looks at all entities first, and whoever is told of a refusal looks at them before it believes that.

use futures::stream::{self, StreamExt, TryStreamExt};
use statestore_api::backend::expiry::Expiry;
use statestore_api::backend::{Stamp, check};
use statestore_api::{Action, Attempt, Error, Key, Precondition, Result, TransactOp, Version, WriteId};

use super::codec::{self, Found, Given, Written};
use super::error::{is_condition, is_missing};
use super::rest::{self, Fault, Kind};
use super::version::{Tag, Token};
use super::write::{Change, Condition, Verdict, after_read, judge, unsettled, wait_after, without_read};
use super::{AzureTableStore, READ_CONCURRENCY, place_of};

/// How often a transaction is sent under what was just read, while others change one of its entities each time.
const MOST_ROUNDS: u32 = 32;

/// One operation, ready to be sent.
struct Step<'a> {
    key: &'a Key,
    condition: Condition<'a>,
    change: Change,
}

/// What is known to be under the key of each step: not yet, nothing, or this.
type Seen = Vec<Option<Option<Found>>>;

/// A transaction under way.
struct Transaction<'a> {
    steps: Vec<Step<'a>>,
    attempt: Attempt,
    /// Whether it may have been sent before, by its number or by its caller's own write id.
    may_be_known: bool,
    now: u64,
}

impl AzureTableStore {
    pub(super) async fn transact_ops(
        &self,
        ops: &[TransactOp],
        brought: Option<Attempt>,
    ) -> Result<Vec<Option<Version>>> {
        check::transaction(&self.capabilities, ops)?;
        let now = self.now();
        let transaction = Transaction {
            steps: steps(ops, now)?,
            attempt: brought.unwrap_or_else(|| Attempt::first(WriteId::new())),
            may_be_known: brought.is_some(),
            now,
        };
        let nonce = self.apply(&transaction, Stamp::new_nonce()).await?;
        transaction.versions(nonce)
    }

    /// Applies all steps or none. Returns the nonce of the attempt that did.
    async fn apply(&self, transaction: &Transaction<'_>, nonce: u64) -> Result<u64> {
        let count = transaction.steps.len();
        let mut seen: Seen = vec![None; count];
        let mut wanted: Vec<usize> = (0..count).collect();
        // What can be sent without a look, whose bodies may be large: made once.
        let mut ready: Vec<Option<Request>> = std::iter::repeat_with(|| None).take(count).collect();
        if !transaction.attempt.is_retry() {
            for (place, ready) in ready.iter_mut().enumerate() {
                let request = transaction.request(place, None, nonce);
                *ready = (!matches!(request, Request::AfterRead)).then_some(request);
            }
            wanted.retain(|place| ready[*place].is_none());
        }
        for round in 0..MOST_ROUNDS {
            self.look(transaction, &mut seen, &wanted).await?;
            if let Some(own) = self.weigh(transaction, &mut seen).await? {
                return Ok(own);
            }
            let (mut places, mut changes) = (Vec::new(), Vec::new());
            for (place, seen) in seen.iter().enumerate() {
                let request = match ready[place].take() {
                    Some(request) if seen.is_none() => request,
                    _ => transaction.request(place, seen.as_ref(), nonce),
                };
                if let Request::Send(change) = request {
                    places.push(place);
                    changes.push(change);
                }
            }
            if changes.is_empty() {
                return Ok(nonce);
            }
            let fault = match self.client.batch(&changes).await {
                Ok(()) => {
                    self.saw_table();
                    return Ok(nonce);
                }
                Err(fault) => fault,
            };
            if is_missing(&fault) {
                self.make_sure_of_table().await?;
            } else if !is_condition(&fault) {
                return Err(self.context(true, transaction.size()).error(fault));
            }
            // What was refused is looked at first: it may tell enough.
            let refused = match &fault {
                Fault::Refused(refusal) => refusal.op.and_then(|op| places.get(op)),
                _ => None,
            };
            seen = vec![None; count];
            wanted = (0..count).collect();
            if let Some(&refused) = refused {
                self.look(transaction, &mut seen, &[refused]).await?;
                if let Some(own) = self.weigh(transaction, &mut seen).await? {
                    return Ok(own);
                }
                wanted.retain(|place| *place != refused);
            }
            wait_after(round).await;
        }
        Err(unsettled())
    }

    /// Reads what is under the keys of the steps at these places.
    async fn look(&self, transaction: &Transaction<'_>, seen: &mut Seen, places: &[usize]) -> Result<()> {
        let keys: Vec<(usize, Key)> = places
            .iter()
            .filter(|place| seen[**place].is_none())
            .map(|place| (*place, transaction.steps[*place].key.clone()))
            .collect();
        let found: Vec<_> = stream::iter(keys)
            .map(|(place, key)| async move { Ok::<_, Error>((place, self.find(&key).await?)) })
            .buffer_unordered(READ_CONCURRENCY)
            .try_collect()
            .await?;
        for (place, found) in found {
            seen[place] = Some(found);
        }
        Ok(())
    }

    /// The nonce of an earlier attempt that was applied, by what was seen.
    ///
    /// What refuses may have been done by that attempt, and the others read before it: if one of them may remember it, all are looked
    /// at again before the refusal is believed.
    async fn weigh(&self, transaction: &Transaction<'_>, seen: &mut Seen) -> Result<Option<u64>> {
        match transaction.weigh(seen) {
            Err(Error::Conflict(_) | Error::Indeterminate { .. }) if transaction.may_be_known => {}
            weighed => return weighed,
        }
        let all: Vec<usize> = (0..seen.len()).collect();
        seen.fill(None);
        self.look(transaction, seen, &all).await?;
        transaction.weigh(seen)
    }
}

/// What is to be done about a step.
enum Request {
    Nothing,
    /// Only the entity tells.
    AfterRead,
    Send(rest::Change),
}

impl Transaction<'_> {
    /// A transaction is applied as a whole, so one operation that is known to be applied tells of all; and one that conflicts for sure
    /// tells more than one that may.
    fn weigh(&self, seen: &Seen) -> Result<Option<u64>> {
        let mut refusal = None;
        for (place, (step, seen)) in self.steps.iter().zip(seen).enumerate() {
            let Some(found) = seen else { continue };
            let mutation = step.change.mutation();
            match judge(
                mutation,
                &step.condition,
                self.attempt,
                step.key,
                found.as_ref(),
                self.now,
            ) {
                Ok(Verdict::Apply) => {}
                Ok(Verdict::Already(_, own)) => return Ok(Some(own.nonce(step.key))),
                Err(Error::Conflict(found)) => {
                    if !matches!(refusal, Some(Error::Conflict(_))) {
                        refusal = Some(found.of_op(place).into());
                    }
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        refusal.map_or(Ok(None), Err)
    }

    fn request(&self, place: usize, seen: Option<&Option<Found>>, nonce: u64) -> Request {
        let step = &self.steps[place];
        let (key, condition) = (step.key, &step.condition);
        let stamp = Stamp::new(self.attempt.id, nonce, key);
        let send = |kind, body| {
            let place = place_of(key);
            Request::Send(rest::Change { kind, place, body })
        };
        let checks = matches!(step.change, Change::Check);
        let wants_absence = *condition.precondition == Precondition::Absent;
        if checks && *condition.precondition == Precondition::None {
            return Request::Nothing;
        }
        if let Change::Check | Change::Delete = step.change {
            match seen {
                None if wants_absence => return send(Kind::Insert, codec::tombstone(key, stamp)),
                Some(None) => return send(Kind::Insert, codec::tombstone(key, stamp)),
                Some(Some(found)) if checks || wants_absence => {
                    let body = codec::check(key, &found.given_by_check());
                    return send(Kind::Merge(found.etag.clone()), body);
                }
                _ => {}
            }
        }
        let way = match seen {
            None => without_read(key, &step.change, condition, self.attempt, self.now),
            Some(found) => after_read(&step.change, condition, found.as_ref(), self.now),
        };
        let Some(way) = way else {
            return Request::AfterRead;
        };
        let written = Written {
            key,
            stamp,
            replaced: way.replaced,
            given: Given::Nothing,
            expires_ms: way.expires_ms,
        };
        let body = match (&step.change, &way.kind) {
            (Change::Put(value, _), _) => written.entity(value),
            // What matches has the ETag that its version says.
            (Change::Check, Kind::Merge(etag)) => codec::check(key, &Given::Earlier(etag.clone())),
            _ => Vec::new(),
        };
        send(way.kind, body)
    }

    /// The versions that it gives its keys: one for each put.
    fn versions(&self, nonce: u64) -> Result<Vec<Option<Version>>> {
        let version = |step: &Step<'_>| match step.change {
            Change::Put(..) => {
                let stamp = Stamp::new(self.attempt.id, nonce, step.key);
                Token::new(step.key, stamp, Tag::Transaction).version().map(Some)
            }
            _ => Ok(None),
        };
        self.steps.iter().map(version).collect()
    }

    fn size(&self) -> usize {
        self.steps.iter().map(|step| step.change.size()).sum()
    }
}

fn steps(ops: &[TransactOp], now: u64) -> Result<Vec<Step<'_>>> {
    ops.iter()
        .map(|op| {
            Ok(Step {
                key: &op.key,
                condition: Condition::new(&op.precondition)?,
                change: match &op.action {
                    Action::Put { value, ttl } => Change::Put(value.clone(), Expiry::new(*ttl, now)?),
                    Action::Delete => Change::Delete,
                    Action::Check => Change::Check,
                },
            })
        })
        .collect()
}
