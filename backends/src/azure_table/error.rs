//! The service's errors → ours: one match over its status and codes, one over the ways a request fails without an answer.

use std::error::Error as StdError;
use std::fmt;

use azure_core::error::ErrorKind;
use statestore_api::{Applied, Error};

use super::codec::{MAX_TRANSACTION, MAX_VALUE};
use super::http::Failure;
use super::rest::{Fault, Refusal};

/// What a failed request was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) table: &'a str,
    /// Whether it would have changed something.
    pub(super) writes: bool,
    /// How many bytes of value it carried.
    pub(super) size: usize,
}

impl Context<'_> {
    /// The error that this fault is.
    pub(super) fn error(&self, fault: Fault) -> Error {
        match fault {
            Fault::Unready(error) => error,
            // Nothing was sent to the table.
            Fault::NoToken(error) if *error.kind() == ErrorKind::Io => Error::Unavailable {
                applied: Applied::No,
                reason: "the source of the identity's tokens could not be reached".to_owned(),
                source: Some(error.into()),
            },
            Fault::NoToken(error) => Error::Unauthorized {
                todo: "there is no token of Entra ID to be had: look at the identity, and at what it says of itself below"
                    .to_owned(),
                source: Some(error.into()),
            },
            Fault::NoAnswer(failure) => self.no_answer(failure),
            Fault::Refused(refusal) => self.refused(refusal),
            Fault::Garbled(what) => Error::Unavailable {
                applied: self.maybe(),
                reason: what.to_owned(),
                source: None,
            },
        }
    }

    fn no_answer(&self, failure: Failure) -> Error {
        match failure {
            Failure::NotSent(error) => Error::Unavailable {
                applied: Applied::No,
                reason: "no connection could be made: look at the endpoint, the account's name and its network rules".to_owned(),
                source: Some(error),
            },
            Failure::ConnectTimeout(after) => Error::Timeout {
                after,
                applied: Applied::No,
                source: None,
            },
            Failure::Timeout(after) => Error::Timeout {
                after,
                applied: self.maybe(),
                source: None,
            },
            Failure::Broken(error) => Error::Unavailable {
                applied: self.maybe(),
                reason: "the connection broke before the answer was there".to_owned(),
                source: Some(error.into()),
            },
        }
    }

    /// The error that the service answered with.
    fn refused(&self, refusal: Refusal) -> Error {
        let unavailable = |applied, reason: &str, refusal: Refusal| Error::Unavailable {
            applied,
            reason: reason.to_owned(),
            source: Some(refusal.into()),
        };
        let unauthorized = |todo: &str, refusal: Refusal| Error::Unauthorized {
            todo: todo.to_owned(),
            source: Some(refusal.into()),
        };
        let config = |reason: String, refusal: Refusal| Error::Config {
            reason,
            source: Some(refusal.into()),
        };
        match (refusal.status, refusal.code.as_str()) {
            (_, "TableNotFound") => not_found(self.table),
            (404, _) => not_found(self.table),
            (_, "TableBeingDeleted") => unavailable(
                Applied::No,
                "the table is being deleted: for at least 40 seconds none of its name can be made",
                refusal,
            ),
            (_, "EntityAlreadyExists" | "UpdateConditionNotSatisfied" | "ConditionNotMet") | (412, _) => {
                // A condition is judged before it comes here.
                unavailable(Applied::No, "the entity was changed at the same time", refusal)
            }
            (429, _) | (_, "ServerBusy" | "TooManyRequests") => Error::Throttled {
                retry_after: refusal.retry_after,
                source: Some(refusal.into()),
            },
            (_, "OperationTimedOut") => unavailable(
                self.maybe(),
                "the service did not finish the operation in time",
                refusal,
            ),
            (_, "AuthenticationFailed") => unauthorized(
                "the service does not take the signature or token: look at the account's key (was it rotated?), the shared \
                 access signature's end, and this machine's clock, which may be 15 minutes off at most",
                refusal,
            ),
            (_, "AccountIsDisabled") => unauthorized("the storage account is disabled", refusal),
            (401 | 403, _) => unauthorized(
                &format!(
                    "the identity needs the role \"Storage Table Data Contributor\" on the table `{}` (a new one takes some \
                     minutes to work), a shared access signature the permissions `raud`; and the account's network rules have \
                     to let this machine in",
                    self.table
                ),
                refusal,
            ),
            (413, _) | (_, "RequestBodyTooLarge") => Error::TransactionTooLarge {
                size: self.size,
                limit: MAX_TRANSACTION,
            },
            (_, "EntityTooLarge" | "PropertyValueTooLarge") => Error::ValueTooLarge {
                size: self.size,
                limit: MAX_VALUE,
            },
            (408 | 500.., _) => unavailable(self.maybe(), "the service failed to answer", refusal),
            (status, code) => config(
                format!(
                    "the service does not take the request (HTTP status {status}, {})",
                    shown(code)
                ),
                refusal,
            ),
        }
    }

    fn maybe(&self) -> Applied {
        if self.writes { Applied::Maybe } else { Applied::No }
    }
}

/// The error that there is no such table.
pub(super) fn not_found(table: &str) -> Error {
    Error::StoreNotFound {
        store: format!("the table `{table}`"),
        todo: format!(
            "make it by `AzureTableStore::create_table`, or by `az storage table create --name {table} --account-name … \
             --auth-mode login`"
        ),
    }
}

/// Whether the service says that there is no such entity, or no such table: its code does not always tell.
pub(super) fn is_missing(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(refusal) if refusal.status == 404 && refusal.code != "TableNotFound")
}

/// Whether the service says that a condition does not hold.
pub(super) fn is_condition(fault: &Fault) -> bool {
    let Fault::Refused(refusal) = fault else {
        return false;
    };
    match refusal.status {
        412 => true,
        409 => refusal.code == "EntityAlreadyExists",
        _ => false,
    }
}

fn shown(code: &str) -> &str {
    if code.is_empty() { "no code" } else { code }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {}, {}", self.status, shown(&self.code))?;
        if let Some(op) = self.op {
            write!(f, ", of operation {op}")?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl StdError for Refusal {}
