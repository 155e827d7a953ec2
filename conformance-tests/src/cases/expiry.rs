//! Expiry: kept to the millisecond, and over at once for everything that looks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::TryStreamExt;
use statestore_api::Precondition::{Absent, Exists, Matches};
use statestore_api::backend::expiry::{MAX_MS, from_ms};
use statestore_api::{
    Change, Consistency, Current, Entry, Error, Item, Key, ListOptions, Precondition, Projection, PutOptions,
    Result, ScanOptions, StateStore as _, StateStoreExt as _, TransactOp, Ttl, Version,
};

use super::exactly_once::{assert_conflict, unchanged};
use crate::Subject;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// The TTL of an entry that has to expire.
pub(super) const SOON: Duration = Duration::from_millis(150);

/// A put without an expiry never expires, also where others do.
pub async fn an_entry_without_a_ttl_never_expires(subject: &Subject) {
    let [put, kept, transacted, soon] = ["put", "kept", "transacted", "soon"].map(|id| subject.key(id));
    subject.put(&put, "x").await;
    subject
        .put_with(&kept, "x", PutOptions::expiring(Ttl::Keep))
        .await;
    let ops = vec![TransactOp::put(transacted.clone(), "x")];
    let done = subject.store().transact(ops, Default::default()).await;
    done.expect("a put of a missing key");
    subject.put_expired(&soon, "x").await;
    for key in [&put, &kept, &transacted] {
        let entry = subject.assert_value(key, "x").await;
        assert_eq!(entry.expires_at, None, "`{key}` was put without an expiry");
    }
    subject.assert_absent(&soon).await;
}

/// An expiry is kept to the millisecond, and every read shows the same one.
pub async fn the_expiry_is_returned_to_the_millisecond(subject: &Subject) {
    for way in Way::ALL {
        for ms in [0, 1, 9, 123, 500, 999] {
            let at = whole_second(subject, HOUR) + Duration::from_millis(ms);
            let key = way.prepare(subject, &format!("{ms}ms")).await;
            way.write(subject, &key, Ttl::At(at)).await;
            for (read, entry) in reads(subject, &key).await {
                let entry = entry.unwrap_or_else(|| panic!("{read} after a {way:?} does not find `{key}`"));
                assert_eq!(
                    entry.expires_at,
                    Some(at),
                    "the expiry that {read} shows after a {way:?} with {ms} ms"
                );
            }
            let conflict = subject.store().create(&key, "x").await;
            let error = conflict.expect_err("the key is there");
            if let Some(Current::Entry(entry)) = error.conflict().map(|conflict| &conflict.current) {
                assert_eq!(entry.expires_at, Some(at), "the expiry that a conflict shows");
            }
        }
    }
}

/// `Ttl::After` counts from the write that brings it.
pub async fn a_ttl_counts_from_the_write(subject: &Subject) {
    // Wide enough for a service's clock, and for a unit that is mistaken.
    let slack = Duration::from_secs(60);
    for way in Way::ALL {
        let key = way.prepare(subject, "counted").await;
        let mut last = UNIX_EPOCH;
        for ttl in [HOUR, HOUR, 48 * HOUR] {
            let before = subject.now();
            way.write(subject, &key, Ttl::After(ttl)).await;
            let after = subject.now();
            let at = expiry(subject, &key)
                .await
                .unwrap_or_else(|| panic!("a {way:?} with {ttl:?} left no expiry"));
            assert!(
                before + ttl - slack < at && at < after + ttl + slack,
                "a {way:?} at {before:?} with {ttl:?} expires at {at:?}"
            );
            assert!(
                at > last,
                "a later {way:?} with {ttl:?} expires at {at:?}, not after the earlier one, {last:?}"
            );
            last = at;
            subject.wait_until(after).await;
        }
    }
}

/// A fraction of a millisecond is rounded up, so that nothing expires early.
pub async fn fractions_of_a_millisecond_round_up(subject: &Subject) {
    for way in Way::ALL {
        let second = whole_second(subject, HOUR);
        // In steps of 100 ns, which every operating system's clock can show.
        for (ns, ms) in [
            (100, 1),
            (1_000_000, 1),
            (1_000_100, 2),
            (1_500_000, 2),
            (998_999_900, 999),
            (999_000_100, 1000),
        ] {
            let key = way.prepare(subject, &format!("{ns}ns")).await;
            way.write(subject, &key, Ttl::At(second + Duration::from_nanos(ns)))
                .await;
            assert_eq!(
                expiry(subject, &key).await,
                Some(second + Duration::from_millis(ms)),
                "the expiry of a {way:?} with {ns} ns"
            );
        }
        // The shortest there is: it rounds to a millisecond, not to zero, which would be refused.
        let key = way.prepare(subject, "shortest").await;
        way.write(subject, &key, Ttl::After(Duration::from_nanos(1)))
            .await;
        subject.wait_until(subject.now() + Duration::from_millis(1)).await;
        subject.assert_absent(&key).await;
    }
}

