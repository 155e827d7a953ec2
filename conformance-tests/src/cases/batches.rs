//! Batches: any number of keys, each with its own result, in the order asked.

use std::time::Duration;

use statestore_api::{
    Bytes, Consistency, DeleteOptions, Entry, Error, ErrorKind, Key, KeyPart, Precondition, PutOptions,
    Result, StateStore as _, StateStoreExt as _, Ttl, Version,
};

use crate::Subject;
use crate::expect::ok;

/// Numbers of keys around those that services take in one request.
const SIZES: [usize; 8] = [1, 25, 26, 99, 100, 101, 250, 501];

type Put = (Key, Bytes, PutOptions);

fn put(key: &Key, value: &str, options: impl Into<PutOptions>) -> Put {
    (key.clone(), value.to_owned().into(), options.into())
}

async fn get_many(subject: &Subject, keys: &[Key]) -> Vec<Option<Entry>> {
    let results = subject.store().get_many(keys, Default::default()).await;
    assert_eq!(results.len(), keys.len(), "how many results a batch of reads has");
    let read =
        |(key, result): (&Key, Result<Option<Entry>>)| ok(&format!("reading {key:?} in a batch"), result);
    keys.iter().zip(results).map(read).collect()
}

async fn put_many(subject: &Subject, puts: Vec<Put>) -> Vec<Result<Version>> {
    let count = puts.len();
    let results = subject.store().put_many(puts).await;
    assert_eq!(results.len(), count, "how many results a batch of puts has");
    results
}

async fn delete_many(subject: &Subject, deletes: Vec<(Key, DeleteOptions)>) -> Vec<Result<()>> {
    let count = deletes.len();
    let results = subject.store().delete_many(deletes).await;
    assert_eq!(results.len(), count, "how many results a batch of deletes has");
    results
}

/// Expects that all puts have succeeded, and returns their versions.
fn succeeded(results: Vec<Result<Version>>) -> Vec<Version> {
    let version =
        |(place, result): (usize, Result<Version>)| ok(&format!("put {place} of the batch"), result);
    results.into_iter().enumerate().map(version).collect()
}

fn kind<T>(result: &Result<T>) -> Option<ErrorKind> {
    result.as_ref().err().map(Error::kind)
}

/// The value of an entry, or that there is none, for people.
fn shown(entry: Option<&Entry>) -> Option<String> {
    entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
}

/// Keys in several partitions, in an order that is no store's.
fn scattered(subject: &Subject, count: usize) -> Vec<Key> {
    let mut keys: Vec<Key> = (0..count)
        .map(|number| subject.key_in(["a", "b", "c"][number % 3], &format!("key-{number}")))
        .collect();
    fastrand::shuffle(&mut keys);
    keys
}

/// A batch of reads shows what reads of its keys show, in the order asked, whatever is missing and whatever is asked
/// for twice.
pub async fn get_many_answers_in_the_order_asked(subject: &Subject) {
    let hour = PutOptions::expiring(Ttl::After(Duration::from_secs(3600)));
    let there = ["z", "a", "é", "\u{10ffff}", "m/1", "' or 1=1 --"].map(|id| subject.key(id));
    for key in &there {
        subject.put(key, key.id()).await;
    }
    let elsewhere = ["z", "a"].map(|id| subject.key_in("elsewhere", id));
    for key in &elsewhere {
        subject.put_with(key, "elsewhere", hour.clone()).await;
    }
    let gone = subject.gone().await.map(|(_, key)| key);
    let mut keys: Vec<Key> = there.iter().chain(&elsewhere).chain(&gone).cloned().collect();
    keys.extend([
        there[1].clone(),
        gone[0].clone(),
        there[1].clone(),
        elsewhere[1].clone(),
    ]);
    for _ in 0..5 {
        fastrand::shuffle(&mut keys);
        // Some next to each other twice.
        keys.dedup();
        keys.insert(3, keys[3].clone());
        for (key, entry) in keys.iter().zip(get_many(subject, &keys).await) {
            let read = subject.get(key).await;
            assert_eq!(
                shown(entry.as_ref()),
                shown(read.as_ref()),
                "the value of {key:?}"
            );
            assert_eq!(entry, read, "{key:?} read in a batch, and alone");
        }
    }
    for key in &gone {
        assert_eq!(
            get_many(subject, std::slice::from_ref(key)).await,
            [None],
            "{key:?}"
        );
    }
}

/// A batch of nothing has no results.
pub async fn batches_of_nothing_do_nothing(subject: &Subject) {
    assert!(get_many(subject, &[]).await.is_empty());
    assert!(put_many(subject, Vec::new()).await.is_empty());
    assert!(delete_many(subject, Vec::new()).await.is_empty());
}

