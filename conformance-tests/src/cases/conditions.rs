//! The compare-and-set: what each precondition takes, and that a refused write leaves no trace.

use std::time::Duration;

use statestore_api::{Entry, Key, Precondition, PutOptions, StateStoreExt, Ttl, Version};

use crate::Subject;
use crate::expect::{conflict, ok};

/// An hour, which no test outlives.
const HOUR: Ttl = Ttl::After(Duration::from_secs(3600));

/// A key with a value and an expiry, written twice, and both versions.
async fn written_twice(subject: &Subject, id: &str) -> (Key, Version, Version) {
    let key = subject.key(id);
    let stale = subject.put(&key, "first").await;
    let current = subject.put_with(&key, "second", PutOptions::expiring(HOUR)).await;
    (key, stale, current)
}

/// A put that has to conflict and to change nothing.
async fn put_conflicts(subject: &Subject, what: &str, key: &Key, precondition: Precondition) {
    let before = subject.get(key).await;
    let put = subject
        .store()
        .put(key, "changed".into(), PutOptions::from(precondition))
        .await;
    conflict(what, put, before.as_ref());
    assert_eq!(
        subject.get(key).await,
        before,
        "{what}: the refused put changed something"
    );
}

/// A delete that has to conflict and to change nothing.
async fn delete_conflicts(subject: &Subject, what: &str, key: &Key, precondition: Precondition) {
    let before = subject.get(key).await;
    let delete = subject.store().delete(key, precondition.into()).await;
    conflict(what, delete, before.as_ref());
    assert_eq!(
        subject.get(key).await,
        before,
        "{what}: the refused delete changed something"
    );
}

/// A put that has to be applied.
async fn put_applies(subject: &Subject, what: &str, key: &Key, precondition: Precondition) -> Entry {
    let put = subject
        .store()
        .put(key, "written".into(), PutOptions::from(precondition))
        .await;
    let version = ok(what, put);
    let entry = subject.assert_value(key, "written").await;
    assert_eq!(entry.version, version, "{what}");
    assert_eq!(entry.expires_at, None, "{what}: an expiry was left behind");
    entry
}

/// Without a condition a put is applied whatever is there.
pub async fn none_always_holds(subject: &Subject) {
    for (state, key) in subject.gone().await {
        put_applies(subject, state, &key, Precondition::None).await;
    }
    let (key, ..) = written_twice(subject, "there").await;
    put_applies(subject, "there", &key, Precondition::None).await;
}

/// The key is missing or expired.
pub async fn absent_holds_when_the_key_is_gone(subject: &Subject) {
    for (state, key) in subject.gone().await {
        put_applies(subject, state, &key, Precondition::Absent).await;
    }
}

/// A create never replaces.
pub async fn absent_conflicts_when_the_key_is_there(subject: &Subject) {
    let (key, ..) = written_twice(subject, "there").await;
    put_conflicts(
        subject,
        "a create of a key that is there",
        &key,
        Precondition::Absent,
    )
    .await;
    let empty = subject.key("empty");
    subject.put(&empty, "").await;
    put_conflicts(
        subject,
        "a create of a key with an empty value",
        &empty,
        Precondition::Absent,
    )
    .await;
}

/// The key is there and not expired.
pub async fn exists_holds_when_the_key_is_there(subject: &Subject) {
    let (key, ..) = written_twice(subject, "there").await;
    put_applies(subject, "there", &key, Precondition::Exists).await;
    put_applies(subject, "there, again", &key, Precondition::Exists).await;
}

/// A put with `Exists` never creates.
pub async fn exists_conflicts_when_the_key_is_gone(subject: &Subject) {
    for (state, key) in subject.gone().await {
        put_conflicts(
            subject,
            &format!("exists on a key that is {state}"),
            &key,
            Precondition::Exists,
        )
        .await;
    }
}

/// The key is there and its version is that one.
pub async fn matches_holds_for_the_current_version(subject: &Subject) {
    let (key, _, mut version) = written_twice(subject, "there").await;
    for round in ["first", "second", "third"] {
        version = put_applies(subject, round, &key, Precondition::Matches(version))
            .await
            .version;
    }
    // The version of an unconditional put, and of a read, is as good.
    subject.put(&key, "unconditional").await;
    let read = subject.entry(&key).await.version;
    put_applies(
        subject,
        "after an unconditional put",
        &key,
        Precondition::Matches(read),
    )
    .await;
}

