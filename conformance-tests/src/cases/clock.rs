//! The clock that judges expiry, set by hand.

use std::time::Duration;

use statestore_api::Precondition::{Absent, Matches};
use statestore_api::backend::expiry::{MAX_MS, from_ms};
use statestore_api::{Clock as _, Error, Precondition, PutOptions, StateStore as _, StateStoreExt as _, Ttl};

use super::exactly_once::{assert_conflict, unchanged};
use super::expiry::{HOUR, Mutation, Way, reads};
use crate::Subject;

const MS: Duration = Duration::from_millis(1);

/// An entry is there up to the millisecond before its expiry, and gone in that of its expiry: for each way that set
/// it, for every read and every condition.
pub async fn an_entry_expires_in_its_millisecond(subject: &Subject) {
    let clock = subject.clock();
    for way in Way::ALL {
        for ttl in [MS, 1234 * MS, HOUR] {
            for exactly in [false, true] {
                let key = way
                    .prepare(subject, &format!("{}-{exactly}", ttl.as_millis()))
                    .await;
                let at = clock.now() + ttl;
                let asked = if exactly { Ttl::At(at) } else { Ttl::After(ttl) };
                way.write(subject, &key, asked).await;
                let there = subject.entry(&key).await;
                assert_eq!(there.expires_at, Some(at), "a {way:?} with {asked:?}");
                clock.set(at - MS);
                for (read, entry) in reads(subject, &key).await {
                    assert_eq!(
                        entry.as_ref(),
                        Some(&there),
                        "{read}, a millisecond before the expiry by a {way:?}"
                    );
                }
                clock.set(at);
                for (read, entry) in reads(subject, &key).await {
                    assert_eq!(
                        entry, None,
                        "{read}, in the millisecond of the expiry by a {way:?}"
                    );
                }
            }
        }
    }

    // Two of each: one is met a millisecond before it expires, the other when it does.
    let at = clock.now() + HOUR;
    let mut cases = Vec::new();
    for (place, (mutation, condition)) in Mutation::crossed().into_iter().enumerate() {
        for last in [true, false] {
            let key = subject.key_in(&format!("{place}-{last}"), "expiring");
            let options = PutOptions::expiring(Ttl::At(at));
            let version = subject.put_with(&key, "before", options).await;
            cases.push((mutation, condition, last, key, version));
        }
    }
    for (time, last) in [(at - MS, true), (at, false)] {
        clock.set(time);
        for (mutation, condition, when, key, version) in &cases {
            if *when == last {
                let now = subject.get(key).await;
                assert_eq!(
                    now.is_some(),
                    last,
                    "an entry that expires at {at:?}, at {time:?}"
                );
                let state = if last {
                    "expires in a millisecond"
                } else {
                    "expires now"
                };
                mutation
                    .check(subject, key, *condition, version, now.as_ref(), state)
                    .await;
            }
        }
    }
}

/// A TTL is rounded up to the millisecond, and the shortest is one.
pub async fn a_ttl_is_at_least_a_millisecond(subject: &Subject) {
    let clock = subject.clock();
    for way in Way::ALL {
        for (ns, ms) in [(1, 1), (1_000_000, 1), (1_000_001, 2), (999_999_999, 1000)] {
            let key = way.prepare(subject, &format!("{ns}ns")).await;
            let at = clock.now() + ms * MS;
            way.write(subject, &key, Ttl::After(Duration::from_nanos(ns)))
                .await;
            let entry = subject.entry(&key).await;
            assert_eq!(entry.expires_at, Some(at), "a {way:?} with {ns} ns");
        }
        let key = way.prepare(subject, "next").await;
        way.write(subject, &key, Ttl::At(clock.now() + MS)).await;
        for past in [clock.now(), clock.now() - MS] {
            let write = way.try_write(subject, &key, Ttl::At(past), Precondition::None);
            match unchanged(subject, &key, write).await {
                Err(Error::InvalidTtl { .. }) => {}
                other => panic!(
                    "a {way:?} that expires at {past:?}, at {:?}: {other:?}",
                    clock.now()
                ),
            }
        }
    }
}

/// What has no expiry is there whatever the clock shows.
pub async fn an_entry_without_a_ttl_outlives_every_clock(subject: &Subject) {
    let clock = subject.clock();
    let now = clock.now();
    let keys = Way::ALL.map(|way| (way, subject.key(&format!("{way:?}"))));
    let mut entries = Vec::new();
    for (way, key) in &keys {
        subject
            .put_with(key, "x", PutOptions::expiring(Ttl::After(HOUR)))
            .await;
        way.write(subject, key, Ttl::None).await;
        entries.push(subject.entry(key).await);
    }
    for time in [
        now + HOUR,
        now + 876_000 * HOUR,
        from_ms(MAX_MS),
        from_ms(MAX_MS + 1),
        from_ms(0),
        now,
    ] {
        clock.set(time);
        for ((way, key), entry) in keys.iter().zip(&entries) {
            for (read, found) in reads(subject, key).await {
                assert_eq!(
                    found.as_ref(),
                    Some(entry),
                    "{read} at {time:?}, of what a {way:?} wrote"
                );
            }
        }
    }
}

