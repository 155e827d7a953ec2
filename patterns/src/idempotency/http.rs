use std::fmt;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use serde::{Deserialize, Serialize};
use statestore_api::BoxError;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument;

use super::{Idempotency, IdempotencyError};
use crate::hash::hex;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The `Idempotency-Key` header of
/// [draft-ietf-httpapi-idempotency-key-header](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/) for a `tower` service over HTTP, such
/// as an axum router.
///
/// ```
/// use axum::Router;
/// use axum::routing::post;
/// use statestore_api::MemoryStore;
/// use statestore_patterns::{Idempotency, IdempotencyLayer};
///
/// let orders = Idempotency::new(MemoryStore::new(), "orders");
/// let app: Router = Router::new()
///     .route("/orders", post(async || "placed"))
///     .layer(IdempotencyLayer::new(orders));
/// ```
///
/// A `POST` or `PATCH` with the header is handled once; a repeated one gets the same response, with `Idempotency-Replayed: true`. What differs in method,
/// path, query or body is not the same request. Others pass by.
///
/// | Answer | When |
/// |---|---|
/// | 400 | the header is empty, longer than 255 characters, given twice, or missing although it is [required](Self::required) |
/// | 409, `Retry-After` | the request is in progress |
/// | 413 | the body is larger than [the limit](Self::with_body_limit), 1 MiB |
/// | 422 | the key was used for another request |
/// | 503 | the store failed before the request was handled |
/// | 504 | the handler did not end by its deadline |
///
/// Once begun, a request is handled to its end, also when its caller does not wait for it. A response of 5xx, 408 or 429 is passed on and not kept: a repeated request is handled again.
///
/// **Keys of different callers must not meet**, or one gets the other's response. Callers are told apart by their `Authorization` header; an
/// application that knows them otherwise, by a session's cookie say, tells how, by [`with_caller`](Self::with_caller).
#[derive(Clone)]
pub struct IdempotencyLayer {
    idempotency: Idempotency,
    caller: Arc<dyn Fn(&Parts) -> String + Send + Sync>,
    required: bool,
    body_limit: usize,
}

impl IdempotencyLayer {
    /// The layer, on these requests' records.
    #[must_use]
    pub fn new(idempotency: Idempotency) -> Self {
        Self {
            idempotency,
            caller: Arc::new(|request| {
                let header = request.headers.get(AUTHORIZATION);
                header.map_or_else(String::new, |value| hex(value.as_bytes()))
            }),
            required: false,
            body_limit: 1024 * 1024,
        }
    }

    /// The same where this tells callers apart. What it returns becomes part of a key, so no secret.
    #[must_use]
    pub fn with_caller(mut self, caller: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.caller = Arc::new(caller);
        self
    }

    /// The same where a `POST` or `PATCH` without the header is refused.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same with a request's body of up to so many bytes.
    #[must_use]
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// The key of a request that is to be handled once, or why it is refused.
    fn key(&self, request: &Parts) -> Result<Option<String>, &'static str> {
        if !matches!(request.method, Method::POST | Method::PATCH) {
            return Ok(None);
        }
        let mut values = request.headers.get_all(&IDEMPOTENCY_KEY).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value,
            (None, _) if self.required => return Err("this request needs the header Idempotency-Key"),
            (None, _) => return Ok(None),
            (Some(_), Some(_)) => return Err("there is more than one Idempotency-Key"),
        };
        let text = value.to_str().map_err(|_| "the Idempotency-Key is no text")?;
        // The draft has it in quotes, most clients do not.
        let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match quoted.unwrap_or(text) {
            "" => Err("the Idempotency-Key is empty"),
            key if key.len() > 255 => Err("the Idempotency-Key is longer than 255 characters"),
            key => Ok(Some(format!("{} {key}", (self.caller)(request)))),
        }
    }
}

impl fmt::Debug for IdempotencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer")
            .field("idempotency", &self.idempotency)
            .field("required", &self.required)
            .field("body_limit", &self.body_limit)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service of an [`IdempotencyLayer`].
#[derive(Clone, Debug)]
pub struct IdempotencyService<S> {
    inner: S,
    layer: IdempotencyLayer,
}

/// What the inner service gave that is not kept.
enum NotKept<B, E> {
    Response(Response<B>),
    Failed(E),
    /// Its body could not be read.
    Broken,
}

impl<B, E> fmt::Debug for NotKept<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NotKept")
    }
}

