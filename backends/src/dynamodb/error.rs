//! The SDK's errors → ours: one match over the service's codes, one over the ways a request fails without an answer.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use statestore_api::{Applied, BoxError, Error};

/// What a failed request was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) table: &'a str,
    /// Whether it would have changed something.
    pub(super) writes: bool,
    /// The time-out it was sent with.
    pub(super) timeout: Duration,
}

impl Context<'_> {
    /// The error that this failure of the SDK is.
    pub(super) fn error<E>(&self, error: SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(error) => {
                let reply = Reply::new(error.err(), error.raw());
                self.refused(reply)
            }
            SdkError::ConstructionFailure(_) => self.not_sent(source_of(error)),
            SdkError::TimeoutError(_) => Error::Timeout {
                after: self.timeout,
                applied: self.maybe(),
                source: source_of(error),
            },
            SdkError::ResponseError(error) => {
                // The response itself is dropped: its body may hold values.
                let status = error.raw().status().as_u16();
                Error::Unavailable {
                    applied: self.maybe(),
                    reason: format!("its answer (HTTP status {status}) broke off or is no DynamoDB answer"),
                    source: None,
                }
            }
            SdkError::DispatchFailure(_) => self.no_answer(error),
            _ => Error::Unavailable {
                applied: self.maybe(),
                reason: "the SDK failed in a way that is not known here".to_owned(),
                source: source_of(error),
            },
        }
    }

    /// The error that the service answered with.
    pub(super) fn refused(&self, reply: Reply) -> Error {
        let unavailable = |applied, reason: &str, reply: Reply| Error::Unavailable {
            applied,
            reason: reason.to_owned(),
            source: Some(reply.into()),
        };
        let unauthorized = |todo: &str, reply: Reply| Error::Unauthorized {
            todo: todo.to_owned(),
            source: Some(reply.into()),
        };
        // Codes of a transaction's cancellation reasons are among them, with the operation's exceptions that they stand for.
        match reply.code.as_str() {
            "ProvisionedThroughputExceededException"
            | "ProvisionedThroughputExceeded"
            | "RequestLimitExceeded"
            | "ThrottlingException"
            | "ThrottlingError"
            | "Throttling"
            | "TooManyRequestsException" => Error::Throttled {
                retry_after: reply.retry_after,
                source: Some(reply.into()),
            },
            "TransactionConflictException" | "TransactionConflict" => {
                unavailable(Applied::No, "another transaction holds the item just now", reply)
            }
            "ReplicatedWriteConflictException" => {
                unavailable(Applied::No, "another region writes the item just now", reply)
            }
            "TransactionInProgressException" => unavailable(
                self.maybe(),
                "an earlier attempt of this transaction is still under way",
                reply,
            ),
            "ItemCollectionSizeLimitExceededException" | "ItemCollectionSizeLimitExceeded" => {
                Error::StorageFull {
                    todo: "the partition is over 10 GB, which a table with a local secondary index does \
                           not take: delete entries of it, or use a table without such an index"
                        .to_owned(),
                    source: Some(reply.into()),
                }
            }
            "ResourceNotFoundException" => not_found(self.table),
            "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "OptInRequired" => unauthorized(
                "give the identity that the source names the rights in the documentation of `statestore::dynamodb`",
                reply,
            ),
            "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => {
                unauthorized("the credentials have expired: renew them", reply)
            }
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "MissingAuthenticationTokenException"
            | "MissingAuthenticationToken"
            | "IncompleteSignature"
            | "IncompleteSignatureException" => unauthorized(
                "the credentials are not known to AWS: check which ones are used",
                reply,
            ),
            "InvalidSignatureException" | "SignatureDoesNotMatch" => unauthorized(
                "the signature was not accepted: check the secret key, and that this machine's clock is right",
                reply,
            ),
            "IdempotentParameterMismatchException" => Error::InvalidOptions {
                reason: "one write id was used for two different transactions: take a new one for each",
            },
            "ValidationException" | "ValidationError" | "InvalidEndpointException" => Error::Config {
                reason: format!(
                    "DynamoDB does not take the request; check that the table `{}` has the key `pk`, `sk` of type S",
                    self.table
                ),
                source: Some(reply.into()),
            },
            "InternalServerError"
            | "InternalFailure"
            | "ServiceUnavailable"
            | "ServiceUnavailableException" => {
                unavailable(self.maybe(), "DynamoDB had an error of its own", reply)
            }
            // A success that the SDK could not read comes here without a code.
            _ if reply.status < 400 => unavailable(self.maybe(), "its answer is no DynamoDB answer", reply),
            _ if reply.status >= 500 => unavailable(self.maybe(), "DynamoDB had an error of its own", reply),
            _ => Error::Config {
                reason: "DynamoDB does not take the request".to_owned(),
                source: Some(reply.into()),
            },
        }
    }

    /// A request that was not answered.
    fn no_answer<E>(&self, error: SdkError<E, HttpResponse>) -> Error
    where
        E: StdError + Send + Sync + 'static,
    {
        let SdkError::DispatchFailure(failure) = &error else {
            return self.not_sent(source_of(error));
        };
        let Some(connector) = failure.as_connector_error() else {
            return self.not_sent(source_of(error));
        };
        if find::<CredentialsError>(connector).is_some() {
            return self.not_sent(source_of(error));
        }
        let connecting =
            find::<hyper_util::client::legacy::Error>(connector).is_some_and(|error| error.is_connect());
        // The connection was closed before it began to send the request.
        let unsent = find::<hyper::Error>(connector).is_some_and(hyper::Error::is_canceled);
        let applied = if connecting || unsent {
            Applied::No
        } else {
            self.maybe()
        };
        if connector.is_timeout() {
            return Error::Timeout {
                after: self.timeout,
                applied,
                source: source_of(error),
            };
        }
        let reason = if connecting {
            "no connection could be made"
        } else {
            "the connection broke off"
        };
        Error::Unavailable {
            applied,
            reason: reason.to_owned(),
            source: source_of(error),
        }
    }

    /// A request that never left.
    fn not_sent(&self, source: Option<BoxError>) -> Error {
        let credentials = source
            .as_deref()
            .and_then(|source| find::<CredentialsError>(source));
        match credentials {
            Some(CredentialsError::ProviderTimedOut(_)) => Error::Unavailable {
                applied: Applied::No,
                reason: "the credentials did not come in time".to_owned(),
                source,
            },
            Some(_) => Error::Unauthorized {
                todo: "no credentials were found: set them in the environment or the profile, or give the \
                       function or machine a role"
                    .to_owned(),
                source,
            },
            None => Error::Config {
                reason: "the SDK could not make the request: check the region and the endpoint".to_owned(),
                source,
            },
        }
    }

    fn maybe(&self) -> Applied {
        if self.writes { Applied::Maybe } else { Applied::No }
    }
}

