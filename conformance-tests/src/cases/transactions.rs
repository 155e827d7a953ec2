//! Transactions: puts, deletes and checks in one partition, all or nothing.

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statestore_api::{
    Action, Capabilities, Current, Entry, Error, ErrorKind, Key, Precondition, PutOptions, Result,
    StateStore, StateStoreExt as _, TransactOp, Ttl, Version,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::Subject;
use crate::expect::{ok, refused};

const HOUR: Duration = Duration::from_secs(3600);

/// How often a lost race is run again before a case gives up.
const ATTEMPTS: u64 = 500;

async fn transact(subject: &Subject, ops: Vec<TransactOp>) -> Result<Vec<Option<Version>>> {
    subject.store().transact(ops, Default::default()).await
}

/// A transaction that has to be applied. Checks that it returns a version for each put, and for nothing else.
async fn apply(subject: &Subject, what: &str, ops: Vec<TransactOp>) -> Vec<Option<Version>> {
    let puts: Vec<bool> = ops.iter().map(is_put).collect();
    let versions = ok(what, transact(subject, ops).await);
    let given: Vec<bool> = versions.iter().map(Option::is_some).collect();
    assert_eq!(given, puts, "{what}: for which operations there is a version");
    versions
}

fn is_put(op: &TransactOp) -> bool {
    matches!(op.action, Action::Put { .. })
}

/// What is under these keys. Versions and expiries are compared too, and values are shown.
async fn states(subject: &Subject, keys: &[Key]) -> Vec<(Key, Option<(String, Entry)>)> {
    let entries = subject.store().get_many(keys, Default::default()).await;
    let state = |(key, entry): (&Key, Result<Option<Entry>>)| {
        let entry = ok(&format!("reading `{key}`"), entry);
        let shown = entry.map(|entry| (String::from_utf8_lossy(&entry.value).into_owned(), entry));
        (key.clone(), shown)
    };
    keys.iter().zip(entries).map(state).collect()
}

async fn assert_unchanged(subject: &Subject, what: &str, before: &[(Key, Option<(String, Entry)>)]) {
    let keys: Vec<Key> = before.iter().map(|(key, _)| key.clone()).collect();
    for (before, after) in before.iter().zip(states(subject, &keys).await) {
        assert_eq!(*before, after, "{what} failed, and changed `{}`", after.0);
    }
}

/// Expects a conflict; if it names an operation, one of `failing`, and if it shows what is there, the truth.
async fn assert_conflict(
    subject: &Subject,
    what: &str,
    ops: &[TransactOp],
    failing: &[usize],
    answer: Result<Vec<Option<Version>>>,
) {
    let error = refused(what, answer, ErrorKind::Conflict);
    let conflict = error.conflict().expect("a conflict says what it is about");
    let named = conflict.op;
    if let Some(op) = named {
        assert!(
            failing.contains(&op),
            "{what}: the conflict names operation {op}, those that fail are {failing:?}"
        );
        assert_eq!(conflict.key, ops[op].key, "{what}: the key of operation {op}");
    }
    assert!(
        ops.iter().any(|op| op.key == conflict.key),
        "{what}: the conflict names `{}`, which is not in the transaction",
        conflict.key
    );
    let there = subject.get(&conflict.key).await;
    let shown = match &conflict.current {
        Current::Unknown => return,
        Current::Absent => None,
        Current::Entry(entry) => Some(entry),
    };
    assert_eq!(
        shown,
        there.as_ref(),
        "{what}: what the conflict shows of `{}` is not what is there",
        conflict.key
    );
}

/// Each kind of operation.
const ACTIONS: [&str; 3] = ["put", "delete", "check"];

/// The operation of this kind: one of [`ACTIONS`].
fn operation(action: &str, key: &Key, precondition: &Precondition) -> TransactOp {
    let key = key.clone();
    let op = match action {
        "put" => TransactOp::put_expiring(key, "changed", Ttl::After(HOUR)),
        "delete" => TransactOp::delete(key),
        _ => TransactOp::check(key, Precondition::None),
    };
    op.when(precondition.clone())
}

/// Every kind of condition that does not hold, with every reason not to.
async fn failing_conditions(subject: &Subject) -> Vec<(&'static str, Key, Precondition)> {
    use Precondition::{Absent, Exists, Matches};

    let [present, other, missing, deleted, expired, reborn] =
        ["present", "other", "missing", "deleted", "expired", "reborn"].map(|id| subject.key(id));
    let stale = subject.put(&present, "old").await;
    let expiring = PutOptions::expiring(Ttl::After(HOUR));
    subject.put_with(&present, "present", expiring).await;
    let others = subject.put(&other, "other").await;
    let of_deleted = subject.put(&deleted, "deleted").await;
    subject.delete(&deleted).await;
    let of_expired = subject.put_expired(&expired, "expired").await;
    let of_first = subject.put(&reborn, "reborn").await;
    subject.delete(&reborn).await;
    subject.put(&reborn, "reborn").await;
    vec![
        ("`Absent` on a key that is there", present.clone(), Absent),
        ("`Exists` on a missing key", missing.clone(), Exists),
        ("`Exists` on a deleted key", deleted.clone(), Exists),
        ("`Exists` on an expired key", expired.clone(), Exists),
        ("a stale version", present.clone(), Matches(stale)),
        ("another key's version", present, Matches(others.clone())),
        ("a version on a missing key", missing, Matches(others)),
        ("the version of a key since deleted", deleted, Matches(of_deleted)),
        ("the version of a key since expired", expired, Matches(of_expired)),
        (
            "the version from before the key was deleted and made again",
            reborn,
            Matches(of_first),
        ),
    ]
}

/// Operations of each kind whose conditions hold, on keys in each state.
async fn bystanders(subject: &Subject) -> Vec<TransactOp> {
    let [new, replaced, doomed, checked] = ["new", "replaced", "doomed", "checked"].map(|id| subject.key(id));
    let expiring = PutOptions::expiring(Ttl::After(HOUR));
    let version = subject.put_with(&replaced, "replaced", expiring).await;
    subject.put(&doomed, "doomed").await;
    subject.put(&checked, "checked").await;
    vec![
        TransactOp::put(new, "new").when(Precondition::Absent),
        TransactOp::put(replaced, "changed").when(Precondition::Matches(version)),
        TransactOp::delete(doomed),
        TransactOp::check(checked, Precondition::Exists),
    ]
}

fn keys_of(ops: &[TransactOp]) -> Vec<Key> {
    ops.iter().map(|op| op.key.clone()).collect()
}

/// Puts, deletes and checks apply together.
pub async fn puts_deletes_and_checks_apply_together(subject: &Subject) {
    let [created, replaced, kept, doomed, there, missing] =
        ["created", "replaced", "kept", "doomed", "there", "missing"].map(|id| subject.key(id));
    let replaced_version = subject.put(&replaced, "old").await;
    let doomed_version = subject.put(&doomed, "doomed").await;
    let there_version = subject.put(&there, "there").await;
    subject.put(&kept, "kept").await;
    let ops = vec![
        TransactOp::check(there.clone(), Precondition::Matches(there_version.clone())),
        TransactOp::put(created.clone(), "created").when(Precondition::Absent),
        TransactOp::delete(doomed.clone()).when(Precondition::Matches(doomed_version)),
        TransactOp::put(replaced.clone(), "new").when(Precondition::Matches(replaced_version)),
        TransactOp::check(missing.clone(), Precondition::Absent),
    ];
    apply(subject, "a transaction whose conditions hold", ops).await;
    subject.assert_value(&created, "created").await;
    subject.assert_value(&replaced, "new").await;
    subject.assert_absent(&doomed).await;
    let entry = subject.assert_value(&there, "there").await;
    assert_eq!(
        entry.version, there_version,
        "a check changed the version of `{there}`"
    );
    subject.assert_absent(&missing).await;
    subject.assert_value(&kept, "kept").await;
}

/// For each put its new version is returned, in the order of the operations: the one that reads show, good for a later
/// condition, and different on each key.
pub async fn versions_are_returned_for_puts(subject: &Subject) {
    let keys: Vec<Key> = (0..9)
        .map(|number| subject.key(&format!("key-{number}")))
        .collect();
    let mut seen = HashSet::new();
    for key in &keys[3..] {
        seen.insert(subject.put(key, "old").await);
    }
    for round in 0..3 {
        let ops: Vec<TransactOp> = keys
            .iter()
            .enumerate()
            .map(|(place, key)| match place % 3 {
                0 | 1 => TransactOp::put(key.clone(), format!("{place} in {round}")),
                _ if place == 8 => TransactOp::check(key.clone(), Precondition::Exists),
                _ => TransactOp::delete(key.clone()),
            })
            .collect();
        let versions = apply(subject, "a transaction without conditions", ops).await;
        for (place, (key, version)) in keys.iter().zip(versions).enumerate() {
            let Some(version) = version else { continue };
            let entry = subject.assert_value(key, &format!("{place} in {round}")).await;
            assert_eq!(entry.version, version, "the version returned for put {place}");
            assert!(
                seen.insert(version),
                "the version of put {place} was there before, or is another key's too"
            );
        }
    }
    for key in &keys[..2] {
        let version = subject.entry(key).await.version;
        let text: Version = ok(
            "a transaction's version, parsed again",
            version.to_string().parse(),
        );
        let set = subject.store().compare_and_set(key, Some(&text), "set").await;
        ok("a compare-and-set with a transaction's version", set);
        let again = subject
            .store()
            .compare_and_set(key, Some(&version), "again")
            .await;
        refused(
            "a compare-and-set with the version from before",
            again,
            ErrorKind::Conflict,
        );
    }
}

/// A transaction of nothing succeeds.
pub async fn an_empty_transaction_does_nothing(subject: &Subject) {
    let versions = ok("an empty transaction", transact(subject, Vec::new()).await);
    assert!(
        versions.is_empty(),
        "an empty transaction returned versions: {versions:?}"
    );
}

/// A failed condition, of whatever kind, on whatever operation, at whatever place, is a conflict, and nothing changed:
/// no value, version or expiry of any of the keys.
pub async fn a_failed_condition_anywhere_changes_nothing(subject: &Subject) {
    let others = bystanders(subject).await;
    for (label, key, precondition) in failing_conditions(subject).await {
        for action in ACTIONS {
            for place in [0, others.len() / 2, others.len()] {
                let mut ops = others.clone();
                ops.insert(place, operation(action, &key, &precondition));
                let what = format!("a {action} under {label} as operation {place}");
                let before = states(subject, &keys_of(&ops)).await;
                let answer = transact(subject, ops.clone()).await;
                assert_conflict(subject, &what, &ops, &[place], answer).await;
                assert_unchanged(subject, &what, &before).await;
            }
        }
    }
    // The others' conditions did hold: without the failing one they apply.
    let keys = keys_of(&others);
    apply(subject, "the other operations alone", others).await;
    subject.assert_value(&keys[0], "new").await;
    let entry = subject.assert_value(&keys[1], "changed").await;
    assert_eq!(entry.expires_at, None);
    subject.assert_absent(&keys[2]).await;
}

/// A condition that holds lets every operation pass, whatever state the key is in.
pub async fn every_condition_that_holds_lets_pass(subject: &Subject) {
    use Precondition::{Absent, Exists, Matches, None};

    let beside = subject.key("beside");
    for state in ["missing", "deleted", "expired", "present", "expiring"] {
        for condition in ["none", "absent", "exists", "matches"] {
            let there = matches!(state, "present" | "expiring");
            if condition != "none" && there == (condition == "absent") {
                continue; // It does not hold.
            }
            for action in ACTIONS {
                let key = subject.key(&format!("{state}-{condition}-{action}"));
                let version = bring_into(subject, &key, state).await;
                let precondition = match (condition, &version) {
                    ("none", _) => None,
                    ("absent", _) => Absent,
                    ("matches", Some(version)) => Matches(version.clone()),
                    _ => Exists,
                };
                let what = format!("a {action} under `{condition}` on a key that is {state}");
                let ops = vec![
                    TransactOp::put(beside.clone(), what.clone()),
                    operation(action, &key, &precondition),
                ];
                let versions = apply(subject, &what, ops).await;
                subject.assert_value(&beside, &what).await;
                match action {
                    "put" => {
                        let entry = subject.assert_value(&key, "changed").await;
                        assert_eq!(Some(entry.version), versions[1], "{what}: the version it made");
                        assert!(entry.expires_at.is_some(), "{what}: it was to expire");
                    }
                    "check" if there => {
                        let entry = subject.assert_value(&key, "old").await;
                        assert_eq!(Some(entry.version), version, "{what} changed the version");
                    }
                    _ => subject.assert_absent(&key).await,
                }
            }
        }
    }
}

/// Brings a new key into this state. Returns the version it has there.
async fn bring_into(subject: &Subject, key: &Key, state: &str) -> Option<Version> {
    match state {
        "deleted" => {
            subject.put(key, "old").await;
            subject.delete(key).await;
        }
        "expired" => {
            subject.put_expired(key, "old").await;
        }
        "present" => return Some(subject.put(key, "old").await),
        "expiring" => {
            let options = PutOptions::expiring(Ttl::After(HOUR));
            return Some(subject.put_with(key, "old", options).await);
        }
        _ => {}
    }
    None
}

/// Where the service tells which operation failed, and what is there, that is true; of several it is one.
pub async fn a_conflict_names_the_operation(subject: &Subject) {
    let others = bystanders(subject).await;
    let conditions = failing_conditions(subject).await;
    for places in [&[0][..], &[2], &[4], &[0, 5], &[1, 2], &[3, 4], &[0, 2, 6]] {
        for first in 0..conditions.len() {
            let mut ops = others.clone();
            let mut failing = conditions[first..].iter().chain(&conditions);
            let mut used = HashSet::new();
            for place in places {
                // The next condition on a key that has none yet.
                let (_, key, precondition) = failing
                    .by_ref()
                    .find(|(_, key, _)| used.insert(key.clone()))
                    .expect("there are more keys than places");
                let action = ACTIONS[(first + place) % 3];
                ops.insert(*place, operation(action, key, precondition));
            }
            let what = format!("a transaction whose operations {places:?} fail");
            let before = states(subject, &keys_of(&ops)).await;
            let answer = transact(subject, ops.clone()).await;
            assert_conflict(subject, &what, &ops, places, answer).await;
            assert_unchanged(subject, &what, &before).await;
        }
    }
}

/// A transaction of checks alone tells whether they all hold, and changes nothing.
pub async fn checks_alone_change_nothing(subject: &Subject) {
    let [a, b, missing] = ["a", "b", "missing"].map(|id| subject.key(id));
    let stale = subject.put(&a, "old").await;
    let current = subject
        .put_with(&a, "a", PutOptions::expiring(Ttl::After(HOUR)))
        .await;
    subject.put(&b, "b").await;
    let before = states(subject, &[a.clone(), b.clone(), missing.clone()]).await;
    let holding = [
        TransactOp::check(a.clone(), Precondition::Matches(current)),
        TransactOp::check(b.clone(), Precondition::Exists),
        TransactOp::check(missing.clone(), Precondition::Absent),
    ];
    apply(subject, "checks that all hold", holding.to_vec()).await;
    assert_unchanged(subject, "no check", &before).await;
    for op in &holding {
        apply(subject, "a check that holds, alone", vec![op.clone()]).await;
    }
    apply(
        subject,
        "a check for nothing",
        vec![TransactOp::check(missing.clone(), Precondition::None)],
    )
    .await;
    let failing = [
        TransactOp::check(a, Precondition::Matches(stale)),
        TransactOp::check(b, Precondition::Absent),
        TransactOp::check(missing, Precondition::Exists),
    ];
    for (place, op) in failing.into_iter().enumerate() {
        let mut ops = holding.to_vec();
        ops[place] = op;
        let what = format!("check {place}, which does not hold, beside others that do,");
        let answer = transact(subject, ops.clone()).await;
        assert_conflict(subject, &what, &ops, &[place], answer).await;
    }
    assert_unchanged(subject, "no check", &before).await;
}

/// A delete without a condition has nothing to fail on, here too.
pub async fn deleting_a_missing_key_is_no_failure(subject: &Subject) {
    let written = subject.key("written");
    let gone = subject.gone().await;
    for (round, (state, key)) in gone.iter().enumerate() {
        let value = format!("round {round}");
        let ops = vec![
            TransactOp::delete(key.clone()),
            TransactOp::put(written.clone(), value.clone()),
        ];
        apply(
            subject,
            &format!("a transaction that deletes a key that is {state}"),
            ops,
        )
        .await;
        subject.assert_value(&written, &value).await;
        subject.assert_absent(key).await;
    }
    let ops = gone.map(|(_, key)| TransactOp::delete(key));
    apply(subject, "a transaction of deletes of what is gone", ops.to_vec()).await;
}

/// A put in a transaction expires, keeps and clears as a put alone does.
pub async fn expiry_works_in_transactions(subject: &Subject) {
    let ids = [
        "after",
        "at",
        "cleared",
        "kept",
        "kept new",
        "kept none",
        "checked",
    ];
    let [after, at, cleared, kept, kept_new, kept_none, checked] = ids.map(|id| subject.key(id));
    let soon = whole_milliseconds(subject.now() + HOUR);
    let later = soon + HOUR;
    for key in [&at, &cleared, &kept, &checked] {
        subject
            .put_with(key, "old", PutOptions::expiring(Ttl::At(soon)))
            .await;
    }
    subject.put(&kept_none, "old").await;
    let put = |key: &Key, ttl| TransactOp::put_expiring(key.clone(), "new", ttl);
    let started = subject.now();
    let ops = vec![
        put(&after, Ttl::After(HOUR)),
        put(&at, Ttl::At(later)),
        put(&cleared, Ttl::None),
        put(&kept, Ttl::Keep),
        put(&kept_new, Ttl::Keep),
        put(&kept_none, Ttl::Keep),
        TransactOp::check(checked.clone(), Precondition::Exists),
    ];
    apply(subject, "a transaction of all expiries", ops).await;
    let expected = [
        (&at, Some(later)),
        (&cleared, None),
        (&kept, Some(soon)),
        (&kept_new, None),
        (&kept_none, None),
    ];
    for (key, expiry) in expected {
        let entry = subject.assert_value(key, "new").await;
        assert_eq!(entry.expires_at, expiry, "the expiry of `{key}`");
    }
    let entry = subject.assert_value(&checked, "old").await;
    assert_eq!(entry.expires_at, Some(soon), "a check changed the expiry");
    // Within what two clocks may be apart.
    let expiry = subject.assert_value(&after, "new").await.expires_at;
    let expiry = expiry.expect("it was to expire after an hour");
    let slack = Duration::from_secs(60);
    assert!(
        expiry + slack >= started + HOUR && expiry <= subject.now() + HOUR + slack,
        "an hour from {started:?} on, it was to expire, not at {expiry:?}"
    );

    // It does expire.
    let life = Duration::from_millis(150);
    let ops = vec![put(&after, Ttl::After(life)), put(&kept, Ttl::None)];
    apply(subject, "a transaction with a short expiry", ops).await;
    subject.wait_until(subject.now() + life).await;
    subject.assert_absent(&after).await;
    subject.assert_value(&kept, "new").await;
}

fn whole_milliseconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs()) + Duration::from_millis(since.subsec_millis().into())
}

