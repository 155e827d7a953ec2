//! Touch: the expiry moves, the value stays.

use std::time::Duration;

use statestore_api::Precondition::{Absent, Exists, Matches};
use statestore_api::{
    Bytes, Error, Precondition, PutOptions, Result, StateStore as _, StateStoreExt as _, TouchOptions, Ttl,
    Version, WriteId,
};

use super::exactly_once::{assert_conflict, unchanged};
use super::expiry::{HOUR, Mutation, SOON, Way, before_it_expires, reads, whole_second};
use crate::Subject;

/// A touch moves the expiry of an entry and leaves the value.
pub async fn touch_moves_the_expiry_and_keeps_the_value(subject: &Subject) {
    let large = vec![0xa7; 100_000.min(subject.store().capabilities().max_value_bytes)];
    let values: [(&str, Bytes); 4] = [
        ("text", "x".into()),
        ("empty", Bytes::new()),
        ("binary", Bytes::from_static(b"\xff\0\xc3\x28")),
        ("large", large.into()),
    ];
    for (name, value) in values {
        let key = subject.key(name);
        let put = subject.store().put(&key, value.clone(), Default::default()).await;
        put.unwrap_or_else(|error| panic!("putting {name}: {error}"));
        for hours in [1, 5, 3] {
            let at = whole_second(subject, hours * HOUR) + Duration::from_millis(11);
            let version = touch(subject, name, Ttl::At(at)).await;
            for (read, entry) in reads(subject, &key).await {
                let entry = entry.unwrap_or_else(|| panic!("{read} does not find what was touched: {name}"));
                assert_eq!(entry.expires_at, Some(at), "{name}: the expiry that {read} shows");
                assert_eq!(
                    entry.version, version,
                    "{name}: {read} shows another version than was answered"
                );
                assert!(entry.value == value, "{name}: touch changed the value");
            }
        }
    }
}

/// A touch can bring the expiry forward, put it off, and take it away.
pub async fn touch_can_shorten_and_clear_the_expiry(subject: &Subject) {
    let expiring = |ttl| PutOptions::expiring(Ttl::After(ttl));
    for (id, before) in [("hour", expiring(HOUR)), ("for-ever", PutOptions::default())] {
        let key = subject.key(id);
        subject.put_with(&key, "x", before).await;
        touch(subject, id, Ttl::After(SOON)).await;
    }
    let cleared = subject.key("cleared");
    subject.put_with(&cleared, "x", expiring(HOUR)).await;
    touch(subject, "cleared", Ttl::None).await;
    assert_eq!(
        subject.assert_value(&cleared, "x").await.expires_at,
        None,
        "the expiry was cleared"
    );
    subject.wait_until(subject.now() + SOON).await;
    for id in ["hour", "for-ever"] {
        for (read, entry) in reads(subject, &subject.key(id)).await {
            assert_eq!(
                entry, None,
                "{read} finds an entry behind the expiry that a touch brought forward: {id}"
            );
        }
    }

    // The service's own expiry moves as well.
    for (name, ttl) in [("put-off", Ttl::After(HOUR)), ("taken-away", Ttl::None)] {
        let (key, at) = before_it_expires(subject, name, Way::Touch, ttl).await;
        subject.wait_until(at).await;
        let entry = subject.assert_value(&key, "before").await;
        assert_eq!(
            entry.expires_at.is_none(),
            ttl == Ttl::None,
            "{name}: {:?}",
            entry.expires_at
        );
    }
}

/// A touch makes a new version, also when the expiry stays: the one before never matches again.
pub async fn touch_makes_a_new_version(subject: &Subject) {
    let at = Ttl::At(whole_second(subject, HOUR));
    let key = subject.key("touched");
    let mut old = vec![subject.put_with(&key, "x", PutOptions::expiring(at)).await];
    for ttl in [at, Ttl::Keep, Ttl::None, Ttl::None, Ttl::Keep, at] {
        let version = touch(subject, "touched", ttl).await;
        assert!(
            !old.contains(&version),
            "a touch with {ttl:?} returned a version that was there before"
        );
        assert_eq!(
            subject.assert_value(&key, "x").await.version,
            version,
            "a touch with {ttl:?}"
        );
        old.push(version);
    }
    let current = old.pop().expect("there are some");
    for stale in &old {
        for mutation in Mutation::ALL {
            let answer = mutation.apply(subject, &key, Matches(stale.clone()));
            let answer = unchanged(subject, &key, answer).await;
            let now = subject.entry(&key).await;
            let when = format!("a {mutation:?} with a version from before a touch");
            assert_conflict(answer, &key, Some(&now), &when);
        }
    }
    let put = subject.store().compare_and_set(&key, Some(&current), "y").await;
    put.unwrap_or_else(|error| panic!("the version that a touch returned: {error}"));
}

