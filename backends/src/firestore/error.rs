//! gRPC's statuses → our errors: one match over the codes, and what fails without an answer.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use firestore::gcloud_sdk::RequestTimeoutElapsed;
use firestore::gcloud_sdk::error::{Error as SdkError, ErrorKind as SdkErrorKind};
use firestore::gcloud_sdk::google::rpc;
use firestore::gcloud_sdk::prost::Message as _;
use firestore::gcloud_sdk::tonic::{Code, ConnectError, Status};
use statestore_api::{Applied, Error};
use tokio::time::Instant;

/// What a failed request was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// `projects/…/databases/…`.
    pub(super) database: &'a str,
    /// Whether it would have changed something.
    pub(super) writes: bool,
    /// The time-out it was sent with.
    pub(super) timeout: Duration,
    /// When it was sent.
    pub(super) sent: Instant,
}

impl Context<'_> {
    /// The error that this status is.
    ///
    /// That a document is missing is none: reads are answered with it, and a commit that is refused for it is looked into.
    pub(super) fn error(&self, status: Status) -> Error {
        if status.source().is_some() {
            return self.no_answer(status);
        }
        let reply = Reply::of(&status);
        let unavailable = |applied, reason: &str, reply: Reply| Error::Unavailable {
            applied,
            reason: reason.to_owned(),
            source: Some(reply.into()),
        };
        let unauthorized = |todo: String, reply: Reply| Error::Unauthorized {
            todo,
            source: Some(reply.into()),
        };
        let refused = |reason: &str, reply: Reply| Error::Config {
            reason: reason.to_owned(),
            source: Some(reply.into()),
        };
        match reply.code {
            Code::Aborted => unavailable(
                Applied::No,
                "others write the same documents just now: Firestore takes about one write per second to a document for long",
                reply,
            ),
            Code::ResourceExhausted => Error::Throttled {
                retry_after: retry_after(&status),
                source: Some(reply.into()),
            },
            Code::DeadlineExceeded => Error::Timeout {
                after: self.timeout,
                applied: self.maybe(),
                source: Some(reply.into()),
            },
            Code::Unavailable => {
                unavailable(self.maybe(), "Firestore cannot be reached or cannot serve", reply)
            }
            Code::Internal | Code::Unknown | Code::DataLoss | Code::Cancelled | Code::Ok => {
                unavailable(self.maybe(), "Firestore had an error of its own", reply)
            }
            Code::NotFound => self.not_found(&reply),
            Code::PermissionDenied if reply.is_about(&["has not been used", "is disabled"]) => unauthorized(
                format!(
                    "switch the API on: `gcloud services enable firestore.googleapis.com{}`",
                    self.options(false)
                ),
                reply,
            ),
            Code::PermissionDenied => unauthorized(
                "give the identity that the program runs as the role `roles/datastore.user` on the project"
                    .to_owned(),
                reply,
            ),
            Code::Unauthenticated => unauthorized(
                "the credentials are missing, have expired or are not Google's: check which ones are used"
                    .to_owned(),
                reply,
            ),
            Code::InvalidArgument if reply.is_about(&["size", "longer than", "too large", "too big"]) => {
                refused(
                    "Firestore does not take a document or request of this size",
                    reply,
                )
            }
            Code::InvalidArgument => refused(
                "Firestore does not take the request: check the names of the project, the database and the collection",
                reply,
            ),
            Code::FailedPrecondition => refused(
                "Firestore does not take the request: it needs a database in native mode, see `source`",
                reply,
            ),
            Code::AlreadyExists | Code::OutOfRange | Code::Unimplemented => {
                refused("Firestore does not take the request", reply)
            }
        }
    }

    /// The database is missing, or its project.
    fn not_found(&self, reply: &Reply) -> Error {
        let (project, database) = self.names();
        // The service calls a database missing in a project that is there, and else the project, or both.
        if reply.is_about(&["project not found", "the project", "consumer project"])
            && !reply.is_about(&["database (", "database '"])
        {
            return Error::StoreNotFound {
                store: format!("the Google Cloud project `{project}`, or its Firestore,"),
                todo: format!(
                    "correct the project, or make its database by `gcloud firestore databases create{} \
                     --location=LOCATION --type=firestore-native`",
                    self.options(true)
                ),
            };
        }
        Error::StoreNotFound {
            store: format!("the Firestore database `{database}` of the project `{project}`"),
            todo: format!(
                "correct the database, or make it by `gcloud firestore databases create{} --location=LOCATION \
                 --type=firestore-native`",
                self.options(true)
            ),
        }
    }

    fn names(&self) -> (&str, &str) {
        let path = self.database.strip_prefix("projects/").unwrap_or(self.database);
        path.split_once("/databases/").unwrap_or((path, ""))
    }

    /// The options of `gcloud` that name where we are.
    fn options(&self, with_database: bool) -> String {
        let (project, database) = self.names();
        if with_database {
            format!(" --project={project} --database='{database}'")
        } else {
            format!(" --project={project}")
        }
    }

    /// A status that was made on this side.
    fn no_answer(&self, status: Status) -> Error {
        if is_time_out(&status) {
            return Error::Timeout {
                after: self.timeout,
                applied: self.maybe(),
                source: Some(status.into()),
            };
        }
        // The client boxes the errors of its credentials.
        let sdk = find::<Box<SdkError>>(&status)
            .map(|error| &**error)
            .or_else(|| find(&status));
        if let Some(SdkErrorKind::Credentials(problem)) = sdk.map(SdkError::kind) {
            return no_token(problem.is_transient(), status);
        }
        let connecting = find::<ConnectError>(&status).is_some();
        // The connection was closed before it began to send the request.
        let unsent = find::<hyper::Error>(&status).is_some_and(hyper::Error::is_canceled);
        Error::Unavailable {
            applied: if connecting || unsent {
                Applied::No
            } else {
                self.maybe()
            },
            reason: if connecting {
                "no connection could be made"
            } else {
                "the connection broke off"
            }
            .to_owned(),
            source: Some(status.into()),
        }
    }

    fn maybe(&self) -> Applied {
        if self.writes { Applied::Maybe } else { Applied::No }
    }
}