/// A batch of reads is split to fit the service.
pub async fn get_many_takes_any_number_of_keys(subject: &Subject) {
    let most = SIZES[SIZES.len() - 1];
    let keys = scattered(subject, most);
    // Every third is missing, so that a result in the wrong place shows.
    let is_there = |place: usize| place % 3 != 1;
    let puts = keys.iter().enumerate().filter(|(place, _)| is_there(*place));
    succeeded(
        put_many(
            subject,
            puts.map(|(_, key)| put(key, key.id(), PutOptions::default()))
                .collect(),
        )
        .await,
    );
    for size in SIZES {
        let results = get_many(subject, &keys[..size]).await;
        for (place, (key, entry)) in keys.iter().zip(&results).enumerate() {
            let expected = is_there(place).then(|| key.id().to_owned());
            assert_eq!(shown(entry.as_ref()), expected, "key {place} of {size}, {key:?}");
        }
    }
    let twice: Vec<Key> = keys[..101]
        .iter()
        .chain(keys[..101].iter().rev())
        .cloned()
        .collect();
    let results = get_many(subject, &twice).await;
    let back: Vec<_> = results.iter().rev().cloned().collect();
    assert_eq!(results, back, "101 keys, and the same backwards, in one batch");
}

/// What does not fit into one reply of the service is asked for again, and never taken for missing.
pub async fn get_many_takes_more_than_a_reply_holds(subject: &Subject) {
    // DynamoDB's reply holds 16 MB, and of one partition's items 1 MB in some calls.
    let size = subject.store().capabilities().max_value_bytes.min(300 << 10);
    let keys: Vec<Key> = (0..57)
        .map(|number| subject.key(&format!("large-{number}")))
        .collect();
    let value = |place: u8| Bytes::from(vec![place; size]);
    let puts = keys.iter().zip(0..);
    succeeded(
        put_many(
            subject,
            puts.map(|(key, place)| (key.clone(), value(place), PutOptions::default()))
                .collect(),
        )
        .await,
    );
    for ((key, place), entry) in keys.iter().zip(0..).zip(get_many(subject, &keys).await) {
        let entry = entry.unwrap_or_else(|| panic!("{key:?} is there and was read as missing"));
        assert!(
            entry.value == value(place),
            "the value of {key:?} was read differently"
        );
    }
}

/// An eventual batch of reads may miss the last writes, but is never wrong about what it shows.
pub async fn an_eventual_get_many_is_answered(subject: &Subject) {
    let keys = scattered(subject, 101);
    succeeded(
        put_many(
            subject,
            keys.iter()
                .map(|key| put(key, key.id(), PutOptions::default()))
                .collect(),
        )
        .await,
    );
    let results = subject
        .store()
        .get_many(&keys, Consistency::Eventual.into())
        .await;
    assert_eq!(results.len(), keys.len(), "how many results a batch of reads has");
    for (key, result) in keys.iter().zip(results) {
        let entry = ok(&format!("reading {key:?} in a batch"), result);
        if let Some(entry) = entry {
            assert_eq!(entry.value, key.id(), "the value of {key:?}");
        }
    }
}

/// A key that is too long is refused alone; the others are read.
pub async fn get_many_fails_for_a_bad_key_alone(subject: &Subject) {
    let good = ["a", "b", "c"].map(|id| subject.key(id));
    for key in &good {
        subject.put(key, key.id()).await;
    }
    let capabilities = subject.store().capabilities();
    let long_id = subject.key(&"x".repeat(capabilities.max_id_bytes + 1));
    let long_partition = subject.key_in(&"x".repeat(capabilities.max_partition_bytes), "a");
    for place in 0..=good.len() {
        let mut keys = good.to_vec();
        keys.insert(place, long_id.clone());
        keys.insert(place, long_partition.clone());
        let results = subject.store().get_many(&keys, Default::default()).await;
        assert_eq!(results.len(), keys.len(), "how many results a batch of reads has");
        for (key, result) in keys.iter().zip(results) {
            let expected = match key {
                key if *key == long_id => Some(KeyPart::Id),
                key if *key == long_partition => Some(KeyPart::Partition),
                _ => None,
            };
            match (result, expected) {
                (Ok(entry), None) => {
                    assert_eq!(
                        shown(entry.as_ref()).as_deref(),
                        Some(key.id()),
                        "beside a bad key"
                    );
                }
                (Err(Error::InvalidKey { part, .. }), Some(expected)) => assert_eq!(part, expected),
                (other, None) => panic!("`{key}` should be read although others are too long: {other:?}"),
                (other, Some(part)) => panic!("a {part} that is too long should be refused: {other:?}"),
            }
        }
    }
}

