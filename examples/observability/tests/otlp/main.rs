//! What the program sends to a collector, byte by byte as the collector gets it.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod receiver;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tokio::process::Command;

use receiver::{Receiver, attributes};

const KEYS: [&str; 2] = ["user-42", "order-7"];
const VALUES: [&str; 3] = ["one apple", "one pear", "piece of fruit"];

/// Runs the program to its end, with a collector; returns whether it succeeded.
async fn run(url: &str) -> (Receiver, bool) {
    let receiver = Receiver::start().await;
    let succeeded = run_with(url, receiver.endpoint()).await;
    (receiver, succeeded)
}

async fn run_with(url: &str, endpoint: &str) -> bool {
    let mut program = Command::new(env!("CARGO_BIN_EXE_observability"));
    let own = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with("OTEL_"));
    program
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| !own(name)))
        .env("STATESTORE_URL", url)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_SERVICE_NAME", "carts")
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_secs(60), program.status()).await;
    ended.expect("it ends").unwrap().success()
}

/// The spans of calls, less the one around them, which they are all in but the last, the store's closing.
fn calls(spans: Vec<Span>) -> Vec<Span> {
    let (around, calls): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.name == "handle event");
    assert_eq!(around.len(), 1);
    let (closing, handling) = calls.split_last().unwrap();
    assert!(closing.name.starts_with("close"), "{}", closing.name);
    for span in handling {
        assert_eq!(span.parent_span_id, around[0].span_id, "{}", span.name);
        assert_eq!(span.trace_id, around[0].trace_id, "{}", span.name);
    }
    calls
}

fn status(span: &Span) -> StatusCode {
    span.status
        .as_ref()
        .map_or(StatusCode::Unset, |status| status.code())
}

/// A point of a metric: the metric and its unit, the operation, the other attributes, and the number; of a histogram, how many it counts.
type Points = BTreeMap<(String, String, String), i64>;

/// All points, which all have the name of this system.
fn points(receiver: &Receiver, system: &str) -> Points {
    let mut points = Points::new();
    for metric in receiver.metrics() {
        let mut point = |of: &[_], number: i64| {
            let mut of = attributes(of);
            assert_eq!(of.remove("db.system.name").as_deref(), Some(system));
            let operation = of.remove("db.operation.name").unwrap();
            let others = of.iter().map(|(name, value)| format!("{name}={value}"));
            let others = others.collect::<Vec<_>>().join(" ");
            let metric = format!("{} {}", metric.name, metric.unit);
            assert!(points.insert((metric, operation, others), number).is_none());
        };
        match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                for of_one in &sum.data_points {
                    match of_one.value {
                        Some(Value::AsInt(number)) => point(&of_one.attributes, number),
                        other => panic!("{other:?}"),
                    }
                }
            }
            Data::Histogram(histogram) => {
                for of_one in &histogram.data_points {
                    assert_eq!(
                        of_one.explicit_bounds,
                        [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]
                    );
                    point(&of_one.attributes, of_one.count.try_into().unwrap());
                }
            }
            other => panic!("{other:?}"),
        }
    }
    points
}

fn expected<const N: usize>(points: [(&str, &str, &str, i64); N]) -> Points {
    points
        .into_iter()
        .map(|(metric, operation, others, number)| {
            (
                (metric.to_owned(), operation.to_owned(), others.to_owned()),
                number,
            )
        })
        .collect()
}

const ACTIVE: &str = "statestore.client.active_operations {operation}";
const DURATION: &str = "db.client.operation.duration s";
const IO: &str = "statestore.client.io By";
const RETRIES: &str = "statestore.client.retries {retry}";

