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
    let plan = Plan::new(seed).with_operations(2_000).with_time(LIMIT);
    run(Arc::new(Shared(store)), &plan).await
}

/// What is noticed of a store within so many seeds and in time, and when.
async fn caught(fault: fn() -> Arc<dyn Fault>, seeds: u64) -> Option<(Duration, String)> {
    let start = Instant::now();
    for seed in 0..seeds {
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
async fn explore() {
    for store in crate::all() {
        let found = caught(store.fault, 12).await;
        let (time, caught) = found.unwrap_or_default();
        println!(
            "{:<50} {:>6} {}",
            store.name,
            time.as_millis(),
            caught
                .lines()
                .next()
                .unwrap_or("")
                .chars()
                .take(150)
                .collect::<String>()
        );
    }
}