/// A batch of puts returns each one's version in the order given.
pub async fn put_many_answers_in_the_order_given(subject: &Subject) {
    let keys = scattered(subject, 12);
    let expiry = Ttl::At(subject.now() + Duration::from_secs(3600));
    let options = |place: usize| match place % 3 {
        0 => PutOptions::default(),
        1 => PutOptions::from(Precondition::Absent),
        _ => PutOptions::expiring(expiry),
    };
    let puts = keys.iter().enumerate();
    let puts = puts.map(|(place, key)| put(key, &format!("value {place}"), options(place)));
    let versions = succeeded(put_many(subject, puts.collect()).await);
    for (place, (key, version)) in keys.iter().zip(&versions).enumerate() {
        let entry = subject.assert_value(key, &format!("value {place}")).await;
        assert_eq!(
            entry.version, *version,
            "the version that was returned for put {place}"
        );
        assert_eq!(
            entry.expires_at.is_some(),
            place % 3 == 2,
            "the expiry of put {place}"
        );
    }
    // Each version is good for its key.
    let puts = keys.iter().zip(&versions);
    let puts = puts.map(|(key, version)| put(key, "replaced", version.clone()));
    succeeded(put_many(subject, puts.rev().collect()).await);
    for key in &keys {
        subject.assert_value(key, "replaced").await;
    }
}

/// A batch of puts is split to fit the service.
pub async fn put_many_takes_any_number_of_keys(subject: &Subject) {
    for size in SIZES {
        let keys = scattered(subject, size);
        let value = |place: usize| format!("value {place} of {size}");
        let puts = keys.iter().enumerate();
        let puts = puts.map(|(place, key)| put(key, &value(place), PutOptions::default()));
        let versions = succeeded(put_many(subject, puts.collect()).await);
        let entries = get_many(subject, &keys).await;
        for (place, (entry, version)) in entries.iter().zip(&versions).enumerate() {
            assert_eq!(shown(entry.as_ref()), Some(value(place)));
            let shown = entry.as_ref().map(|entry| &entry.version);
            assert_eq!(shown, Some(version), "the version of put {place} of {size}");
        }
    }
}

/// A put that cannot be made fails alone, with its own error.
pub async fn put_many_fails_for_a_conflict_alone(subject: &Subject) {
    let capabilities = subject.store().capabilities();
    let [there, other, missing, kept] = ["there", "other", "missing", "kept"].map(|id| subject.key(id));
    let stale = subject.put(&there, "old").await;
    let current = subject.put(&there, "there").await;
    subject.put(&other, "other").await;
    subject.put(&kept, "kept").await;
    let foreign: Version = "~.no-version-of-any-store.~"
        .parse()
        .expect("it has a version's characters");
    let long = subject.key(&"x".repeat(capabilities.max_id_bytes + 1));
    let bad = [
        (put(&there, "x", Precondition::Absent), ErrorKind::Conflict),
        (put(&there, "x", stale), ErrorKind::Conflict),
        (put(&missing, "x", Precondition::Exists), ErrorKind::Conflict),
        (put(&missing, "x", current.clone()), ErrorKind::Conflict),
        (put(&there, "x", foreign), ErrorKind::InvalidVersion),
        (put(&long, "x", PutOptions::default()), ErrorKind::InvalidKey),
        (
            put(&kept, "x", PutOptions::expiring(Ttl::After(Duration::ZERO))),
            ErrorKind::InvalidTtl,
        ),
        (
            put(
                &kept,
                &"x".repeat(capabilities.max_value_bytes + 1),
                PutOptions::default(),
            ),
            ErrorKind::ValueTooLarge,
        ),
    ];
    for (place, (bad, expected)) in bad.into_iter().enumerate() {
        let keys = ["a", "b", "c"].map(|id| subject.key(&format!("{id}-{place}")));
        let mut puts: Vec<Put> = keys
            .iter()
            .map(|key| put(key, "good", PutOptions::default()))
            .collect();
        puts.insert(place % 4, bad);
        let mut results = put_many(subject, puts).await;
        let refused = results.remove(place % 4);
        assert_eq!(
            kind(&refused),
            Some(expected),
            "bad put {place} was answered by {refused:?}"
        );
        for (key, version) in keys.iter().zip(succeeded(results)) {
            let entry = subject.assert_value(key, "good").await;
            assert_eq!(entry.version, version, "the version of `{key}`");
        }
    }
    assert_eq!(subject.assert_value(&there, "there").await.version, current);
    subject.assert_value(&kept, "kept").await;
    subject.assert_absent(&missing).await;
}

