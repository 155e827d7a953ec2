//! Cancellation: a call that is dropped half way leaks nothing and poisons nothing.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, TryStreamExt, poll};
use statestore_api::Precondition::{Absent, Exists, Matches};
use statestore_api::{
    Attempt, Bytes, DeleteOptions, Entry, Error, Item, Key, ListOptions, Precondition, PutOptions, Result,
    ScanOptions, StateStore, StateStoreExt as _, TouchOptions, TransactOp, TransactOptions, Ttl, Version,
    WriteId,
};
use tokio::time::timeout;

use super::expiry::{HOUR, whole_second};
use crate::Subject;

/// How long the store may take for a few calls before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

type Call = BoxFuture<'static, ()>;

/// Dropping a future half way leaks nothing and poisons nothing: after hundreds of dropped calls of every kind the
/// store works as before.
pub async fn dropped_calls_leave_the_store_working(subject: &Subject) {
    let pace = pace(subject).await;
    let steady = subject.key("steady");
    subject.put(&steady, "steady").await;
    let before = subject.entry(&steady).await;
    for round in 0..25 {
        let key = subject.key(&format!("dropped-{}", round % 3));
        let calls = calls(subject, &key).into_iter().map(|call| cut(call, pace));
        in_time("dropping calls", join_all(calls)).await;
        let after = in_time("a read after dropped calls", subject.entry(&steady)).await;
        assert_eq!(
            after, before,
            "calls that were dropped changed a key they are not about"
        );
    }
    in_time("the store, after dropped calls,", works(subject)).await;
    // More than any pool has room for, all of them begun before the first is dropped.
    let key = subject.key("dropped-0");
    let mut begun: Vec<Call> = (0..30).flat_map(|_| calls(subject, &key)).collect();
    for call in &mut begun {
        let _ = poll!(call);
    }
    drop(begun);
    in_time(
        "the store, after 300 calls dropped at once,",
        join_all((0..8).map(|_| works(subject))),
    )
    .await;
}

/// The answer to a dropped call is not taken for another's: each read shows its own key.
pub async fn the_answer_to_a_dropped_call_reaches_nobody_else(subject: &Subject) {
    let pace = pace(subject).await;
    let mut entries = Vec::new();
    for i in 0..8 {
        let key = subject.key(&format!("own-{i}"));
        subject.put(&key, &format!("value {i}")).await;
        entries.push((key.clone(), subject.entry(&key).await));
    }
    let scratch = subject.key("scratch");
    for round in 0..60 {
        let (dropped, _) = &entries[round % entries.len()];
        let (store, key) = (subject.store().clone(), dropped.clone());
        let read = async move { drop(store.get(&key, Default::default()).await) };
        let mut others = calls(subject, &scratch);
        let other = others.swap_remove(round % others.len());
        in_time(
            "dropping calls",
            join_all([cut(read.boxed(), pace), cut(other, pace)]),
        )
        .await;
        // In another order each round, so that an answer that is one too late is another key's.
        let (key, entry) = &entries[(round * 3 + 1) % entries.len()];
        let read = in_time("a read after a dropped call", subject.entry(key)).await;
        assert_eq!(
            read, *entry,
            "round {round}: after a dropped call a read of `{key}` shows something else"
        );
    }
    let keys: Vec<Key> = entries.iter().map(|(key, _)| key.clone()).collect();
    let got = in_time("a batch", subject.store().get_many(&keys, Default::default())).await;
    for ((key, entry), got) in entries.iter().zip(got) {
        let got = got.unwrap_or_else(|error| panic!("reading `{key}` in a batch: {error}"));
        assert_eq!(
            got.as_ref(),
            Some(entry),
            "after dropped calls a batch shows something else for `{key}`"
        );
    }
}