/// The table is missing: what to call.
pub(super) fn not_found(table: &str) -> Error {
    Error::StoreNotFound {
        store: format!("the DynamoDB table `{table}`"),
        todo: format!(
            "correct the table, region or account, or create it by `DynamoDbStore::create_table`, or by `aws dynamodb \
             create-table --table-name {table} --billing-mode PAY_PER_REQUEST --attribute-definitions \
             AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=S --key-schema \
             AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE && aws dynamodb wait table-exists \
             --table-name {table} && aws dynamodb update-time-to-live --table-name {table} \
             --time-to-live-specification Enabled=true,AttributeName=ttl`"
        ),
    }
}

/// What the service answered, without the response: that holds the stored item where a condition failed.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: String,
    message: String,
    status: u16,
    request_id: Option<String>,
    retry_after: Option<Duration>,
}

impl Reply {
    fn new(error: &impl ProvideErrorMetadata, raw: &HttpResponse) -> Self {
        let header = |name| raw.headers().get(name);
        Self {
            code: error.code().unwrap_or_default().to_owned(),
            message: error.message().unwrap_or_default().to_owned(),
            status: raw.status().as_u16(),
            request_id: header("x-amzn-requestid").map(str::to_owned),
            retry_after: retry_after(header("x-amz-retry-after"), header("retry-after")),
        }
    }

    /// One operation's part in a cancelled transaction.
    pub(super) fn of_cancelled(code: &str, message: Option<&str>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.unwrap_or_default().to_owned(),
            status: 400,
            request_id: None,
            retry_after: None,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = if self.code.is_empty() {
            "no error code"
        } else {
            &self.code
        };
        write!(f, "{code} (HTTP status {})", self.status)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl StdError for Reply {}

/// How long the service asks to wait: AWS's own header counts milliseconds, HTTP's seconds.
fn retry_after(milliseconds: Option<&str>, seconds: Option<&str>) -> Option<Duration> {
    let parse = |text: Option<&str>| text.and_then(|text| text.trim().parse().ok());
    parse(milliseconds)
        .map(Duration::from_millis)
        .or_else(|| parse(seconds).map(Duration::from_secs))
}

/// What is behind the SDK's outermost error, which says little.
fn source_of<E, R>(error: SdkError<E, R>) -> Option<BoxError>
where
    E: StdError + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    error.into_source().ok()
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