/// The latest expiry is the end of the year 9999.
pub async fn the_furthest_expiry_is_kept(subject: &Subject) {
    let furthest = from_ms(MAX_MS);
    for way in Way::ALL {
        for (name, at) in [
            ("2038", from_ms(i32::MAX as u64 * 1000 + 1001)),
            ("2106", from_ms(u64::from(u32::MAX) * 1000 + 1001)),
            ("furthest", furthest),
            ("rounded-up-to-it", furthest - Duration::from_nanos(999_900)),
        ] {
            let key = way.prepare(subject, name).await;
            way.write(subject, &key, Ttl::At(at)).await;
            let kept = if name == "rounded-up-to-it" { furthest } else { at };
            for (read, entry) in reads(subject, &key).await {
                let found = entry.map(|entry| entry.expires_at);
                assert_eq!(
                    found,
                    Some(Some(kept)),
                    "what {read} shows after a {way:?}: {name}"
                );
            }
        }
        let key = way.prepare(subject, "after").await;
        let left = furthest
            .duration_since(subject.now())
            .expect("the year 9999 is not over");
        way.write(subject, &key, Ttl::After(left - HOUR)).await;
        let at = expiry(subject, &key).await.expect("it expires");
        assert!(
            furthest - 2 * HOUR < at && at < furthest,
            "an hour before the furthest: {at:?}"
        );
    }
}

/// Nothing expires early: an entry is there up to its expiry, whatever unit the service counts in.
pub async fn an_entry_is_there_until_its_expiry(subject: &Subject) {
    // For clocks that are apart. A service that cuts off the fraction of a second would be 900 ms early.
    let slack = Duration::from_millis(500);
    let at = whole_second(subject, Duration::from_secs(2)) + Duration::from_millis(900);
    let mut keys = Vec::new();
    for way in Way::ALL {
        let key = way.prepare(subject, "there").await;
        way.write(subject, &key, Ttl::At(at)).await;
        keys.push((way, key));
    }
    while subject.now() < at - slack {
        for (way, key) in &keys {
            for (read, entry) in reads(subject, key).await {
                let now = subject.now();
                assert!(
                    entry.is_some() || now >= at - slack,
                    "{read} does not find at {now:?} what a {way:?} wrote to expire at {at:?}"
                );
            }
        }
        subject
            .wait_until(subject.now() + Duration::from_millis(50))
            .await;
    }
    subject.wait_until(at).await;
    for (_, key) in &keys {
        subject.assert_absent(key).await;
    }
}

