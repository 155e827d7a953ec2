//! Versions: opaque, printable, and never the same twice.

use std::collections::HashSet;

use futures::TryStreamExt as _;
use statestore_api::{
    ErrorKind, Item, ListOptions, MemoryStore, Precondition, StateStore, StateStoreExt, TransactOp, Ttl,
    Version, WriteId,
};

use crate::Subject;
use crate::expect::{ok, refused};

/// Every mutation returns the version that reads return after it.
pub async fn put_returns_the_version_that_reads_show(subject: &Subject) {
    let key = subject.key("shown");
    for value in ["one", "two"] {
        let version = subject.put(&key, value).await;
        let store = subject.store();
        assert_eq!(
            subject.entry(&key).await.version,
            version,
            "get shows another version than put returned"
        );
        let many = store
            .get_many(std::slice::from_ref(&key), Default::default())
            .await
            .remove(0);
        assert_eq!(
            ok("get_many", many).map(|entry| entry.version),
            Some(version.clone()),
            "get_many shows another version"
        );
        if store.capabilities().listing {
            let listing = store.list(key.partition(), ListOptions::default());
            let items: Vec<Item> = ok("list", listing.try_collect().await);
            let listed = items
                .into_iter()
                .find(|item| item.key == key)
                .and_then(|item| item.entry);
            assert_eq!(
                listed.map(|entry| entry.version),
                Some(version),
                "a listing shows another version"
            );
        }
    }
}

/// A version is of one write: the same value written again has another.
pub async fn every_write_makes_a_new_version(subject: &Subject) {
    let key = subject.key("rewritten");
    let store = subject.store();
    let mut seen = HashSet::new();
    for _ in 0..10 {
        assert!(
            seen.insert(subject.put(&key, "the same value").await),
            "a put made a version that was there before"
        );
        let touched = ok("touch", store.touch(&key, Ttl::None, Default::default()).await);
        assert!(
            seen.insert(touched),
            "a touch made a version that was there before"
        );
        let ops = vec![TransactOp::put(key.clone(), "the same value")];
        let version = ok("transact", store.transact(ops, Default::default()).await)
            .remove(0)
            .expect("a put has a version");
        assert!(
            seen.insert(version),
            "a transaction made a version that was there before"
        );
    }
}

/// A version is printable, and good after a way through a string.
pub async fn a_version_survives_text(subject: &Subject) {
    let key = subject.key("etag");
    let version = subject.put(&key, "one").await;
    let text = version.to_string();
    assert!(
        !text.is_empty() && text.len() <= Version::MAX_LEN,
        "{} characters",
        text.len()
    );
    assert!(
        text.bytes().all(|b| b.is_ascii_graphic() && b != b'"'),
        "`{text}` cannot be put into a header"
    );
    let parsed: Version = ok("parsing a version", text.parse());
    assert_eq!(parsed, version);
    let second = ok(
        "compare_and_set with it",
        subject.store().compare_and_set(&key, Some(&parsed), "two").await,
    );
    let second: Version = ok("parsing a version", second.to_string().parse());
    ok(
        "delete with it",
        subject.store().delete(&key, second.into()).await,
    );
}

/// Not after delete and re-create.
pub async fn no_version_is_reused_after_a_delete(subject: &Subject) {
    let key = subject.key("reborn");
    let mut seen = HashSet::new();
    for round in 0..10 {
        let created = ok("create", subject.store().create(&key, "same").await);
        assert!(
            seen.insert(created),
            "round {round}: a create after a delete made a version that was there before"
        );
        for _ in 0..2 {
            assert!(
                seen.insert(subject.put(&key, "same").await),
                "round {round}: a put made a version that was there before"
            );
        }
        subject.delete(&key).await;
    }
}

/// Not after expiry.
pub async fn no_version_is_reused_after_an_expiry(subject: &Subject) {
    let key = subject.key("expired");
    let mut seen = HashSet::new();
    for round in 0..3 {
        let version = subject.put_expired(&key, "same").await;
        assert!(
            seen.insert(version),
            "round {round}: a put made a version that was there before"
        );
        let created = ok("create", subject.store().create(&key, "same").await);
        assert!(
            seen.insert(created),
            "round {round}: a create over an expired entry made a version that was there before"
        );
    }
}