/// An expired entry counts as absent for every operation, and leaves nothing to what replaces it.
pub async fn an_expired_entry_counts_as_absent(subject: &Subject) {
    let ids = ["created", "put", "kept", "deleted", "checked"];
    let [created, put, kept, deleted, checked] = ids.map(|id| subject.key(id));
    let mut versions = HashSet::new();
    for key in [&created, &put, &kept, &deleted, &checked] {
        versions.insert(subject.put_expired(key, "old").await);
    }
    let ops = vec![
        TransactOp::put(created.clone(), "new").when(Precondition::Absent),
        TransactOp::put(put.clone(), "new"),
        TransactOp::put_expiring(kept.clone(), "new", Ttl::Keep).when(Precondition::Absent),
        TransactOp::delete(deleted.clone()).when(Precondition::Absent),
        TransactOp::check(checked.clone(), Precondition::Absent),
    ];
    let made = apply(subject, "a transaction over expired entries", ops).await;
    for (key, version) in [&created, &put, &kept].into_iter().zip(made) {
        let entry = subject.assert_value(key, "new").await;
        assert_eq!(
            entry.expires_at, None,
            "`{key}` has the expiry of the entry before"
        );
        assert_eq!(Some(&entry.version), version.as_ref(), "the version of `{key}`");
        assert!(
            !versions.contains(&entry.version),
            "a version of `{key}` was used again"
        );
    }
    for key in [&deleted, &checked] {
        subject.assert_absent(key).await;
    }
}

