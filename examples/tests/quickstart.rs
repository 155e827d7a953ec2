//! The quickstart is run as a reader runs it: it says itself whether all is right, and the file has to agree.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod program;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use futures::TryStreamExt;
use serde_json::Value;
use statestore::{EmbeddedStore, Item, Key, Precondition, ScanOptions, StateStore, StateStoreExt};

fn quickstart(folder: &Path) -> Command {
    let mut command = Command::new(program::of("quickstart"));
    command.current_dir(folder).env_remove("STATESTORE_URL");
    command
}

fn printed(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn succeeds(folder: &Path) -> String {
    let output = quickstart(folder).output().unwrap();
    let printed = printed(&output);
    assert!(output.status.success(), "{printed}");
    printed
}

/// All that is stored, with versions and expiries.
async fn stored(folder: &Path) -> BTreeMap<String, Item> {
    let store = EmbeddedStore::open(folder.join("quickstart.redb")).await.unwrap();
    let items = store.scan(ScanOptions::default());
    let items = items
        .map_ok(|item| (item.key.to_string(), item))
        .try_collect()
        .await
        .unwrap();
    store.close().await.unwrap();
    items
}

fn json(item: &Item) -> Value {
    serde_json::from_slice(&item.entry.as_ref().expect("it was asked for").value).unwrap()
}

/// That each order is there once, with each event counted once.
fn assert_exactly_once(stored: &BTreeMap<String, Item>) {
    let orders = stored.iter().filter(|(key, _)| key.contains("/orders/"));
    let orders: Vec<_> = orders
        .map(|(key, item)| {
            let order = json(item);
            let lines = order["lines"].as_object().unwrap().values();
            let cents = |line: &Value| line["quantity"].as_i64().unwrap() * line["cents"].as_i64().unwrap();
            (
                key.as_str(),
                order["changes"].as_i64().unwrap(),
                lines.map(cents).sum::<i64>(),
            )
        })
        .collect();
    assert_eq!(
        orders,
        [
            ("user-alice/orders/A-20418", 22, 37_067),
            ("user-bob/orders/B-20417", 7, 6_625)
        ]
    );
    let carts: Vec<_> = stored.keys().filter(|key| key.ends_with("/cart")).collect();
    assert_eq!(carts, ["user-carol/cart"]);
    // 34 additions and removals and 2 checkouts; the second click on alice's button finds the order and leaves nothing.
    assert_eq!(stored.keys().filter(|key| key.contains("/events/")).count(), 36);
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = succeeds(folder.path());
    assert!(first.contains("No event has been handled before."), "{first}");
    assert_eq!(first.matches("DIES").count(), 2, "{first}");
    assert!(first.contains("36 events were done"), "{first}");
    let after_first = stored(folder.path()).await;
    assert_exactly_once(&after_first);

    let second = succeeds(folder.path());
    assert!(
        second.contains("An earlier run has handled 36 of the events"),
        "{second}"
    );
    assert!(
        second.contains("\n0 events were done, 48 duplicates recognised"),
        "{second}"
    );
    for order in ["Order A-20418 of alice", "Order B-20417 of bob"] {
        assert!(
            first.contains(&format!("{order}, placed in this run:")),
            "{first}"
        );
        assert!(
            second.contains(&format!("{order}, placed by an earlier run:")),
            "{second}"
        );
    }
    assert_eq!(stored(folder.path()).await, after_first);
}

#[tokio::test]
async fn a_run_that_is_killed_at_any_time_is_finished_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    for after in [1, 10, 20, 40] {
        let mut run = quickstart(folder.path()).stdout(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(after)).await;
        run.kill().unwrap();
        run.wait().unwrap();
    }
    succeeds(folder.path());
    assert_exactly_once(&stored(folder.path()).await);
}

#[tokio::test]
async fn a_store_whose_markers_have_expired_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(folder.path());
    let store = EmbeddedStore::open(folder.path().join("quickstart.redb"))
        .await
        .unwrap();
    let marker = Key::new("user-carol", "events/4891a6").unwrap();
    store.delete(&marker, Precondition::Exists.into()).await.unwrap();
    store.close().await.unwrap();
    let before = stored(folder.path()).await;

    let output = quickstart(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let printed = printed(&output);
    assert!(
        printed.contains("the markers of its events have expired: start with an empty store"),
        "{printed}"
    );
    assert_eq!(stored(folder.path()).await, before);
}

#[tokio::test]
async fn statestore_url_names_another_store() {
    let folder = tempfile::tempdir().unwrap();
    let output = quickstart(folder.path())
        .env("STATESTORE_URL", "file:other.redb")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    assert!(folder.path().join("other.redb").is_file());
    assert!(!folder.path().join("quickstart.redb").exists());

    for (url, expected) in [
        ("memory:", "keeps its state"),
        ("", "is empty: set it"),
        ("nope:", "unknown scheme"),
    ] {
        let output = quickstart(folder.path())
            .env("STATESTORE_URL", url)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}");
        let printed = printed(&output);
        assert!(printed.contains(expected), "{printed}");
    }
}