/// A clock that is ahead by S makes entries live at most S shorter, and breaks nothing else.
pub async fn a_clock_ahead_only_shortens_lives(subject: &Subject) {
    let clock = subject.clock();
    let ahead = 10 * 60 * 1000 * MS;
    let start = clock.now();
    let at = start + HOUR;
    let [expiring, taken, for_ever] = ["expiring", "taken", "for-ever"].map(|id| subject.key(id));
    let expires = || PutOptions::expiring(Ttl::After(HOUR));
    subject.put_with(&expiring, "x", expires()).await;
    let old = subject.put_with(&taken, "x", expires()).await;
    let lasting = subject.put(&for_ever, "x").await;

    clock.set(start + ahead);
    for key in [&expiring, &taken] {
        assert_eq!(
            subject.entry(key).await.expires_at,
            Some(at),
            "the clock moved the expiry"
        );
    }
    // S before its time, and no sooner.
    clock.set(at - MS);
    subject.assert_value(&expiring, "x").await;
    clock.set(at);
    subject.assert_absent(&expiring).await;
    let new = subject.put_with(&taken, "y", expires()).await;
    assert_ne!(new, old, "the version of an expired entry came back");
    let lasting = subject
        .store()
        .compare_and_set(&for_ever, Some(&lasting), "y")
        .await;
    let lasting = lasting.unwrap_or_else(|error| panic!("the clock matters to no version: {error}"));

    // Set right again: what was written meanwhile is there, and lives S longer.
    clock.set(at - ahead);
    let entry = subject.assert_value(&taken, "y").await;
    assert_eq!(
        (&entry.version, entry.expires_at),
        (&new, Some(at + HOUR)),
        "what was written meanwhile"
    );
    let stale = subject.store().put(&taken, "z".into(), old.into());
    let answer = unchanged(subject, &taken, stale).await;
    assert_conflict(
        answer,
        &taken,
        Some(&entry),
        "the version that expired while the clock was ahead",
    );
    let put = subject
        .store()
        .compare_and_set(&for_ever, Some(&lasting), "z")
        .await;
    put.unwrap_or_else(|error| panic!("a version made while the clock was ahead: {error}"));
    clock.set(at + HOUR - MS);
    subject.assert_value(&taken, "y").await;
    clock.set(at + HOUR);
    subject.assert_absent(&taken).await;
}

/// A clock that is behind by S makes entries live at most S longer, and breaks nothing else.
pub async fn a_clock_behind_only_prolongs_lives(subject: &Subject) {
    let clock = subject.clock();
    let behind = 10 * 60 * 1000 * MS;
    let start = clock.now();
    let at = start + HOUR;
    let key = subject.key("expiring");
    let mut versions = vec![
        subject
            .put_with(&key, "x", PutOptions::expiring(Ttl::After(HOUR)))
            .await,
    ];

    // At its expiry the clock shows S less: it is there still, and for S.
    clock.set(at - behind);
    assert_eq!(
        subject.assert_value(&key, "x").await.expires_at,
        Some(at),
        "the clock moved the expiry"
    );
    clock.set(at - MS);
    subject.assert_value(&key, "x").await;
    clock.set(at);
    subject.assert_absent(&key).await;

    // The clock shows the same time again and again, and no version comes back for it.
    let again = subject.key("again");
    for _ in 0..4 {
        clock.set(start);
        versions.push(subject.put_with(&again, "same", Absent).await);
        versions.push(subject.put(&again, "same").await);
        let there = subject.entry(&again).await;
        for stale in &versions[1..versions.len() - 1] {
            let put = subject.store().put(&again, "y".into(), stale.clone().into());
            let answer = unchanged(subject, &again, put).await;
            assert_conflict(
                answer,
                &again,
                Some(&there),
                "a version made when the clock showed the same time",
            );
        }
        clock.set(start - behind);
        subject.delete(&again).await;
    }
    for (place, version) in versions.iter().enumerate() {
        assert!(
            !versions[..place].contains(version),
            "a version was given twice at one time of the clock"
        );
    }

    // What was expired by a clock that then went back is there or not: reads and conditions agree on it.
    clock.set(start);
    let back = subject.key("back");
    let version = subject
        .put_with(&back, "x", PutOptions::expiring(Ttl::At(at)))
        .await;
    clock.set(at);
    subject.assert_absent(&back).await;
    clock.set(at - MS);
    let there = subject.get(&back).await;
    let put = subject.store().put(&back, "y".into(), Matches(version).into());
    match (&there, put.await) {
        (Some(_), Ok(_)) | (None, Err(Error::Conflict(_))) => {}
        (there, answer) => {
            panic!("a read shows {there:?}, and a compare-and-set with its version {answer:?}")
        }
    }
}

