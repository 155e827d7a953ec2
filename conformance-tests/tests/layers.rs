//! The layers keep the contract, over the reference store and over one that fails and loses replies.

#[path = "layers/lossy.rs"]
mod lossy;

use std::time::Duration;

use statestore_api::layer::{Retry, RetryPolicy, Timeout};
use statestore_api::{ManualClock, MemoryStore, StateStore};
use statestore_conformance::{Subject, conformance_tests};

use lossy::Lossy;

fn layers<S: StateStore>(store: S) -> Retry<Timeout<S>> {
    let (short, long) = (Duration::from_micros(200), Duration::from_secs(20));
    let policy = RetryPolicy::default()
        .with_base_delay(short)
        .with_max_delay(short)
        .with_deadline(long)
        .with_budget(10_000);
    Retry::new(Timeout::new(store, long), policy)
}

conformance_tests! {
    mod layered = Subject::new(layers(MemoryStore::new()));
}

conformance_tests! {
    mod layered_by_manual_clock = {
        let clock = ManualClock::new();
        Subject::new(layers(MemoryStore::with_clock(clock.clone()))).with_clock(clock)
    }, with clock;
}

conformance_tests! {
    mod lossy_store = Subject::new(layers(Lossy::new(MemoryStore::new())));
}
