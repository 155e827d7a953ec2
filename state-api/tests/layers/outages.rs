use std::time::Duration;

use statestore_api::StateStore;
use statestore_api::layer::{Retry, RetryPolicy};

use crate::key;
use crate::scripted::Step::{Pass, Refuse};
use crate::scripted::{Scripted, throttled, unreachable};

fn policy() -> RetryPolicy {
    let short = Duration::from_micros(1);
    RetryPolicy::default()
        .with_base_delay(short)
        .with_max_delay(short)
        .with_max_attempts(4)
}

async fn requests_of_a_call(scripted: &Scripted, store: &Retry<Scripted>) -> usize {
    let _ = store.get(&key("k"), Default::default()).await;
    scripted.requests().len()
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_calls_are_soon_sent_once_whichever_clone_makes_them() {
    let scripted = Scripted::new(&[Refuse(unreachable); 100]);
    let store = Retry::new(scripted.clone(), policy().with_budget(8));
    let clones = [store.clone(), store.clone(), store];
    let mut sent = Vec::new();
    for call in 0..6 {
        sent.push(requests_of_a_call(&scripted, &clones[call % 3]).await);
    }
    assert_eq!(sent, [4, 4, 3, 1, 1, 1], "a first attempt each, and 8 retries");
}

#[tokio::test(start_paused = true)]
async fn answers_make_room_for_retries_again() {
    let scripted = Scripted::new(&[Refuse(unreachable); 4]);
    let store = Retry::new(scripted.clone(), policy().with_budget(3));
    assert_eq!(requests_of_a_call(&scripted, &store).await, 4);
    for _ in 0..10 {
        assert_eq!(requests_of_a_call(&scripted, &store).await, 1);
    }
    scripted.then(&[Refuse(unreachable), Refuse(unreachable)]);
    assert_eq!(
        requests_of_a_call(&scripted, &store).await,
        2,
        "ten answers are one retry"
    );
    scripted.then(&[Refuse(unreachable), Pass]);
    assert_eq!(requests_of_a_call(&scripted, &store).await, 1, "and it is spent");
}

#[tokio::test(start_paused = true)]
async fn time_makes_room_for_retries_again() {
    let scripted = Scripted::new(&[Refuse(unreachable); 4]);
    let store = Retry::new(scripted.clone(), policy().with_budget(3));
    assert_eq!(requests_of_a_call(&scripted, &store).await, 4);
    tokio::time::advance(Duration::from_secs(2)).await;
    scripted.then(&[Refuse(unreachable); 4]);
    assert_eq!(
        requests_of_a_call(&scripted, &store).await,
        3,
        "a second is one retry"
    );
}

#[tokio::test(start_paused = true)]
async fn failures_that_a_retry_helps_are_all_retried() {
    let scripted = Scripted::new(&[]);
    let store = Retry::new(scripted.clone(), policy().with_budget(2));
    for _ in 0..1_000 {
        scripted.then(&[Refuse(throttled), Refuse(throttled), Pass]);
        scripted.then(&[Pass; 10]);
        let sent = requests_of_a_call(&scripted, &store).await;
        assert_eq!(sent, 3);
        for _ in 0..10 {
            assert_eq!(requests_of_a_call(&scripted, &store).await, 1);
        }
    }
}