/// A clock that is off breaks no write: one that is made when the clock has gone back counts like any other.
pub async fn a_write_counts_whatever_the_clock_shows(subject: &Subject) {
    let (clock, store) = (subject.clock(), subject.store());
    let start = clock.now();
    let key = subject.key("written");
    let mut last = subject.put(&key, "first").await;
    for time in [
        start + 24 * HOUR,
        start,
        start - 24 * HOUR,
        start + HOUR,
        start + HOUR - MS,
        from_ms(1),
        start,
    ] {
        clock.set(time);
        for mutation in Mutation::ALL {
            let applied = mutation.apply(subject, &key, Matches(last.clone())).await;
            applied.unwrap_or_else(|error| {
                panic!("a {mutation:?} with the current version, at {time:?}: {error}")
            });
            last = match (mutation, subject.get(&key).await) {
                (Mutation::Delete | Mutation::TransactedDelete, there) => {
                    assert_eq!(
                        there, None,
                        "a {mutation:?} at {time:?} was acknowledged and not done"
                    );
                    let created = store.create(&key, "created").await;
                    created.unwrap_or_else(|error| panic!("a create behind a delete, at {time:?}: {error}"))
                }
                // This one writes nothing.
                (Mutation::Check, there) => there.expect("a check changes nothing").version,
                (_, there) => {
                    let there = there.unwrap_or_else(|| panic!("a {mutation:?} at {time:?} lost the entry"));
                    assert_ne!(
                        there.version, last,
                        "a {mutation:?} at {time:?} was acknowledged and not done"
                    );
                    there.version
                }
            };
            for value in ["again", "and again"] {
                last = subject.put(&key, value).await;
                let entry = subject.assert_value(&key, value).await;
                assert_eq!(entry.version, last, "a put at {time:?}: the version");
            }
        }
    }
}

/// `sweep` removes what has expired, and nothing that expires in the next millisecond.
pub async fn sweep_removes_what_has_expired(subject: &Subject) {
    const EACH: u64 = 20;
    let clock = subject.clock();
    // Behind what others on this table wait for, and before anything that they count on.
    let at = clock.now() + Duration::from_secs(30);
    let mut keys = Vec::new();
    for i in 0..EACH {
        for (name, ttl) in [
            ("expired", Ttl::At(at)),
            ("next", Ttl::At(at + MS)),
            ("for-ever", Ttl::None),
        ] {
            let key = subject.key_in(&format!("p{}", i % 4), &format!("{name}-{i}"));
            subject.put_with(&key, "x", PutOptions::expiring(ttl)).await;
            keys.push((name, subject.entry(&key).await, key));
        }
    }
    let sweep = async || subject.store().sweep().await.expect("the sweep succeeds");
    let sweeps_itself = subject.store().capabilities().sweeps_itself;

    clock.set(at);
    let swept = sweep().await;
    assert!(
        swept >= EACH || sweeps_itself,
        "of {EACH} expired entries {swept} were swept"
    );
    for (name, entry, key) in &keys {
        let there = subject.get(key).await;
        if *name == "expired" {
            assert_eq!(there, None, "`{key}` has expired");
        } else {
            assert_eq!(
                there.as_ref(),
                Some(entry),
                "`{key}` lives, and the sweep changed it"
            );
        }
    }
    // What was swept does not come back with the clock, unless the store sweeps when it likes.
    clock.set(at - MS);
    if !sweeps_itself {
        for (_, _, key) in keys.iter().filter(|(name, ..)| *name == "expired") {
            subject.assert_absent(key).await;
        }
    }
    clock.set(at + MS);
    let swept = sweep().await;
    assert!(
        swept >= EACH || sweeps_itself,
        "of {EACH} more expired entries {swept} were swept"
    );
    for (name, _, key) in &keys {
        assert_eq!(subject.get(key).await.is_some(), *name == "for-ever", "`{key}`");
    }
    for (_, entry, key) in keys.iter().filter(|(name, ..)| *name == "expired") {
        let again = subject.put_with(key, "x", Absent).await;
        assert_ne!(again, entry.version, "the version of a swept entry came back");
    }
}
