//! Mutations of one key: one request each, refused with the item that is there.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use statestore_api::backend::{Decision, Stamp, decide};
use statestore_api::{
    Applied, Attempt, Conflict, Current, Error, Key, Precondition, Result, Version, WriteId,
};

use super::DynamoDbStore;
use super::codec::{self, Found, Item};
use super::connection::write;
use super::expression::{Expressions, Keeping, Wanted};
use super::whole::Whole;
use crate::change::Change;

/// How often a put that keeps the expiry changes between its two requests, while others let the entry expire and revive it.
pub(super) const MOST_ROUNDS: usize = 8;

/// What became of a request.
pub(super) enum Reply {
    Applied,
    /// The condition did not hold of this item, or of none.
    Refused(Option<Item>),
}

/// What a refusal means.
pub(super) enum Refusal {
    /// An earlier attempt was applied, under this stamp.
    Already(Stamp),
    /// The precondition holds all the same: another request is needed for what is there.
    Retry,
}

impl DynamoDbStore {
    /// Applies `change` to `key`. Returns the version it leaves; of a delete, one that is nowhere.
    pub(super) async fn write(
        &self,
        key: &Key,
        change: Change,
        precondition: &Precondition,
        brought: Option<Attempt>,
        now: u64,
    ) -> Result<Version> {
        let wanted = Wanted::of(precondition)?;
        let attempt = brought.unwrap_or_else(|| Attempt::first(WriteId::new()));
        if self.exactly_once
            && wanted == Wanted::Anything
            && matches!(change, Change::Put(..) | Change::Delete)
        {
            return self.write_with_token(key, change, attempt, now).await;
        }
        let stamp = Stamp::new(attempt.id, Stamp::new_nonce(), key);
        if let Change::Put(value, expiry) = &change
            && let Some(whole) = Whole::new(key, value, *expiry, precondition, stamp, now)
        {
            let version = whole.version.clone();
            let item = match self.put_item(whole).await? {
                Reply::Applied => return Ok(version),
                Reply::Refused(item) => item,
            };
            return match judge(&change, precondition, attempt, key, item, now)? {
                Refusal::Already(own) => Ok(own.into()),
                Refusal::Retry => Err(unsettled()),
            };
        }
        let mut keeping = Keeping::default();
        for _ in 0..MOST_ROUNDS {
            let made = Expressions::new(&change, wanted, stamp, now, keeping);
            let item = match self.send(key, made).await? {
                Reply::Applied => return Ok(stamp.into()),
                Reply::Refused(item) => item,
            };
            match judge(&change, precondition, attempt, key, item, now)? {
                Refusal::Already(own) => return Ok(own.into()),
                Refusal::Retry if Keeping::matters(&change, wanted) => keeping = keeping.other(),
                Refusal::Retry => break,
            }
        }
        Err(unsettled())
    }

    async fn put_item(&self, whole: Whole) -> Result<Reply> {
        let ready = self.connection.ready().await?;
        let request = ready
            .client
            .put_item()
            .table_name(&*self.table)
            .set_item(Some(whole.item))
            .condition_expression(whole.condition)
            .set_expression_attribute_values(Some(whole.values))
            .return_values_on_condition_check_failure(AllOld);
        match write!(ready, request).await {
            Ok(_) => Ok(Reply::Applied),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Ok(Reply::Refused(match error.into_err() {
                    PutItemError::ConditionalCheckFailedException(refused) => refused.item,
                    _ => None,
                }))
            }
            Err(error) => Err(self.context(ready, true).error(error)),
        }
    }

    async fn send(&self, key: &Key, made: Expressions) -> Result<Reply> {
        let ready = self.connection.ready().await?;
        let context = self.context(ready, true);
        let key = codec::key_item(key);
        let Some(update) = made.update else {
            let request = ready
                .client
                .delete_item()
                .table_name(&*self.table)
                .set_key(Some(key))
                .condition_expression(made.condition)
                .set_expression_attribute_values(made.values)
                .return_values_on_condition_check_failure(AllOld);
            return match write!(ready, request).await {
                Ok(_) => Ok(Reply::Applied),
                Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                    Ok(Reply::Refused(match error.into_err() {
                        DeleteItemError::ConditionalCheckFailedException(refused) => refused.item,
                        _ => None,
                    }))
                }
                Err(error) => Err(context.error(error)),
            };
        };
        let request = ready
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(key))
            .update_expression(update)
            .condition_expression(made.condition)
            .set_expression_attribute_names(made.names)
            .set_expression_attribute_values(made.values)
            .return_values_on_condition_check_failure(AllOld);
        match write!(ready, request).await {
            Ok(_) => Ok(Reply::Applied),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Ok(Reply::Refused(match error.into_err() {
                    UpdateItemError::ConditionalCheckFailedException(refused) => refused.item,
                    _ => None,
                }))
            }
            Err(error) => Err(context.error(error)),
        }
    }
}

/// What it means that DynamoDB refused `change` with this item.
///
/// # Errors
/// [`Conflict`](Error::Conflict) with what is there, [`Indeterminate`](Error::Indeterminate) and
/// [`Corrupt`](Error::Corrupt).
pub(super) fn judge(
    change: &Change,
    precondition: &Precondition,
    attempt: Attempt,
    key: &Key,
    item: Option<Item>,
    now: u64,
) -> Result<Refusal> {
    let found = item
        .filter(|item| !HashMap::is_empty(item))
        .map(|item| Found::decode(key, item))
        .transpose()?;
    let stored = found.as_ref().map(|found| found.stored(now));
    match decide(change.mutation(), precondition, attempt, stored)? {
        Decision::Already(own) => Ok(Refusal::Already(own)),
        Decision::Apply => Ok(Refusal::Retry),
        Decision::Indeterminate => Err(Error::indeterminate(attempt.id)),
        Decision::Conflict => {
            let current = found.and_then(|found| found.into_entry(now));
            let current = current.map_or(Current::Absent, Current::Entry);
            Err(Conflict::new(key.clone(), current).into())
        }
    }
}

/// The item changed between the requests each time, or DynamoDB refuses what should hold.
pub(super) fn unsettled() -> Error {
    Error::Unavailable {
        applied: Applied::No,
        reason: "the item changed between two requests each time".to_owned(),
        source: None,
    }
}
