//! Rate limits by a clock that the test sets.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::time::Duration;

use statestore_api::{Clock, Error, Key, ManualClock, MemoryStore, PutOptions, StateStore, Ttl};
use statestore_patterns::{RateLimit, Verdict};

const SECOND: Duration = Duration::from_secs(1);

fn key() -> Key {
    "api/customer-7".parse().unwrap()
}

struct World {
    clock: ManualClock,
    store: MemoryStore,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::with_clock(clock.clone());
        Self { clock, store }
    }

    fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now() + time);
    }

    fn bucket(&self, burst: u32, interval: Duration) -> RateLimit {
        let limit = RateLimit::token_bucket(self.store.clone(), burst, interval).unwrap();
        limit.with_clock(self.clock.clone())
    }

    fn window(&self, limit: u32, window: Duration) -> RateLimit {
        let limit = RateLimit::fixed_window(self.store.clone(), limit, window).unwrap();
        limit.with_clock(self.clock.clone())
    }
}

fn allowed(remaining: u32) -> Verdict {
    Verdict::Allowed { remaining }
}

fn limited(retry_after: Duration) -> Verdict {
    Verdict::Limited { retry_after }
}

#[tokio::test]
async fn a_window_counts_from_its_first_call_to_its_end() {
    let world = World::new();
    let limit = world.window(2, 10 * SECOND);
    assert_eq!(limit.take(&key(), 1).await.unwrap(), allowed(1));
    world.pass(9 * SECOND);
    assert_eq!(limit.take(&key(), 1).await.unwrap(), allowed(0));
    assert_eq!(limit.take(&key(), 1).await.unwrap(), limited(SECOND));
    world.pass(SECOND);
    assert_eq!(limit.take(&key(), 2).await.unwrap(), allowed(0));
    assert_eq!(limit.take(&key(), 1).await.unwrap(), limited(10 * SECOND));
}

#[tokio::test]
async fn a_window_without_an_end_does_not_lock_out_for_ever() {
    let world = World::new();
    let limit = world.window(2, SECOND);
    world
        .store
        .put(&key(), "2".into(), PutOptions::default())
        .await
        .unwrap();
    assert_eq!(limit.take(&key(), 1).await.unwrap(), allowed(1));
    let entry = world
        .store
        .get(&key(), Default::default())
        .await
        .unwrap()
        .unwrap();
    assert!(entry.expires_at.is_some());
}

#[tokio::test]
async fn a_bucket_refills_one_at_a_time() {
    let world = World::new();
    let limit = world.bucket(3, SECOND);
    assert_eq!(limit.take(&key(), 3).await.unwrap(), allowed(0));
    assert_eq!(limit.take(&key(), 1).await.unwrap(), limited(SECOND));
    assert_eq!(limit.take(&key(), 3).await.unwrap(), limited(3 * SECOND));
    world.pass(SECOND / 2);
    assert_eq!(limit.take(&key(), 1).await.unwrap(), limited(SECOND / 2));
    world.pass(SECOND / 2);
    assert_eq!(limit.take(&key(), 1).await.unwrap(), allowed(0));
    world.pass(2 * SECOND);
    assert_eq!(limit.take(&key(), 1).await.unwrap(), allowed(1));
    world.pass(1000 * SECOND);
    assert_eq!(
        limit.take(&key(), 1).await.unwrap(),
        allowed(2),
        "it holds no more than its burst"
    );
}

#[tokio::test]
async fn in_the_long_run_no_more_pass_than_are_put_back() {
    let world = World::new();
    let limit = world.bucket(5, SECOND / 10);
    let mut passed = 0;
    for _ in 0..1000 {
        passed += u32::from(limit.take(&key(), 1).await.unwrap().is_allowed());
        world.pass(Duration::from_millis(7));
    }
    // 7 s give 70, and 5 were in it.
    assert!((74..=75).contains(&passed), "{passed}");
}

#[tokio::test]
async fn a_machine_that_is_ahead_locks_nobody_out_for_longer_than_a_refill() {
    let world = World::new();
    let ahead = ManualClock::new();
    ahead.set(world.clock.now() + 3600 * SECOND);
    let of_ahead = RateLimit::token_bucket(world.store.clone(), 3, SECOND)
        .unwrap()
        .with_clock(ahead);
    assert_eq!(of_ahead.take(&key(), 1).await.unwrap(), allowed(2));
    let limit = world.bucket(3, SECOND);
    assert_eq!(limit.take(&key(), 1).await.unwrap(), limited(SECOND));
}

#[tokio::test]
async fn a_full_bucket_is_not_kept() {
    let world = World::new();
    let limit = world.bucket(3, SECOND);
    assert!(limit.take(&key(), 1).await.unwrap().is_allowed());
    world.pass(3 * SECOND);
    assert_eq!(world.store.get(&key(), Default::default()).await.unwrap(), None);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let store = MemoryStore::new();
    let invalid = |error: Error| matches!(error, Error::InvalidOptions { .. });
    assert!(invalid(
        RateLimit::fixed_window(store.clone(), 0, SECOND).unwrap_err()
    ));
    assert!(invalid(
        RateLimit::fixed_window(store.clone(), 1, Duration::ZERO).unwrap_err()
    ));
    assert!(invalid(
        RateLimit::token_bucket(store.clone(), 0, SECOND).unwrap_err()
    ));
    assert!(invalid(
        RateLimit::token_bucket(store.clone(), 1, Duration::ZERO).unwrap_err()
    ));
    assert!(invalid(
        RateLimit::token_bucket(store.clone(), u32::MAX, 10 * SECOND).unwrap_err()
    ));
    let limit = RateLimit::fixed_window(store.clone(), 2, SECOND).unwrap();
    assert!(invalid(limit.take(&key(), 0).await.unwrap_err()));
    assert!(invalid(limit.take(&key(), 3).await.unwrap_err()));

    let options = PutOptions::expiring(Ttl::After(SECOND));
    store.put(&key(), "not a number".into(), options).await.unwrap();
    assert!(matches!(
        limit.take(&key(), 1).await.unwrap_err(),
        Error::Codec { .. }
    ));
}