/// The mutation that a dropped future stood for may or may not be applied, but not half: there is the old entry
/// exactly, or the new one whole, with a new version.
pub async fn a_dropped_write_is_whole_or_not_there(subject: &Subject) {
    let pace = pace(subject).await;
    let size = 60_000.min(subject.store().capabilities().max_value_bytes);
    let old = Bytes::from(vec![b'o'; size / 2]);
    let new = Bytes::from(vec![b'n'; size]);
    let expires = whole_second(subject, HOUR);
    let moved = whole_second(subject, 5 * HOUR);
    for round in 0..12 {
        for kind in [
            "create",
            "put",
            "matching put",
            "matching delete",
            "matching touch",
        ] {
            let key = subject.key(&format!("{kind}-{round}"));
            let before = if kind == "create" {
                None
            } else {
                let options = PutOptions::expiring(Ttl::At(expires));
                let put = subject.store().put(&key, old.clone(), options).await;
                put.unwrap_or_else(|error| panic!("putting `{key}`: {error}"));
                Some(subject.entry(&key).await)
            };
            let precondition = match kind {
                "create" => Absent,
                "put" => Precondition::None,
                _ => Matches(before.as_ref().expect("it was put").version.clone()),
            };
            let send = {
                let (store, key, new) = (subject.store().clone(), key.clone(), new.clone());
                let id = WriteId::new();
                move |number| {
                    let attempt = Attempt { id, number };
                    let (store, key, new) = (store.clone(), key.clone(), new.clone());
                    let precondition = precondition.clone();
                    async move {
                        match kind {
                            "matching delete" => {
                                let options = DeleteOptions::from(precondition).with_attempt(attempt);
                                store.delete(&key, options).await.map(|()| None)
                            }
                            "matching touch" => {
                                let options = TouchOptions::from(precondition).with_attempt(attempt);
                                store.touch(&key, Ttl::At(moved), options).await.map(Some)
                            }
                            _ => {
                                let options = PutOptions::from(precondition).with_attempt(attempt);
                                store.put(&key, new, options).await.map(Some)
                            }
                        }
                    }
                    .boxed()
                }
            };
            cut(send(0).map(drop).boxed(), pace).await;

            let is_new = |now: &Option<Entry>| {
                let Some(now) = now else {
                    return kind == "matching delete";
                };
                let is_another = before.as_ref().is_none_or(|before| before.version != now.version);
                let (value, at) = match kind {
                    "matching touch" => (&old, Some(moved)),
                    _ => (&new, None),
                };
                kind != "matching delete" && is_another && now.value == *value && now.expires_at == at
            };
            // It may still be under way, so that one read shows the old entry and the next the new one, but never
            // the other way round.
            let mut applied = false;
            for _ in 0..3 {
                let now = in_time("a read after a dropped write", subject.get(&key)).await;
                assert!(
                    is_new(&now) || (now == before && !applied),
                    "a {kind} was dropped half way, and what is there now is neither the old entry nor the new one: \
                     {now:?}, before: {before:?}"
                );
                applied = is_new(&now);
            }

            // With its write id it comes to an end.
            let answer = in_time("the retry of a dropped write", definite(&send)).await;
            let now = subject.get(&key).await;
            match answer {
                Ok(version) => assert!(
                    kind == "put" || now.as_ref().map(|now| &now.version) == version.as_ref(),
                    "the retry of a dropped {kind} was answered {version:?}, and {now:?} is there"
                ),
                Err(Error::Indeterminate { .. }) if kind == "matching delete" => {}
                Err(error) => panic!("the retry of a dropped {kind} that nobody else disturbs: {error}"),
            }
            assert!(
                is_new(&now),
                "a dropped {kind} was retried, and its outcome is not there: {now:?}"
            );
        }
    }
}

/// A dropped compare-and-set that is retried under its write id is applied exactly once.
pub async fn a_dropped_write_that_is_retried_is_applied_once(subject: &Subject) {
    let pace = pace(subject).await;
    let key = subject.key("counter");
    subject.put(&key, "0").await;
    for count in 1..=40 {
        let entry = subject.assert_value(&key, &(count - 1).to_string()).await;
        let (store, id) = (subject.store().clone(), WriteId::new());
        let send = {
            let key = key.clone();
            move |number| {
                let options = PutOptions::from(entry.version.clone()).with_attempt(Attempt { id, number });
                let (store, key) = (store.clone(), key.clone());
                async move {
                    let put = store.put(&key, count.to_string().into(), options);
                    put.await.map(Some)
                }
                .boxed()
            }
        };
        cut(send(0).map(drop).boxed(), pace).await;
        let answer = in_time("the retry of a dropped write", definite(&send)).await;
        let version = answer
            .unwrap_or_else(|error| panic!("retrying increment {count}, with no other writer: {error}"));
        let now = subject.assert_value(&key, &count.to_string()).await;
        assert_eq!(
            Some(now.version),
            version,
            "increment {count} was answered with another version"
        );
    }
}