/// Ids in a transaction may contain anything, as everywhere.
pub async fn keys_of_any_content_take_part(subject: &Subject) {
    #[rustfmt::skip]
    let ids = [
        "\0", "\n", " ", "a ", "a", "A", "a/b", "/", "\\", "#", "?", "%2F", "%", "'", "\"", "{a}", ".", "..",
        "__x__", "é", "e\u{301}", "\u{ffff}", "\u{10000}", "\u{10ffff}", "🛒",
    ];
    let longest = "ÿ".repeat(Capabilities::PORTABLE_KEY_BYTES / 2);
    let keys: Vec<Key> = ids
        .into_iter()
        .chain([longest.as_str()])
        .map(|id| subject.key_in("of any/content\u{10ffff}", id))
        .collect();
    let puts = keys
        .iter()
        .map(|key| TransactOp::put(key.clone(), key.id().to_owned()).when(Precondition::Absent));
    let versions = apply(subject, "puts of hostile keys", puts.collect()).await;
    for (key, version) in keys.iter().zip(&versions) {
        let entry = subject.assert_value(key, key.id()).await;
        assert_eq!(Some(&entry.version), version.as_ref(), "the version of {key:?}");
    }
    let ops = keys
        .iter()
        .zip(versions)
        .enumerate()
        .map(|(place, (key, version))| {
            let precondition = version.map_or(Precondition::Absent, Precondition::Matches);
            match place % 2 {
                0 => TransactOp::delete(key.clone()).when(precondition),
                _ => TransactOp::check(key.clone(), precondition),
            }
        });
    apply(subject, "deletes and checks of hostile keys", ops.collect()).await;
    for (place, key) in keys.iter().enumerate() {
        match place % 2 {
            0 => subject.assert_absent(key).await,
            _ => drop(subject.assert_value(key, key.id()).await),
        }
    }
}

