//! Restart: what was acknowledged is there after the process has ended, and what was known is known still.

use std::time::Duration;

use futures::TryStreamExt;
use futures::future::join_all;
use statestore_api::Precondition::{Absent, Matches};
use statestore_api::{
    Bytes, Entry, Error, Item, Key, ListOptions, Precondition, PutOptions, Resolution, StateStore as _,
    StateStoreExt as _, TransactOp, Ttl, Version,
};

use super::exactly_once::{
    Kind, Replacement, Transaction, Write, assert_conflict, remembered, replace, unchanged,
};
use super::expiry::{HOUR, Mutation, SOON, whole_second};
use crate::Subject;

/// Every write that was acknowledged is there after a restart: value, version and expiry.
pub async fn every_acknowledged_write_is_there(subject: &mut Subject) {
    let mut keys: Vec<Key> = Vec::new();
    let at = whole_second(subject, HOUR) + Duration::from_millis(789);
    let large = vec![0x5a; 300_000.min(subject.store().capabilities().max_value_bytes)];
    let values: [(&str, Bytes); 5] = [
        ("text", "x".into()),
        ("empty", Bytes::new()),
        ("binary", Bytes::from_static(b"\xff\0\xc3\x28")),
        ("large", large.into()),
        ("ключ/\0%", "an id of its own".into()),
    ];
    for (id, value) in values {
        let key = subject.key(id);
        let put = subject.store().put(&key, value, Default::default()).await;
        put.unwrap_or_else(|error| panic!("putting `{id}`: {error}"));
        keys.push(key);
    }
    for id in [
        "expiring",
        "touched",
        "cleared",
        "replaced",
        "deleted",
        "recreated",
    ] {
        let key = subject.key(id);
        subject
            .put_with(&key, "before", PutOptions::expiring(Ttl::At(at)))
            .await;
        keys.push(key);
    }
    let key = |id| subject.key(id);
    let (touched, store) = (key("touched"), subject.store());
    let touch = store
        .touch(&touched, Ttl::After(2 * HOUR), Default::default())
        .await;
    touch.expect("a touch of a key that is there");
    subject.put(&key("cleared"), "before").await;
    for value in ["one", "two", "three"] {
        subject.put(&key("replaced"), value).await;
    }
    for id in ["deleted", "recreated"] {
        subject.delete(&key(id)).await;
    }
    subject.put(&key("recreated"), "after").await;
    let ops = vec![
        TransactOp::put(key("transacted"), "x").when(Absent),
        TransactOp::put_expiring(key("replaced"), "four", Ttl::At(at)),
        TransactOp::delete(key("recreated")),
    ];
    let done = subject.store().transact(ops, Default::default()).await;
    done.expect("a transaction whose conditions hold");
    keys.push(key("transacted"));
    // Many at once, the last of them acknowledged just before the end.
    let many: Vec<Key> = (0..100)
        .map(|i| subject.key_in(&format!("p{}", i % 3), &format!("{i:03}")))
        .collect();
    join_all(many.iter().map(|key| subject.put(key, key.id()))).await;
    keys.extend(many);

    let before = read(subject, &keys).await;
    let listed = list(subject).await;
    for restart in 1..=3 {
        subject.restart().await;
        let ready = subject.store().ready().await;
        ready.unwrap_or_else(|error| panic!("restart {restart}: the store is not ready: {error}"));
        for (key, (before, after)) in keys.iter().zip(before.iter().zip(read(subject, &keys).await)) {
            assert_eq!(after, *before, "restart {restart} changed `{key}`");
        }
        assert!(
            list(subject).await == listed,
            "restart {restart}: the partition lists differently"
        );
    }

    // The store works, with the versions from before.
    for (key, before) in keys.iter().zip(before) {
        let expected = before.map(|entry| entry.version);
        let next = subject
            .store()
            .compare_and_set(key, expected.as_ref(), "next")
            .await;
        next.unwrap_or_else(|error| {
            panic!("a compare-and-set on `{key}` with what was there before the restart: {error}")
        });
        subject.assert_value(key, "next").await;
    }
}