/// An expired entry is gone at once for `get`, `get_many`, `exists`, listings and scans, however late it is swept.
pub async fn an_expired_entry_is_gone_for_every_read(subject: &Subject) {
    // Living neighbours before, between and behind; nothing is written after the expiry, which might sweep.
    let mut living = Vec::new();
    let mut expiring = Vec::new();
    for id in ["a", "c", "e", "g"] {
        let key = subject.key(id);
        let ttl = if id < "d" { Ttl::None } else { Ttl::After(HOUR) };
        subject.put_with(&key, "x", PutOptions::expiring(ttl)).await;
        living.push((id, key));
    }
    for (way, id) in Way::ALL.into_iter().zip(["b", "d", "f"]) {
        expiring.push((id, subject.key(id)));
        if matches!(way, Way::Touch) {
            subject.put(&subject.key(id), "x").await;
        }
        way.write(subject, &subject.key(id), Ttl::After(SOON)).await;
    }
    subject.wait_until(subject.now() + SOON).await;

    for (id, key) in &living {
        for (read, entry) in reads(subject, key).await {
            assert!(entry.is_some(), "{read} does not find the living entry `{id}`");
        }
    }
    for (id, key) in &expiring {
        for (read, entry) in reads(subject, key).await {
            assert_eq!(entry, None, "{read} finds the entry `{id}`, which has expired");
        }
        let exists = subject.store().exists(key).await.expect("the read succeeds");
        assert!(!exists, "`{id}` has expired and is said to exist");
        // Nobody ever saw it without its expiry, so that a read of old data may not show it either.
        if *id != "d" {
            let eventual = subject.store().get(key, Consistency::Eventual.into()).await;
            assert_eq!(
                eventual.expect("the read succeeds"),
                None,
                "an eventual read finds `{id}`"
            );
        }
    }
    let keys: Vec<Key> = living
        .iter()
        .chain(&expiring)
        .map(|(_, key)| key.clone())
        .collect();
    let got = subject.store().get_many(&keys, Default::default()).await;
    let found: Vec<bool> = got
        .into_iter()
        .map(|got| got.expect("the read succeeds").is_some())
        .collect();
    assert_eq!(
        found,
        [true, true, true, true, false, false, false],
        "get_many of living and expired entries"
    );
    if !subject.store().capabilities().listing {
        return;
    }
    for projection in [Projection::Entries, Projection::Keys] {
        for page_size in [1, 2, 100] {
            let options = ListOptions::default()
                .with_projection(projection)
                .with_page_size(page_size);
            let listed: Vec<Item> = subject
                .store()
                .list(&subject.partition(""), options)
                .try_collect()
                .await
                .expect("the listing succeeds");
            let ids: Vec<&str> = listed.iter().map(|item| item.key.id()).collect();
            assert_eq!(
                ids,
                ["a", "c", "e", "g"],
                "a listing of {projection:?} in pages of {page_size}"
            );
        }
    }
}

/// It is gone for scans of the whole store, too.
pub async fn an_expired_entry_is_gone_for_scans(subject: &Subject) {
    if !subject.store().capabilities().listing {
        return;
    }
    let at = whole_second(subject, HOUR) + Duration::from_millis(456);
    let [living, expired] = ["living", "expired"].map(|id| subject.key_in(id, "x"));
    subject
        .put_with(&living, "x", PutOptions::expiring(Ttl::At(at)))
        .await;
    subject.put_expired(&expired, "x").await;
    let scanned: Vec<Item> = subject
        .store()
        .scan(ScanOptions::default().with_page_size(ListOptions::MAX_PAGE_SIZE))
        .try_collect()
        .await
        .expect("the scan succeeds");
    let found = scanned.iter().any(|item| item.key == expired);
    assert!(!found, "a scan finds an expired entry");
    let entry = entry_of(scanned, &living).expect("a scan finds a living entry");
    assert_eq!(entry.expires_at, Some(at), "the expiry that a scan shows");
}

/// An expired entry counts as missing in every precondition of every mutation: `Absent` holds, `Exists` and `Matches`
/// conflict.
pub async fn an_expired_entry_is_gone_for_every_condition(subject: &Subject) {
    let mut cases = Vec::new();
    // A partition each, lest the write of one case sweeps the entry of the next.
    for (place, (mutation, condition)) in Mutation::crossed().into_iter().enumerate() {
        let key = subject.key_in(&place.to_string(), "expired");
        let options = PutOptions::expiring(Ttl::After(SOON));
        let version = subject.put_with(&key, "before", options).await;
        cases.push((mutation, condition, key, version));
    }
    subject.wait_until(subject.now() + SOON).await;
    for (mutation, condition, key, version) in cases {
        mutation
            .check(subject, &key, condition, &version, None, "has expired")
            .await;
    }
}

