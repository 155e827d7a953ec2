//! What a request is answered that does not succeed.

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
    /// The state could not be read or written. To repeat the request is safe if it has an `Idempotency-Key`.
    Unavailable,
    Internal,
}

impl From<statestore::Error> for Failure {
    fn from(error: statestore::Error) -> Self {
        // Errors of the store tell no value and no secret.
        tracing::error!(%error, kind = ?error.kind(), "the store failed");
        match error.is_retryable() || error.may_have_applied() {
            true => Self::Unavailable,
            false => Self::Internal,
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
        let (status, title) = match self {
            Self::BadRequest(title) => (StatusCode::BAD_REQUEST, title),
            Self::Refused(Refusal::NothingToOrder) => (StatusCode::CONFLICT, "the cart is empty"),
            Self::Refused(Refusal::TooMuch) => (StatusCode::CONFLICT, "the cart is full"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment"),
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
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, const { axum::http::HeaderValue::from_static("1") });
        }
        response
    }
}