/// A version that was replaced matches no more, however often.
pub async fn matches_conflicts_for_a_stale_version(subject: &Subject) {
    let (key, stale, current) = written_twice(subject, "there").await;
    put_conflicts(
        subject,
        "a stale version",
        &key,
        Precondition::Matches(stale.clone()),
    )
    .await;
    put_conflicts(
        subject,
        "a stale version, again",
        &key,
        Precondition::Matches(stale.clone()),
    )
    .await;
    put_applies(
        subject,
        "the current version",
        &key,
        Precondition::Matches(current.clone()),
    )
    .await;
    for replaced in [stale, current] {
        put_conflicts(
            subject,
            "a version that was replaced",
            &key,
            Precondition::Matches(replaced),
        )
        .await;
    }
}

/// `Matches` on a key that was deleted or has expired is a conflict, never a create.
pub async fn matches_never_creates_a_key_that_is_gone(subject: &Subject) {
    let deleted = subject.key("deleted-again");
    let last = subject.put(&deleted, "old").await;
    subject.delete(&deleted).await;
    put_conflicts(
        subject,
        "the last version of a deleted key",
        &deleted,
        Precondition::Matches(last.clone()),
    )
    .await;

    let expired = subject.key("expired-again");
    let its = subject.put_expired(&expired, "old").await;
    put_conflicts(
        subject,
        "the version of an expired key",
        &expired,
        Precondition::Matches(its),
    )
    .await;

    for (state, key) in subject.gone().await {
        put_conflicts(
            subject,
            &format!("a version on a key that is {state}"),
            &key,
            Precondition::Matches(last.clone()),
        )
        .await;
    }
}

/// A version from before a delete matches nothing that came after it: no ABA.
pub async fn matches_conflicts_after_delete_and_recreate(subject: &Subject) {
    let key = subject.key("reborn");
    let first = subject.put(&key, "same").await;
    subject.delete(&key).await;
    let second = ok("create", subject.store().create(&key, "same").await);
    put_conflicts(
        subject,
        "a version from before the delete",
        &key,
        Precondition::Matches(first.clone()),
    )
    .await;
    delete_conflicts(
        subject,
        "a version from before the delete",
        &key,
        Precondition::Matches(first),
    )
    .await;

    let expired = subject.key("expired-and-reborn");
    let old = subject.put_expired(&expired, "same").await;
    ok("create", subject.store().create(&expired, "same").await);
    put_conflicts(
        subject,
        "a version from before the expiry",
        &expired,
        Precondition::Matches(old),
    )
    .await;
    put_applies(
        subject,
        "the version of the new entry",
        &key,
        Precondition::Matches(second),
    )
    .await;
}

/// A value that changed and changed back is not the same write.
pub async fn matches_compares_versions_not_values(subject: &Subject) {
    let key = subject.key("there-and-back");
    let first = subject.put(&key, "a").await;
    subject.put(&key, "b").await;
    subject.put(&key, "a").await;
    put_conflicts(
        subject,
        "the version of an equal value",
        &key,
        Precondition::Matches(first),
    )
    .await;
}

/// `delete` takes any condition.
pub async fn delete_takes_every_condition(subject: &Subject) {
    let store = subject.store();
    for name in ["none", "exists", "matches"] {
        let (key, _, current) = written_twice(subject, name).await;
        let precondition = match name {
            "none" => Precondition::None,
            "exists" => Precondition::Exists,
            _ => Precondition::Matches(current),
        };
        ok(name, store.delete(&key, precondition.into()).await);
        subject.assert_absent(&key).await;
    }
    for (state, key) in subject.gone().await {
        for precondition in [Precondition::None, Precondition::Absent] {
            ok(
                &format!("{precondition:?} on a key that is {state}"),
                store.delete(&key, precondition.into()).await,
            );
            subject.assert_absent(&key).await;
        }
    }
    let (key, ..) = written_twice(subject, "there").await;
    delete_conflicts(
        subject,
        "absent on a key that is there",
        &key,
        Precondition::Absent,
    )
    .await;
}

