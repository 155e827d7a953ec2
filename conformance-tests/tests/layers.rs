//! The layers keep the contract, over the reference store and over one that fails and loses replies.

#[path = "layers/lossy.rs"]
mod lossy;

use std::time::Duration;

use statestore_api::layer::{Failure, Observe, Retry, RetryPolicy, Timeout};
use statestore_api::{ManualClock, MemoryStore, StateStore};
use statestore_conformance::{Subject, conformance_tests};

use lossy::Lossy;

fn layers<S: StateStore>(store: S) -> Observe<Retry<Timeout<S>>> {
    let (short, long) = (Duration::from_micros(200), Duration::from_secs(20));
    let policy = RetryPolicy::default()
        .with_base_delay(short)
        .with_max_delay(short)
        .with_deadline(long)
        .with_budget(10_000);
    Observe::new(Retry::new(Timeout::new(store, long), policy))
}

/// The layers of which somebody is told, so that no call is handed on as it is.
fn heard<S: StateStore>(store: S) -> impl StateStore {
    let told = |failure: &Failure<'_>| assert!(!failure.to_string().is_empty());
    layers(store).with_keys().on_error(told)
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
    mod heard_store = Subject::new(heard(MemoryStore::new()));
}

conformance_tests! {
    mod lossy_store = Subject::new(heard(Lossy::new(MemoryStore::new())));
}