/// Puts of one key are made one after the other, in the order given.
pub async fn put_many_writes_a_key_twice_in_order(subject: &Subject) {
    let keys = scattered(subject, 10);
    // Each key ten times over, among the others'.
    let mut puts: Vec<Put> = Vec::new();
    for round in 0..10 {
        // The second create fails because the first was made before it; a write that expects one succeeds.
        let precondition = match round {
            0 | 1 => Precondition::Absent,
            5 => Precondition::Exists,
            _ => Precondition::None,
        };
        for key in &keys {
            puts.push(put(key, &format!("round {round}"), precondition.clone()));
        }
    }
    let results = put_many(subject, puts).await;
    for (place, result) in results.iter().enumerate() {
        let expected = (place / keys.len() == 1).then_some(ErrorKind::Conflict);
        assert_eq!(kind(result), expected, "put {place} was answered by {result:?}");
    }
    let mut versions: Vec<&Version> = results.iter().flatten().collect();
    let last = versions.split_off(versions.len() - keys.len());
    for (key, version) in keys.iter().zip(last) {
        let entry = subject.assert_value(key, "round 9").await;
        assert_eq!(entry.version, *version, "the version of the last put");
        assert!(
            !versions.contains(&version),
            "two puts of a batch returned one version"
        );
    }
}

/// A batch of deletes has each one's result in the order given; one that fails fails alone.
pub async fn delete_many_answers_in_the_order_given(subject: &Subject) {
    let ids = ["stale", "plain", "matching", "existing", "absent", "late"];
    let [stale, plain, matching, existing, absent, late] = ids.map(|id| subject.key(id));
    let missing = subject.key("missing");
    let old = subject.put(&stale, "old").await;
    let mut versions = Vec::new();
    for key in [&stale, &plain, &matching, &existing, &absent, &late] {
        versions.push(subject.put(key, "kept").await);
    }
    let long = subject.key(&"x".repeat(subject.store().capabilities().max_id_bytes + 1));
    let of_late = versions[5].clone();
    let deletes: [(&Key, DeleteOptions, Option<ErrorKind>); 10] = [
        (&stale, old.into(), Some(ErrorKind::Conflict)),
        (&plain, DeleteOptions::default(), None),
        (&missing, DeleteOptions::default(), None),
        (&missing, Precondition::Exists.into(), Some(ErrorKind::Conflict)),
        (&matching, versions[2].clone().into(), None),
        (&long, DeleteOptions::default(), Some(ErrorKind::InvalidKey)),
        (&existing, Precondition::Exists.into(), None),
        (&absent, Precondition::Absent.into(), Some(ErrorKind::Conflict)),
        // Twice: the second finds it gone.
        (&late, of_late.clone().into(), None),
        (&late, of_late.into(), Some(ErrorKind::Conflict)),
    ];
    let batch = deletes
        .iter()
        .map(|(key, options, _)| ((*key).clone(), options.clone()));
    let results = delete_many(subject, batch.collect()).await;
    for (place, (result, (key, options, expected))) in results.iter().zip(&deletes).enumerate() {
        let condition = &options.precondition;
        assert_eq!(
            kind(result),
            *expected,
            "delete {place}, of {key:?} under {condition:?}, was answered by {result:?}"
        );
    }
    for key in [&stale, &absent] {
        subject.assert_value(key, "kept").await;
    }
    for key in [&plain, &matching, &existing, &late] {
        subject.assert_absent(key).await;
    }
}

/// A batch of deletes is split to fit the service.
pub async fn delete_many_takes_any_number_of_keys(subject: &Subject) {
    for size in [26, 101, 250] {
        let keys = scattered(subject, size + 1);
        let puts = keys.iter().map(|key| put(key, "x", PutOptions::default()));
        succeeded(put_many(subject, puts.collect()).await);
        let (kept, deleted) = keys.split_first().expect("there are keys");
        let deletes = deleted.iter().map(|key| (key.clone(), DeleteOptions::default()));
        for (key, result) in deleted.iter().zip(delete_many(subject, deletes.collect()).await) {
            ok(&format!("deleting {key:?}"), result);
        }
        for (key, entry) in deleted.iter().zip(get_many(subject, deleted).await) {
            assert_eq!(
                entry, None,
                "{key:?} is still there, one of {size} that were deleted"
            );
        }
        subject.assert_value(kept, "x").await;
    }
}
