//! Recorded clients on every store, with and without faults, for as long as the environment says: `scripts/soak`.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use statestore::StateStore;
use statestore_conformance::faults::FaultSubject;
use statestore_conformance::proxy::{Fault, RandomFaults};
use statestore_conformance::workload::{Environment, Mix, Plan, Report, run};

use super::served::Backend;

/// A network with faults.
#[derive(Clone, Copy)]
struct Faulty {
    /// How many of a hundred connections meet one.
    percent: u8,
    /// How long a store waits for an answer. Some faults take longer.
    patience: Duration,
}

const FAULTY: Faulty = Faulty {
    percent: 10,
    patience: Duration::from_millis(400),
};

/// How many operations a client does on one connection: few, so that many meet a fault.
const OPERATIONS_PER_STORE: usize = 2;

/// From so many keys on hardly one is written or deleted by others while a compare-and-set of it is in doubt.
const MANY_KEYS: usize = 1_000;

/// How long a store waits where there are no faults.
const LONG: Duration = Duration::from_secs(30);

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// The plan of this run: so long, unless the environment says otherwise.
pub(crate) fn plan(time: Duration) -> Plan {
    let seed = number("STATESTORE_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let mut plan = Plan::new(seed).with_operations(usize::MAX).with_time(time);
    if let Some(keys) = number("STATESTORE_SOAK_KEYS") {
        let keys = usize::try_from(keys).unwrap();
        plan = plan.with_keys(keys).with_operations_per_round(keys.max(25) * 4);
    }
    if let Some(seconds) = number("STATESTORE_SOAK_SECONDS") {
        plan = plan.with_time(Duration::from_secs(seconds));
    }
    if let Some(operations) = number("STATESTORE_SOAK_OPERATIONS") {
        plan = plan
            .with_operations(usize::try_from(operations).unwrap())
            .with_time(Duration::from_secs(24 * 3_600));
    }
    println!("seed {seed}: STATESTORE_SOAK_SEED={seed} repeats the plan");
    plan
}

pub(crate) async fn check(environment: impl Environment + 'static, plan: &Plan) -> Report {
    let report = run(Arc::new(environment), plan).await;
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report}");
    if plan.keys >= MANY_KEYS {
        assert_mostly_told(&report);
    }
    report
}

/// Clients of a server, each behind a proxy of its own.
struct Proxied {
    subjects: Vec<FaultSubject>,
    patience: Duration,
}

impl Environment for Proxied {
    fn open(&self, client: usize) -> BoxFuture<'_, Arc<dyn StateStore>> {
        let is_auditor = client + 1 == self.subjects.len();
        let patience = if is_auditor { LONG } else { self.patience };
        Box::pin(self.subjects[client].store(patience, true))
    }

    fn faults(&self, client: usize) -> u64 {
        self.subjects[client].proxy().counts().faults
    }
}

async fn proxied(backend: &Backend, plan: &Plan, network: Option<Faulty>) -> Proxied {
    // One more looks after the accounts, without faults.
    let subjects = join_all((0..=plan.clients).map(|_| backend.subject())).await;
    for (client, subject) in subjects[..plan.clients].iter().enumerate() {
        subject
            .proxy()
            .inject_randomly(network.map(|network| RandomFaults {
                seed: plan.seed.wrapping_add(client as u64),
                percent: network.percent,
                // Such that most connections live to meet it.
                within: 2 * plan.operations_per_store as u64,
                faults: Fault::all(network.patience).to_vec(),
            }));
    }
    let patience = network.map_or(LONG, |network| network.patience);
    Proxied { subjects, patience }
}

pub(crate) async fn without_faults(backend: Backend) {
    let plan = plan(Duration::from_secs(3));
    let report = check(proxied(&backend, &plan, None).await, &plan).await;
    assert_eq!(report.unknown, 0, "{report}");
}

pub(crate) async fn with_faults(backend: Backend) {
    let plan = plan(Duration::from_secs(8)).with_operations_per_store(OPERATIONS_PER_STORE);
    let report = check(proxied(&backend, &plan, Some(FAULTY)).await, &plan).await;
    let faulted: usize = report.calls.values().map(|tally| tally.faulted).sum();
    assert!(faulted > 0, "{report}");
}