/// A create takes over an expired key: with a version of its own, and nothing of what was there.
pub async fn an_expired_entry_can_be_replaced(subject: &Subject) {
    for (id, in_transaction, precondition) in [
        ("created", false, Absent),
        ("put", false, Precondition::None),
        ("created-in-a-transaction", true, Absent),
        ("put-in-a-transaction", true, Precondition::None),
    ] {
        let key = subject.key(id);
        let mut old = Vec::new();
        for round in 0..2 {
            old.push(subject.put_expired(&key, "a longer value than the next").await);
            let version = if in_transaction {
                let op = TransactOp::put(key.clone(), "next").when(precondition.clone());
                let done = subject.store().transact(vec![op], Default::default()).await;
                done.unwrap_or_else(|error| panic!("{id}, round {round}: {error}"))
                    .remove(0)
                    .expect("a put makes a version")
            } else {
                subject.put_with(&key, "next", precondition.clone()).await
            };
            assert!(
                !old.contains(&version),
                "{id}, round {round}: the version of an expired entry came back"
            );
            for (read, entry) in reads(subject, &key).await {
                let entry = entry.unwrap_or_else(|| panic!("{id}: {read} does not find the new entry"));
                assert_eq!(entry.value, "next", "{id}: the value that {read} shows");
                assert_eq!(entry.version, version, "{id}: the version that {read} shows");
                assert_eq!(
                    entry.expires_at, None,
                    "{id}: {read} shows an expiry, of the entry before"
                );
            }
            for stale in &old {
                for mutation in Mutation::ALL {
                    let applied = mutation.apply(subject, &key, Matches(stale.clone()));
                    let applied = unchanged(subject, &key, applied).await;
                    let when = format!("{id}: a {mutation:?} with the version of the entry that expired");
                    assert_conflict(applied, &key, Some(&subject.entry(&key).await), &when);
                }
            }
            old.push(version.clone());
            let next = subject
                .store()
                .compare_and_set(&key, Some(&version), "mine")
                .await;
            old.push(next.unwrap_or_else(|error| panic!("{id}: the version of the new entry: {error}")));
        }
    }
}

/// A put without an expiry clears the one that was there.
pub async fn a_put_without_a_ttl_clears_the_expiry(subject: &Subject) {
    for condition in ["none", "exists", "matches", "in-a-transaction"] {
        let key = subject.key(condition);
        let version = subject
            .put_with(&key, "before", PutOptions::expiring(Ttl::After(HOUR)))
            .await;
        match condition {
            "none" => drop(subject.put(&key, "after").await),
            "exists" => drop(subject.put_with(&key, "after", Exists).await),
            "matches" => drop(subject.put_with(&key, "after", version).await),
            _ => {
                let ops = vec![TransactOp::put(key.clone(), "after")];
                let done = subject.store().transact(ops, Default::default()).await;
                done.expect("a put without a condition");
            }
        }
        let entry = subject.assert_value(&key, "after").await;
        assert_eq!(
            entry.expires_at, None,
            "a put without an expiry left one: {condition}"
        );
    }

    // The service's own expiry is gone as well.
    let key = subject.key("outlives");
    let soon = PutOptions::expiring(Ttl::After(SOON));
    subject.put_with(&key, "before", soon).await;
    subject.put(&key, "after").await;
    subject.wait_until(subject.now() + SOON).await;
    subject.assert_value(&key, "after").await;
}

/// A put with an expiry replaces the one that was there, by a later one or an earlier.
pub async fn a_put_with_a_ttl_replaces_the_expiry(subject: &Subject) {
    for way in [Way::Put, Way::Transaction] {
        let key = subject.key(&format!("exact-{way:?}"));
        for hours in [5, 9, 2] {
            let at = whole_second(subject, hours * HOUR) + Duration::from_millis(7);
            way.write(subject, &key, Ttl::At(at)).await;
            assert_eq!(
                expiry(subject, &key).await,
                Some(at),
                "a {way:?} that expires in {hours} hours"
            );
        }
        let [shortened, prolonged] =
            ["shortened", "prolonged"].map(|id| subject.key(&format!("{id}-{way:?}")));
        way.write(subject, &shortened, Ttl::After(HOUR)).await;
        way.write(subject, &shortened, Ttl::After(SOON)).await;
        way.write(subject, &prolonged, Ttl::After(SOON)).await;
        way.write(subject, &prolonged, Ttl::After(HOUR)).await;
        subject.wait_until(subject.now() + SOON).await;
        subject.assert_absent(&shortened).await;
        subject.entry(&prolonged).await;
    }
}

/// [`Ttl::Keep`] keeps the expiry that is there, or that there is none.
pub async fn keep_keeps_the_expiry(subject: &Subject) {
    let at = whole_second(subject, HOUR) + Duration::from_millis(321);
    for way in Way::ALL {
        for (name, ttl, kept) in [("expires", Ttl::At(at), Some(at)), ("stays", Ttl::None, None)] {
            let key = subject.key(&format!("{name}-{way:?}"));
            let before = subject.put_with(&key, "before", PutOptions::expiring(ttl)).await;
            for _ in 0..2 {
                let version = way.write(subject, &key, Ttl::Keep).await;
                let entry = subject.entry(&key).await;
                assert_eq!(
                    entry.expires_at, kept,
                    "a {way:?} that keeps the expiry of an entry that {name}"
                );
                assert_eq!(
                    entry.version, version,
                    "a {way:?} that keeps the expiry: the version"
                );
                assert_ne!(
                    version, before,
                    "a {way:?} that keeps the expiry makes a new version"
                );
            }
            subject
                .store()
                .update(&key, Default::default(), |_| Ok(Change::put("updated")))
                .await
                .expect("nobody else writes");
            let entry = subject.assert_value(&key, "updated").await;
            assert_eq!(
                entry.expires_at, kept,
                "an update of an entry that {name} keeps its expiry"
            );
        }
        if !matches!(way, Way::Touch) {
            let key = subject.key(&format!("missing-{way:?}"));
            way.write(subject, &key, Ttl::Keep).await;
            assert_eq!(
                expiry(subject, &key).await,
                None,
                "a {way:?} that keeps what is not there"
            );
        }
    }
}