fn many(subject: &Subject, count: usize) -> Vec<Key> {
    (0..count)
        .map(|number| subject.key(&format!("key-{number:04}")))
        .collect()
}

/// Every store takes a hundred operations, and as many as its capabilities say.
pub async fn a_hundred_operations_apply(subject: &Subject) {
    let limit = subject.store().capabilities().max_transaction_ops;
    let portable = Capabilities::PORTABLE_TRANSACTION_OPS;
    assert!(
        limit >= portable,
        "{limit} operations are fewer than every store takes"
    );
    for count in BTreeSet::from([portable, limit.min(1000)]) {
        let keys = many(subject, count);
        let create = keys.iter().map(|key| TransactOp::put(key.clone(), "created"));
        let versions = apply(subject, &format!("{count} puts"), create.collect()).await;
        let distinct: HashSet<_> = versions.iter().collect();
        assert_eq!(distinct.len(), count, "{count} puts made fewer versions");
        for (key, state) in states(subject, &keys).await {
            let (value, _) = state.unwrap_or_else(|| panic!("of {count} puts, that of `{key}` is missing"));
            assert_eq!(value, "created", "the value of `{key}`");
        }

        let ops = keys
            .iter()
            .zip(&versions)
            .enumerate()
            .map(|(place, (key, version))| {
                let precondition = version
                    .clone()
                    .map_or(Precondition::Absent, Precondition::Matches);
                match place % 3 {
                    0 => TransactOp::put(key.clone(), "replaced"),
                    1 => TransactOp::delete(key.clone()),
                    _ => TransactOp::check(key.clone(), Precondition::Exists),
                }
                .when(precondition)
            });
        let ops: Vec<TransactOp> = ops.collect();
        // The last of them fails, and with it all.
        let mut failing = ops.clone();
        failing[count - 1].precondition = Precondition::Absent;
        let before = states(subject, &keys).await;
        let what = format!("the last of {count} operations");
        let answer = transact(subject, failing.clone()).await;
        assert_conflict(subject, &what, &failing, &[count - 1], answer).await;
        assert_unchanged(subject, &what, &before).await;

        apply(subject, &format!("{count} operations of all kinds"), ops).await;
        for (place, (key, state)) in states(subject, &keys).await.into_iter().enumerate() {
            let expected = [Some("replaced"), None, Some("created")][place % 3];
            let value = state.map(|(value, _)| value);
            assert_eq!(
                value.as_deref(),
                expected,
                "operation {place} of {count}, `{key}`"
            );
        }
    }
}

