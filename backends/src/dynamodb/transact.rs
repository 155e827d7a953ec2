//! Transactions: TransactWriteItems with a ClientRequestToken, which is made of the write id and the keys.
//!
//! DynamoDB applies one request a token, and forgets the token 10 minutes after it answered. A retry whose first attempt was not
//! answered is sent as that very request again ([`Unanswered`]), and answered from the token's memory. Any other
//! retry has another nonce and time: if an earlier attempt was applied, DynamoDB refuses that as a mismatch, and
//! what the entries remember tells the versions; if none was, it is applied. An applied transaction keeps its token,
//! one that was cancelled does not.
//!
//! [`Unanswered`]: super::unanswered::Unanswered

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::{CancellationReason, ConditionCheck, Delete, TransactWriteItem, Update};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::{self, StreamExt};
use statestore_api::backend::{Mutation, Stamp, check, stable_hash, transaction_versions};
use statestore_api::{Attempt, Consistency, Error, Key, Precondition, Result, TransactOp, Version, WriteId};

use super::DynamoDbStore;
use super::codec::{self, Item};
use super::connection::write;
use super::error::Reply;
use super::expression::{Expressions, Keeping, Wanted};
use super::unanswered::Sent;
use super::write::{MOST_ROUNDS, Refusal, judge, unsettled};
use crate::change::Change;

/// How many items are read at once to find out what became of a transaction.
const READ_CONCURRENCY: usize = 16;

/// One operation, ready to be sent.
struct Step<'a> {
    key: &'a Key,
    precondition: &'a Precondition,
    change: Change,
    wanted: Wanted,
    keeping: Keeping,
}

/// What became of the request of a transaction.
enum Outcome {
    Applied,
    /// It was cancelled for one reason an operation.
    Cancelled(Vec<CancellationReason>),
    /// DynamoDB says that another request had this token.
    Mismatch,
}

/// What a cancellation means.
enum Verdict {
    /// An earlier attempt was applied, with this nonce.
    Already(u64),
    /// The steps at these places have to be sent otherwise, for what is there.
    Resend(Vec<usize>),
}

impl DynamoDbStore {
    pub(super) async fn transact_ops(
        &self,
        ops: &[TransactOp],
        brought: Option<Attempt>,
    ) -> Result<Vec<Option<Version>>> {
        check::transaction(&self.capabilities, ops)?;
        let now = self.now();
        steps(ops, now)?;
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let attempt = brought.unwrap_or_else(|| Attempt::first(WriteId::new()));
        // An expiry is refused by the clock of this attempt, and counted from that of the first.
        let sent = self.unanswered.begin(attempt.id, now);
        let nonce = self.apply(steps(ops, sent.now)?, attempt, sent).await?;
        Ok(transaction_versions(ops, attempt.id, nonce))
    }

    /// An unconditional put or delete, as a transaction of one.
    pub(super) async fn write_with_token(
        &self,
        key: &Key,
        change: Change,
        attempt: Attempt,
        now: u64,
    ) -> Result<Version> {
        // A delete is the same request each time by itself, so that its token works across processes too.
        let sent = match change {
            Change::Delete => Sent { nonce: 0, now: 0 },
            _ => self.unanswered.begin(attempt.id, now),
        };
        let step = Step {
            key,
            precondition: &Precondition::None,
            change,
            wanted: Wanted::Anything,
            keeping: Keeping::default(),
        };
        let nonce = self.apply(vec![step], attempt, sent).await?;
        Ok(Stamp::new(attempt.id, nonce, key).into())
    }

