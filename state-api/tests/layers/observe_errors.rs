use std::sync::{Arc, Mutex};

use statestore_api::layer::{Observe, Retry, RetryPolicy};
use statestore_api::{ErrorKind, Key, ListOptions, Precondition, StateStore, StateStoreExt, TransactOp};

use crate::key;
use crate::observe::named;
use crate::recorder;
use crate::scripted::Step::{Lose, Pass, Refuse, RefuseIds};
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