/// An expiry that was kept still comes: an entry is not freed of it by [`Ttl::Keep`].
pub async fn what_was_kept_still_expires(subject: &Subject) {
    for way in Way::ALL {
        let (key, at) = before_it_expires(subject, "kept", way, Ttl::Keep).await;
        subject.wait_until(at).await;
        for (read, entry) in reads(subject, &key).await {
            assert_eq!(
                entry, None,
                "{read} finds an entry behind the expiry that a {way:?} kept"
            );
        }
    }
}

/// An expired entry has no expiry to keep: what takes its place does not expire.
pub async fn keep_takes_nothing_from_an_expired_entry(subject: &Subject) {
    let mut keys = Vec::new();
    for way in [Way::Put, Way::Transaction] {
        for precondition in [Precondition::None, Absent] {
            let key = subject.key_in(&format!("{way:?}-{precondition:?}"), "kept");
            let soon = PutOptions::expiring(Ttl::After(SOON));
            subject.put_with(&key, "before", soon).await;
            keys.push((key, way, precondition));
        }
    }
    let touched = subject.key_in("touched", "kept");
    let version = subject.put_expired(&touched, "before").await;
    for (key, way, precondition) in keys {
        let when = format!("a {way:?} under {precondition:?} that keeps what has expired");
        let written = way.try_write(subject, &key, Ttl::Keep, precondition).await;
        let version = written.unwrap_or_else(|error| panic!("{when}: {error}"));
        let entry = subject.assert_value(&key, "written").await;
        assert_eq!(
            (entry.expires_at, &entry.version),
            (None, &version),
            "{when}: its expiry and version"
        );
    }
    for precondition in [Precondition::None, Exists, Matches(version)] {
        let touch = subject
            .store()
            .touch(&touched, Ttl::Keep, precondition.into())
            .await;
        assert_conflict(
            touch,
            &touched,
            None,
            "a touch that keeps the expiry of an expired entry",
        );
        subject.assert_absent(&touched).await;
    }
}

/// A write that is refused leaves the expiry as it is.
pub async fn a_refused_write_leaves_the_expiry(subject: &Subject) {
    let at = whole_second(subject, HOUR) + Duration::from_millis(77);
    for (name, ttl, there) in [("expires", Ttl::At(at), Some(at)), ("stays", Ttl::None, None)] {
        let key = subject.key(name);
        let stale = subject.put(&key, "before").await;
        subject.put_with(&key, "now", PutOptions::expiring(ttl)).await;
        for way in Way::ALL {
            for ttl in [Ttl::None, Ttl::After(SOON), Ttl::After(9 * HOUR), Ttl::Keep] {
                let write = way.try_write(subject, &key, ttl, Matches(stale.clone()));
                let answer = unchanged(subject, &key, write).await;
                let when = format!("a {way:?} with {ttl:?} and a stale version");
                assert_conflict(answer, &key, Some(&subject.entry(&key).await), &when);
            }
        }
        subject.wait_until(subject.now() + SOON).await;
        assert_eq!(
            subject.assert_value(&key, "now").await.expires_at,
            there,
            "an entry that {name}"
        );
    }
}

/// An expiry that is not in the future is [`Error::InvalidTtl`], and nothing changes.
pub async fn a_ttl_that_is_not_in_the_future_is_refused(subject: &Subject) {
    let now = subject.now();
    assert_refused(
        subject,
        &[
            Ttl::After(Duration::ZERO),
            Ttl::At(now - Duration::from_secs(60)),
            Ttl::At(now - 24 * HOUR),
            Ttl::At(UNIX_EPOCH + Duration::from_millis(1)),
            Ttl::At(UNIX_EPOCH),
            Ttl::At(UNIX_EPOCH - Duration::from_millis(1)),
            Ttl::At(UNIX_EPOCH - 876_000 * HOUR),
        ],
    )
    .await;
}

