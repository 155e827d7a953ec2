//! The `Idempotency-Key` header, in an axum app.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use statestore_api::{MemoryStore, StateStore};
use statestore_conformance::{Fate, Tapped};
use statestore_patterns::{Idempotency, IdempotencyLayer, OnDuplicate};
use tower::ServiceExt;

type Count = Arc<AtomicU32>;

fn next(count: &Count) -> u32 {
    count.fetch_add(1, Ordering::SeqCst) + 1
}

async fn place(State(count): State<Count>, body: String) -> impl IntoResponse {
    let headers = AppendHeaders([
        ("location", "/orders/1"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]);
    (
        StatusCode::CREATED,
        headers,
        format!("order {} of {body}", next(&count)),
    )
}

async fn slow(State(count): State<Count>) -> String {
    tokio::time::sleep(Duration::from_secs(30)).await;
    format!("order {}", next(&count))
}

async fn fails_first(State(count): State<Count>) -> Response {
    match next(&count) {
        1 => (StatusCode::INTERNAL_SERVER_ERROR, "out of paper").into_response(),
        n => format!("order {n}").into_response(),
    }
}

async fn binary(State(count): State<Count>) -> Vec<u8> {
    vec![0xFF, 0, u8::try_from(next(&count)).unwrap()]
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn replayed(&self) -> bool {
        self.headers
            .get("idempotency-replayed")
            .is_some_and(|value| value == "true")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

#[derive(Clone)]
struct App(Router);

impl App {
    fn new(store: impl StateStore + 'static) -> Self {
        Self::with(store, |layer| layer)
    }

    fn with(
        store: impl StateStore + 'static,
        set: impl FnOnce(IdempotencyLayer) -> IdempotencyLayer,
    ) -> Self {
        Self::of(Idempotency::new(store, "orders"), set)
    }

    fn of(idempotency: Idempotency, set: impl FnOnce(IdempotencyLayer) -> IdempotencyLayer) -> Self {
        let router = Router::new()
            .route("/orders", post(place).get(place).patch(place))
            .route("/others", post(place))
            .route("/slow", post(slow))
            .route("/fails-first", post(fails_first))
            .route("/binary", post(binary))
            .route("/healthy", get(async || "yes"))
            .layer(set(IdempotencyLayer::new(idempotency)))
            .with_state(Count::default());
        Self(router)
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
        }
    }

    async fn post(&self, path: &str, key: &str, body: &'static str) -> Answer {
        self.send(request(Method::POST, path, &[("idempotency-key", key)], body))
            .await
    }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn a_repeated_request_gets_the_whole_first_response() {
    let app = App::new(MemoryStore::new());
    let first = app.post("/orders", "k1", "a lamp").await;
    assert_eq!(
        (first.status, first.text()),
        (StatusCode::CREATED, "order 1 of a lamp")
    );
    assert!(!first.replayed());
    for quoted_or_not in ["k1", "\"k1\""] {
        let again = app.post("/orders", quoted_or_not, "a lamp").await;
        assert!(again.replayed());
        assert_eq!(
            (again.status, again.text()),
            (StatusCode::CREATED, "order 1 of a lamp")
        );
        assert_eq!(again.headers["location"], "/orders/1");
        assert_eq!(again.headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(again.headers["content-type"], first.headers["content-type"]);
    }
    assert_eq!(
        app.post("/orders", "k2", "a lamp").await.text(),
        "order 2 of a lamp"
    );
}

#[tokio::test]
async fn bytes_are_replayed_as_they_are() {
    let app = App::new(MemoryStore::new());
    for _ in 0..2 {
        assert_eq!(app.post("/binary", "k1", "").await.body, [0xFF, 0, 1]);
    }
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let app = App::new(MemoryStore::new());
    app.post("/orders", "k1", "a lamp").await;
    for (method, path, body) in [
        (Method::POST, "/orders", "a chair"),
        (Method::POST, "/others", "a lamp"),
        (Method::POST, "/orders?express", "a lamp"),
        (Method::PATCH, "/orders", "a lamp"),
    ] {
        let other = app
            .send(request(method, path, &[("idempotency-key", "k1")], body))
            .await;
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {body}");
        assert_eq!(other.headers["content-type"], "application/problem+json");
        assert!(serde_json::from_slice::<serde_json::Value>(&other.body).is_ok());
    }
}

#[tokio::test]
async fn callers_with_the_same_key_do_not_meet() {
    let app = App::new(MemoryStore::new());
    let of = |token: &'static str| {
        let headers = [("idempotency-key", "k1"), ("authorization", token)];
        app.send(request(Method::POST, "/orders", &headers, "a lamp"))
    };
    assert_eq!(of("Bearer one").await.text(), "order 1 of a lamp");
    assert_eq!(of("Bearer two").await.text(), "order 2 of a lamp");
    assert!(of("Bearer one").await.replayed());

    let app = App::with(MemoryStore::new(), |layer| {
        layer.with_caller(|request| request.headers["x-user"].to_str().unwrap().to_owned())
    });
    for (user, order) in [
        ("one", "order 1 of"),
        ("two", "order 2 of"),
        ("one", "order 1 of"),
    ] {
        let headers = [("idempotency-key", "k1"), ("x-user", user)];
        let answer = app.send(request(Method::POST, "/orders", &headers, "")).await;
        assert_eq!(answer.text().trim(), order);
    }
}

#[tokio::test]
async fn what_needs_no_key_passes_by() {
    let app = App::new(MemoryStore::new());
    for order in 1..=2 {
        let without = app.send(request(Method::POST, "/orders", &[], "a lamp")).await;
        assert_eq!(without.text(), format!("order {order} of a lamp"));
    }
    for order in 3..=4 {
        let headers = [("idempotency-key", "k1")];
        let read = app.send(request(Method::GET, "/orders", &headers, "")).await;
        assert_eq!(read.text(), format!("order {order} of "));
    }
}

#[tokio::test]
async fn a_bad_header_is_refused() {
    let app = App::with(MemoryStore::new(), IdempotencyLayer::required);
    let long = "k".repeat(256);
    for headers in [
        &[][..],
        &[("idempotency-key", "")],
        &[("idempotency-key", "\"\"")],
        &[("idempotency-key", long.as_str())],
        &[("idempotency-key", "k\u{e4}")],
        &[("idempotency-key", "k1"), ("idempotency-key", "k2")],
    ] {
        let answer = app.send(request(Method::POST, "/orders", headers, "")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{headers:?}");
    }
    let longest = "k".repeat(255);
    assert_eq!(
        app.post("/orders", &longest, "").await.status,
        StatusCode::CREATED
    );
    assert!(app.post("/orders", &longest, "").await.replayed());
    let read = app.send(request(Method::GET, "/healthy", &[], "")).await;
    assert_eq!(read.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn two_at_once_are_handled_once() {
    let app = App::new(MemoryStore::new());
    let (first, second) = tokio::join!(app.post("/slow", "k1", ""), app.post("/slow", "k1", ""));
    assert_eq!(first.text(), "order 1");
    assert_eq!(second.status, StatusCode::CONFLICT);
    let wait: u64 = second.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=66).contains(&wait), "{wait}");

    let waiting = Idempotency::new(MemoryStore::new(), "orders")
        .on_duplicate(OnDuplicate::Wait(Duration::from_secs(60)));
    let app = App::of(waiting, |layer| layer);
    let (first, second) = tokio::join!(app.post("/slow", "k1", ""), app.post("/slow", "k1", ""));
    assert_eq!((first.text(), second.text()), ("order 1", "order 1"));
    assert!(second.replayed());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_passed_on_and_not_kept() {
    let app = App::new(MemoryStore::new());
    let failed = app.post("/fails-first", "k1", "").await;
    assert_eq!(
        (failed.status, failed.text()),
        (StatusCode::INTERNAL_SERVER_ERROR, "out of paper")
    );
    let again = app.post("/fails-first", "k1", "").await;
    assert_eq!(
        (again.status, again.text(), again.replayed()),
        (StatusCode::OK, "order 2", false)
    );
    assert_eq!(app.post("/fails-first", "k1", "").await.text(), "order 2");

    let short = Idempotency::new(MemoryStore::new(), "orders").with_deadline(Duration::from_secs(10));
    let late = App::of(short, |layer| layer).post("/slow", "k1", "").await;
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn limits_are_kept() {
    let app = App::with(MemoryStore::new(), |layer| layer.with_body_limit(6));
    assert_eq!(
        app.post("/orders", "k1", "a lamp").await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        app.post("/orders", "k2", "a chair").await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        app.send(request(Method::POST, "/orders", &[], "a chair"))
            .await
            .status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn what_was_done_is_answered_although_it_could_not_be_kept() {
    // The first write begins; all that would keep the result are lost.
    let puts = Count::default();
    let counted = puts.clone();
    let keeps_nothing = Tapped::new(MemoryStore::new(), move |call| {
        let lost = call == "put" && next(&counted) > 1;
        async move { if lost { Fate::LoseRequest } else { Fate::Deliver } }
    });
    let app = App::new(keeps_nothing);
    assert_eq!(
        app.post("/orders", "k1", "a lamp").await.text(),
        "order 1 of a lamp"
    );
    assert!(puts.load(Ordering::SeqCst) > 1);

    let down = Tapped::new(MemoryStore::new(), |_| async { Fate::LoseRequest });
    let refused = App::new(down).post("/orders", "k1", "a lamp").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_finds_the_result_later() {
    let app = App::new(MemoryStore::new());
    let first = app.post("/slow", "k1", "");
    assert!(
        tokio::time::timeout(Duration::from_secs(10), first)
            .await
            .is_err()
    );
    tokio::time::sleep(Duration::from_secs(30)).await;
    let again = app.post("/slow", "k1", "").await;
    assert_eq!((again.text(), again.replayed()), ("order 1", true));
}