/// A touch takes `None`, `Exists` and `Matches`.
pub async fn touch_takes_conditions(subject: &Subject) {
    let key = subject.key("touched");
    let mut version = subject.put(&key, "x").await;
    for round in 0..2 {
        for condition in ["none", "exists", "matches"] {
            let precondition = match condition {
                "none" => Precondition::None,
                "exists" => Exists,
                _ => Matches(version.clone()),
            };
            let at = whole_second(subject, HOUR) + Duration::from_millis(round);
            let touch = subject
                .store()
                .touch(&key, Ttl::At(at), precondition.clone().into());
            version = touch
                .await
                .unwrap_or_else(|error| panic!("a touch under {precondition:?}: {error}"));
            let entry = subject.assert_value(&key, "x").await;
            assert_eq!(
                (&entry.version, entry.expires_at),
                (&version, Some(at)),
                "a touch under {precondition:?}"
            );
        }
    }
}

/// A touch of a key that is missing, deleted or expired is a conflict, whatever the precondition: it never creates
/// and never revives.
pub async fn touch_never_creates_or_revives(subject: &Subject) {
    let states = ["missing", "deleted", "expired"];
    for ttl in [Ttl::After(HOUR), Ttl::None, Ttl::Keep] {
        let mut touches = Vec::new();
        for state in states {
            for condition in ["none", "exists", "matches"] {
                // A partition each, lest one write sweeps another's entry.
                let key = subject.key_in(&format!("{state}-{condition}-{ttl:?}"), "x");
                let version = if state == "missing" {
                    subject
                        .put(&subject.key_in(key.partition(), "neighbour"), "x")
                        .await
                } else {
                    let soon = PutOptions::expiring(Ttl::After(SOON));
                    subject.put_with(&key, "x", soon).await
                };
                if state == "deleted" {
                    subject.delete(&key).await;
                }
                let precondition = match condition {
                    "none" => Precondition::None,
                    "exists" => Exists,
                    _ => Matches(version),
                };
                touches.push((state, key, precondition));
            }
        }
        subject.wait_until(subject.now() + SOON).await;
        for (state, key, precondition) in touches {
            let touch = subject.store().touch(&key, ttl, precondition.clone().into());
            let when = format!("a touch under {precondition:?} with {ttl:?} of a key that is {state}");
            assert_conflict(touch.await, &key, None, &when);
            subject.assert_absent(&key).await;
        }
    }
}

/// A touch that wants the key absent could never be applied: it is [`Error::InvalidOptions`].
pub async fn touch_for_an_absent_key_is_refused(subject: &Subject) {
    let there = subject.key("there");
    subject
        .put_with(&there, "x", PutOptions::expiring(Ttl::After(HOUR)))
        .await;
    let gone = subject.gone().await;
    for (state, key) in gone.into_iter().chain([("there", there)]) {
        for ttl in [Ttl::After(2 * HOUR), Ttl::None, Ttl::Keep] {
            let touch = subject.store().touch(&key, ttl, Absent.into());
            match unchanged(subject, &key, touch).await {
                Err(Error::InvalidOptions { .. }) => {}
                other => panic!("a touch that wants the key absent, which is {state}: {other:?}"),
            }
        }
    }
}

/// A touch that is refused, for whatever reason, leaves value, version and expiry.
pub async fn a_refused_touch_changes_nothing(subject: &Subject) {
    let expiring = PutOptions::expiring(Ttl::At(whole_second(subject, HOUR)));
    for (id, options) in [("expires", expiring), ("stays", PutOptions::default())] {
        let key = subject.key(id);
        let deleted = subject.put(&key, "first").await;
        subject.delete(&key).await;
        let stale = subject.put(&key, "second").await;
        subject.put_with(&key, "x", options).await;
        let elsewhere = subject.put(&subject.key(&format!("{id}-elsewhere")), "x").await;
        for (version, what) in [
            (deleted, "from before a delete"),
            (stale, "that is stale"),
            (elsewhere, "of another key"),
        ] {
            for ttl in [Ttl::After(SOON), Ttl::None, Ttl::Keep] {
                for touch in [
                    TouchOptions::from(version.clone()),
                    TouchOptions::from(version.clone()).with_write_id(WriteId::new()),
                ] {
                    let answer: Result<Version> =
                        unchanged(subject, &key, subject.store().touch(&key, ttl, touch)).await;
                    let now = subject.entry(&key).await;
                    assert_conflict(
                        answer,
                        &key,
                        Some(&now),
                        &format!("a touch with a version {what}"),
                    );
                }
            }
        }
        for ttl in [Ttl::After(Duration::ZERO), Ttl::After(Duration::MAX)] {
            let touch = subject.store().touch(&key, ttl, Default::default());
            match unchanged(subject, &key, touch).await {
                Err(Error::InvalidTtl { .. }) => {}
                other => panic!("a touch with {ttl:?}: {other:?}"),
            }
        }
        // What was refused did not happen later, either.
        subject.wait_until(subject.now() + SOON).await;
        subject.assert_value(&key, "x").await;
    }
}

/// A touch under the id's own key that has to succeed.
async fn touch(subject: &Subject, id: &str, ttl: Ttl) -> Version {
    let touched = subject
        .store()
        .touch(&subject.key(id), ttl, Default::default())
        .await;
    touched.unwrap_or_else(|error| panic!("a touch of `{id}` with {ttl:?} failed: {error}"))
}
