//! Exactly once: a write is known by its id, and a retry of it is answered instead of applied.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use statestore_api::Precondition::Matches;
use statestore_api::{
    Action, Attempt, Current, DeleteOptions, Entry, Error, Key, Precondition, PutOptions, Resolution, Result,
    StateStore, StateStoreExt as _, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};
use tokio::sync::Barrier;

use super::expiry::whole_second;
use crate::Subject;

const HOUR: Duration = Duration::from_secs(3600);

/// What the writes of these cases write.
const OURS: &str = "ours";

/// How many of a store's remembered writes are counted out, should it say that it remembers any number.
const MOST: usize = 16;

/// A create whose write id is the stored entry's is answered with that entry's version and not written again.
pub async fn a_repeated_create_is_answered_and_not_written_again(subject: &Subject) {
    let create = Write::new(subject, Kind::Create, "repeated").await;
    let version = create.apply(subject).await;
    subject.wait_until(subject.now()).await;
    create
        .assert_answered(subject, &[0, 1, 2], &version, "sent again")
        .await;
}

/// So is a compare-and-set, although the version it expects is not there any more.
pub async fn a_repeated_compare_and_set_is_answered_and_not_written_again(subject: &Subject) {
    let write = Write::new(subject, Kind::CompareAndSet, "repeated").await;
    let version = write.apply(subject).await;
    subject.wait_until(subject.now()).await;
    write
        .assert_answered(subject, &[0, 1, 2], &version, "sent again")
        .await;
}

/// So is a put without a condition, and one that only wants the key to be there.
pub async fn a_repeated_unconditional_put_is_answered_and_not_written_again(subject: &Subject) {
    for kind in [Kind::Put, Kind::PutIfExists] {
        let write = Write::new(subject, kind, "repeated").await;
        let version = write.apply(subject).await;
        subject.wait_until(subject.now()).await;
        write
            .assert_answered(subject, &[1, 2], &version, "sent again")
            .await;
    }
}

/// So is a touch, which does not move the expiry again.
pub async fn a_repeated_touch_is_answered_and_not_applied_again(subject: &Subject) {
    for (kind, numbers) in [(Kind::Touch, &[1, 2][..]), (Kind::TouchIfMatches, &[0, 1, 2][..])] {
        let touch = Write::new(subject, kind, "repeated").await;
        let version = touch.apply(subject).await;
        subject.wait_until(subject.now()).await;
        touch
            .assert_answered(subject, numbers, &version, "sent again")
            .await;
    }
}

/// A second, different put with the same write id on the same key is taken for a retry of the first and is not written.
pub async fn a_different_put_with_the_same_write_id_is_not_written(subject: &Subject) {
    let write = Write::new(subject, Kind::CompareAndSet, "first").await;
    let version = write.apply(subject).await;
    for precondition in [
        write.precondition.clone(),
        Precondition::None,
        Precondition::Exists,
        Matches(version.clone()),
    ] {
        let options = PutOptions::from(precondition.clone()).with_attempt(write.attempt(1));
        let put = subject.store().put(&write.key, "different".into(), options);
        let answer = unchanged(subject, &write.key, put).await;
        assert_eq!(
            answer.as_ref().ok(),
            Some(&version),
            "a different put under {precondition:?} with the stored entry's write id was not answered with that \
             entry's version: {answer:?}"
        );
    }
}

/// An entry remembers the last writes that it replaced: a retry of one of them is answered with its own version.
pub async fn a_replaced_write_is_remembered(subject: &Subject) {
    for by in Replacement::ALL {
        for kind in Kind::ALL {
            let write = Write::new(subject, kind, &format!("by-{by:?}")).await;
            let version = write.apply(subject).await;
            for times in 1..=remembered_through(subject, by) {
                replace(subject, &write.key, by).await;
                let when = format!("replaced {times} times by {by:?}");
                write
                    .assert_answered(subject, kind.numbers(), &version, &when)
                    .await;
            }
        }
    }
}

/// Where a retry cannot tell whether an earlier attempt was applied, it is `Indeterminate`, never a conflict and never
/// a success: here after more writes than the entry remembers.
pub async fn a_forgotten_write_is_indeterminate(subject: &Subject) {
    for by in Replacement::ALL {
        for kind in [Kind::Create, Kind::CompareAndSet, Kind::TouchIfMatches] {
            let write = Write::new(subject, kind, &format!("forgotten-by-{by:?}")).await;
            let version = write.apply(subject).await;
            for more in 0..3 {
                let times = if more == 0 {
                    remembered_through(subject, by) + 1
                } else {
                    1
                };
                for _ in 0..times {
                    replace(subject, &write.key, by).await;
                }
                for number in [1, 2] {
                    let answer = unchanged(subject, &write.key, write.send(subject, number)).await;
                    let when = format!("applied and overwritten by {by:?} more often than is remembered");
                    write.assert_untold(&answer, Some(&version), &when);
                }
            }
        }
    }
}

/// A put or delete without a condition, or one that only wants the key to be there, is applied at least once: if it was
/// overwritten more often than the entry remembers, or deleted, it is applied again.
pub async fn an_unconditional_write_is_applied_at_least_once(subject: &Subject) {
    for kind in [Kind::Put, Kind::PutIfExists] {
        let write = Write::new(subject, kind, "overwritten").await;
        let version = write.apply(subject).await;
        for _ in 0..=remembered(subject) {
            replace(subject, &write.key, Replacement::Put).await;
        }
        let before = subject.entry(&write.key).await;
        let answer = write.send(subject, 1).await;
        let after = subject.entry(&write.key).await;
        let answer = match answer {
            Ok(answer) => answer,
            // A service that remembers writes by itself may know that it had one, and not which.
            Err(Error::Indeterminate { .. }) if after == before => continue,
            Err(error) => panic!("{kind:?}, overwritten and sent again: its condition holds, but: {error}"),
        };
        if answer == version {
            assert_eq!(
                after, before,
                "{kind:?}: answered as applied before, but it was written"
            );
        } else {
            assert_eq!(after.version, answer, "{kind:?}: another version is there");
            assert_eq!(
                after.value, OURS,
                "{kind:?}: answered as applied, but its value is not there"
            );
            assert_ne!(
                answer, before.version,
                "{kind:?}: answered with another's version"
            );
        }
    }
    let put = Write::new(subject, Kind::Put, "deleted").await;
    let first = put.apply(subject).await;
    subject.delete(&put.key).await;
    match put.send(subject, 1).await {
        // As above: it may know that it had the write, with its version or without.
        Ok(again) if again == first => subject.assert_absent(&put.key).await,
        Err(Error::Indeterminate { .. }) => subject.assert_absent(&put.key).await,
        Ok(again) => assert_eq!(subject.assert_value(&put.key, OURS).await.version, again),
        Err(error) => panic!("a put sent again after a delete: {error}"),
    }
}