/// A version is never reused, not after a restart either.
pub async fn no_version_is_reused(subject: &mut Subject) {
    let key = subject.key("versioned");
    let mut versions: Vec<Version> = Vec::new();
    for restart in 0..4 {
        // The same writes in the same order each time, as a counter that begins anew would number them.
        let mut new = vec![subject.put_with(&key, "same", Absent).await];
        new.push(subject.put(&key, "same").await);
        let touch = subject
            .store()
            .touch(&key, Ttl::After(HOUR), Default::default())
            .await;
        new.push(touch.expect("the key is there"));
        let ops = vec![TransactOp::put(key.clone(), "same")];
        let mut done = subject
            .store()
            .transact(ops, Default::default())
            .await
            .expect("a put");
        new.push(done.remove(0).expect("a put makes a version"));
        for version in new {
            assert!(
                !versions.contains(&version),
                "after restart {restart} the version {version} was given a second time"
            );
            versions.push(version);
        }
        let now = subject.entry(&key).await;
        for stale in &versions[..versions.len() - 1] {
            for mutation in Mutation::ALL {
                let answer = mutation.apply(subject, &key, Matches(stale.clone()));
                let answer = unchanged(subject, &key, answer).await;
                let when = format!("a {mutation:?} with a stale version, after restart {restart}");
                assert_conflict(answer, &key, Some(&now), &when);
            }
        }
        // One restart with the key there, the others without.
        if restart != 1 {
            subject.delete(&key).await;
        }
        subject.restart().await;
        if restart == 1 {
            assert_eq!(subject.entry(&key).await, now, "a restart changed the entry");
            subject.delete(&key).await;
        }
    }
}

/// A caller that stored its write id before it wrote learns after a crash what became of the write.
pub async fn a_lost_reply_is_resolved(subject: &mut Subject) {
    let mut applied = Vec::new();
    let mut lost = Vec::new();
    for kind in Kind::ALL {
        for times in [0, remembered(subject)] {
            let write = Write::new(subject, kind, &format!("applied-{times}")).await;
            let version = write.apply(subject).await;
            for _ in 0..times {
                replace(subject, &write.key, Replacement::CompareAndSet).await;
            }
            applied.push((write, times, version));
            let write = Write::new(subject, kind, &format!("lost-{times}")).await;
            for _ in 0..times {
                let there = subject.get(&write.key).await;
                match there {
                    Some(_) => drop(replace(subject, &write.key, Replacement::CompareAndSet).await),
                    None => drop(subject.put(&write.key, "theirs").await),
                }
            }
            lost.push((kind, write, times));
        }
    }
    subject.restart().await;
    for (write, times, version) in applied {
        let became = write.resolve(subject).await;
        assert_eq!(
            became,
            Resolution::Applied(version),
            "{write:?} was applied and replaced {times} times before the restart"
        );
    }
    for (kind, write, times) in lost {
        let became = write.resolve(subject).await;
        let expected = match kind {
            Kind::CompareAndSet | Kind::TouchIfMatches => Resolution::NotApplied,
            _ => Resolution::Unknown,
        };
        assert_eq!(
            became, expected,
            "{kind:?} was never applied, and its key replaced {times} times"
        );
    }
}

/// A retry is recognised after a restart: answered where it was applied, applied where it was not, and where that
/// cannot be told, said to be so.
pub async fn a_retry_is_recognised(subject: &mut Subject) {
    let mut writes = Vec::new();
    for kind in Kind::ALL {
        let write = Write::new(subject, kind, "recognised").await;
        let version = write.apply(subject).await;
        writes.push((write, version));
    }
    let forgotten = Write::new(subject, Kind::CompareAndSet, "forgotten").await;
    let forgotten_version = forgotten.apply(subject).await;
    for _ in 0..=remembered(subject) {
        replace(subject, &forgotten.key, Replacement::CompareAndSet).await;
    }
    let lost = Write::new(subject, Kind::CompareAndSet, "lost").await;
    replace(subject, &lost.key, Replacement::CompareAndSet).await;
    let arrives = Write::new(subject, Kind::CompareAndSet, "arrives").await;
    let transaction = Transaction::new(subject, "transaction").await;
    let versions = transaction.apply(subject).await;

    subject.restart().await;
    // What the writes of another process replace is remembered like the rest.
    for times in 0..=remembered(subject) {
        let when = format!("after a restart, replaced {times} times since");
        for (write, version) in &writes {
            if times > 0 {
                replace(subject, &write.key, Replacement::CompareAndSet).await;
            }
            write.assert_answered(subject, &[1], version, &when).await;
        }
        if times > 0 {
            replace(subject, transaction.keys()[1], Replacement::CompareAndSet).await;
        }
        transaction.assert_answered(subject, &[1], &versions, &when).await;
    }
    let answer = unchanged(subject, &forgotten.key, forgotten.send(subject, 1)).await;
    forgotten.assert_untold(&answer, Some(&forgotten_version), "forgotten before the restart");

    let now = subject.entry(&lost.key).await;
    let answer = unchanged(subject, &lost.key, lost.send(subject, 1)).await;
    assert_conflict(
        answer,
        &lost.key,
        Some(&now),
        "never applied, replaced before the restart",
    );

    let version = arrives.send(subject, 1).await;
    let version =
        version.unwrap_or_else(|error| panic!("a write that never arrived before the restart: {error}"));
    assert_eq!(subject.entry(&arrives.key).await.version, version);
    subject.restart().await;
    arrives
        .assert_answered(subject, &[2], &version, "applied by a retry before a restart")
        .await;
}

