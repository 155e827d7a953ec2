use std::time::Duration;

use statestore_api::layer::{Observe, Retry, RetryPolicy, Timeout};
use statestore_api::{
    ErrorKind, ListOptions, Precondition, Projection, ScanOptions, StateStore, StateStoreExt, TransactOp,
    Ttl, WriteId,
};
use tracing::Level;

use crate::key;
use crate::recorder::{self, Span};
use crate::scripted::Step::{Hang, Lose, Pass, Refuse};
use crate::scripted::{Scripted, throttled, unanswered, unauthorized};

pub(crate) fn named<S: StateStore>(store: S) -> Observe<S> {
    Observe::new(store)
        .with_system("test.db")
        .with_namespace("tests")
        .with_collection("layers")
}

fn retry<S: StateStore>(store: S) -> Retry<S> {
    Retry::new(store, RetryPolicy::default().with_max_attempts(3))
}

/// The numbers of entries read, bytes read and bytes written, of each span.
fn sizes(spans: &[Span]) -> Vec<[Option<&str>; 3]> {
    let fields = [
        "db.response.returned_rows",
        "statestore.bytes_read",
        "statestore.bytes_written",
    ];
    spans
        .iter()
        .map(|span| fields.map(|field| span.field(field)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn every_method_is_handed_on_and_told() {
    recorder::listen();
    let scripted = Scripted::new(&[]);
    let store = named(scripted.clone());
    assert_eq!(store.capabilities(), scripted.behind().capabilities());

    let (one, two) = (key("one"), key("two"));
    store.ready().await.unwrap();
    let version = store.put(&one, "12345".into(), Default::default()).await.unwrap();
    assert_eq!(
        store
            .get(&one, Default::default())
            .await
            .unwrap()
            .unwrap()
            .version,
        version
    );
    assert!(store.get(&two, Default::default()).await.unwrap().is_none());
    let many = store
        .get_many(&[one.clone(), two.clone()], Default::default())
        .await;
    assert_eq!(many.len(), 2);
    let touched = store.touch(&one, Ttl::None, version.into()).await.unwrap();
    let id = WriteId::new();
    store.resolve(&one, id, &Precondition::None).await.unwrap();
    let ops = vec![
        TransactOp::check(one.clone(), Precondition::Matches(touched)),
        TransactOp::put(two.clone(), "123"),
    ];
    assert_eq!(store.transact(ops, Default::default()).await.unwrap().len(), 2);
    let page = store.list_page("p", ListOptions::default()).await.unwrap();
    assert_eq!(page.items.len(), 2);
    let keys = ScanOptions::default().with_projection(Projection::Keys);
    assert_eq!(store.scan_page(keys).await.unwrap().items.len(), 2);
    store.delete(&one, Default::default()).await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), 0);
    store.close().await.unwrap();

    let operations = [
        "ready",
        "put",
        "get",
        "get",
        "get_many",
        "touch",
        "resolve",
        "transact",
        "list_page",
        "scan_page",
        "delete",
        "sweep",
        "close",
    ];
    let requests = scripted.requests();
    let made: Vec<_> = requests.iter().map(|request| request.operation).collect();
    assert_eq!(made, operations);
    let spans = recorder::spans();
    let told: Vec<_> = spans
        .iter()
        .map(|span| span.field("db.operation.name").unwrap())
        .collect();
    assert_eq!(told, operations);

    for (span, operation) in spans.iter().zip(operations) {
        assert_eq!(span.level, Level::INFO);
        assert_eq!(span.target, "statestore::observe");
        let expected = [
            ("otel.kind", Some("client")),
            ("otel.name", Some(&*format!("{operation} layers"))),
            ("otel.status_code", None),
            ("db.system.name", Some("test.db")),
            ("db.namespace", Some("tests")),
            ("db.collection.name", Some("layers")),
            ("error.type", None),
            ("statestore.attempts", Some("1")),
        ];
        for (field, expected) in expected {
            assert_eq!(span.field(field), expected, "{field} of {operation}");
        }
        let batch = ["get_many", "transact"].contains(&operation).then_some("2");
        assert_eq!(span.field("db.operation.batch.size"), batch, "{operation}");
        assert!(span.is_closed(), "{operation}");
    }
    let none = [None, None, None];
    let expected = [
        none,                         // ready
        [None, None, Some("5")],      // put
        [Some("1"), Some("5"), None], // get
        [Some("0"), Some("0"), None], // get
        [Some("1"), Some("5"), None], // get_many
        none,                         // touch
        none,                         // resolve
        [None, None, Some("3")],      // transact
        [Some("2"), Some("8"), None], // list_page
        [Some("2"), Some("0"), None], // scan_page
        none,                         // delete
        none,                         // sweep
        none,                         // close
    ];
    assert_eq!(sizes(&spans), expected);
}

#[tokio::test(start_paused = true)]
async fn names_are_those_that_are_known() {
    recorder::listen();
    let store = Scripted::new(&[]);
    for (store, system, name) in [
        (Observe::new(store.clone()), "memory", "ready"),
        (
            Observe::new(store.clone()).with_namespace("db"),
            "memory",
            "ready db",
        ),
        (named(store), "test.db", "ready layers"),
    ] {
        store.ready().await.unwrap();
        let spans = recorder::spans();
        let span = spans.last().unwrap();
        assert_eq!(span.field("db.system.name"), Some(system));
        assert_eq!(span.field("otel.name"), Some(name));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_one_is_no_batch() {
    recorder::listen();
    let store = named(Scripted::new(&[]));
    assert_eq!(store.get_many(&[key("one")], Default::default()).await.len(), 1);
    assert_eq!(recorder::span().field("db.operation.batch.size"), None);
}

#[tokio::test(start_paused = true)]
async fn errors_have_their_kind_and_conflicts_no_status() {
    recorder::listen();
    let store = named(Scripted::new(&[Refuse(unauthorized), Pass, Pass]));
    store.get(&key("one"), Default::default()).await.unwrap_err();
    store.create(&key("one"), "").await.unwrap();
    store.create(&key("one"), "").await.unwrap_err();

    let spans = recorder::spans();
    let told: Vec<_> = spans
        .iter()
        .map(|span| (span.field("error.type"), span.field("otel.status_code")))
        .collect();
    let expected = [
        (Some("Unauthorized"), Some("ERROR")),
        (None, None),
        (Some("Conflict"), None),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn the_attempts_of_a_retry_inside_are_counted_and_its_events_are_in_the_span() {
    recorder::listen();
    let steps = [
        Lose(unanswered),
        Pass,
        Refuse(throttled),
        Refuse(throttled),
        Refuse(throttled),
    ];
    let store = named(retry(Timeout::new(Scripted::new(&steps), Duration::from_secs(1))));
    store.create(&key("one"), "").await.unwrap();
    store.get(&key("one"), Default::default()).await.unwrap_err();
    store.get(&key("one"), Default::default()).await.unwrap();

    let spans = recorder::spans();
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.field("statestore.attempts").unwrap(),
                span.field("error.type"),
            )
        })
        .collect();
    assert_eq!(told, [("2", None), ("3", Some("Throttled")), ("1", None)]);
    let within: Vec<_> = recorder::events().iter().map(|event| event.within).collect();
    assert_eq!(within, [Some(0), Some(1), Some(1), Some(1)]);
}

#[tokio::test(start_paused = true)]
async fn it_tells_of_attempts_inside_of_a_retry_and_of_the_call_outside() {
    recorder::listen();
    let steps = [Refuse(throttled), Lose(unanswered), Pass];
    let inside = Observe::new(Scripted::new(&steps)).with_collection("attempt");
    let store = Observe::new(retry(inside)).with_collection("call");
    store.create(&key("one"), "").await.unwrap();

    let spans = recorder::spans();
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let fields = ["otel.name", "statestore.attempts", "error.type"];
            fields.map(|field| span.field(field).unwrap_or("-"))
        })
        .collect();
    let expected = [
        ["put call", "3", "-"],
        ["put attempt", "1", "Throttled"],
        ["put attempt", "1", "Unavailable"],
        ["put attempt", "1", "-"],
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_count_their_own_attempts() {
    recorder::listen();
    let steps = [Refuse(throttled), Pass, Refuse(throttled), Pass];
    let store = named(retry(Scripted::new(&steps)));
    let (one, two) = (key("one"), key("two"));
    let (get, other, ready) = futures::join!(
        store.get(&one, Default::default()),
        store.get(&two, Default::default()),
        store.ready(),
    );
    get.unwrap();
    other.unwrap();
    ready.unwrap();

    let spans = recorder::spans();
    let attempts: Vec<_> = spans
        .iter()
        .map(|span| span.field("statestore.attempts").unwrap())
        .collect();
    assert_eq!(attempts, ["2", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_was_cancelled() {
    recorder::listen();
    let steps = [Refuse(throttled), Hang];
    let store = Timeout::new(named(retry(Scripted::new(&steps))), Duration::from_secs(1));
    let error = store.get(&key("one"), Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);

    let span = recorder::span();
    assert_eq!(span.field("error.type"), Some("Cancelled"));
    assert_eq!(span.field("otel.status_code"), Some("ERROR"));
    assert_eq!(span.field("statestore.attempts"), Some("2"));
    assert!(span.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_awaited_is_not_told() {
    recorder::listen();
    let store = named(Scripted::new(&[]));
    drop(store.ready());
    assert!(recorder::spans().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_spans_there_are_none() {
    recorder::listen();
    let store = named(Scripted::new(&[])).without_spans().on_error(|_| ());
    store.ready().await.unwrap();
    assert!(recorder::spans().is_empty());
}