/// `Matches` is applied exactly once, and `Absent` too while nobody deletes: a first attempt that arrives after its
/// retry, however late, changes nothing.
pub async fn a_late_first_attempt_changes_nothing(subject: &Subject) {
    for kind in [Kind::Create, Kind::CompareAndSet, Kind::TouchIfMatches] {
        let write = Write::new(subject, kind, "overtaken").await;
        let version = write
            .send(subject, 1)
            .await
            .unwrap_or_else(|error| panic!("{kind:?}: attempt 1 of a write that never arrived: {error}"));
        let remembered = remembered_through(subject, Replacement::Put);
        for times in 0..=remembered + 1 {
            if times > 0 {
                replace(subject, &write.key, Replacement::Put).await;
            }
            match unchanged(subject, &write.key, write.send(subject, 0)).await {
                Ok(answer) => assert_eq!(
                    answer, version,
                    "{kind:?}, replaced {times} times: the late attempt 0 was answered with another version"
                ),
                Err(Error::Conflict(_)) if times > remembered => {}
                other => panic!("{kind:?}, replaced {times} times: the late attempt 0: {other:?}"),
            }
        }
    }
}

/// A retry whose earlier attempts never arrived finds its condition holding and is applied.
pub async fn a_retry_of_a_write_that_never_arrived_is_applied(subject: &Subject) {
    for kind in Kind::ALL {
        let write = Write::new(subject, kind, "lost").await;
        let before = subject.get(&write.key).await;
        let version = write
            .send(subject, 3)
            .await
            .unwrap_or_else(|error| panic!("{kind:?}: attempt 3 of a write that never arrived: {error}"));
        let entry = subject.entry(&write.key).await;
        assert_eq!(
            entry.version, version,
            "{kind:?}: the entry has another version than was answered"
        );
        assert_ne!(
            Some(&entry.version),
            before.as_ref().map(|before| &before.version),
            "{kind:?}: answered as applied, but nothing was"
        );
        write
            .assert_answered(subject, &[4], &version, "applied at its attempt 3")
            .await;
    }
    for precondition in ["none", "exists", "matches"] {
        let key = subject.key(&format!("delete-{precondition}"));
        let version = subject.put(&key, "before").await;
        let precondition = match precondition {
            "none" => Precondition::None,
            "exists" => Precondition::Exists,
            _ => Matches(version),
        };
        let delete = delete(subject, &key, &precondition, WriteId::new(), 3).await;
        delete.unwrap_or_else(|error| {
            panic!("attempt 3 of a delete under {precondition:?} that never arrived: {error}")
        });
        subject.assert_absent(&key).await;
    }
}

/// "Applied, then replaced by another" is told apart from "never applied": a retry that was never applied conflicts.
pub async fn a_write_that_lost_the_race_is_told_apart(subject: &Subject) {
    for kind in [Kind::CompareAndSet, Kind::TouchIfMatches] {
        let write = Write::new(subject, kind, "lost-the-race").await;
        for times in 1..=remembered(subject) {
            replace(subject, &write.key, Replacement::CompareAndSet).await;
            let now = subject.entry(&write.key).await;
            let answer = unchanged(subject, &write.key, write.send(subject, 1)).await;
            let when = format!("{kind:?}, never applied, {times} foreign writes later");
            assert_conflict(answer, &write.key, Some(&now), &when);
        }
        replace(subject, &write.key, Replacement::CompareAndSet).await;
        let answer = unchanged(subject, &write.key, write.send(subject, 1)).await;
        assert!(
            matches!(answer, Err(Error::Conflict(_) | Error::Indeterminate { .. })),
            "{kind:?}, never applied, more foreign writes later than are remembered: {answer:?}"
        );
    }
    let create = Write::new(subject, Kind::Create, "lost-the-race").await;
    subject.put(&create.key, "theirs").await;
    let answer = unchanged(subject, &create.key, create.send(subject, 1)).await;
    assert!(
        matches!(answer, Err(Error::Conflict(_) | Error::Indeterminate { .. })),
        "the retry of a create that was never applied, where another created the key: {answer:?}"
    );
}

/// An `Absent` is applied exactly once, unless somebody deletes the new key before the retry arrives, which then
/// creates it again under a version of its own.
pub async fn a_create_repeated_after_a_delete_makes_a_new_version(subject: &Subject) {
    let create = Write::new(subject, Kind::Create, "deleted").await;
    let mut versions = vec![create.apply(subject).await];
    for number in 1..4 {
        subject.delete(&create.key).await;
        let again = create.send(subject, number).await.unwrap_or_else(|error| {
            panic!("attempt {number} of a create whose key was deleted again: {error}")
        });
        assert!(
            !versions.contains(&again),
            "attempt {number} created a deleted key again under a version that it had before"
        );
        let entry = subject.assert_value(&create.key, OURS).await;
        assert_eq!(
            entry.version, again,
            "the entry has another version than was answered"
        );
        for old in &versions {
            let options = PutOptions::from(old.clone());
            let put = subject.store().put(&create.key, "stale".into(), options);
            let answer = unchanged(subject, &create.key, put).await;
            assert_conflict(
                answer,
                &create.key,
                Some(&entry),
                "the version from before the delete",
            );
        }
        versions.push(again);
    }

    // Somebody else's entry is there instead: the create was applied, so that a conflict would be a lie.
    subject.delete(&create.key).await;
    subject.put(&create.key, "theirs").await;
    let answer = unchanged(subject, &create.key, create.send(subject, 4)).await;
    create.assert_untold(
        &answer,
        versions.last(),
        "applied, deleted, and created by another",
    );
}