/// More operations than the capabilities say are [`Error::TooManyOps`], whatever they are, and change nothing.
pub async fn more_operations_are_refused(subject: &Subject) {
    let limit = subject.store().capabilities().max_transaction_ops;
    let keys = many(subject, limit + 1);
    subject.put(&keys[0], "kept").await;
    let before = states(subject, &[&keys[..2], &keys[limit..]].concat()).await;
    let puts = |count| {
        keys.iter()
            .take(count)
            .map(|key| TransactOp::put(key.clone(), "changed"))
    };
    let checks = keys
        .iter()
        .map(|key| TransactOp::check(key.clone(), Precondition::None));
    for (what, ops) in [
        ("puts", puts(limit + 1).collect()),
        ("checks", checks.collect()),
        (
            "deletes",
            keys.iter().cloned().map(TransactOp::delete).collect::<Vec<_>>(),
        ),
    ] {
        match transact(subject, ops).await {
            Err(Error::TooManyOps { count, limit: named }) => {
                assert_eq!(
                    (count, named),
                    (limit + 1, limit),
                    "what the error says of {what}"
                );
            }
            other => panic!("{} {what} should be refused as too many: {other:?}", limit + 1),
        }
        assert_unchanged(subject, what, &before).await;
    }
}

/// More bytes, keys and values together, than the capabilities say are [`Error::TransactionTooLarge`]; without such a
/// limit, only each value's counts.
pub async fn more_bytes_are_refused(subject: &Subject) {
    let capabilities = subject.store().capabilities();
    let value_limit = capabilities.max_value_bytes;
    let total = capabilities.max_transaction_bytes.unwrap_or(8 << 20);
    // As few values as may hold that much, of nearly one size.
    let key_bytes = subject.key("key-0000").partition().len() + "key-0000".len();
    let count = total / (value_limit.min(1 << 20) + key_bytes) + 1;
    if count > capabilities.max_transaction_ops {
        return; // So much does not fit into as many operations as there may be.
    }
    let keys = many(subject, count);
    let puts = |total: usize| -> Vec<TransactOp> {
        let values = total - count * key_bytes;
        let (each, more) = (values / count, values % count);
        let sizes = (0..count).map(|place| each + usize::from(place < more));
        keys.iter()
            .zip(sizes)
            .map(|(key, size)| TransactOp::put(key.clone(), vec![b'x'; size]))
            .collect()
    };
    if capabilities.max_transaction_bytes.is_some() {
        subject.put(&keys[0], "kept").await;
        let before = states(subject, &keys).await;
        match transact(subject, puts(total + 1)).await {
            Err(Error::TransactionTooLarge { size, limit }) => {
                assert_eq!((size, limit), (total + 1, total), "what the error says");
            }
            other => panic!("{} bytes should be refused as too large: {other:?}", total + 1),
        }
        assert_unchanged(subject, "a transaction of too many bytes", &before).await;
    }
    let ops = puts(total);
    let what = format!("a transaction of {total} bytes in {count} puts");
    apply(subject, &what, ops.clone()).await;
    for op in ops {
        let Action::Put { value, .. } = op.action else {
            continue;
        };
        let there = subject.entry(&op.key).await.value;
        assert!(there == value, "{what}: `{}` reads back differently", op.key);
    }
}