/// Expiry goes on: what is to expire expires when it was to, and what has expired does not come back.
pub async fn expiry_goes_on(subject: &mut Subject) {
    let at = whole_second(subject, HOUR) + Duration::from_millis(5);
    let put = async |id: &str, ttl| {
        let key = subject.key(id);
        let version = subject.put_with(&key, "x", PutOptions::expiring(ttl)).await;
        (key, version)
    };
    let (living, _) = put("living", Ttl::At(at)).await;
    let (for_ever, _) = put("for-ever", Ttl::None).await;
    let (cleared, _) = put("cleared", Ttl::After(SOON)).await;
    subject.put(&cleared, "x").await;
    let before = put("before", Ttl::After(SOON)).await;
    let before_too = put("before-too", Ttl::After(SOON)).await;
    subject.wait_until(subject.now() + SOON).await;
    let lives = SOON * 4;
    let after = put("after", Ttl::After(lives)).await;
    let after_too = put("after-too", Ttl::After(lives)).await;
    let expires = subject.now() + lives;

    subject.restart().await;
    subject.assert_absent(&before.0).await;
    subject.assert_absent(&before_too.0).await;
    subject.wait_until(expires).await;
    for (key, _) in [&before, &before_too, &after, &after_too] {
        subject.assert_absent(key).await;
    }
    for (key, there) in [(&living, Some(at)), (&for_ever, None), (&cleared, None)] {
        let entry = subject.assert_value(key, "x").await;
        assert_eq!(entry.expires_at, there, "the expiry of `{}`", key.id());
    }
    // Gone for conditions as well; for one of each, after a sweep.
    for (key, version) in [before, after] {
        check_gone(subject, &key, &version).await;
    }
    let swept = subject.store().sweep().await;
    swept.expect("the sweep succeeds");
    for (key, version) in [before_too, after_too] {
        check_gone(subject, &key, &version).await;
    }
    for key in [&living, &for_ever, &cleared] {
        subject.assert_value(key, "x").await;
    }
}

async fn check_gone(subject: &Subject, key: &Key, version: &Version) {
    let stale = PutOptions::from(version.clone());
    let put = subject.store().put(key, "y".into(), stale).await;
    assert_conflict(put, key, None, "the version of an entry that has expired");
    let exists = subject
        .store()
        .put(key, "y".into(), Precondition::Exists.into())
        .await;
    assert!(
        matches!(exists, Err(Error::Conflict(_))),
        "`{key}` has expired and is said to exist: {exists:?}"
    );
    let new = subject.put_with(key, "y", Absent).await;
    assert_ne!(new, *version, "the version of an expired entry came back");
    subject.assert_value(key, "y").await;
}

async fn read(subject: &Subject, keys: &[Key]) -> Vec<Option<Entry>> {
    join_all(keys.iter().map(|key| subject.get(key))).await
}

async fn list(subject: &Subject) -> Vec<Item> {
    if !subject.store().capabilities().listing {
        return Vec::new();
    }
    let listed = subject
        .store()
        .list(&subject.partition(""), ListOptions::default())
        .try_collect()
        .await;
    listed.expect("the listing succeeds")
}