/// A retry that finds what it wrote expired is answered with its version as long as the store knows of it. If it does
/// not, a create is applied again, under a version of its own, and the rest cannot be told; it is never a conflict.
pub async fn a_write_repeated_after_its_expiry_is_no_conflict(subject: &Subject) {
    let soon = Duration::from_millis(150);
    let mut writes = Vec::new();
    for kind in Kind::ALL {
        // A partition each, lest one of them sweeps another's entry.
        let write = Write::new_in(subject, kind, &format!("{kind:?}"), "expired").await;
        let ttl = Ttl::After(soon);
        writes.push((kind, Write { ttl, ..write }));
    }
    let mut versions = Vec::new();
    for (kind, write) in &writes {
        let version = write.send(subject, 0).await;
        versions.push(version.unwrap_or_else(|error| panic!("{kind:?}, whose condition holds: {error}")));
    }
    subject.wait_until(subject.now() + soon).await;
    for ((kind, write), version) in writes.iter().zip(&versions) {
        let answer = write.send(subject, 1).await;
        let there = subject.get(&write.key).await.map(|entry| entry.version);
        match (kind, answer) {
            (Kind::Create | Kind::Put, Ok(again)) if again != *version => assert!(
                there.is_none_or(|there| there == again),
                "{kind:?}, applied again after its expiry, was answered with another version than is there"
            ),
            (_, answer) => {
                write.assert_untold(&answer, Some(version), "applied, then expired");
                assert_eq!(there, None, "{kind:?}: an expired entry came back: {answer:?}");
            }
        }
    }
}

/// A retry whose expiry has passed meanwhile is refused as one that is not in the future, or answered with the version of its
/// write, or it cannot be told; it is no conflict and makes no other version.
pub async fn a_retry_whose_expiry_has_passed_is_refused_or_answered(subject: &Subject) {
    let mut writes = Vec::new();
    for kind in Kind::ALL {
        // A partition each, lest one of them sweeps another's entry.
        writes.push(Write::new_in(subject, kind, &format!("{kind:?}"), "expired").await);
    }
    let at = whole_second(subject, Duration::from_secs(3));
    for write in &mut writes {
        write.ttl = Ttl::At(at);
    }
    let mut versions = Vec::new();
    for write in &writes {
        versions.push(write.apply(subject).await);
    }
    subject.wait_until(at).await;
    for (write, version) in writes.iter().zip(&versions) {
        let answer = write.send(subject, 1).await;
        if !matches!(answer, Err(Error::InvalidTtl { .. })) {
            write.assert_untold(&answer, Some(version), "applied, then expired");
        }
    }
}

/// A retry that finds its key gone cannot tell whether it was applied before that.
pub async fn a_compare_and_set_repeated_after_a_delete_is_indeterminate(subject: &Subject) {
    for kind in [Kind::CompareAndSet, Kind::TouchIfMatches, Kind::Touch] {
        let applied = Write::new(subject, kind, "applied").await;
        let version = applied.apply(subject).await;
        subject.delete(&applied.key).await;
        let answer = unchanged(subject, &applied.key, applied.send(subject, 1)).await;
        applied.assert_untold(&answer, Some(&version), "applied, then deleted");

        if kind != Kind::Touch {
            subject.put(&applied.key, "theirs").await;
            let answer = unchanged(subject, &applied.key, applied.send(subject, 2)).await;
            applied.assert_untold(
                &answer,
                Some(&version),
                "applied, deleted, and created by another",
            );
        }

        let lost = Write::new(subject, kind, "never-applied").await;
        subject.delete(&lost.key).await;
        let answer = unchanged(subject, &lost.key, lost.send(subject, 1)).await;
        assert!(
            matches!(answer, Err(Error::Conflict(_) | Error::Indeterminate { .. })),
            "{kind:?}, never applied, and its key deleted: {answer:?}"
        );
    }
}

/// A delete whose reply was lost and that finds the key gone cannot tell whether it was its own doing.
pub async fn a_repeated_delete_that_finds_the_key_gone_is_indeterminate(subject: &Subject) {
    for id in ["exists", "matches"] {
        let key = subject.key(id);
        let version = subject.put(&key, "before").await;
        let precondition = match id {
            "exists" => Precondition::Exists,
            _ => Matches(version),
        };
        let id = WriteId::new();
        delete(subject, &key, &precondition, id, 0)
            .await
            .unwrap_or_else(|error| panic!("a delete under {precondition:?}: {error}"));
        for number in [1, 2] {
            let answer = delete(subject, &key, &precondition, id, number).await;
            assert_indeterminate(
                &answer,
                id,
                &format!("a delete under {precondition:?} sent again finds the key gone"),
            );
            subject.assert_absent(&key).await;
        }
        if matches!(precondition, Matches(_)) {
            subject.put(&key, "theirs").await;
            let call = delete(subject, &key, &precondition, id, 3);
            let answer = unchanged(subject, &key, call).await;
            assert_indeterminate(
                &answer,
                id,
                "a delete sent again finds that another created the key",
            );
        }
    }
}

/// A delete that finds the version it expects among those that were replaced was never applied: that is a conflict. Where
/// that version was forgotten, a retry may not be able to tell.
pub async fn a_repeated_delete_that_finds_a_newer_version_conflicts(subject: &Subject) {
    for by in Replacement::ALL {
        let key = subject.key(&format!("{by:?}"));
        let expected = Matches(subject.put(&key, "before").await);
        let id = WriteId::new();
        let remembered = remembered_through(subject, by);
        for times in 1..=remembered.max(1) {
            replace(subject, &key, by).await;
            let now = subject.entry(&key).await;
            for number in [0, 1] {
                let answer = unchanged(subject, &key, delete(subject, &key, &expected, id, number)).await;
                let when = format!("attempt {number} of a delete, after {times} writes by {by:?}");
                match answer {
                    Err(Error::Indeterminate { .. }) if number > 0 && remembered == 0 => {}
                    answer => assert_conflict(answer, &key, Some(&now), &when),
                }
            }
        }
    }
}