/// Whether no answer came in time.
pub(super) fn is_time_out(status: &Status) -> bool {
    find::<RequestTimeoutElapsed>(status).is_some()
}

/// The credentials gave no token, so nothing was sent.
fn no_token(transient: bool, source: impl StdError + Send + Sync + 'static) -> Error {
    if transient {
        return Error::Unavailable {
            applied: Applied::No,
            reason: "the credentials' tokens cannot be had just now".to_owned(),
            source: Some(source.into()),
        };
    }
    Error::Unauthorized {
        todo: "the credentials give no token: check which ones are used, and that they are not revoked"
            .to_owned(),
        source: Some(source.into()),
    }
}

/// The error of connecting for the first time.
pub(super) fn connecting(error: SdkError) -> Error {
    match error.kind() {
        SdkErrorKind::Credentials(problem) => no_token(problem.is_transient(), error),
        SdkErrorKind::CredentialsBuild(_) | SdkErrorKind::CryptoProviderMissing => Error::Unauthorized {
            todo: "no usable credentials were found: run on Google Cloud with a service account, or `gcloud auth \
                   application-default login`, or name a key's file by `GOOGLE_APPLICATION_CREDENTIALS` or the option \
                   `credentials`"
                .to_owned(),
            source: Some(error.into()),
        },
        SdkErrorKind::Http(_) | SdkErrorKind::HttpStatus(_) | SdkErrorKind::GrpcStatus(_) => Error::Unavailable {
            applied: Applied::No,
            reason: "no connection could be made".to_owned(),
            source: Some(error.into()),
        },
        _ => Error::Config {
            reason: "the client could not be made: check the project, the database and the emulator's address".to_owned(),
            source: Some(error.into()),
        },
    }
}

/// No connection came within `limit`.
pub(super) fn not_connected(limit: Duration) -> Error {
    Error::Timeout {
        after: limit,
        applied: Applied::No,
        source: None,
    }
}

/// What the service answered.
#[derive(Debug)]
struct Reply {
    code: Code,
    message: String,
}

impl Reply {
    fn of(status: &Status) -> Self {
        Self {
            code: status.code(),
            message: status.message().to_owned(),
        }
    }

    /// Whether its message has one of these words. A message is for people and may change: it only chooses the
    /// advice, never whether something was applied.
    fn is_about(&self, words: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        words.iter().any(|word| message.contains(word))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl StdError for Reply {}

/// How long the service asks to wait, in the details of its status.
fn retry_after(status: &Status) -> Option<Duration> {
    let details = rpc::Status::decode(status.details()).ok()?.details;
    let info = details
        .iter()
        .find(|detail| detail.type_url == "type.googleapis.com/google.rpc.RetryInfo")?;
    rpc::RetryInfo::decode(&*info.value)
        .ok()?
        .retry_delay?
        .try_into()
        .ok()
}

/// The first error of this type in the chain.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