/// A dropped transaction is applied as a whole or not at all.
pub async fn a_dropped_transaction_is_whole_or_not_there(subject: &Subject) {
    let pace = pace(subject).await;
    for round in 0..20 {
        let partition = round.to_string();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|id| subject.key_in(&partition, id));
        let expected = Matches(subject.put(&b, "old").await);
        let doomed = Matches(subject.put(&c, "old").await);
        subject.put(&d, "old").await;
        let before = read(subject, &[&a, &b, &c, &d]).await;
        let ops = vec![
            TransactOp::put(a.clone(), "new").when(Absent),
            TransactOp::put(b.clone(), "new").when(expected),
            TransactOp::delete(c.clone()).when(doomed),
            TransactOp::check(d.clone(), Exists),
        ];
        let (store, id) = (subject.store().clone(), WriteId::new());
        let send = move |number| {
            let options = TransactOptions::default().with_attempt(Attempt { id, number });
            let (store, ops) = (store.clone(), ops.clone());
            async move { store.transact(ops, options).await }.boxed()
        };
        cut(send(0).map(drop).boxed(), pace).await;

        if round % 2 == 0 {
            // Nobody else writes, so that its retry has to succeed, and all of it has to be there.
            let answer = in_time("the retry of a dropped transaction", definite(&send)).await;
            let versions =
                answer.unwrap_or_else(|error| panic!("the retry of a dropped transaction: {error}"));
            let now = read(subject, &[&a, &b, &c, &d]).await;
            let [Some(new_a), Some(new_b), None, there] = &now[..] else {
                panic!("a transaction was dropped and retried, and half of it is there: {now:?}")
            };
            assert_eq!((&new_a.value, &new_b.value), (&"new".into(), &"new".into()));
            let found = [
                Some(new_a.version.clone()),
                Some(new_b.version.clone()),
                None,
                None,
            ];
            assert_eq!(
                versions, found,
                "a retried transaction was answered with other versions"
            );
            assert_eq!(*there, before[3], "a transaction changed what it only checks");
        } else {
            // Another takes one of its keys, which decides it: either that one was too late, or the transaction is.
            let taken = subject.store().compare_and_set(&a, None, "theirs").await;
            let answer = in_time("the retry of a dropped transaction", definite(&send)).await;
            let now = read(subject, &[&a, &b, &c, &d]).await;
            let values: Vec<_> = now
                .iter()
                .map(|entry| entry.as_ref().map(|entry| entry.value.clone()))
                .collect();
            let is =
                |expected: [Option<&'static str>; 4]| values == expected.map(|value| value.map(Bytes::from));
            match taken {
                Ok(_) => {
                    assert!(
                        matches!(answer, Err(Error::Conflict(_) | Error::Indeterminate { .. })),
                        "another was first, and the transaction was told {answer:?}"
                    );
                    assert!(
                        is([Some("theirs"), Some("old"), Some("old"), Some("old")]),
                        "another was first, and half of a dropped transaction is there: {now:?}"
                    );
                }
                Err(Error::Conflict(_)) => {
                    assert!(
                        answer.is_ok(),
                        "it was applied, and its retry was told {answer:?}"
                    );
                    assert!(
                        is([Some("new"), Some("new"), None, Some("old")]),
                        "half of a dropped transaction is there: {now:?}"
                    );
                }
                Err(error) => panic!("a create beside a dropped transaction: {error}"),
            }
        }
    }
}

/// A call of each kind, the mutations about `key`.
fn calls(subject: &Subject, key: &Key) -> Vec<Call> {
    let store = || subject.store().clone();
    let (partition, other) = (key.partition().to_owned(), subject.key("dropped-other"));
    let keys = vec![key.clone(), other.clone()];
    let listing = subject.store().capabilities().listing;
    let key = || key.clone();
    let expiring = PutOptions::expiring(Ttl::After(HOUR));
    let ops = vec![TransactOp::put(key(), "transacted"), TransactOp::delete(other)];
    let mut calls = vec![
        call(store(), key(), |store, key| async move {
            store.put(&key, vec![b'x'; 50_000].into(), expiring).await.is_ok()
        }),
        call(store(), key(), |store, key| async move {
            store.create(&key, "created").await.is_ok()
        }),
        call(store(), key(), |store, key| async move {
            store.delete(&key, Default::default()).await.is_ok()
        }),
        call(store(), key(), |store, key| async move {
            store
                .touch(&key, Ttl::After(2 * HOUR), Default::default())
                .await
                .is_ok()
        }),
        call(store(), key(), |store, _| async move {
            store.transact(ops, Default::default()).await.is_ok()
        }),
        call(store(), key(), |store, key| async move {
            store.get(&key, Default::default()).await.is_ok()
        }),
        call(store(), key(), |store, _| async move {
            store.get_many(&keys, Default::default()).await.len() == 2
        }),
        call(store(), key(), |store, key| async move {
            let became = store.resolve(&key, WriteId::new(), &Precondition::None);
            became.await.is_ok()
        }),
        call(
            store(),
            key(),
            |store, _| async move { store.ready().await.is_ok() },
        ),
        call(
            store(),
            key(),
            |store, _| async move { store.sweep().await.is_ok() },
        ),
    ];
    if listing {
        calls.push(call(store(), key(), |store, _| async move {
            let page = store.list_page(&partition, ListOptions::default());
            page.await.is_ok()
        }));
        calls.push(call(store(), key(), |store, _| async move {
            store.scan_page(ScanOptions::default()).await.is_ok()
        }));
    }
    calls
}