/// Of the compare-and-sets of callers who read, change and write, hardly one stays of unknown outcome. How often one does depends on
/// how often others write the same key while it is in doubt, so that the clients keep a pace: a key is written about every
/// 6 seconds. [`check`] judges it.
pub(crate) async fn updates_with_faults(backend: Backend) {
    let mut plan = plan(Duration::from_secs(8))
        .with_mix(Mix::Updates)
        .with_clients(64)
        .with_pause(Duration::from_millis(800))
        .with_keys(MANY_KEYS)
        .with_operations_per_round(20)
        .with_operations_per_store(1);
    plan.value_bytes = 200;
    let network = Faulty {
        // To have many that are in doubt.
        percent: 60,
        patience: Duration::from_millis(600),
    };
    check(proxied(&backend, &plan, Some(network)).await, &plan).await;
}

/// That of the compare-and-sets on a version just read less than 1 % are of unknown outcome, or so few more that it can be chance.
#[allow(clippy::cast_precision_loss, reason = "it is a rate")]
fn assert_mostly_told(report: &Report) {
    let tally = report.matches_just_read();
    let expected = tally.faulted as f64 / 100.0;
    // As good as never in a run of a store that keeps to it: four standard deviations, and one for the shortest runs.
    let most = expected + 4.0 * expected.sqrt() + 1.0;
    assert!((tally.faulted_and_unknown as f64) < most, "{report}");
}

/// Stores in this process, where the faults are too.
mod local {
    use statestore::MemoryStore;
    use statestore::layer::{Retry, RetryPolicy};
    use statestore_conformance::workload::{Lossy, Shared};

    use super::*;

    /// Clients of one store, each behind a network of its own.
    struct Networks<S> {
        clients: Vec<Arc<Lossy<S>>>,
    }

    impl<S: StateStore + Clone + 'static> Environment for Networks<S> {
        fn open(&self, client: usize) -> BoxFuture<'_, Arc<dyn StateStore>> {
            let policy = RetryPolicy::default().with_base_delay(Duration::from_millis(2));
            let store = Retry::new(self.clients[client].clone(), policy);
            Box::pin(std::future::ready(Arc::new(store) as Arc<dyn StateStore>))
        }

        fn faults(&self, client: usize) -> u64 {
            self.clients[client].faults()
        }
    }

    fn behind_networks<S: StateStore + Clone + 'static>(store: &S, plan: &Plan) -> Networks<S> {
        let network = |client| {
            Lossy::new(
                store.clone(),
                FAULTY.percent,
                plan.seed.wrapping_add(client as u64),
            )
        };
        // One more looks after the accounts.
        let clients = (0..=plan.clients).map(|client| Arc::new(network(client)));
        Networks {
            clients: clients.collect(),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn memory_without_faults() {
        let report = check(
            Shared(Arc::new(MemoryStore::new())),
            &plan(Duration::from_secs(2)),
        )
        .await;
        assert_eq!(report.unknown, 0, "{report}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn memory_with_faults() {
        let plan = plan(Duration::from_secs(3));
        check(behind_networks(&MemoryStore::new(), &plan), &plan).await;
    }

    #[cfg(feature = "embedded")]
    async fn embedded() -> (tempfile::TempDir, statestore::EmbeddedStore) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.redb");
        let store = statestore::EmbeddedStore::open(file).await.unwrap();
        (folder, store)
    }

    #[cfg(feature = "embedded")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn embedded_without_faults() {
        let (_folder, store) = embedded().await;
        let report = check(Shared(Arc::new(store)), &plan(Duration::from_secs(3))).await;
        assert_eq!(report.unknown, 0, "{report}");
    }

    #[cfg(feature = "embedded")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn embedded_with_faults() {
        let (_folder, store) = embedded().await;
        let plan = plan(Duration::from_secs(4));
        check(behind_networks(&store, &plan), &plan).await;
    }
}
