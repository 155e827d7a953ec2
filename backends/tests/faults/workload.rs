//! Recorded clients on every store, with and without faults, for as long as the environment says: `scripts/soak`.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use statestore::StateStore;
use statestore_conformance::faults::FaultSubject;
use statestore_conformance::proxy::{Fault, RandomFaults};
use statestore_conformance::workload::{Environment, Plan, Report, run};

use super::served::Backend;

/// How long a store waits for an answer. Some faults take longer.
const PATIENCE: Duration = Duration::from_millis(400);

/// How many of a hundred connections meet a fault.
const FAULTY: u8 = 10;

/// It is at one of so many first requests.
const WITHIN: u64 = 8;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// The plan of this run: so long, unless the environment says otherwise.
pub(crate) fn plan(time: Duration) -> Plan {
    let seed = number("STATESTORE_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let mut plan = Plan::new(seed).with_operations(usize::MAX).with_time(time);
    if let Some(operations) = number("STATESTORE_SOAK_OPERATIONS") {
        plan = plan
            .with_operations(usize::try_from(operations).unwrap())
            .with_time(Duration::from_secs(24 * 3_600));
    }
    if let Some(keys) = number("STATESTORE_SOAK_KEYS") {
        let keys = usize::try_from(keys).unwrap();
        plan = plan.with_keys(keys).with_operations_per_round(keys.max(25) * 4);
    }
    if let Some(seconds) = number("STATESTORE_SOAK_SECONDS") {
        plan = plan.with_time(Duration::from_secs(seconds));
    }
    println!("seed {seed}: STATESTORE_SOAK_SEED={seed} repeats the plan");
    plan
}

pub(crate) async fn check(environment: impl Environment + 'static, plan: &Plan) -> Report {
    let report = run(Arc::new(environment), plan).await;
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report}");
    report
}

/// Clients of a server, each behind a proxy of its own.
struct Proxied {
    subjects: Vec<FaultSubject>,
    patience: Duration,
}

impl Environment for Proxied {
    fn open(&self, client: usize) -> BoxFuture<'_, Arc<dyn StateStore>> {
        Box::pin(self.subjects[client].store(self.patience, true))
    }

    fn faults(&self, client: usize) -> u64 {
        self.subjects[client].proxy().counts().faults
    }
}

async fn proxied(backend: &Backend, plan: &Plan, faults: bool) -> Proxied {
    // One more looks after the accounts.
    let subjects = join_all((0..=plan.clients).map(|_| backend.subject())).await;
    for (client, subject) in subjects.iter().enumerate().filter(|_| faults) {
        subject.proxy().inject_randomly(Some(RandomFaults {
            seed: plan.seed.wrapping_add(client as u64),
            percent: FAULTY,
            within: WITHIN,
            faults: Fault::all(PATIENCE).to_vec(),
        }));
    }
    let patience = if faults { PATIENCE } else { Duration::from_secs(30) };
    Proxied { subjects, patience }
}

pub(crate) async fn without_faults(backend: Backend) {
    let plan = plan(Duration::from_secs(3));
    let report = check(proxied(&backend, &plan, false).await, &plan).await;
    assert_eq!(report.unknown, 0, "{report}");
}

pub(crate) async fn with_faults(backend: Backend) {
    let plan = plan(Duration::from_secs(8));
    let report = check(proxied(&backend, &plan, true).await, &plan).await;
    let faulted: usize = report.calls.values().map(|tally| tally.faulted).sum();
    assert!(faulted > 0, "{report}");
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
        let network = |client| Lossy::new(store.clone(), FAULTY, plan.seed.wrapping_add(client as u64));
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