/// A call whose answer does not matter: conflicts are part of the game.
fn call<C, F>(store: Arc<dyn StateStore>, key: Key, call: C) -> Call
where
    C: FnOnce(Arc<dyn StateStore>, Key) -> F,
    F: Future<Output = bool> + Send + 'static,
{
    call(store, key).map(drop).boxed()
}

/// Begins `call` and drops it: after none or a few polls, after a while, or with its task.
async fn cut(mut call: Call, pace: Duration) {
    let a_while = pace.mul_f64(2.0 * fastrand::f64());
    match fastrand::u8(..4) {
        0 => {
            if poll!(&mut call).is_pending() {
                tokio::task::yield_now().await;
            }
        }
        1 => {
            for _ in 0..fastrand::u8(..8) {
                if poll!(&mut call).is_ready() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
        2 => drop(timeout(a_while, call).await),
        _ => {
            let mut task = tokio::spawn(call);
            let ended = match timeout(a_while, &mut task).await {
                Ok(ended) => ended,
                Err(_) => {
                    task.abort();
                    task.await
                }
            };
            match ended.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(()) | Err(Err(_)) => {}
                Err(Ok(panic)) => resume_unwind(panic),
            }
        }
    }
}

/// How long a write takes on this store, about.
async fn pace(subject: &Subject) -> Duration {
    let key = subject.key("pace");
    subject.put(&key, "first").await;
    let start = Instant::now();
    subject.put(&key, "second").await;
    start.elapsed().max(Duration::from_millis(1))
}

async fn in_time<T>(what: &str, call: impl Future<Output = T>) -> T {
    let ended = timeout(PATIENCE, call).await;
    ended.unwrap_or_else(|_| {
        panic!("{what} did not end within {PATIENCE:?}: calls that were dropped hold it up")
    })
}

/// Sends the attempts after the first until one of them has a definite answer.
async fn definite<T>(send: &impl Fn(u32) -> BoxFuture<'static, Result<T>>) -> Result<T> {
    for number in 1..20 {
        match send(number).await {
            Err(Error::Indeterminate {
                write_id,
                reason,
                source,
            }) => {
                return Err(Error::Indeterminate {
                    write_id,
                    reason,
                    source,
                });
            }
            Err(error) if error.is_retryable() || error.may_have_applied() => {
                tokio::time::sleep(Duration::from_millis(10 * u64::from(number))).await;
            }
            definite => return definite,
        }
    }
    send(20).await
}

async fn read(subject: &Subject, keys: &[&Key]) -> Vec<Option<Entry>> {
    join_all(keys.iter().map(|key| subject.get(key))).await
}

/// One of everything, on keys of its own.
async fn works(subject: &Subject) {
    let partition = format!("works-{:x}", fastrand::u64(..));
    let [a, b] = ["a", "b"].map(|id| subject.key_in(&partition, id));
    let store = subject.store();
    let version = subject.put_with(&a, "one", Absent).await;
    let version: Version = store
        .compare_and_set(&a, Some(&version), "two")
        .await
        .unwrap_or_else(|error| panic!("a compare-and-set after dropped calls: {error}"));
    assert_eq!(subject.assert_value(&a, "two").await.version, version);
    let touch = store.touch(&a, Ttl::After(HOUR), version.into()).await;
    let version = touch.unwrap_or_else(|error| panic!("a touch after dropped calls: {error}"));
    let ops = vec![
        TransactOp::put(b.clone(), "three").when(Absent),
        TransactOp::delete(a.clone()).when(Matches(version)),
    ];
    let done = store.transact(ops, Default::default()).await;
    done.unwrap_or_else(|error| panic!("a transaction after dropped calls: {error}"));
    if store.capabilities().listing {
        let listed: Vec<Item> = store
            .list(b.partition(), ListOptions::default())
            .try_collect()
            .await
            .unwrap_or_else(|error| panic!("a listing after dropped calls: {error}"));
        let ids: Vec<&str> = listed.iter().map(|item| item.key.id()).collect();
        assert_eq!(ids, ["b"], "a listing after dropped calls");
    }
    subject.assert_absent(&a).await;
    subject.delete(&b).await;
    subject.assert_absent(&b).await;
}
