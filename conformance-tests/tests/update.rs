//! What an update asks of its store when others are faster.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use statestore_api::{Change, Key, MemoryStore, StateStore, StateStoreExt, UpdateOptions};
use statestore_conformance::{Fate, Tapped};

/// How often an update reads that others outrun four times, on a store whose calls take this long.
async fn reads(call: Duration) -> u32 {
    let (behind, key): (_, Key) = (MemoryStore::new(), "page/visits".parse().unwrap());
    behind.create(&key, "0").await.unwrap();
    let (gets, puts) = (Arc::new(AtomicU32::new(0)), AtomicU32::new(0));
    let (counted, others, contended) = (gets.clone(), behind.clone(), key.clone());
    let store = Tapped::new(behind, move |name| {
        counted.fetch_add(u32::from(name == "get"), Ordering::SeqCst);
        let outrun = name == "put" && puts.fetch_add(1, Ordering::SeqCst) < 4;
        let (others, key) = (others.clone(), contended.clone());
        async move {
            tokio::time::sleep(call).await;
            if outrun {
                others
                    .put(&key, "theirs".into(), Default::default())
                    .await
                    .unwrap();
            }
            Fate::Deliver
        }
    });
    let mut options = UpdateOptions::default();
    // Long, so that a random part of it is a wait.
    options.base_delay = Duration::from_secs(1_000_000);
    options.max_delay = Duration::from_secs(1_000_000);
    let updated = store.update(&key, options, |_| Ok(Change::put("ours"))).await;
    let entry = store.get(&key, Default::default()).await.unwrap().unwrap();
    assert_eq!(
        (entry.value, Some(entry.version)),
        ("ours".into(), updated.unwrap())
    );
    gets.load(Ordering::SeqCst) - 1
}

#[tokio::test(start_paused = true)]
async fn who_goes_on_at_once_takes_what_the_conflict_shows() {
    assert_eq!(reads(Duration::ZERO).await, 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_reads_again() {
    // The first conflict is followed up at once, the other three after a wait.
    assert_eq!(reads(Duration::from_secs(10_000)).await, 4);
}