/// A key twice is [`Error::InvalidTransaction`], whatever is done with it, and changes nothing.
pub async fn a_key_twice_is_refused(subject: &Subject) {
    let [twice, other, third] = ["twice", "other", "third"].map(|id| subject.key(id));
    subject.put(&twice, "kept").await;
    let before = states(subject, &[twice.clone(), other.clone(), third.clone()]).await;
    for first in ACTIONS {
        for second in ACTIONS {
            let op = |action| operation(action, &twice, &Precondition::None);
            let others = [&other, &third].map(|key| TransactOp::put(key.clone(), "changed"));
            let [a, b] = others;
            for (ops, place) in [
                (vec![op(first), op(second)], 1),
                (vec![op(first), a.clone(), b.clone(), op(second)], 3),
                (vec![a.clone(), op(first), op(second), b.clone()], 2),
            ] {
                let what = format!("a {first} and a {second} of one key");
                assert_invalid(subject, &what, ops, place).await;
                assert_unchanged(subject, &what, &before).await;
            }
        }
    }
}

/// Expects that a transaction is refused for its operation at `place`.
async fn assert_invalid(subject: &Subject, what: &str, ops: Vec<TransactOp>, place: usize) {
    match transact(subject, ops).await {
        Err(Error::InvalidTransaction { op, .. }) => {
            assert_eq!(op, place, "{what}: the first operation that is wrong");
        }
        other => panic!("{what} should be refused as no valid transaction: {other:?}"),
    }
}

/// Two partitions are [`Error::InvalidTransaction`], however alike they are, and change nothing.
pub async fn two_partitions_are_refused(subject: &Subject) {
    for (one, other) in [("p", "q"), ("p", "p/"), ("p", "P"), ("", "p"), ("é", "e\u{301}")] {
        let [a, b] = ["a", "b"].map(|id| subject.key_in(one, id));
        let elsewhere = subject.key_in(other, "a");
        subject.put(&elsewhere, "kept").await;
        let before = states(subject, &[a.clone(), b.clone(), elsewhere.clone()]).await;
        for action in ACTIONS {
            let put = |key: &Key| TransactOp::put(key.clone(), "changed");
            let away = operation(action, &elsewhere, &Precondition::None);
            for (ops, place) in [
                (vec![put(&a), away.clone()], 1),
                (vec![away.clone(), put(&a)], 1),
                (vec![put(&a), put(&b), away.clone()], 2),
            ] {
                let what = format!("a {action} in another partition");
                assert_invalid(subject, &what, ops, place).await;
                assert_unchanged(subject, &what, &before).await;
            }
        }
    }
}

/// An argument that is refused in a call of its own is refused here, and nothing changed.
pub async fn bad_arguments_are_refused_and_change_nothing(subject: &Subject) {
    let others = bystanders(subject).await;
    let bad = subject.key("bad");
    subject
        .put_with(&bad, "kept", PutOptions::expiring(Ttl::After(HOUR)))
        .await;
    let capabilities = subject.store().capabilities();
    let long = subject.key(&"x".repeat(capabilities.max_id_bytes + 1));
    let foreign: Version = "~.no-version-of-any-store.~"
        .parse()
        .expect("it has a version's characters");
    let expiring = |ttl| TransactOp::put_expiring(bad.clone(), "x", ttl);
    let large = vec![b'x'; capabilities.max_value_bytes + 1];
    let mut arguments = vec![
        (
            "a value that is too large",
            TransactOp::put(bad.clone(), large),
            ErrorKind::ValueTooLarge,
        ),
        (
            "no time at all",
            expiring(Ttl::After(Duration::ZERO)),
            ErrorKind::InvalidTtl,
        ),
        (
            "endless time",
            expiring(Ttl::After(Duration::MAX)),
            ErrorKind::InvalidTtl,
        ),
        (
            "a time in the past",
            expiring(Ttl::At(subject.now() - HOUR)),
            ErrorKind::InvalidTtl,
        ),
        (
            "the beginning of time",
            expiring(Ttl::At(UNIX_EPOCH)),
            ErrorKind::InvalidTtl,
        ),
    ];
    for action in ACTIONS {
        arguments.extend([
            (
                "an id that is too long",
                operation(action, &long, &Precondition::None),
                ErrorKind::InvalidKey,
            ),
            (
                "what is no version",
                operation(action, &bad, &Precondition::Matches(foreign.clone())),
                ErrorKind::InvalidVersion,
            ),
        ]);
    }
    let mut keys = keys_of(&others);
    keys.push(bad.clone());
    let before = states(subject, &keys).await;
    for (what, op, kind) in arguments {
        for place in [0, 2, others.len()] {
            let mut ops = others.clone();
            ops.insert(place, op.clone());
            let what = format!("{what} in operation {place}");
            refused(&what, transact(subject, ops).await, kind);
            assert_unchanged(subject, &what, &before).await;
        }
    }
    let long = subject.key_in(&"x".repeat(capabilities.max_partition_bytes), "a");
    for action in ACTIONS {
        let ops = vec![operation(action, &long, &Precondition::None)];
        refused(
            "a partition that is too long",
            transact(subject, ops).await,
            ErrorKind::InvalidKey,
        );
    }
}

