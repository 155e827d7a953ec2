//! What fighting over one key costs, and what spreading it over several saves.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "also in the helpers of tests"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use statestore_api::{MemoryStore, UpdateOptions};
use statestore_conformance::{Fate, Tapped};
use statestore_patterns::{Counter, ShardedCounter};

const TASKS: u32 = 32;

/// A store whose calls take a millisecond, so that the tasks meet, and a count of the writes that were tried.
fn slow() -> (Tapped, Arc<AtomicU32>) {
    let puts = Arc::new(AtomicU32::new(0));
    let count = puts.clone();
    let store = Tapped::new(MemoryStore::new(), move |call| {
        count.fetch_add(u32::from(call == "put"), Ordering::SeqCst);
        async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Fate::Deliver
        }
    });
    (store, puts)
}

#[tokio::test(start_paused = true)]
async fn shards_spare_most_of_the_writes_that_one_key_loses() {
    let (store, puts) = slow();
    let key = "page/clicks".parse().unwrap();
    let patient = UpdateOptions::default().with_max_attempts(1000);
    let one = Counter::new(store, key).with_update_options(patient);
    let adding = (0..TASKS).map(|_| async { one.add(1).await.unwrap() });
    let sums = futures::future::join_all(adding).await;
    assert_eq!(sums.into_iter().max(), Some(TASKS.into()));
    let of_one = puts.load(Ordering::SeqCst);

    let (store, puts) = slow();
    let many = ShardedCounter::new(store, "page/clicks".parse().unwrap(), 64).unwrap();
    let adding = (0..TASKS).map(|_| async { many.add(1).await.unwrap() });
    futures::future::join_all(adding).await;
    assert_eq!(many.get().await.unwrap(), i64::from(TASKS));
    let of_many = puts.load(Ordering::SeqCst);

    eprintln!("{TASKS} additions: {of_one} writes on one key, {of_many} on 64");
    assert!(of_one > 2 * TASKS, "the tasks met: {of_one}");
    assert!(of_many < of_one / 2, "{of_many} of {of_one}");
}