/// A delete without a condition has nothing to conflict with, however often it is sent.
pub async fn a_repeated_unconditional_delete_succeeds(subject: &Subject) {
    let key = subject.key("deleted");
    subject.put(&key, "before").await;
    let id = WriteId::new();
    for number in 0..3 {
        let answer = delete(subject, &key, &Precondition::None, id, number).await;
        answer.unwrap_or_else(|error| panic!("attempt {number} of a delete without a condition: {error}"));
        subject.assert_absent(&key).await;
    }
    subject.put(&key, "theirs").await;
    let answer = delete(subject, &key, &Precondition::None, id, 3).await;
    answer.unwrap_or_else(|error| panic!("a delete sent again after another put: {error}"));
}

/// On a first attempt, which no earlier one can have preceded, a precondition that does not hold is a conflict.
pub async fn a_first_attempt_is_never_indeterminate(subject: &Subject) {
    let conflicts = async |key: &Key, precondition: &Precondition, state: &str| {
        let now = subject.get(key).await;
        let when = |what: &str| {
            format!("the first attempt of a {what} under {precondition:?} on a key that is {state}")
        };
        let attempt = || Attempt::first(WriteId::new());

        let options = PutOptions::from(precondition.clone()).with_attempt(attempt());
        let put = subject.store().put(key, OURS.into(), options).await;
        assert_conflict(put, key, now.as_ref(), &when("put"));

        let deleted = delete(subject, key, precondition, WriteId::new(), 0).await;
        assert_conflict(deleted, key, now.as_ref(), &when("delete"));

        if *precondition != Precondition::Absent {
            let options = TouchOptions::from(precondition.clone()).with_attempt(attempt());
            let touch = subject.store().touch(key, Ttl::After(HOUR), options).await;
            assert_conflict(touch, key, now.as_ref(), &when("touch"));
        }

        for op in [
            TransactOp::put(key.clone(), OURS),
            TransactOp::delete(key.clone()),
            TransactOp::check(key.clone(), Precondition::None),
        ] {
            let op = op.when(precondition.clone());
            let options = TransactOptions::default().with_attempt(attempt());
            let done = subject.store().transact(vec![op], options).await;
            assert_conflict(done, key, now.as_ref(), &when("transaction"));
        }
        assert_eq!(
            subject.get(key).await,
            now,
            "a refused write changed a key that is {state}"
        );
    };

    let elsewhere = subject.put(&subject.key("elsewhere"), "x").await;
    for (state, key) in subject.gone().await {
        for precondition in [Precondition::Exists, Matches(elsewhere.clone())] {
            conflicts(&key, &precondition, state).await;
        }
    }
    let key = subject.key("overwritten");
    let stale = subject.put(&key, "before").await;
    conflicts(&key, &Precondition::Absent, "there").await;
    for times in 1..=remembered(subject) + 2 {
        replace(subject, &key, Replacement::Put).await;
        let state = format!("overwritten {times} times");
        conflicts(&key, &Matches(stale.clone()), &state).await;
    }
    let deleted = subject.key("deleted-now");
    let stale = subject.put(&deleted, "before").await;
    subject.delete(&deleted).await;
    conflicts(&deleted, &Matches(stale), "deleted").await;
}

/// Two attempts that arrive at the same time, as after a time-out, are one write and get one answer.
pub async fn two_attempts_at_once_are_one_write(subject: &Subject) {
    for kind in [Kind::Create, Kind::CompareAndSet, Kind::TouchIfMatches] {
        for round in 0..20 {
            let write = Write::new(subject, kind, &format!("round-{round}")).await;
            let answers = at_once((0..3).map(|number| {
                let (write, store) = (write.clone(), subject.store().clone());
                async move { write.send_to(&store, number).await }
            }))
            .await;
            let version = subject.entry(&write.key).await.version;
            for (number, answer) in answers.iter().enumerate() {
                assert_eq!(
                    answer.as_ref().ok(),
                    Some(&version),
                    "{kind:?}, round {round}: attempt {number}, sent together with two others, was answered {answer:?}"
                );
            }
        }
    }
}

/// With another writer at the same time there is one winner, and both attempts agree on who.
pub async fn two_attempts_and_a_rival_have_one_winner(subject: &Subject) {
    for round in 0..30 {
        let write = Write::new(subject, Kind::CompareAndSet, &format!("round-{round}")).await;
        let rival = Write {
            id: WriteId::new(),
            value: "theirs",
            ..write.clone()
        };
        let senders = [(&write, 0), (&rival, 0), (&write, 1)];
        let answers = at_once(senders.map(|(write, number)| {
            let (write, store) = (write.clone(), subject.store().clone());
            async move { write.send_to(&store, number).await }
        }))
        .await;
        let entry = subject.entry(&write.key).await;
        let ours = entry.value == OURS;
        let [first, theirs, second] = &answers[..] else {
            panic!("three answers")
        };
        for (who, answer, won) in [
            ("attempt 0", first, ours),
            ("attempt 1", second, ours),
            ("the rival", theirs, !ours),
        ] {
            match answer {
                Ok(version) => assert!(
                    won && *version == entry.version,
                    "round {round}: {who} was told it won, but {entry:?} is there"
                ),
                Err(Error::Conflict(_)) => assert!(
                    !won,
                    "round {round}: {who} was told of a conflict, but its write is there"
                ),
                Err(error) => panic!("round {round}: {who}: {error}"),
            }
        }
    }
}

