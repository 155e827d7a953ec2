//! Writers at the same time: checking and writing are one atomic step.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;

use statestore_api::{
    Change, Error, ErrorKind, Key, Precondition, Result, StateStore, StateStoreExt, UpdateOptions, Version,
};
use tokio::sync::Barrier;

use crate::Subject;
use crate::expect::{ok, refused};

const WRITERS: usize = 16;

/// Starts the same call from many tasks at once; exactly one may succeed, all others conflict. Returns the place and result of the one.
async fn one_wins<T, F, R>(subject: &Subject, call: F) -> (usize, T)
where
    T: Send + 'static,
    F: Fn(Arc<dyn StateStore>, usize) -> R,
    R: Future<Output = Result<T>> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(WRITERS));
    let writers: Vec<_> = (0..WRITERS)
        .map(|place| {
            let (barrier, call) = (barrier.clone(), call(subject.store().clone(), place));
            tokio::spawn(async move {
                barrier.wait().await;
                call.await
            })
        })
        .collect();
    let mut winners = Vec::new();
    for (place, writer) in writers.into_iter().enumerate() {
        match writer.await.expect("the writer ends") {
            Ok(value) => winners.push((place, value)),
            // A service may also say that it was too busy to look: that is no win either.
            Err(error) if error.is_retryable() => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "writer {place}: {error}"),
        }
    }
    assert_eq!(winners.len(), 1, "of {WRITERS} writers {} won", winners.len());
    winners.remove(0)
}

/// Of N writers with the same expected version, exactly one wins, and it is its value that is there.
pub async fn of_many_writers_with_one_version_one_wins(subject: &Subject) {
    let key = subject.key("contended");
    let mut version = subject.put(&key, "start").await;
    for _ in 0..5 {
        let (place, won) = one_wins(subject, |store, place| {
            let (key, version) = (key.clone(), version.clone());
            async move {
                store
                    .compare_and_set(&key, Some(&version), place.to_string())
                    .await
            }
        })
        .await;
        let entry = subject.assert_value(&key, &place.to_string()).await;
        assert_eq!(
            entry.version, won,
            "the winner's version is not the one that is there"
        );
        version = won;
    }
}

/// Of N creators, exactly one wins.
pub async fn of_many_creators_one_wins(subject: &Subject) {
    for round in 0..5 {
        let key = subject.key(&format!("created-{round}"));
        let (place, won) = one_wins(subject, |store, place| {
            let key = key.clone();
            async move { store.create(&key, place.to_string()).await }
        })
        .await;
        let entry = subject.assert_value(&key, &place.to_string()).await;
        assert_eq!(entry.version, won);
    }
}

/// An expired key is taken over once.
pub async fn of_many_takers_of_an_expired_key_one_wins(subject: &Subject) {
    for round in 0..3 {
        let key = subject.key(&format!("expired-{round}"));
        subject.put_expired(&key, "old").await;
        let (place, won) = one_wins(subject, |store, place| {
            let key = key.clone();
            async move { store.create(&key, place.to_string()).await }
        })
        .await;
        let entry = subject.assert_value(&key, &place.to_string()).await;
        assert_eq!((entry.version, entry.expires_at), (won, None));
    }
}

/// What is deleted under a version is deleted once.
pub async fn of_many_deleters_one_wins(subject: &Subject) {
    for round in 0..5 {
        let key = subject.key(&format!("deleted-{round}"));
        let version = subject.put(&key, "x").await;
        one_wins(subject, |store, _| {
            let (key, version) = (key.clone(), version.clone());
            async move { store.delete(&key, version.into()).await }
        })
        .await;
        subject.assert_absent(&key).await;
    }
}

/// Adds one to the number under `key`, as often as it takes.
async fn increment(store: &Arc<dyn StateStore>, key: &Key) {
    let options = UpdateOptions::default().with_max_attempts(1000);
    let add = |entry: Option<&statestore_api::Entry>| {
        let number = match entry {
            Some(entry) => std::str::from_utf8(&entry.value)?.parse::<u32>()?,
            None => 0,
        };
        Ok(Change::put((number + 1).to_string()))
    };
    ok("an increment", store.update(key, options, add).await);
}

/// No increment is lost, from nothing on.
pub async fn increments_add_up(subject: &Subject) {
    let key = subject.key("counter");
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (store, key) = (subject.store().clone(), key.clone());
            tokio::spawn(async move {
                for _ in 0..25 {
                    increment(&store, &key).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("the writer ends");
    }
    subject.assert_value(&key, "200").await;
}

/// What one successful write took as its base, and what it made of it. `None`: no entry.
type Step = (Option<Version>, Option<Version>);

/// Creates, compare-and-sets and deletes at random, each on top of what it last saw, and records those that were applied.
async fn wander(store: Arc<dyn StateStore>, key: Key) -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..40 {
        let base = ok("get", store.get(&key, Default::default()).await).map(|entry| entry.version);
        let made = match &base {
            Some(version) if round % 5 == 4 => {
                store.delete(&key, version.clone().into()).await.map(|()| None)
            }
            base => store.compare_and_set(&key, base.as_ref(), "x").await.map(Some),
        };
        match made {
            Ok(made) => steps.push((base, made)),
            Err(Error::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    steps
}

/// Each version is replaced or deleted by one write, and made by one: the history is a chain.
pub async fn each_version_is_replaced_once(subject: &Subject) {
    let key = subject.key("chain");
    let writers: Vec<_> = (0..6)
        .map(|_| tokio::spawn(wander(subject.store().clone(), key.clone())))
        .collect();
    let (mut made, mut replaced) = (HashSet::new(), HashMap::new());
    for writer in writers {
        for (base, new) in writer.await.expect("the writer ends") {
            if let Some(base) = base {
                let other = replaced.insert(base.clone(), new.clone());
                assert_eq!(other, None, "{base:?} was replaced twice");
            }
            if let Some(new) = new {
                assert!(made.insert(new), "a version was made twice");
            }
        }
    }
    let last: HashSet<Version> = subject
        .get(&key)
        .await
        .map(|entry| entry.version)
        .into_iter()
        .collect();
    let not_replaced: HashSet<Version> = made
        .into_iter()
        .filter(|version| !replaced.contains_key(version))
        .collect();
    assert_eq!(
        not_replaced, last,
        "the one version that nobody replaced should be the one that is there"
    );
}

/// `update` is bounded: it gives up with a typed error that says how often it tried, and has changed nothing.
pub async fn update_gives_up_and_says_how_often_it_tried(subject: &Subject) {
    let key = subject.key("contended");
    subject.put(&key, "start").await;
    let (store, mut calls) = (subject.store(), 0_u32);
    let handle = tokio::runtime::Handle::current();
    let updated = store
        .update(&key, UpdateOptions::default().with_max_attempts(3), |_| {
            calls += 1;
            // Somebody else is faster each time.
            let put = store.put(&key, format!("other {calls}").into(), Precondition::Exists.into());
            tokio::task::block_in_place(|| handle.block_on(put))?;
            Ok(Change::put("mine"))
        })
        .await;
    match refused("an update that loses each time", updated, ErrorKind::Contended) {
        Error::Contended { attempts, .. } => assert_eq!((attempts, calls), (3, 3)),
        error => panic!("{error}"),
    }
    subject.assert_value(&key, "other 3").await;
}
