//! What a request is answered that does not succeed.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use statestore::patterns::OutboxError;
use tower_sessions::session;

use crate::account::Refusal;

pub(crate) enum Failure {
    BadRequest(&'static str),
    Refused(Refusal),
    /// What nobody needs more often; and how long until it is worth asking again.
    TooOften(Duration),
    /// The state could not be read or written: nothing was done.
    Unavailable,
    /// It may have been done. To repeat the request is safe if it has an `Idempotency-Key`.
    Unknown,
    Internal,
}

impl From<statestore::Error> for Failure {
    fn from(error: statestore::Error) -> Self {
        // Errors of the store tell no value and no secret.
        tracing::error!(%error, kind = ?error.kind(), "the store failed");
        if error.may_have_applied() {
            Self::Unknown
        } else if error.is_retryable() {
            Self::Unavailable
        } else {
            Self::Internal
        }
    }
}

impl From<OutboxError> for Failure {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Store(error) => error.into(),
            error => {
                tracing::error!(%error, "the outbox failed");
                Self::Unavailable
            }
        }
    }
}

impl From<session::Error> for Failure {
    fn from(error: session::Error) -> Self {
        tracing::error!(%error, "the session failed");
        Self::Unavailable
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut retry_after = None;
        let (status, title) = match self {
            Self::BadRequest(title) => (StatusCode::BAD_REQUEST, title),
            Self::Refused(Refusal::NothingToOrder) => (StatusCode::CONFLICT, "the cart is empty"),
            Self::Refused(Refusal::TooMuch) => (StatusCode::CONFLICT, "the cart is full"),
            Self::Refused(Refusal::Changed) => (
                StatusCode::CONFLICT,
                "the cart has changed meanwhile; look at it, and order again",
            ),
            Self::TooOften(pause) => {
                retry_after = Some(pause.as_secs() + 1);
                (StatusCode::TOO_MANY_REQUESTS, "this was done a moment ago")
            }
            Self::Unavailable => {
                retry_after = Some(1);
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "nothing was done; try again in a moment",
                )
            }
            Self::Unknown => {
                retry_after = Some(1);
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "it may be done or not; try again in a moment",
                )
            }
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "something is wrong with this shop",
            ),
        };
        let problem = Json(json!({ "title": title, "status": status.as_u16() }));
        let mut response = (status, problem).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            const { axum::http::HeaderValue::from_static("application/problem+json") },
        );
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