/// A write id is one logical write per key: on two keys it makes two entries, each with a version of its own.
pub async fn one_write_id_on_two_keys_is_two_writes(subject: &Subject) {
    let id = WriteId::new();
    let keys = [
        subject.key("a"),
        subject.key("b"),
        subject.key_in("other", "a"),
        subject.key_in("other", "c"),
    ];
    let options = |number| {
        PutOptions::from(Precondition::Absent)
            .with_ttl(Ttl::After(HOUR))
            .with_attempt(Attempt { id, number })
    };
    let mut entries = Vec::new();
    for key in &keys {
        let version = subject.put_with(key, key.id(), options(0)).await;
        let entry = subject.assert_value(key, key.id()).await;
        assert_eq!(
            entry.version, version,
            "the entry has another version than was answered"
        );
        entries.push(entry);
    }
    for (key, entry) in keys.iter().zip(&entries) {
        let answer = subject.put_with(key, key.id(), options(1)).await;
        assert_eq!(
            answer, entry.version,
            "a retry on `{key}` was answered with another version"
        );
        let became = resolve(subject, key, id, &Precondition::Absent).await;
        assert_eq!(became, Resolution::Applied(entry.version.clone()), "`{key}`");
        for other in entries.iter().filter(|other| *other != entry) {
            assert_ne!(
                other.version, entry.version,
                "two keys have one version, of one write id"
            );
            let put = subject.store().put(key, "x".into(), other.version.clone().into());
            let answer = unchanged(subject, key, put).await;
            assert_conflict(
                answer,
                key,
                Some(entry),
                "the version of another key with the same write id",
            );
        }
    }
}

/// `resolve` tells whether a write was applied, was not, or cannot be told.
pub async fn resolve_tells_what_became_of_a_write(subject: &Subject) {
    for kind in Kind::ALL {
        let write = Write::new(subject, kind, "resolved").await;
        let is_matches = matches!(write.precondition, Matches(_));
        let became = write.resolve(subject).await;
        let expected = if is_matches {
            Resolution::NotApplied
        } else {
            Resolution::Unknown
        };
        assert_eq!(
            became, expected,
            "{kind:?} was never sent, under its precondition"
        );
        let unconditional = resolve(subject, &write.key, write.id, &Precondition::None).await;
        assert_eq!(
            unconditional,
            Resolution::Unknown,
            "{kind:?} was never sent; without its precondition"
        );

        let applied = Resolution::Applied(write.apply(subject).await);
        for times in 0..=remembered(subject) {
            if times > 0 {
                replace(subject, &write.key, Replacement::CompareAndSet).await;
            }
            let became = write.resolve(subject).await;
            assert_eq!(became, applied, "{kind:?} was applied and replaced {times} times");
            let unconditional = resolve(subject, &write.key, write.id, &Precondition::None).await;
            assert_eq!(
                unconditional, applied,
                "{kind:?} was applied and replaced {times} times; without its precondition"
            );
        }
        replace(subject, &write.key, Replacement::CompareAndSet).await;
        let became = write.resolve(subject).await;
        assert!(
            became == Resolution::Unknown || became == applied,
            "{kind:?} was applied and replaced more often than is remembered: {became:?}"
        );
        subject.delete(&write.key).await;
        let became = write.resolve(subject).await;
        assert!(
            became == Resolution::Unknown || became == applied,
            "{kind:?} was applied and its key deleted: {became:?}"
        );
    }

    let lost = Write::new(subject, Kind::CompareAndSet, "never-applied").await;
    for times in 1..=remembered(subject) {
        replace(subject, &lost.key, Replacement::CompareAndSet).await;
        let became = lost.resolve(subject).await;
        assert_eq!(
            became,
            Resolution::NotApplied,
            "never applied, {times} foreign writes later"
        );
    }
    replace(subject, &lost.key, Replacement::CompareAndSet).await;
    let became = lost.resolve(subject).await;
    assert!(
        matches!(became, Resolution::Unknown | Resolution::NotApplied),
        "never applied, more foreign writes later than are remembered: {became:?}"
    );

    // A delete leaves nothing that could tell of it.
    let key = subject.key("resolved-delete");
    let expected = Matches(subject.put(&key, "before").await);
    let id = WriteId::new();
    let became = resolve(subject, &key, id, &expected).await;
    assert_eq!(became, Resolution::NotApplied, "a delete that was never sent");
    delete(subject, &key, &expected, id, 0)
        .await
        .unwrap_or_else(|error| panic!("a delete with the current version: {error}"));
    let became = resolve(subject, &key, id, &expected).await;
    assert_eq!(became, Resolution::Unknown, "a delete that was applied");

    for (state, key) in subject.gone().await {
        for precondition in [Precondition::None, Precondition::Absent, Precondition::Exists] {
            let became = resolve(subject, &key, WriteId::new(), &precondition).await;
            assert_eq!(
                became,
                Resolution::Unknown,
                "a write under {precondition:?} that was never sent, on a key that is {state}"
            );
            subject.assert_absent(&key).await;
        }
    }
}

/// A retried transaction that was applied is answered with its versions and not applied again, as long as the entry of
/// one of its puts remembers it.
pub async fn a_repeated_transaction_is_answered_and_not_applied_again(subject: &Subject) {
    for remembering in 0..3 {
        let transaction = Transaction::new(subject, &remembering.to_string()).await;
        let versions = transaction.apply(subject).await;
        subject.wait_until(subject.now()).await;
        transaction
            .assert_answered(subject, &[0, 1, 2], &versions, "sent again")
            .await;

        // Every one of its conditions fails now, or would hold anew, and all of its puts but one are forgotten.
        let keys = transaction.keys();
        subject.put(keys[3], "theirs").await;
        subject.delete(keys[4]).await;
        for place in (0..3).filter(|place| *place != remembering) {
            if place == (remembering + 1) % 3 {
                subject.delete(keys[place]).await;
            } else {
                for _ in 0..=remembered(subject) {
                    replace(subject, keys[place], Replacement::Put).await;
                }
            }
        }
        for times in 0..=remembered(subject) {
            if times > 0 {
                replace(subject, keys[remembering], Replacement::CompareAndSet).await;
            }
            let when = format!("only the put at place {remembering} is remembered, replaced {times} times");
            transaction.assert_answered(subject, &[1], &versions, &when).await;
        }
    }
}

