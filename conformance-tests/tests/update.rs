//! What an update asks of its store when others are faster.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use statestore_api::{Change, Key, MemoryStore, StateStore, StateStoreExt, UpdateOptions};
use statestore_conformance::{Fate, Tapped};

/// Long, so that a random part of it is a wait.
const CALL: Duration = Duration::from_secs(10_000);

/// How often an update reads that others outrun so many times.
async fn reads(outrun: u32) -> u32 {
    let (behind, key): (_, Key) = (MemoryStore::new(), "page/visits".parse().unwrap());
    behind.create(&key, "0").await.unwrap();
    let (gets, puts) = (Arc::new(AtomicU32::new(0)), AtomicU32::new(0));
    let (counted, others, contended) = (gets.clone(), behind.clone(), key.clone());
    let store = Tapped::new(behind, move |name| {
        counted.fetch_add(u32::from(name == "get"), Ordering::SeqCst);
        let outrun = name == "put" && puts.fetch_add(1, Ordering::SeqCst) < outrun;
        let (others, key) = (others.clone(), contended.clone());
        async move {
            tokio::time::sleep(CALL).await;
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
    options.base_delay = 100 * CALL;
    options.max_delay = 100 * CALL;
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
    assert_eq!(reads(1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_reads_again() {
    // The first conflict is followed up at once, the other three after a wait.
    assert_eq!(reads(4).await, 4);
}