#[tokio::test]
async fn calls_are_sent_as_spans_without_keys_and_values() {
    let (receiver, succeeded) = run("memory:").await;
    assert!(succeeded);
    let (spans, resources) = receiver.spans();
    for resource in resources {
        assert_eq!(attributes(&resource.attributes)["service.name"], "carts");
    }
    let spans = calls(spans);
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    let operations = [
        "delete",
        "delete",
        "put",
        "put",
        "transact",
        "get_many",
        "list_page",
        "close",
    ];
    assert_eq!(names, operations);

    let none: &[(&str, &str)] = &[];
    let told = [
        none,
        none,
        &[("statestore.bytes_written", "#9")],
        &[("statestore.bytes_written", "#8"), ("error.type", "Conflict")],
        &[
            ("statestore.bytes_written", "#18"),
            ("db.operation.batch.size", "#2"),
        ],
        &[
            ("db.operation.batch.size", "#2"),
            ("db.response.returned_rows", "#1"),
            ("statestore.bytes_read", "#18"),
        ],
        &[
            ("db.response.returned_rows", "#1"),
            ("statestore.bytes_read", "#18"),
        ],
        none,
    ];
    for (span, told) in spans.iter().zip(told) {
        assert_eq!(span.kind(), SpanKind::Client, "{}", span.name);
        assert_eq!(status(span), StatusCode::Unset, "{}", span.name);
        let mut sent = attributes(&span.attributes);
        // What the bridge adds of its own.
        sent.retain(|name, _| !["level", "target"].contains(name));
        let mut expected: BTreeMap<_, _> = told
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        expected.insert("db.system.name", "memory".to_owned());
        expected.insert("db.operation.name", span.name.clone());
        expected.insert("statestore.attempts", "#1".to_owned());
        assert_eq!(sent, expected, "{}", span.name);
    }
    for text in KEYS.iter().chain(&VALUES) {
        assert!(!receiver.was_sent(text), "{text}");
    }
}

#[tokio::test]
async fn calls_are_measured() {
    let (receiver, succeeded) = run("memory:").await;
    assert!(succeeded);
    let (read, write) = ("statestore.io.direction=read", "statestore.io.direction=write");
    let all = expected([
        (ACTIVE, "close", "", 0),
        (ACTIVE, "delete", "", 0),
        (ACTIVE, "get_many", "", 0),
        (ACTIVE, "list_page", "", 0),
        (ACTIVE, "put", "", 0),
        (ACTIVE, "transact", "", 0),
        (DURATION, "close", "", 1),
        (DURATION, "delete", "", 2),
        (DURATION, "get_many", "", 1),
        (DURATION, "list_page", "", 1),
        (DURATION, "put", "", 1),
        (DURATION, "put", "error.type=Conflict", 1),
        (DURATION, "transact", "", 1),
        (IO, "get_many", read, 18),
        (IO, "list_page", read, 18),
        (IO, "put", write, 17),
        (IO, "transact", write, 18),
    ]);
    assert_eq!(points(&receiver, "memory"), all);
}

#[tokio::test]
async fn a_failure_is_sent_with_its_attempts() {
    // Nothing listens there.
    let (receiver, succeeded) = run("redis://127.0.0.1:1/3?retry_attempts=2").await;
    assert!(!succeeded);
    let spans = calls(receiver.spans().0);
    let [delete, _close] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(delete.name, "delete 3");
    assert_eq!(status(delete), StatusCode::Error);
    let sent = attributes(&delete.attributes);
    for (name, value) in [
        ("db.namespace", "3"),
        ("db.system.name", "redis"),
        ("error.type", "Unavailable"),
        ("statestore.attempts", "#2"),
    ] {
        assert_eq!(sent[name], value, "{name}");
    }
    let events: Vec<_> = delete.events.iter().map(|event| &*event.name).collect();
    let [retried, given_up] = events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(retried, "a store's call failed and is tried again");
    assert!(given_up.contains("all 2 attempts are used up"), "{given_up}");

    let points = points(&receiver, "redis");
    let of_deletes = points
        .into_iter()
        .filter(|((_, operation, _), _)| operation == "delete");
    let all = expected([
        (ACTIVE, "delete", "db.namespace=3", 0),
        (DURATION, "delete", "db.namespace=3 error.type=Unavailable", 1),
        (RETRIES, "delete", "db.namespace=3", 1),
    ]);
    assert_eq!(of_deletes.collect::<Points>(), all);
    for text in KEYS {
        assert!(!receiver.was_sent(text), "{text}");
    }
}

#[tokio::test]
async fn keys_are_sent_where_the_url_asks_for_them() {
    let (receiver, succeeded) = run("memory:?observe_keys=on").await;
    assert!(succeeded);
    let spans = calls(receiver.spans().0);
    let sent = |place: usize, name: &str| {
        let sent = attributes(&spans[place].attributes);
        sent[&*format!("db.operation.parameter.{name}")].clone()
    };
    assert_eq!(sent(0, "key"), "user-42/cart");
    assert_eq!(sent(4, "keys"), "user-42/order-7, user-42/cart");
    assert_eq!(sent(6, "partition"), "user-42");
    for text in VALUES {
        assert!(!receiver.was_sent(text), "{text}");
    }
    // Metrics have no keys in any case.
    assert!(!format!("{:?}", receiver.metrics()).contains("user-42"));
}

#[tokio::test]
async fn a_collector_that_does_not_answer_costs_no_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    assert!(run_with("memory:", &endpoint).await);
}