/// An expiry behind the year 9999, or one that no number can hold, is [`Error::InvalidTtl`], and nothing changes.
pub async fn a_ttl_that_is_too_far_is_refused(subject: &Subject) {
    let furthest = from_ms(MAX_MS);
    let left = furthest
        .duration_since(subject.now())
        .expect("the year 9999 is not over");
    let mut refused = vec![
        Ttl::At(furthest + Duration::from_nanos(100)),
        Ttl::At(furthest + Duration::from_millis(1)),
        Ttl::After(left + HOUR),
        Ttl::After(Duration::from_millis(i64::MAX as u64)),
        Ttl::After(Duration::from_millis(u64::MAX)),
        Ttl::After(Duration::from_secs(i64::MAX as u64)),
        Ttl::After(Duration::from_secs(u64::MAX)),
        Ttl::After(Duration::MAX),
        // This many milliseconds are 1 behind a whole turn of 64 bits.
        Ttl::After(Duration::new(u64::MAX / 1000, 617_000_000)),
    ];
    // As far as this operating system can say a time.
    let far = [1 << 40, 1 << 50, 1 << 62].map(Duration::from_secs);
    refused.extend(
        far.into_iter()
            .filter_map(|far| UNIX_EPOCH.checked_add(far))
            .map(Ttl::At),
    );
    assert_refused(subject, &refused).await;
}

/// `sweep` removes expired entries only.
pub async fn sweep_removes_nothing_that_is_there(subject: &Subject) {
    let mut living = Vec::new();
    for (id, ttl) in [
        ("for-ever", Ttl::None),
        ("an-hour", Ttl::After(HOUR)),
        ("a-millennium", Ttl::At(from_ms(MAX_MS))),
    ] {
        let key = subject.key(id);
        subject.put_with(&key, "x", PutOptions::expiring(ttl)).await;
        living.push(key);
    }
    // Once they were to expire soon.
    for (id, ttl) in [
        ("cleared", Ttl::None),
        ("prolonged", Ttl::After(HOUR)),
        ("taken-over", Ttl::None),
    ] {
        let key = subject.key(id);
        if id == "taken-over" {
            subject.put_expired(&key, "x").await;
        } else {
            let soon = PutOptions::expiring(Ttl::After(SOON));
            subject.put_with(&key, "x", soon).await;
        }
        subject.put_with(&key, "x", PutOptions::expiring(ttl)).await;
        living.push(key);
    }
    let expired = subject.key("expired");
    let version = subject.put_expired(&expired, "x").await;

    let mut before = Vec::new();
    for key in &living {
        before.push(subject.entry(key).await);
    }
    for round in 0..2 {
        let swept = subject.store().sweep().await;
        swept.unwrap_or_else(|error| panic!("sweep {round} failed: {error}"));
        for (key, before) in living.iter().zip(&before) {
            let now = subject.get(key).await;
            assert_eq!(
                now.as_ref(),
                Some(before),
                "`{}` lives, and sweep {round} changed it",
                key.id()
            );
        }
        subject.assert_absent(&expired).await;
    }
    let again = subject.put_with(&expired, "y", Absent).await;
    assert_ne!(again, version, "the version of a swept entry came back");
    let stale = subject.store().put(&expired, "z".into(), version.into());
    let answer = unchanged(subject, &expired, stale).await;
    let there = subject.entry(&expired).await;
    assert_conflict(answer, &expired, Some(&there), "the version of a swept entry");
}

/// A mutation that takes an expiry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Put,
    Touch,
    Transaction,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Put, Self::Touch, Self::Transaction];

    /// A key of its own, which is there where it has to be.
    pub(super) async fn prepare(self, subject: &Subject, name: &str) -> Key {
        let key = subject.key(&format!("{name}-{self:?}"));
        if matches!(self, Self::Touch) {
            subject.put(&key, "before").await;
        }
        key
    }

    pub(super) async fn try_write(
        self,
        subject: &Subject,
        key: &Key,
        ttl: Ttl,
        precondition: Precondition,
    ) -> Result<Version> {
        let store = subject.store();
        match self {
            Self::Put => {
                let options = PutOptions::from(precondition).with_ttl(ttl);
                store.put(key, "written".into(), options).await
            }
            Self::Touch => store.touch(key, ttl, precondition.into()).await,
            Self::Transaction => {
                let op = TransactOp::put_expiring(key.clone(), "written", ttl).when(precondition);
                let versions = store.transact(vec![op], Default::default()).await?;
                Ok(versions[0].clone().expect("a put makes a version"))
            }
        }
    }

    /// A write without a condition that has to succeed.
    pub(super) async fn write(self, subject: &Subject, key: &Key, ttl: Ttl) -> Version {
        let written = self.try_write(subject, key, ttl, Precondition::None).await;
        written.unwrap_or_else(|error| panic!("a {self:?} of `{key}` with {ttl:?} failed: {error}"))
    }
}

