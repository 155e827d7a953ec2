//! Opening a store, and what it says of itself.

use statestore_api::{Capabilities, ErrorKind, Key, ListOptions, Precondition, ScanOptions, WriteId};

use crate::Subject;
use crate::expect::{ok, refused};

/// `ready` connects and checks, as often as asked: it is a health check too.
pub async fn ready_succeeds_and_may_be_repeated(subject: &Subject) {
    for time in ["the first", "the second", "the third"] {
        ok(&format!("{time} ready"), subject.store().ready().await);
    }
    let key = subject.key("after-ready");
    subject.put(&key, "x").await;
    ok("ready after a write", subject.store().ready().await);
    subject.assert_value(&key, "x").await;
}

/// Programs that keep to the portable limits run on every backend.
pub async fn capabilities_keep_what_every_store_can_do(subject: &Subject) {
    let capabilities = subject.store().capabilities();
    let least = Capabilities::portable("portable");
    let at_least = [
        (
            "max_partition_bytes",
            capabilities.max_partition_bytes,
            least.max_partition_bytes,
        ),
        ("max_id_bytes", capabilities.max_id_bytes, least.max_id_bytes),
        (
            "max_value_bytes",
            capabilities.max_value_bytes,
            least.max_value_bytes,
        ),
        (
            "max_transaction_ops",
            capabilities.max_transaction_ops,
            least.max_transaction_ops,
        ),
        (
            "remembered_writes",
            capabilities.remembered_writes,
            least.remembered_writes,
        ),
    ];
    for (name, limit, least) in at_least {
        assert!(
            limit >= least,
            "{name} is {limit}, less than the {least} that programs rely on"
        );
    }
    if let Some(limit) = capabilities.max_transaction_bytes {
        assert!(
            limit >= capabilities.max_value_bytes,
            "a transaction cannot hold the largest value"
        );
    }
    assert!(!capabilities.backend.is_empty(), "the backend has no name");
    assert_eq!(
        capabilities,
        subject.store().capabilities(),
        "the capabilities change"
    );
}

/// What a store does not declare it refuses with a typed error; what it declares works.
pub async fn what_is_not_declared_is_refused(subject: &Subject) {
    let key = subject.key("listed");
    subject.put(&key, "x").await;
    let store = subject.store();
    let listed = store.list_page(key.partition(), ListOptions::default()).await;
    let scanned = store.scan_page(ScanOptions::default()).await;
    if store.capabilities().listing {
        ok("list_page, which is declared", listed);
        ok("scan_page, which is declared", scanned);
    } else {
        refused("list_page, which is not declared", listed, ErrorKind::Unsupported);
        refused(
            "scan_page, which is not declared",
            scanned,
            ErrorKind::Unsupported,
        );
    }
}

/// One instance serves all tasks.
pub async fn one_instance_serves_many_tasks(subject: &Subject) {
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let (store, key) = (subject.store().clone(), subject.key(&number.to_string()));
            tokio::spawn(async move {
                let value = key.id().to_owned();
                let version = ok(
                    "a put",
                    store.put(&key, value.clone().into(), Default::default()).await,
                );
                let entry = ok("a get", store.get(&key, Default::default()).await).expect("it was just put");
                assert_eq!((entry.value, entry.version), (value.into(), version));
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("every task is served");
    }
}

/// `close` finishes what is under way, as often as asked.
pub async fn close_may_be_repeated(subject: &Subject) {
    // Not one of the keys that are cleaned up: a store that was closed refuses that.
    let key = Key::new(subject.partition(""), "before-close").expect("neither part is empty");
    subject.put(&key, "x").await;
    subject.delete(&key).await;
    for time in ["the first", "the second"] {
        ok(&format!("{time} close"), subject.store().close().await);
    }
}

/// A store that was closed refuses its calls by `Closed`, if it does: to repeat them is of no use.
pub async fn a_closed_store_serves_or_says_that_it_is_closed(subject: &Subject) {
    let store = subject.store();
    let key = Key::new(subject.partition(""), "after-close").expect("neither part is empty");
    ok("a close", store.close().await);
    let calls = [
        ("a read", store.get(&key, Default::default()).await.map(drop)),
        (
            "a look for a write",
            store
                .resolve(&key, WriteId::new(), &Precondition::None)
                .await
                .map(drop),
        ),
    ];
    for (what, answer) in calls {
        if answer.is_err() {
            refused(&format!("{what} after it was closed"), answer, ErrorKind::Closed);
        }
    }
}