    /// Applies all steps or none. Returns the nonce of the attempt that did.
    async fn apply(&self, mut steps: Vec<Step<'_>>, attempt: Attempt, sent: Sent) -> Result<u64> {
        for _ in 0..MOST_ROUNDS {
            // If this fails, or its future is dropped, the next attempt sends the same request again.
            let outcome = self.send_steps(&steps, attempt.id, sent).await?;
            self.unanswered.end(attempt.id);
            let reasons = match outcome {
                Outcome::Applied => return Ok(sent.nonce),
                Outcome::Cancelled(reasons) => reasons,
                Outcome::Mismatch => return self.find_nonce(&steps, attempt).await,
            };
            match self.judge_all(&steps, attempt, reasons, sent.now)? {
                Verdict::Already(nonce) => return Ok(nonce),
                Verdict::Resend(places) => {
                    for place in places {
                        steps[place].keeping = steps[place].keeping.other();
                    }
                }
            }
        }
        Err(unsettled())
    }

    /// The nonce of an earlier attempt, which DynamoDB says it has applied.
    ///
    /// DynamoDB Local said so at random of equal requests (aws-sdk issue 413), the service does not. Either way what the
    /// entries remember is the truth, and where they do not it is said that it cannot be told.
    async fn find_nonce(&self, steps: &[Step<'_>], attempt: Attempt) -> Result<u64> {
        let keys: Vec<Key> = steps.iter().map(|step| step.key.clone()).collect();
        let items: Vec<Result<Option<Item>>> = stream::iter(keys)
            .map(|key| async move { self.item(&key, Consistency::Strong).await })
            .buffered(READ_CONCURRENCY)
            .collect()
            .await;
        let mut found = Vec::with_capacity(steps.len());
        for (place, item) in items.into_iter().enumerate() {
            found.push((place, item?));
        }
        match weigh(steps, attempt, found, self.now())? {
            Weighed::Already(nonce) => Ok(nonce),
            Weighed::Holds(_) => Err(Error::indeterminate(attempt.id)),
        }
    }

    async fn send_steps(&self, steps: &[Step<'_>], id: WriteId, sent: Sent) -> Result<Outcome> {
        let ready = self.connection.ready().await?;
        let items = steps.iter().map(|step| self.step_item(step, id, sent));
        let request = ready
            .client
            .transact_write_items()
            .set_transact_items(Some(items.collect::<Result<_>>()?))
            .client_request_token(token(steps, id));
        match write!(ready, request).await {
            Ok(_) => Ok(Outcome::Applied),
            Err(SdkError::ServiceError(error)) if is_definite(error.err()) => Ok(match error.into_err() {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    Outcome::Cancelled(cancelled.cancellation_reasons.unwrap_or_default())
                }
                _ => Outcome::Mismatch,
            }),
            Err(error) => Err(self.context(ready, true).error(error)),
        }
    }

    fn step_item(&self, step: &Step<'_>, id: WriteId, sent: Sent) -> Result<TransactWriteItem> {
        let stamp = Stamp::new(id, sent.nonce, step.key);
        let made = Expressions::new(&step.change, step.wanted, stamp, sent.now, step.keeping);
        let key = codec::key_item(step.key);
        let item = TransactWriteItem::builder();
        let built = match (made.update, &step.change) {
            (Some(update), _) => Update::builder()
                .table_name(&*self.table)
                .set_key(Some(key))
                .update_expression(update)
                .condition_expression(made.condition)
                .set_expression_attribute_names(made.names)
                .set_expression_attribute_values(made.values)
                .return_values_on_condition_check_failure(AllOld)
                .build()
                .map(|update| item.update(update)),
            (None, Change::Check) => ConditionCheck::builder()
                .table_name(&*self.table)
                .set_key(Some(key))
                .condition_expression(made.condition)
                .set_expression_attribute_values(made.values)
                .return_values_on_condition_check_failure(AllOld)
                .build()
                .map(|check| item.condition_check(check)),
            (None, _) => Delete::builder()
                .table_name(&*self.table)
                .set_key(Some(key))
                .condition_expression(made.condition)
                .set_expression_attribute_values(made.values)
                .return_values_on_condition_check_failure(AllOld)
                .build()
                .map(|delete| item.delete(delete)),
        };
        built.map(|item| item.build()).map_err(|error| Error::Config {
            reason: "the SDK does not take the request".to_owned(),
            source: Some(error.into()),
        })
    }

    /// What it means that the transaction was cancelled for these reasons, one a step.
    fn judge_all(
        &self,
        steps: &[Step<'_>],
        attempt: Attempt,
        reasons: Vec<CancellationReason>,
        now: u64,
    ) -> Result<Verdict> {
        let (mut refused, mut other) = (Vec::new(), None);
        for (place, reason) in reasons.into_iter().enumerate() {
            match reason.code.as_deref() {
                None | Some("None") => {}
                Some("ConditionalCheckFailed") => refused.push((place, reason.item)),
                Some(code) => {
                    other = other.or(Some(Reply::of_cancelled(code, reason.message.as_deref())));
                }
            }
        }
        let resend = match weigh(steps, attempt, refused, now)? {
            Weighed::Already(nonce) => return Ok(Verdict::Already(nonce)),
            Weighed::Holds(places) => places,
        };
        if let Some(reply) = other {
            return Err(self.cancelled(reply));
        }
        let flips = |place: &usize| Keeping::matters(&steps[*place].change, steps[*place].wanted);
        if resend.is_empty() || !resend.iter().all(flips) {
            return Err(unsettled());
        }
        Ok(Verdict::Resend(resend))
    }
}

/// What the items of some steps tell of all.
enum Weighed {
    /// An earlier attempt was applied, with this nonce.
    Already(u64),
    /// The preconditions at these places hold.
    Holds(Vec<usize>),
}

/// A transaction is applied as a whole, so one operation that is known to be applied tells of all; and one that conflicts for
/// sure tells more than one that may.
fn weigh(
    steps: &[Step<'_>],
    attempt: Attempt,
    items: Vec<(usize, Option<Item>)>,
    now: u64,
) -> Result<Weighed> {
    let (mut holds, mut refusal) = (Vec::new(), None);
    for (place, item) in items {
        let Some(step) = steps.get(place) else { continue };
        match judge(&step.change, step.precondition, attempt, step.key, item, now) {
            Ok(Refusal::Already(own)) => return Ok(Weighed::Already(own.nonce(step.key))),
            Ok(Refusal::Retry) => holds.push(place),
            Err(Error::Conflict(found)) => {
                if !matches!(refusal, Some(Error::Conflict(_))) {
                    refusal = Some(found.of_op(place).into());
                }
            }
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    refusal.map_or(Ok(Weighed::Holds(holds)), Err)
}

fn steps(ops: &[TransactOp], now: u64) -> Result<Vec<Step<'_>>> {
    ops.iter()
        .map(|op| {
            Ok(Step {
                key: &op.key,
                precondition: &op.precondition,
                change: Change::of(&op.action, now)?,
                wanted: Wanted::of(&op.precondition)?,
                keeping: Keeping::default(),
            })
        })
        .collect()
}

/// Whether the answer says what became of the request.
fn is_definite(error: &TransactWriteItemsError) -> bool {
    error.is_transaction_canceled_exception() || error.is_idempotent_parameter_mismatch_exception()
}

/// The write id, and a hash of what is done to which key: one write id may stand for writes to several keys.
///
/// A step that is sent otherwise, for what is there, is another request and has another token.
fn token(steps: &[Step<'_>], id: WriteId) -> String {
    let parts = steps.iter().flat_map(|step| {
        let kind: &[u8] = match (step.change.mutation(), step.keeping) {
            (Mutation::Put, Keeping::Live) => b"put",
            (Mutation::Put, Keeping::Expired) => b"put over expired",
            (Mutation::Touch, _) => b"touch",
            (Mutation::Delete, _) => b"delete",
            (Mutation::Check, _) => b"check",
        };
        [kind, step.key.partition().as_bytes(), step.key.id().as_bytes()]
    });
    let mut bytes = id.to_bytes().to_vec();
    bytes.extend(stable_hash(parts).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}