/// Whatever takes a precondition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    Put,
    Delete,
    Touch,
    TransactedPut,
    TransactedDelete,
    Check,
}

/// A precondition, before it is known which version it is to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    Absent,
    Exists,
    Matches,
}

impl Mutation {
    pub(super) const ALL: [Self; 6] = [
        Self::Put,
        Self::Delete,
        Self::Touch,
        Self::TransactedPut,
        Self::TransactedDelete,
        Self::Check,
    ];

    /// Each mutation under each condition.
    pub(super) fn crossed() -> Vec<(Self, Condition)> {
        let conditions = [
            Condition::None,
            Condition::Absent,
            Condition::Exists,
            Condition::Matches,
        ];
        let crossed = Self::ALL
            .into_iter()
            .flat_map(|mutation| conditions.map(|condition| (mutation, condition)));
        crossed.collect()
    }

    pub(super) async fn apply(self, subject: &Subject, key: &Key, precondition: Precondition) -> Result<()> {
        let store = subject.store();
        let op = match self {
            Self::Put => {
                let put = store.put(key, "after".into(), precondition.into());
                return put.await.map(drop);
            }
            Self::Delete => return store.delete(key, precondition.into()).await,
            Self::Touch => {
                let touch = store.touch(key, Ttl::After(HOUR), precondition.into());
                return touch.await.map(drop);
            }
            Self::TransactedPut => TransactOp::put(key.clone(), "after"),
            Self::TransactedDelete => TransactOp::delete(key.clone()),
            Self::Check => TransactOp::check(key.clone(), Precondition::None),
        };
        let done = store.transact(vec![op.when(precondition)], Default::default());
        done.await.map(drop)
    }

    /// Applies it to a key that had `version` and has `now`, and checks that it does what it has to.
    pub(super) async fn check(
        self,
        subject: &Subject,
        key: &Key,
        condition: Condition,
        version: &Version,
        now: Option<&Entry>,
        state: &str,
    ) {
        let when = format!("a {self:?} under {condition:?} of an entry that {state}");
        let (precondition, holds) = match condition {
            Condition::None => (Precondition::None, self != Self::Touch || now.is_some()),
            Condition::Absent => (Absent, now.is_none()),
            Condition::Exists => (Exists, now.is_some()),
            Condition::Matches => (Matches(version.clone()), now.is_some()),
        };
        let applied = self.apply(subject, key, precondition).await;
        let after = subject.get(key).await;
        if self == Self::Touch && condition == Condition::Absent {
            assert!(
                matches!(applied, Err(Error::InvalidOptions { .. })),
                "{when}: {applied:?}"
            );
            assert_eq!(after.as_ref(), now, "{when} changed it");
            return;
        }
        if !holds {
            assert_conflict(applied, key, now, &when);
            assert_eq!(after.as_ref(), now, "{when} changed it, although it conflicts");
            return;
        }
        applied.unwrap_or_else(|error| panic!("{when}: {error}"));
        match self {
            Self::Check => assert_eq!(after.as_ref(), now, "{when} changed it"),
            Self::Delete | Self::TransactedDelete => assert_eq!(after, None, "{when} left it"),
            Self::Put | Self::TransactedPut | Self::Touch => {
                let entry = after.unwrap_or_else(|| panic!("{when} left nothing"));
                let value = if self == Self::Touch { "before" } else { "after" };
                assert_eq!(entry.value, value, "{when}: the value it left");
                assert_ne!(entry.version, *version, "{when}: the version it left");
                assert_eq!(
                    entry.expires_at.is_some(),
                    self == Self::Touch,
                    "{when}: the expiry it left"
                );
            }
        }
    }
}