/// Where nothing remembers it any more, its retry is `Indeterminate`, and nothing is applied.
pub async fn a_repeated_transaction_that_cannot_be_told_is_indeterminate(subject: &Subject) {
    let transaction = Transaction::conditional(subject, "forgotten").await;
    let versions = transaction.apply(subject).await;
    for key in &transaction.keys()[..2] {
        for _ in 0..=remembered(subject) {
            replace(subject, key, Replacement::CompareAndSet).await;
        }
    }
    for number in [1, 2] {
        let answer = transaction.send_unchanged(subject, number).await;
        transaction.assert_untold(&answer, Some(&versions), "its puts are forgotten");
    }
    let late = transaction.send_unchanged(subject, 0).await;
    assert!(
        matches!(&late, Err(Error::Conflict(_))) || late.as_ref().ok() == Some(&versions),
        "the first attempt of a transaction, arriving late, is never indeterminate: {late:?}"
    );

    let transaction = Transaction::conditional(subject, "deleted").await;
    let versions = transaction.apply(subject).await;
    for key in transaction.keys() {
        subject.delete(key).await;
    }
    let answer = transaction.send_unchanged(subject, 1).await;
    transaction.assert_untold(&answer, Some(&versions), "its keys are deleted");

    let (a, b) = (subject.key_in("deletes", "a"), subject.key_in("deletes", "b"));
    let deletes = Transaction {
        ops: vec![
            TransactOp::delete(a.clone()).when(Matches(subject.put(&a, "before").await)),
            TransactOp::delete(b.clone()).when(Matches(subject.put(&b, "before").await)),
        ],
        id: WriteId::new(),
    };
    assert_eq!(deletes.apply(subject).await, [None, None]);
    let answer = deletes.send_unchanged(subject, 1).await;
    // A service with a memory for transactions of its own may know better, which is true as well.
    deletes.assert_untold(
        &answer,
        Some(&vec![None, None]),
        "it was two deletes, which leave nothing",
    );
}

/// A transaction that was never applied is told apart: its retry conflicts where another was first, and is applied
/// where nobody was.
pub async fn a_transaction_that_lost_the_race_is_told_apart(subject: &Subject) {
    let transaction = Transaction::conditional(subject, "lost-the-race").await;
    let keys = transaction.keys();
    let now = replace(subject, keys[1], Replacement::CompareAndSet).await;
    for number in [0, 1, 2] {
        match transaction.send_unchanged(subject, number).await {
            Err(Error::Conflict(conflict)) => {
                assert!(
                    matches!(conflict.op, None | Some(1)),
                    "operation 1 is the one that failed: {conflict}"
                );
                assert!(
                    conflict.op.is_none() || conflict.key == *keys[1],
                    "operation 1 is not about that key: {conflict}"
                );
                if let Current::Entry(entry) = &conflict.current {
                    assert_eq!(entry.version, now, "{conflict}");
                }
            }
            other => panic!("attempt {number} of a transaction that was never applied: {other:?}"),
        }
    }

    let transaction = Transaction::new(subject, "never-arrived").await;
    let answer = transaction.send(subject.store(), 2).await;
    let versions = answer.unwrap_or_else(|error| panic!("attempt 2 of one that never arrived: {error}"));
    transaction.assert_applied(subject, &versions).await;
}

/// Two attempts of a transaction that arrive at the same time are one, and get one answer.
pub async fn two_attempts_of_a_transaction_at_once_are_one(subject: &Subject) {
    for round in 0..15 {
        let transaction = Transaction::new(subject, &round.to_string()).await;
        let answers = at_once((0..3).map(|number| {
            let (transaction, store) = (transaction.clone(), subject.store().clone());
            async move {
                // Two at once on the same keys may be told to come again: nothing was applied then.
                let mut answer = transaction.send(&store, number).await;
                for again in 1..=50 {
                    if !matches!(&answer, Err(error) if error.is_retryable()) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(again)).await;
                    answer = transaction.send(&store, number.max(1)).await;
                }
                answer
            }
        }))
        .await;
        let mut versions = answers.into_iter().enumerate().map(|(number, answer)| {
            answer.unwrap_or_else(|error| {
                panic!("round {round}: attempt {number}, sent together with two others: {error}")
            })
        });
        let first = versions.next().expect("there are three answers");
        for other in versions {
            assert_eq!(
                other, first,
                "round {round}: attempts at once were answered differently"
            );
        }
        transaction.assert_applied(subject, &first).await;
    }
}

/// A mutation that leaves an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    CompareAndSet,
    Put,
    PutIfExists,
    Touch,
    TouchIfMatches,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Create,
        Self::CompareAndSet,
        Self::Put,
        Self::PutIfExists,
        Self::Touch,
        Self::TouchIfMatches,
    ];

    /// The attempts that find it applied: a first one only where its condition would make it look, since it says
    /// that no other can have reached the store.
    fn numbers(self) -> &'static [u32] {
        match self {
            Self::Create | Self::CompareAndSet | Self::TouchIfMatches => &[0, 1],
            Self::Put | Self::PutIfExists | Self::Touch => &[1],
        }
    }
}

/// One logical write of one key, to be sent as often as a case likes.
#[derive(Clone, Debug)]
pub(super) struct Write {
    kind: Kind,
    pub(super) key: Key,
    id: WriteId,
    value: &'static str,
    ttl: Ttl,
    precondition: Precondition,
}

impl Write {
    /// A write of a key of its own, which is prepared so that its condition holds.
    pub(super) async fn new(subject: &Subject, kind: Kind, name: &str) -> Self {
        Self::new_in(subject, kind, "", name).await
    }

    async fn new_in(subject: &Subject, kind: Kind, partition: &str, name: &str) -> Self {
        let key = subject.key_in(partition, &format!("{name}-{kind:?}"));
        let precondition = match kind {
            Kind::Create => Precondition::Absent,
            Kind::CompareAndSet | Kind::TouchIfMatches => Matches(subject.put(&key, "before").await),
            Kind::Put | Kind::Touch | Kind::PutIfExists => {
                subject.put(&key, "before").await;
                match kind {
                    Kind::PutIfExists => Precondition::Exists,
                    _ => Precondition::None,
                }
            }
        };
        Self {
            kind,
            key,
            id: WriteId::new(),
            value: OURS,
            // A second write of it would show by its expiry.
            ttl: Ttl::After(HOUR),
            precondition,
        }
    }