/// Not by two writers.
pub async fn no_version_is_given_to_two_writers(subject: &Subject) {
    let key = subject.key("shared");
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (store, key) = (subject.store().clone(), key.clone());
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for _ in 0..25 {
                    versions.push(ok(
                        "put",
                        store.put(&key, "same".into(), Default::default()).await,
                    ));
                }
                versions
            })
        })
        .collect();
    let mut seen = HashSet::new();
    for writer in writers {
        for version in writer.await.expect("the writer ends") {
            assert!(seen.insert(version), "two writers were given one version");
        }
    }
    assert!(
        seen.contains(&subject.entry(&key).await.version),
        "the version that is there was given to nobody"
    );
}

/// A version is good for the key it came from; with another it never matches.
pub async fn a_version_matches_no_other_key(subject: &Subject) {
    let [a, b] = [subject.key("a"), subject.key("b")];
    let [c, d] = [subject.key_in("other", "a"), subject.key_in("other", "b")];
    let store = subject.store();
    let version = subject.put(&a, "same").await;
    for other in [&b, &c] {
        subject.put(other, "same").await;
    }
    // One transaction, one write id, two keys.
    let ops = vec![
        TransactOp::put(d.clone(), "same"),
        TransactOp::put(subject.key_in("other", "c"), "same"),
    ];
    let written = ok("transact", store.transact(ops, Default::default()).await);
    let of_d = written[0].clone().expect("a put has a version");
    let ops = [
        (&b, &version),
        (&c, &version),
        (&subject.key_in("other", "c"), &of_d),
    ];
    for (key, foreign) in ops {
        let put = store.compare_and_set(key, Some(foreign), "changed").await;
        refused(
            "a compare_and_set with another key's version",
            put,
            ErrorKind::Conflict,
        );
        let delete = store.delete(key, foreign.clone().into()).await;
        refused("a delete with another key's version", delete, ErrorKind::Conflict);
        subject.assert_value(key, "same").await;
    }
}

/// A string that is no version of this store is [`InvalidVersion`](ErrorKind::InvalidVersion), not a conflict.
pub async fn what_is_no_version_is_refused(subject: &Subject) {
    let (there, missing) = (subject.key("there"), subject.key("missing"));
    subject.put(&there, "kept").await;
    let before = subject.entry(&there).await;
    for text in [
        "0",
        "1",
        "null",
        "x",
        "not-a-version",
        "AAAA",
        "99999999999999999999",
    ] {
        let version: Version = match text.parse() {
            Ok(version) => version,
            Err(error) => {
                refused::<()>(text, Err(error), ErrorKind::InvalidVersion);
                continue;
            }
        };
        let matches = Precondition::Matches(version);
        let store = subject.store();
        for key in [&there, &missing] {
            let ops = vec![TransactOp::put(key.clone(), "x").when(matches.clone())];
            let results = [
                (
                    "put",
                    store.put(key, "x".into(), matches.clone().into()).await.map(drop),
                ),
                ("delete", store.delete(key, matches.clone().into()).await),
                (
                    "touch",
                    store
                        .touch(key, Ttl::None, matches.clone().into())
                        .await
                        .map(drop),
                ),
                (
                    "resolve",
                    store.resolve(key, WriteId::new(), &matches).await.map(drop),
                ),
                (
                    "transact",
                    store.transact(ops, Default::default()).await.map(drop),
                ),
            ];
            for (operation, result) in results {
                refused(
                    &format!("{operation} with the version `{text}`"),
                    result,
                    ErrorKind::InvalidVersion,
                );
            }
        }
    }
    for text in [
        "",
        " ",
        "a b",
        "é",
        "\n",
        "\"etag\"",
        &"x".repeat(Version::MAX_LEN + 1),
    ] {
        refused(
            &format!("parsing {text:?}"),
            text.parse::<Version>(),
            ErrorKind::InvalidVersion,
        );
    }
    assert_eq!(subject.entry(&there).await, before);
    subject.assert_absent(&missing).await;
}

/// Another store's version is refused in one way or the other, never taken.
pub async fn a_version_of_another_store_never_matches(subject: &Subject) {
    let key = subject.key("ours");
    subject.put(&key, "kept").await;
    let foreign = ok(
        "a put elsewhere",
        MemoryStore::new()
            .put(&key, "kept".into(), Default::default())
            .await,
    );
    let put = subject
        .store()
        .compare_and_set(&key, Some(&foreign), "changed")
        .await;
    match put {
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::InvalidVersion) => {}
        other => panic!("another store's version should be refused: {other:?}"),
    }
    subject.assert_value(&key, "kept").await;
}