impl<S, Q, B> Service<Request<Q>> for IdempotencyService<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    Q: Body<Error: Into<BoxError>, Data: Send> + From<Bytes> + Send + 'static,
    B: Body<Error: Into<BoxError>, Data: Send> + From<Bytes> + Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        // The one that is ready is taken, and another left in its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let key = match layer.key(&parts) {
                Ok(Some(key)) => key,
                Ok(None) => return inner.call(Request::from_parts(parts, body)).await,
                Err(reason) => return Ok(refusal(StatusCode::BAD_REQUEST, reason)),
            };
            let body = match Limited::new(body, layer.body_limit).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    return Ok(refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
                }
                Err(_) => return Ok(refusal(StatusCode::BAD_REQUEST, "the body could not be read")),
            };
            let payload = (parts.method.to_string(), parts.uri.to_string(), hex(&body));
            // Set when this very request was handled: what is returned then is no replay.
            let handled = Arc::new(Mutex::new(None));
            let keep = Arc::clone(&handled);
            let handler = || async move {
                let request = Request::from_parts(parts, Q::from(body));
                let response = inner.call(request).await.map_err(NotKept::Failed)?;
                if !is_kept(response.status()) {
                    return Err(NotKept::Response(response));
                }
                let kept = Kept::of(response).await.map_err(|_| NotKept::Broken)?;
                *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept.clone());
                Ok(kept)
            };
            let run = async move { layer.idempotency.run(&key, &payload, handler).await };
            // A task of its own, so that a caller who goes away does not end the handler half way: when it comes back, the result is there.
            let result = match tokio::spawn(run.in_current_span()).await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")),
                },
            };
            let own = handled.lock().unwrap_or_else(PoisonError::into_inner).take();
            Ok(match result {
                Ok(kept) => {
                    let mut response = kept.response();
                    if own.is_none() {
                        let replayed = HeaderValue::from_static("true");
                        response.headers_mut().insert(REPLAYED.clone(), replayed);
                    }
                    response
                }
                Err(IdempotencyError::Handler(NotKept::Response(response))) => response,
                Err(IdempotencyError::Handler(NotKept::Failed(error))) => return Err(error),
                Err(error) => refused(error, own),
            })
        })
    }
}

/// The response to a request that has no result to replay.
fn refused<B: From<Bytes>, E, I>(error: IdempotencyError<NotKept<I, E>>, own: Option<Kept>) -> Response<B> {
    match error {
        IdempotencyError::InProgress { retry_after, .. } => {
            let mut response = refusal(
                StatusCode::CONFLICT,
                "a request with this Idempotency-Key is in progress",
            );
            if let Some(wait) = retry_after {
                let seconds = wait.max(Duration::from_secs(1)).as_secs_f64().ceil();
                if let Ok(value) = HeaderValue::try_from(format!("{seconds:.0}")) {
                    response.headers_mut().insert(RETRY_AFTER, value);
                }
            }
            response
        }
        IdempotencyError::PayloadMismatch { .. } => refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used for another request",
        ),
        IdempotencyError::DeadlineExceeded { .. } => {
            refusal(StatusCode::GATEWAY_TIMEOUT, "the request took too long")
        }
        IdempotencyError::NotRecorded { source, .. } => {
            // It was done, and its caller is told so, though a repeated request may do it again.
            tracing::warn!(error = %source, "a response could not be kept under its Idempotency-Key");
            own.map_or_else(
                || refusal(StatusCode::SERVICE_UNAVAILABLE, "the result was lost"),
                |kept| kept.response(),
            )
        }
        IdempotencyError::Handler(_) => refusal(StatusCode::BAD_GATEWAY, "the response broke off"),
        IdempotencyError::Store(error) => {
            tracing::warn!(%error, "a request with an Idempotency-Key could not be recorded, and was not handled");
            refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "the request could not be recorded",
            )
        }
    }
}

fn refusal<B: From<Bytes>>(status: StatusCode, reason: &'static str) -> Response<B> {
    let problem = format!(r#"{{"title":"{reason}","status":{}}}"#, status.as_u16());
    let mut response = Response::new(B::from(problem.into()));
    *response.status_mut() = status;
    let content = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, content);
    response
}

fn is_kept(status: StatusCode) -> bool {
    let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    !status.is_server_error() && !again.contains(&status)
}

/// A response, as it is stored.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, Text)>,
    body: Text,
}

/// Bytes as JSON.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Text {
    Utf8(String),
    Base64(String),
}

impl Text {
    fn of(bytes: &[u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(
            |_| Self::Base64(STANDARD.encode(bytes)),
            |text| Self::Utf8(text.to_owned()),
        )
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Utf8(text) => text.into_bytes(),
            // What this wrote decodes.
            Self::Base64(text) => STANDARD.decode(text).unwrap_or_default(),
        }
    }
}

impl Kept {
    async fn of<B: Body>(response: Response<B>) -> Result<Self, B::Error> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self {
            status: parts.status.as_u16(),
            headers: headers(&parts.headers),
            body: Text::of(&body),
        })
    }

    fn response<B: From<Bytes>>(self) -> Response<B> {
        let mut response = Response::new(B::from(self.body.bytes().into()));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        for (name, value) in self.headers {
            let header = (HeaderName::try_from(name), HeaderValue::try_from(value.bytes()));
            if let (Ok(name), Ok(value)) = header {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// All but those of the connection.
fn headers(headers: &HeaderMap) -> Vec<(String, Text)> {
    headers
        .iter()
        .filter(|(name, _)| !matches!(**name, TRANSFER_ENCODING | CONTENT_LENGTH))
        .map(|(name, value)| (name.as_str().to_owned(), Text::of(value.as_bytes())))
        .collect()
}