    fn attempt(&self, number: u32) -> Attempt {
        Attempt { id: self.id, number }
    }

    async fn send_to(&self, store: &Arc<dyn StateStore>, number: u32) -> Result<Version> {
        let attempt = self.attempt(number);
        if matches!(self.kind, Kind::Touch | Kind::TouchIfMatches) {
            let options = TouchOptions::from(self.precondition.clone()).with_attempt(attempt);
            store.touch(&self.key, self.ttl, options).await
        } else {
            let options = PutOptions::from(self.precondition.clone())
                .with_ttl(self.ttl)
                .with_attempt(attempt);
            store.put(&self.key, self.value.into(), options).await
        }
    }

    pub(super) async fn send(&self, subject: &Subject, number: u32) -> Result<Version> {
        self.send_to(subject.store(), number).await
    }

    /// Its first attempt, which has to succeed.
    pub(super) async fn apply(&self, subject: &Subject) -> Version {
        let version = self.send(subject, 0).await.unwrap_or_else(|error| {
            panic!(
                "the first attempt of {:?}, whose condition holds: {error}",
                self.kind
            )
        });
        assert_eq!(
            subject.entry(&self.key).await.version,
            version,
            "{:?}: a read shows another version than was answered",
            self.kind
        );
        version
    }

    pub(super) async fn resolve(&self, subject: &Subject) -> Resolution {
        resolve(subject, &self.key, self.id, &self.precondition).await
    }

    /// These attempts are answered with its version, and change nothing.
    pub(super) async fn assert_answered(
        &self,
        subject: &Subject,
        numbers: &[u32],
        version: &Version,
        when: &str,
    ) {
        for number in numbers {
            let answer = unchanged(subject, &self.key, self.send(subject, *number)).await;
            assert_eq!(
                answer.as_ref().ok(),
                Some(version),
                "{:?}, {when}: attempt {number} was not answered with the version of its write: {answer:?}",
                self.kind
            );
        }
    }

    /// It was answered that it cannot be told, or by a store that knows more, with its `own` version.
    pub(super) fn assert_untold(&self, answer: &Result<Version>, own: Option<&Version>, when: &str) {
        if answer.is_err() || answer.as_ref().ok() != own {
            assert_indeterminate(answer, self.id, &format!("{:?}, {when}", self.kind));
        }
    }
}

/// One logical transaction, to be sent as often as a case likes.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    ops: Vec<TransactOp>,
    id: WriteId,
}

impl Transaction {
    /// Three puts, under `Absent`, `Matches` and without a condition, a delete and a check.
    pub(super) async fn new(subject: &Subject, partition: &str) -> Self {
        let mut transaction = Self::conditional(subject, partition).await;
        let key = |id| subject.key_in(partition, id);
        let [unconditional, checked] = [key("unconditional"), key("checked")];
        subject.put(&unconditional, "before").await;
        subject.put(&checked, "before").await;
        let put = TransactOp::put_expiring(unconditional, OURS, Ttl::After(HOUR));
        transaction.ops.insert(2, put);
        transaction
            .ops
            .push(TransactOp::check(checked, Precondition::Exists));
        transaction
    }

    /// Two puts, under `Absent` and `Matches`, and a delete.
    pub(super) async fn conditional(subject: &Subject, partition: &str) -> Self {
        let key = |id| subject.key_in(partition, id);
        let [created, replaced, deleted] = [key("created"), key("replaced"), key("deleted")];
        let expected = Matches(subject.put(&replaced, "before").await);
        let doomed = Matches(subject.put(&deleted, "before").await);
        let ttl = Ttl::After(HOUR);
        Self {
            ops: vec![
                TransactOp::put_expiring(created, OURS, ttl).when(Precondition::Absent),
                TransactOp::put_expiring(replaced, OURS, ttl).when(expected),
                TransactOp::delete(deleted).when(doomed),
            ],
            id: WriteId::new(),
        }
    }

    pub(super) fn keys(&self) -> Vec<&Key> {
        self.ops.iter().map(|op| &op.key).collect()
    }

    async fn send(&self, store: &Arc<dyn StateStore>, number: u32) -> Result<Vec<Option<Version>>> {
        let attempt = Attempt { id: self.id, number };
        let options = TransactOptions::default().with_attempt(attempt);
        store.transact(self.ops.clone(), options).await
    }

    /// Its first attempt, which has to succeed.
    pub(super) async fn apply(&self, subject: &Subject) -> Vec<Option<Version>> {
        let answer = self.send(subject.store(), 0).await;
        let versions = answer.unwrap_or_else(|error| panic!("a transaction whose conditions hold: {error}"));
        self.assert_applied(subject, &versions).await;
        versions
    }

    /// It is there as a whole, under these versions.
    async fn assert_applied(&self, subject: &Subject, versions: &[Option<Version>]) {
        assert_eq!(
            versions.len(),
            self.ops.len(),
            "a transaction answers for each operation"
        );
        for (op, version) in self.ops.iter().zip(versions) {
            let entry = subject.get(&op.key).await;
            match &op.action {
                Action::Put { value, .. } => {
                    let entry = entry.unwrap_or_else(|| panic!("`{}` was put and is not there", op.key));
                    assert_eq!(entry.value, *value, "`{}` has another value than was put", op.key);
                    assert_eq!(
                        Some(&entry.version),
                        version.as_ref(),
                        "`{}` has another version",
                        op.key
                    );
                }
                Action::Delete => {
                    assert_eq!(entry, None, "`{}` was deleted and is there", op.key);
                    assert_eq!(*version, None, "a delete makes no version");
                }
                Action::Check => assert_eq!(*version, None, "a check makes no version"),
            }
        }
    }

