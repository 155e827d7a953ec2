use std::sync::{Arc, Mutex};
use std::time::Duration;

use statestore_api::layer::{Observe, Retry, RetryPolicy, Timeout};
use statestore_api::{
    ErrorKind, Key, ListOptions, Precondition, Projection, ScanOptions, StateStore, StateStoreExt,
    TransactOp, Ttl, WriteId,
};
use tracing::Level;

use crate::key;
use crate::recorder::{self, Span};
use crate::scripted::Step::{Hang, Lose, Pass, Refuse, RefuseIds};
use crate::scripted::{Scripted, throttled, unanswered, unauthorized, unreachable};

/// Every field that a span has, unless keys are asked for.
const FIELDS: [&str; 13] = [
    "db.collection.name",
    "db.namespace",
    "db.operation.batch.size",
    "db.operation.name",
    "db.response.returned_rows",
    "db.system.name",
    "error.type",
    "otel.kind",
    "otel.name",
    "otel.status_code",
    "statestore.attempts",
    "statestore.bytes_read",
    "statestore.bytes_written",
];

fn named<S: StateStore>(store: S) -> Observe<S> {
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

/// What a hook was told: the operation, the kind, the attempts, the keys and the partition, and all that it shows in a log.
type Heard = (&'static str, ErrorKind, u32, Vec<Key>, Option<String>, String);

/// `store`, and what its hook is told.
fn heard<S: StateStore>(store: Observe<S>) -> (Observe<S>, Arc<Mutex<Vec<Heard>>>) {
    let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
    let told = heard.clone();
    let store = store.on_error(move |failure| {
        tracing::info!(target: "statestore_test", "in the hook");
        told.lock().unwrap().push((
            failure.operation,
            failure.kind(),
            failure.attempts,
            failure.keys.to_vec(),
            failure.partition.map(str::to_owned),
            format!("{failure} {failure:?}"),
        ));
    });
    (store, heard)
}

#[tokio::test(start_paused = true)]
async fn the_hook_is_told_of_each_failed_call_once() {
    recorder::listen();
    let steps = [
        Refuse(throttled),
        Lose(unanswered),
        Refuse(unauthorized),
        Pass,
        RefuseIds(&["one", "two"], unauthorized),
        Refuse(unreachable),
    ];
    let inside = Retry::new(Scripted::new(&steps), RetryPolicy::default());
    let (store, heard) = heard(named(inside));
    let (one, two) = (key("one"), key("two"));
    store.put(&one, "".into(), Default::default()).await.unwrap_err();
    store.create(&one, "").await.unwrap_err();
    store
        .get_many(&[two.clone(), one.clone()], Default::default())
        .await;
    store.ready().await.unwrap();

    let told: Vec<_> = heard
        .lock()
        .unwrap()
        .iter()
        .map(|(operation, kind, attempts, keys, partition, _)| {
            assert!(keys.is_empty() && partition.is_none());
            (*operation, *kind, *attempts)
        })
        .collect();
    let expected = [
        ("put", ErrorKind::Indeterminate, 3),
        ("put", ErrorKind::Conflict, 1),
        ("get_many", ErrorKind::Unauthorized, 1),
    ];
    assert_eq!(told, expected);
    // What it logs is told in the call's span.
    let events = recorder::events();
    let hooks = events
        .iter()
        .filter(|event| event.fields["message"] == "in the hook");
    let within: Vec<_> = hooks.map(|event| event.within).collect();
    assert_eq!(within, [Some(0), Some(1), Some(2)]);
}

/// Fails with each operation that has a key, a partition or a value.
async fn fail(store: &impl StateStore) {
    let (one, two) = (
        Key::new("canary-partition", "canary-id").unwrap(),
        Key::new("canary-partition", "canary-other-id").unwrap(),
    );
    let value = "canary-value";
    store.create(&one, value).await.unwrap();
    store.create(&one, value).await.unwrap_err();
    store.get(&one, Default::default()).await.unwrap();
    let many = [one.clone(), two.clone()];
    for result in store.get_many(&many, Default::default()).await {
        result.unwrap();
    }
    let page = ListOptions::default().with_page_size(0).with_prefix("canary-id");
    store.list_page("canary-partition", page).await.unwrap_err();
    let ops = vec![
        TransactOp::put(one, value).when(Precondition::Absent),
        TransactOp::put(two, value),
    ];
    store.transact(ops, Default::default()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn keys_and_values_are_not_told() {
    recorder::listen();
    let (store, heard) = heard(named(Scripted::new(&[])));
    fail(&store).await;

    let spans = recorder::spans();
    assert_eq!(spans.len(), 6);
    for span in &spans {
        let unknown = span.fields.keys().find(|field| !FIELDS.contains(field));
        assert_eq!(unknown, None);
    }
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 3);
    let told = format!("{spans:?} {:?} {heard:?} {store:?}", recorder::events());
    // (The debug text of the store has that of the memory store, which shows nothing of what it holds.)
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn keys_are_told_where_they_are_asked_for_and_values_are_not() {
    recorder::listen();
    let (store, heard) = heard(named(Scripted::new(&[])).with_keys());
    fail(&store).await;

    let spans = recorder::spans();
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let fields = ["key", "keys", "partition"];
            fields.map(|field| span.field(&format!("db.operation.parameter.{field}")))
        })
        .collect();
    let (one, two) = ("canary-partition/canary-id", "canary-partition/canary-other-id");
    let both = format!("{one}, {two}");
    let single = [Some(one), None, None];
    let batch = [None, Some(&*both), None];
    let expected = [
        single,
        single,
        single,
        batch,
        [None, None, Some("canary-partition")],
        batch,
    ];
    assert_eq!(told, expected);
    // The texts of errors come with the keys.
    let descriptions: Vec<_> = spans
        .iter()
        .filter_map(|span| span.field("otel.status_description"))
        .collect();
    assert_eq!(descriptions.len(), 1, "{descriptions:?}");
    assert!(descriptions[0].starts_with("invalid options"), "{descriptions:?}");

    let heard = heard.lock().unwrap();
    let about: Vec<_> = heard
        .iter()
        .map(|(operation, _, _, keys, partition, _)| (*operation, keys.len(), partition.as_deref()))
        .collect();
    let expected = [
        ("put", 1, None),
        ("list_page", 0, Some("canary-partition")),
        ("transact", 2, None),
    ];
    assert_eq!(about, expected);
    assert!(heard[0].5.contains("canary-id"), "{}", heard[0].5);
    let told = format!("{spans:?} {:?} {heard:?}", recorder::events());
    assert!(!told.contains("canary-value"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn of_a_large_batch_some_keys_are_told() {
    recorder::listen();
    let store = named(Scripted::new(&[])).with_keys();
    let keys: Vec<_> = (0..12).map(|n| key(&format!("{n:02}"))).collect();
    store.get_many(&keys, Default::default()).await;
    let span = recorder::span();
    let shown = span.field("db.operation.parameter.keys").unwrap();
    assert!(shown.starts_with("p/00, p/01, "), "{shown}");
    assert!(shown.ends_with(", p/09 and 2 more"), "{shown}");
}