/// A delete of what was changed meanwhile is refused.
pub async fn delete_with_a_stale_version_conflicts(subject: &Subject) {
    let (key, stale, current) = written_twice(subject, "there").await;
    delete_conflicts(subject, "a stale version", &key, Precondition::Matches(stale)).await;
    ok(
        "the current version",
        subject.store().delete(&key, current.into()).await,
    );
    subject.assert_absent(&key).await;
}

/// A conditional delete of what is not there is refused: the caller's picture is wrong.
pub async fn delete_with_a_version_of_a_key_that_is_gone_conflicts(subject: &Subject) {
    let deleted = subject.key("deleted-again");
    let last = subject.put(&deleted, "old").await;
    ok(
        "the first delete",
        subject.store().delete(&deleted, last.clone().into()).await,
    );
    delete_conflicts(
        subject,
        "the second delete",
        &deleted,
        Precondition::Matches(last.clone()),
    )
    .await;

    let expired = subject.key("expired-again");
    let its = subject.put_expired(&expired, "old").await;
    delete_conflicts(
        subject,
        "the version of an expired key",
        &expired,
        Precondition::Matches(its),
    )
    .await;

    for (state, key) in subject.gone().await {
        delete_conflicts(
            subject,
            &format!("exists on a key that is {state}"),
            &key,
            Precondition::Exists,
        )
        .await;
        delete_conflicts(
            subject,
            &format!("a version on a key that is {state}"),
            &key,
            Precondition::Matches(last.clone()),
        )
        .await;
    }
}

/// Nothing changes: not the value, the version or the expiry, whatever the refused write would have set.
pub async fn a_refused_write_changes_nothing(subject: &Subject) {
    let (key, stale, current) = written_twice(subject, "there").await;
    let before = subject.entry(&key).await;
    for ttl in [Ttl::None, Ttl::After(Duration::from_secs(60)), Ttl::Keep] {
        for precondition in [Precondition::Absent, Precondition::Matches(stale.clone())] {
            let options = PutOptions::from(precondition).with_ttl(ttl);
            conflict(
                "a refused put",
                subject.store().put(&key, "changed".into(), options).await,
                Some(&before),
            );
            assert_eq!(subject.entry(&key).await, before, "{ttl:?}");
        }
    }
    put_applies(
        subject,
        "the version from before",
        &key,
        Precondition::Matches(current),
    )
    .await;
}

/// A conflict says what is there now, or that it does not know; and on which key.
pub async fn a_conflict_shows_what_is_there(subject: &Subject) {
    let (key, stale, _) = written_twice(subject, "there").await;
    let there = subject.entry(&key).await;
    let shown = conflict("a create", subject.store().create(&key, "x").await, Some(&there));
    assert_eq!((&shown.key, shown.op), (&key, None));
    let put = subject.store().compare_and_set(&key, Some(&stale), "x").await;
    let shown = conflict("a stale compare_and_set", put, Some(&there));
    assert_eq!((&shown.key, shown.op), (&key, None));
    for (state, key) in subject.gone().await {
        let put = subject.store().compare_and_set(&key, Some(&stale), "x").await;
        conflict(&format!("a compare_and_set of a key that is {state}"), put, None);
        conflict(
            &format!("a delete of a key that is {state}"),
            subject.store().delete(&key, Precondition::Exists.into()).await,
            None,
        );
    }
}

/// `compare_and_set` is `put` with `Matches`, or with `Absent` for `None`.
pub async fn compare_and_set_creates_and_replaces(subject: &Subject) {
    let key = subject.key("counter");
    let store = subject.store();
    let first = ok("from nothing", store.compare_and_set(&key, None, "1").await);
    let there = subject.assert_value(&key, "1").await;
    conflict(
        "from nothing, again",
        store.compare_and_set(&key, None, "x").await,
        Some(&there),
    );
    let second = ok(
        "from the first",
        store.compare_and_set(&key, Some(&first), "2").await,
    );
    assert_ne!(first, second);
    let there = subject.assert_value(&key, "2").await;
    conflict(
        "from the first, again",
        store.compare_and_set(&key, Some(&first), "x").await,
        Some(&there),
    );
    ok(
        "from the second",
        store.compare_and_set(&key, Some(&second), "3").await,
    );
    subject.assert_value(&key, "3").await;
}