    /// An attempt that changes none of its keys.
    async fn send_unchanged(&self, subject: &Subject, number: u32) -> Result<Vec<Option<Version>>> {
        let before = self.read(subject).await;
        let answer = self.send(subject.store(), number).await;
        assert_eq!(
            self.read(subject).await,
            before,
            "attempt {number} of a transaction changed something"
        );
        answer
    }

    async fn read(&self, subject: &Subject) -> Vec<Option<Entry>> {
        join_all(self.ops.iter().map(|op| subject.get(&op.key))).await
    }

    /// These attempts are answered with its versions, and change nothing.
    pub(super) async fn assert_answered(
        &self,
        subject: &Subject,
        numbers: &[u32],
        versions: &[Option<Version>],
        when: &str,
    ) {
        for number in numbers {
            let answer = self.send_unchanged(subject, *number).await;
            assert_eq!(
                answer.as_deref().ok(),
                Some(versions),
                "attempt {number} of a transaction, {when}, was not answered with its versions: {answer:?}"
            );
        }
    }

    /// It was answered that it cannot be told, or by a store that knows more, with its `own` versions.
    fn assert_untold(
        &self,
        answer: &Result<Vec<Option<Version>>>,
        own: Option<&Vec<Option<Version>>>,
        when: &str,
    ) {
        if answer.is_err() || answer.as_ref().ok() != own {
            assert_indeterminate(answer, self.id, &format!("a transaction sent again, {when}"));
        }
    }
}

/// A way for others to replace an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Replacement {
    CompareAndSet,
    Put,
    Touch,
    Transaction,
}

impl Replacement {
    const ALL: [Self; 4] = [Self::CompareAndSet, Self::Put, Self::Touch, Self::Transaction];

    /// Whether it writes without a condition, so that a service need not look at what it replaces.
    fn is_blind(self) -> bool {
        matches!(self, Self::Put | Self::Transaction)
    }
}

/// Replaces an entry, as another writer does.
pub(super) async fn replace(subject: &Subject, key: &Key, by: Replacement) -> Version {
    let store = subject.store();
    let replaced = match by {
        Replacement::CompareAndSet => {
            let version = subject.entry(key).await.version;
            store.compare_and_set(key, Some(&version), "theirs").await
        }
        Replacement::Put => store.put(key, "theirs".into(), Default::default()).await,
        Replacement::Touch => store.touch(key, Ttl::After(2 * HOUR), Default::default()).await,
        Replacement::Transaction => {
            let ops = vec![TransactOp::put(key.clone(), "theirs")];
            let versions = store.transact(ops, Default::default()).await;
            versions.map(|versions| versions[0].clone().expect("a put makes a version"))
        }
    };
    replaced.unwrap_or_else(|error| panic!("replacing `{key}` by {by:?} failed: {error}"))
}

/// How many replaced writes an entry remembers.
pub(super) fn remembered(subject: &Subject) -> usize {
    let remembered = subject.store().capabilities().remembered_writes;
    assert!(
        remembered > 0,
        "an entry has to remember at least the last write it replaced"
    );
    remembered.min(MOST)
}

/// How many of them it still remembers when others write by `by`.
fn remembered_through(subject: &Subject, by: Replacement) -> usize {
    if by.is_blind() && subject.store().capabilities().blind_puts_forget {
        return 0;
    }
    remembered(subject)
}

/// What `call` returns, which has to leave `key` as it is.
pub(super) async fn unchanged<T>(subject: &Subject, key: &Key, call: impl Future<Output = T>) -> T {
    let before = subject.get(key).await;
    let answer = call.await;
    assert_eq!(
        subject.get(key).await,
        before,
        "`{key}` should have stayed as it was"
    );
    answer
}

/// A conflict on `key`, which says either nothing of what is there or the truth.
pub(super) fn assert_conflict<T: std::fmt::Debug>(
    answer: Result<T>,
    key: &Key,
    now: Option<&Entry>,
    when: &str,
) {
    let conflict = match answer {
        Err(Error::Conflict(conflict)) => conflict,
        other => panic!("{when} should be a conflict, and is {other:?}"),
    };
    assert_eq!(conflict.key, *key, "{when}: the conflict is about another key");
    match &conflict.current {
        Current::Unknown => {}
        Current::Absent => assert_eq!(now, None, "{when}: the conflict says the key is not there"),
        Current::Entry(entry) => assert_eq!(Some(entry), now, "{when}: the conflict shows another entry"),
    }
}

fn assert_indeterminate<T: std::fmt::Debug>(answer: &Result<T>, id: WriteId, when: &str) {
    match answer {
        Err(error @ Error::Indeterminate { write_id, .. }) => {
            assert_eq!(*write_id, id, "{when}: the error is about another write");
            assert!(
                error.may_have_applied() && !error.is_retryable(),
                "{when}: {error:?}"
            );
        }
        other => panic!("{when}: this cannot be told, but the answer is {other:?}"),
    }
}

async fn resolve(subject: &Subject, key: &Key, id: WriteId, precondition: &Precondition) -> Resolution {
    let resolve = subject.store().resolve(key, id, precondition);
    let became = unchanged(subject, key, resolve).await;
    became.unwrap_or_else(|error| panic!("resolving a write of `{key}`: {error}"))
}

async fn delete(
    subject: &Subject,
    key: &Key,
    precondition: &Precondition,
    id: WriteId,
    number: u32,
) -> Result<()> {
    let options = DeleteOptions::from(precondition.clone()).with_attempt(Attempt { id, number });
    subject.store().delete(key, options).await
}

/// Runs them on tasks of their own, which begin together.
async fn at_once<F>(calls: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let calls: Vec<F> = calls.into_iter().collect();
    let start = Arc::new(Barrier::new(calls.len()));
    let tasks = calls.into_iter().map(|call| {
        let start = start.clone();
        tokio::spawn(async move {
            start.wait().await;
            call.await
        })
    });
    // Each is spawned before the first is awaited.
    let tasks: Vec<_> = tasks.collect();
    let ended = join_all(tasks).await;
    ended
        .into_iter()
        .map(|task| task.expect("the task ends"))
        .collect()
}