/// Waits a little, the longer the more often it was called for: for whoever lost a race.
async fn back_off(attempt: u64) {
    assert!(attempt < ATTEMPTS, "lost the race {ATTEMPTS} times");
    tokio::time::sleep(Duration::from_micros(fastrand::u64(
        ..=500 * (attempt + 1).min(40),
    )))
    .await;
}

/// Tries until the answer is more than that the service asks to try again.
async fn definite(store: &Arc<dyn StateStore>, ops: Vec<TransactOp>) -> Result<Vec<Option<Version>>> {
    for attempt in 0.. {
        match store.transact(ops.clone(), Default::default()).await {
            Err(error) if error.is_retryable() => back_off(attempt).await,
            answer => return answer,
        }
    }
    unreachable!("backing off ends it")
}

/// Runs tasks to their end, and returns what they return. What panics in one does so here.
async fn join<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut running: JoinSet<T> = tasks.into_iter().collect();
    let mut results = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(result) => results.push(result),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => panic!("a task did not end: {error}"),
            },
        }
    }
    results
}

/// Of N transactions that expect the same version, exactly one is applied, and of the others nothing.
pub async fn of_many_transactions_on_one_version_one_wins(subject: &Subject) {
    const WRITERS: usize = 16;

    let contended = subject.key("contended");
    for round in 0..6 {
        // The same version, or that the key is missing.
        let precondition = match round % 2 {
            0 => Precondition::Matches(subject.put(&contended, "start").await),
            _ => {
                subject.delete(&contended).await;
                Precondition::Absent
            }
        };
        let barrier = Arc::new(Barrier::new(WRITERS));
        let marks: Vec<Key> = (0..WRITERS)
            .map(|writer| subject.key(&format!("mark-{round}-{writer}")))
            .collect();
        let writers = (0..WRITERS).map(|writer| {
            let mut ops = vec![
                TransactOp::put(marks[writer].clone(), writer.to_string()),
                TransactOp::put(contended.clone(), writer.to_string()).when(precondition.clone()),
            ];
            if writer % 2 == 1 {
                ops.reverse();
            }
            let (store, barrier) = (subject.store().clone(), barrier.clone());
            async move {
                barrier.wait().await;
                (writer, definite(&store, ops).await)
            }
        });
        let mut winners = Vec::new();
        for (writer, answer) in join(writers.collect::<Vec<_>>()).await {
            match answer {
                Ok(_) => winners.push(writer),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "writer {writer}: {error}"),
            }
        }
        let [winner] = winners[..] else {
            panic!(
                "of {WRITERS} transactions {} were applied: {winners:?}",
                winners.len()
            );
        };
        subject.assert_value(&contended, &winner.to_string()).await;
        for (writer, (key, state)) in states(subject, &marks).await.into_iter().enumerate() {
            let value = state.map(|(value, _)| value);
            let expected = (writer == winner).then(|| winner.to_string());
            assert_eq!(value, expected, "`{key}`, where writer {winner} alone has won");
        }
    }
}

fn number(entry: &Entry) -> i64 {
    let text = String::from_utf8_lossy(&entry.value);
    text.parse()
        .unwrap_or_else(|_| panic!("a number was written, and {text:?} was read"))
}

const ACCOUNTS: usize = 5;
const START: i64 = 100;

/// Moves `amount` from one account to another, and enters it in the ledger.
async fn transfer(store: &Arc<dyn StateStore>, accounts: [&Key; 2], amount: i64, ledger: &Key) {
    for attempt in 0.. {
        let mut ops = vec![TransactOp::put(ledger.clone(), amount.to_string()).when(Precondition::Absent)];
        for (account, change) in accounts.into_iter().zip([-amount, amount]) {
            let entry = ok("reading an account", store.get(account, Default::default()).await);
            let entry = entry.unwrap_or_else(|| panic!("`{account}` is gone"));
            let balance = (number(&entry) + change).to_string();
            ops.push(TransactOp::put(account.clone(), balance).when(Precondition::Matches(entry.version)));
        }
        fastrand::shuffle(&mut ops);
        match definite(store, ops).await {
            Ok(_) => return,
            Err(Error::Conflict(_)) => back_off(attempt).await,
            Err(error) => panic!("a transfer failed: {error}"),
        }
    }
}

