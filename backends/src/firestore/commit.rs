//! What a mutation writes and under which condition, and the one commit that does it.

use firestore::gcloud_sdk::google::firestore::v1::precondition::ConditionType;
use firestore::gcloud_sdk::google::firestore::v1::write::Operation;
use firestore::gcloud_sdk::google::firestore::v1::{
    CommitRequest, Document, DocumentMask, Precondition as Condition, RollbackRequest, Write,
};
use firestore::gcloud_sdk::tonic::{Code, Status};
use statestore_api::backend::expiry::{self, Expiry};
use statestore_api::{Applied, Error, Result};

use super::FirestoreStore;
use super::codec::{self, Identity, UpdateTime, WITHOUT_VALUE};
use super::connection::{to_its_end, unary};
use crate::change::Change;

/// What is known to be there, and so is the condition of a write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Basis {
    /// Whatever is there: no condition.
    Anything,
    /// Nothing.
    Missing,
    /// The document that this write left.
    At(Identity),
}

/// One write of a commit, and what it leaves.
pub(super) struct Planned {
    pub(super) write: Write,
    /// The expiry of the entry that it leaves, in epoch milliseconds.
    pub(super) expires_ms: Option<u64>,
}

/// What became of a commit.
pub(super) enum Outcome {
    /// It was applied, and gave the documents these times, in the order of the writes; a deleted one has none.
    Applied(Vec<Option<UpdateTime>>),
    /// A condition did not hold. Nothing was applied.
    Refused,
}

/// The write that makes `change` of the document `name`, over `basis`, at `now` in epoch milliseconds; `None` for a check.
pub(super) fn plan(
    name: String,
    change: &Change,
    basis: Basis,
    by: codec::Written,
    now: u64,
) -> Option<Planned> {
    let replaced = match basis {
        Basis::At(there) => Some(there),
        Basis::Anything | Basis::Missing => None,
    };
    let current = replaced
        .and_then(|there| there.expires_ms)
        .filter(|at| expiry::is_live(Some(*at), now));
    let (value, ttl) = match change {
        Change::Put(value, ttl) => (Some(value), *ttl),
        Change::Touch(ttl) => (None, *ttl),
        Change::Delete => (None, Expiry::Keep),
        Change::Check => return None,
    };
    let expires_ms = ttl.over(current);
    let operation = match change {
        Change::Delete => Operation::Delete(name),
        _ => Operation::Update(Document {
            name,
            fields: codec::fields(value, by, replaced, expires_ms),
            ..Default::default()
        }),
    };
    let condition = match basis {
        Basis::Anything => None,
        Basis::Missing => Some(ConditionType::Exists(false)),
        Basis::At(there) => Some(ConditionType::UpdateTime(there.update_time.timestamp())),
    };
    Some(Planned {
        write: Write {
            // A field that is in the mask and not in the document is removed; without a mask all else is.
            update_mask: matches!(change, Change::Touch(_)).then(|| DocumentMask {
                field_paths: WITHOUT_VALUE.map(str::to_owned).to_vec(),
            }),
            current_document: condition.map(|condition| Condition {
                condition_type: Some(condition),
            }),
            operation: Some(operation),
            ..Default::default()
        },
        expires_ms,
    })
}

impl FirestoreStore {
    /// Applies all these writes or none, and ends `transaction`, if there is one.
    pub(super) async fn commit(&self, writes: Vec<Write>, transaction: Vec<u8>) -> Result<Outcome> {
        let conditional = writes.iter().any(|write| write.current_document.is_some());
        let request = CommitRequest {
            database: self.names.database().to_owned(),
            writes,
            transaction,
            ..Default::default()
        };
        let mut client = self.connection.client().await?;
        let context = self.context(true);
        let request = unary(request, context.timeout);
        match to_its_end(async move { client.commit(request).await }).await {
            Ok(answer) => {
                let results = answer.into_inner().write_results.into_iter();
                let times = results.map(|result| result.update_time.and_then(UpdateTime::new));
                Ok(Outcome::Applied(times.collect()))
            }
            // Which of these it is depends on what is there. What else they can mean shows when it is read.
            Err(status) if conditional && is_refusal(&status) => Ok(Outcome::Refused),
            Err(status) => Err(context.error(status)),
        }
    }

    /// Ends a transaction without writing, so that others need not wait for it to end by itself.
    pub(super) async fn roll_back(&self, transaction: Vec<u8>) {
        if transaction.is_empty() {
            return;
        }
        let request = RollbackRequest {
            database: self.names.database().to_owned(),
            transaction,
            ..Default::default()
        };
        if let Ok(mut client) = self.connection.client().await {
            // If it fails, the transaction ends by itself within a minute.
            let _ = client.rollback(unary(request, self.connection.timeout())).await;
        }
    }
}

fn is_refusal(status: &Status) -> bool {
    let sent = std::error::Error::source(status).is_none();
    sent && matches!(
        status.code(),
        Code::AlreadyExists | Code::FailedPrecondition | Code::NotFound
    )
}

/// An applied write came without the time of its document, which makes its version.
pub(super) fn timeless() -> Error {
    Error::Unavailable {
        applied: Applied::Maybe,
        reason: "its answer has no update time".to_owned(),
        source: None,
    }
}
