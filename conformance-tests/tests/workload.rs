//! The workload on the reference store, without faults and with.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use statestore_api::MemoryStore;
use statestore_api::layer::{Retry, RetryPolicy};
use statestore_conformance::workload::{Lossy, Plan, Report, Shared, run};

fn policy() -> RetryPolicy {
    RetryPolicy::default()
        .with_base_delay(Duration::from_millis(1))
        .with_max_delay(Duration::from_millis(5))
        .with_budget(u32::MAX)
}

async fn check(store: Shared, plan: Plan) -> Report {
    let report = run(Arc::new(store), &plan).await;
    report.unwrap_or_else(|failure| panic!("{failure}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_faults_nothing_is_unknown() {
    let store = Shared(Arc::new(MemoryStore::new()));
    let report = check(store, Plan::new(1).with_operations(6_000)).await;
    assert_eq!(report.unknown, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_faults_and_retries_little_is_unknown() {
    let store = Lossy::new(MemoryStore::new(), 10, 2);
    let store = Shared(Arc::new(Retry::new(store, policy())));
    let report = check(store, Plan::new(2).with_operations(6_000)).await;
    let put = report.calls["compare_and_set"];
    // A tenth of the calls has met a fault, and in a millisecond of back-off others do much to four keys.
    assert!(put.unknown * 20 < put.calls, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_faults_and_no_retries_what_is_unknown_is_checked_as_such() {
    let store = Shared(Arc::new(Lossy::new(MemoryStore::new(), 20, 3)));
    let report = check(store, Plan::new(3).with_operations(6_000)).await;
    assert!(report.unknown > 500, "{report}");
}