/// Reads all accounts, and whether the checks of all their versions hold at once: then the sum has to be right.
async fn audit(store: &Arc<dyn StateStore>, accounts: &[Key]) -> bool {
    let mut checks = Vec::new();
    let mut sum = 0;
    for (account, entry) in accounts
        .iter()
        .zip(store.get_many(accounts, Default::default()).await)
    {
        let entry = ok("reading an account", entry).unwrap_or_else(|| panic!("`{account}` is gone"));
        sum += number(&entry);
        checks.push(TransactOp::check(
            account.clone(),
            Precondition::Matches(entry.version),
        ));
    }
    match definite(store, checks).await {
        Ok(_) => {}
        Err(Error::Conflict(_)) => return false,
        Err(error) => panic!("checking all accounts failed: {error}"),
    }
    assert_eq!(
        sum,
        START * i64::try_from(accounts.len()).unwrap_or(i64::MAX),
        "the sum of all accounts, at versions that they had at the same time"
    );
    true
}

/// Transfers between accounts keep the sum and lose nothing, however many are under way, and checks alone see one
/// moment of them.
pub async fn transfers_keep_the_sum(subject: &Subject) {
    const TASKS: usize = 6;
    const TRANSFERS: usize = 12;

    let accounts: Vec<Key> = (0..ACCOUNTS)
        .map(|number| subject.key(&format!("account-{number}")))
        .collect();
    for account in &accounts {
        subject.put(account, &START.to_string()).await;
    }
    // What each task does: from, to, how much, and where it is entered.
    let plan: Vec<Vec<(usize, usize, i64, Key)>> = (0..TASKS)
        .map(|task| {
            let one = |number| {
                let from = fastrand::usize(..ACCOUNTS);
                let to = (from + fastrand::usize(1..ACCOUNTS)) % ACCOUNTS;
                (
                    from,
                    to,
                    fastrand::i64(1..=20),
                    subject.key(&format!("ledger-{task}-{number}")),
                )
            };
            (0..TRANSFERS).map(one).collect()
        })
        .collect();

    let done = Arc::new(AtomicBool::new(false));
    let auditor = {
        let (store, accounts, done) = (subject.store().clone(), accounts.clone(), done.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                audit(&store, &accounts).await;
                tokio::task::yield_now().await;
            }
        }
    };
    let mut auditors = JoinSet::new();
    auditors.spawn(auditor);
    let tasks = plan.iter().cloned().map(|transfers| {
        let (store, accounts) = (subject.store().clone(), accounts.clone());
        async move {
            for (from, to, amount, ledger) in transfers {
                transfer(&store, [&accounts[from], &accounts[to]], amount, &ledger).await;
                tokio::task::yield_now().await;
            }
        }
    });
    join(tasks.collect::<Vec<_>>()).await;
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = auditors.join_next().await {
        ended.unwrap_or_else(|error| panic!("the auditor failed: {error}"));
    }

    let mut expected = [START; ACCOUNTS];
    let mut entered = Vec::new();
    for (from, to, amount, ledger) in plan.into_iter().flatten() {
        expected[from] -= amount;
        expected[to] += amount;
        entered.push((ledger, amount));
    }
    for (account, expected) in accounts.iter().zip(expected) {
        let balance = number(&subject.entry(account).await);
        assert_eq!(
            balance, expected,
            "the balance of `{account}` after all transfers"
        );
    }
    for (ledger, amount) in entered {
        subject.assert_value(&ledger, &amount.to_string()).await;
    }
    assert!(
        audit(subject.store(), &accounts).await,
        "nobody writes any more, and the checks of current versions conflict"
    );
}

/// A transaction is seen as a whole: who has seen one of its writes sees the others.
pub async fn no_reader_sees_half_a_transaction(subject: &Subject) {
    let keys = ["a", "m", "z"].map(|id| subject.key(id));
    let write = |keys: &[Key], number: i64| -> Vec<TransactOp> {
        let put = |key: &Key| TransactOp::put(key.clone(), number.to_string());
        keys.iter().map(put).collect()
    };
    apply(subject, "the first transaction", write(&keys, 0)).await;

    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    let (store, stopped, written) = (subject.store().clone(), stop.clone(), keys.clone());
    writers.spawn(async move {
        for number in 1..=20_000 {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            ok(
                "a transaction beside a reader",
                definite(&store, write(&written, number)).await,
            );
            tokio::task::yield_now().await;
        }
    });
    // Reads go on until some were made, of some transactions.
    let (mut reads, mut seen) = (0, 0);
    while reads < 30 || (seen < 20 && !writers.is_empty()) {
        let mut order = [0, 1, 2];
        fastrand::shuffle(&mut order);
        let mut least = seen;
        for (place, key) in order.map(|place| &keys[place]).into_iter().enumerate() {
            let now = number(&subject.entry(key).await);
            assert!(
                now >= least,
                "read {place} found transaction {now} under `{key}`, after another key had shown {least}"
            );
            least = now;
        }
        (reads, seen) = (reads + 1, least);
        if let Some(ended) = writers.try_join_next() {
            ended.unwrap_or_else(|error| panic!("the writer failed: {error}"));
        }
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap_or_else(|error| panic!("the writer failed: {error}"));
    }
    let last = number(&subject.entry(&keys[0]).await);
    for key in &keys {
        let now = number(&subject.entry(key).await);
        assert_eq!(
            now, last,
            "after the last transaction `{key}` has another's value"
        );
    }
}