/// What each kind of read shows of a key.
pub(super) async fn reads(subject: &Subject, key: &Key) -> Vec<(&'static str, Option<Entry>)> {
    let store = subject.store();
    let mut reads = vec![("get", subject.get(key).await)];
    let mut many = store
        .get_many(std::slice::from_ref(key), Default::default())
        .await;
    let got = many.pop().expect("an answer for each key");
    reads.push(("get_many", got.expect("the read succeeds")));
    if store.capabilities().listing {
        let options = ListOptions::default().with_prefix(key.id());
        let listed: Vec<Item> = store
            .list(key.partition(), options)
            .try_collect()
            .await
            .expect("the listing succeeds");
        reads.push(("list", entry_of(listed, key)));
    }
    reads
}

fn entry_of(items: Vec<Item>, key: &Key) -> Option<Entry> {
    let item = items.into_iter().find(|item| item.key == *key)?;
    Some(item.entry.expect("entries were asked for"))
}

/// Puts an entry that is about to expire and gives it this expiry before it does, however slow the store is. Returns
/// its key and when it had been to expire at the latest.
pub(super) async fn before_it_expires(
    subject: &Subject,
    name: &str,
    way: Way,
    ttl: Ttl,
) -> (Key, SystemTime) {
    for lives in [1, 4, 16, 60, 200].map(|factor| SOON * factor) {
        let key = subject.key(&format!("{name}-{way:?}-{lives:?}"));
        let options = PutOptions::expiring(Ttl::After(lives));
        let version = subject.put_with(&key, "before", options).await;
        let at = subject.now() + lives;
        match way.try_write(subject, &key, ttl, Matches(version)).await {
            Ok(_) => return (key, at),
            Err(Error::Conflict(_)) if subject.get(&key).await.is_none() => {}
            Err(error) => panic!("a {way:?} with {ttl:?} before the expiry: {error}"),
        }
    }
    panic!("an entry that was to live for 30 s had expired before it could be used");
}

/// A whole second this far ahead.
pub(super) fn whole_second(subject: &Subject, ahead: Duration) -> SystemTime {
    let time = subject.now() + ahead;
    let since = time.duration_since(UNIX_EPOCH).expect("it is past 1970");
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

async fn expiry(subject: &Subject, key: &Key) -> Option<SystemTime> {
    subject.entry(key).await.expires_at
}

/// Each of these is refused on each way, on a key that is there and on one that is not.
async fn assert_refused(subject: &Subject, ttls: &[Ttl]) {
    let at = whole_second(subject, HOUR);
    let [there, missing, other] = ["there", "missing", "other"].map(|id| subject.key(id));
    subject
        .put_with(&there, "x", PutOptions::expiring(Ttl::At(at)))
        .await;
    let refused = |result: Result<()>, when: String| match result {
        Err(Error::InvalidTtl { .. }) => {}
        other => panic!("{when} should be refused as an invalid TTL, and is {other:?}"),
    };
    for ttl in ttls {
        let there_before = subject.entry(&there).await;
        for way in Way::ALL {
            let conditions = [Precondition::None, Exists, Matches(there_before.version.clone())];
            for precondition in conditions {
                let write = way.try_write(subject, &there, *ttl, precondition.clone());
                let answer = unchanged(subject, &there, write).await;
                refused(
                    answer.map(drop),
                    format!("a {way:?} under {precondition:?} with {ttl:?}"),
                );
            }
            if matches!(way, Way::Touch) {
                continue;
            }
            for precondition in [Precondition::None, Absent] {
                let write = way.try_write(subject, &missing, *ttl, precondition.clone());
                let answer = unchanged(subject, &missing, write).await;
                let when = format!("a {way:?} of a missing key under {precondition:?} with {ttl:?}");
                refused(answer.map(drop), when);
            }
        }
        for place in 0..2 {
            let mut ops = vec![TransactOp::put(other.clone(), "x")];
            let bad = TransactOp::put_expiring(there.clone(), "y", *ttl);
            ops.insert(place, bad);
            let transact = subject.store().transact(ops, Default::default());
            let answer = unchanged(subject, &there, transact).await;
            refused(
                answer.map(drop),
                format!("a transaction with {ttl:?} in operation {place}"),
            );
            assert_eq!(
                subject.get(&other).await,
                None,
                "a transaction was refused for {ttl:?} and half applied"
            );
        }
    }
    assert_eq!(
        expiry(subject, &there).await,
        Some(at),
        "a refused expiry was set"
    );
}
