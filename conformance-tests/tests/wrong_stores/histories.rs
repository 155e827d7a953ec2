//! The workload under the wrong stores: what the history checker notices, without being told what to look for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statestore_api::layer::{Retry, RetryPolicy};
use statestore_api::{ManualClock, StateStore};
use statestore_conformance::workload::{Failure, Lossy, Plan, Report, Shared, run};

use crate::fault::Fault;
use crate::table::{Table, TableStore};

/// How long it may take until a wrong store is caught.
const LIMIT: Duration = Duration::from_secs(60);

/// The stores whose bug shows in what concurrent clients read, write, list and transfer. The others are wrong about
/// something that the workload does not do: expiry, limits, odd keys, touch, restarts, puts without a condition.
const SHOW: &[&str] = &[
    "leaves_missing_keys_out_of_a_batch",
    "takes_any_version",
    "takes_an_unknown_version",
    "resurrects_a_deleted_key",
    "overwrites_with_absent",
    "deletes_under_any_condition",
    "deletes_any_version",
    "deletes_what_is_gone_under_any_condition",
    "says_absent_in_every_conflict",
    "shows_a_stale_version_in_a_conflict",
    "makes_a_version_when_it_refuses",
    "knows_no_write_ids",
    "forgets_a_replaced_write",
    "cannot_tell_a_replaced_write",
    "remembers_fewer_writes_than_it_says",
    "answers_a_retry_with_what_is_there",
    "is_never_in_doubt",
    "is_always_in_doubt",
    "is_in_doubt_at_once",
    "takes_doubt_for_success",
    "takes_credit_for_a_delete",
    "takes_no_credit_for_a_delete",
    "deletes_for_the_second_time",
    "applies_no_retry",
    "makes_one_version_for_a_write",
    "knows_no_transactions",
    "is_never_in_doubt_of_a_transaction",
    "hashes_keys_to_less",
    "mixes_replies_to_writes",
    "mixes_replies",
    "lists_no_values",
    "pages_by_offset",
    "lists_the_first_page_only",
    "skips_the_first_of_a_page",
    "lists_another_version_than_get_shows",
    "declares_listing_but_refuses",
    "compares_before_it_sets",
    "looks_before_it_creates",
    "compares_before_it_deletes",
    "checks_before_it_transacts",
    "transacts_one_by_one",
    "writes_in_two_steps",
    "applies_half_a_transaction",
    "ignores_versions_of_puts_in_a_transaction",
    "returns_versions_in_reverse",
    "returns_no_versions",
    "names_the_first_operation",
    "names_the_operation_from_one",
    "reads_a_replica",
    "reads_batches_from_an_index",
    "lists_from_an_index",
    "deletes_the_newest_version_only",
    "shows_tombstones",
    "counts_from_one_again_after_a_delete",
    "makes_the_version_a_timestamp",
    "returns_another_version_than_get_shows",
    "shows_another_form_of_a_version_than_it_takes",
];

/// What is between the clients and the store.
#[derive(Clone, Copy, Debug)]
enum Network {
    Good,
    Lossy,
    LossyWithRetries,
}

const NETWORKS: [Network; 3] = [Network::LossyWithRetries, Network::Good, Network::Lossy];

/// Runs the workload on a store with this fault.
async fn try_out(fault: Arc<dyn Fault>, network: Network, seed: u64) -> Result<Report, Failure> {
    let table = TableStore(Arc::new(Table::new(fault, ManualClock::new())));
    let policy = RetryPolicy::default()
        .with_base_delay(Duration::from_millis(2))
        .with_max_delay(Duration::from_millis(10))
        .with_budget(u32::MAX);
    let store: Arc<dyn StateStore> = match network {
        Network::Good => Arc::new(table),
        Network::Lossy => Arc::new(Lossy::new(table, 10, seed)),
        Network::LossyWithRetries => Arc::new(Retry::new(Lossy::new(table, 10, seed), policy)),
    };
    let plan = Plan::new(seed).with_operations(500).with_time(LIMIT);
    run(Arc::new(Shared(store)), &plan).await
}

/// What is noticed of a store in time, and when.
async fn caught(fault: fn() -> Arc<dyn Fault>) -> Option<(Duration, String)> {
    let start = Instant::now();
    for seed in 0.. {
        for network in NETWORKS {
            if start.elapsed() >= LIMIT {
                return None;
            }
            // A store that panics is noticed too.
            let what = match tokio::spawn(try_out(fault(), network, seed)).await {
                Ok(Ok(_)) => continue,
                Ok(Err(failure)) => failure.to_string(),
                Err(panic) => panic.to_string(),
            };
            return Some((start.elapsed(), format!("{network:?}: {what}")));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_store_whose_bug_shows_is_caught_within_a_minute() {
    let stores = crate::all();
    let mut slowest = (Duration::ZERO, "");
    for name in SHOW {
        let store = stores.iter().find(|store| store.name == *name);
        let store = store.unwrap_or_else(|| panic!("{name} is no wrong store"));
        let Some((time, _)) = caught(store.fault).await else {
            panic!("{name} was not caught within {LIMIT:?}");
        };
        slowest = slowest.max((time, name));
    }
    println!(
        "{} wrong stores caught, the slowest after {:?}: {}",
        SHOW.len(),
        slowest.0,
        slowest.1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_right_is_never_accused() {
    for seed in 0..5 {
        for network in NETWORKS {
            let report = try_out(Arc::new(Right), network, seed).await;
            report.unwrap_or_else(|failure| panic!("{network:?}: {failure}"));
        }
    }
}

struct Right;

impl Fault for Right {}
