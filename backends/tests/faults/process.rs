//! Recorded clients while the server's process is suspended again and again, and killed where it keeps its data.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::future::BoxFuture;
use statestore::StateStore;
use statestore_conformance::servers::Process;
use statestore_conformance::workload::Environment;

use super::workload::{check, plan};

/// How long a store waits for an answer: less than a server is suspended for.
const PATIENCE: &str = "timeout=400ms&connect_timeout=400ms&retry_budget=1000000";

/// The stores of a URL.
struct Direct(String);

impl Environment for Direct {
    fn open(&self, _client: usize) -> BoxFuture<'_, Arc<dyn StateStore>> {
        Box::pin(async { statestore::open(&self.0).await.unwrap() })
    }
}

/// Suspends the process for random times, until it is dropped.
async fn suspend_and_resume(process: &Process, mut rng: Rng) {
    loop {
        tokio::time::sleep(Duration::from_millis(rng.u64(300..1_500))).await;
        process.suspend().unwrap();
        tokio::time::sleep(Duration::from_millis(rng.u64(50..900))).await;
        process.resume().unwrap();
    }
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_restarted_and_suspended() {
    use statestore_conformance::servers::redis::{RedisOptions, RedisServer};

    let server = RedisServer::start(RedisOptions::default().append_only())
        .await
        .unwrap();
    let plan = plan(Duration::from_secs(8));
    let mut rng = Rng::with_seed(plan.seed);
    let disturb = async {
        loop {
            tokio::time::sleep(Duration::from_millis(rng.u64(300..1_500))).await;
            if rng.bool() {
                server.kill().unwrap();
                tokio::time::sleep(Duration::from_millis(rng.u64(..300))).await;
                server.restart().await.unwrap();
            } else {
                server.suspend().unwrap();
                tokio::time::sleep(Duration::from_millis(rng.u64(50..900))).await;
                server.resume().unwrap();
            }
        }
    };
    let environment = Direct(format!("redis://{}?{PATIENCE}", server.addr()));
    tokio::select! {
        _ = check(environment, &plan) => {}
        () = disturb => {}
    }
}

#[cfg(feature = "dynamodb")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dynamodb_is_suspended() {
    use statestore::DynamoDbStore;
    use statestore::dynamodb::DynamoDbConfig;
    use statestore_conformance::servers::dynamodb::DynamoDbServer;

    let server = DynamoDbServer::start().await.unwrap();
    let config = DynamoDbConfig::new("process").with_endpoint(server.endpoint());
    let store = DynamoDbStore::new(config.with_made_up_credentials()).unwrap();
    store.create_table().await.unwrap();
    let plan = plan(Duration::from_secs(8));
    let url = format!(
        "dynamodb://process?endpoint={}&credentials=made-up&{PATIENCE}",
        server.endpoint()
    );
    tokio::select! {
        _ = check(Direct(url), &plan) => {}
        () = suspend_and_resume(server.process(), Rng::with_seed(plan.seed)) => {}
    }
}

#[cfg(feature = "azure-table")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azurite_is_suspended() {
    use statestore::AzureTableStore;
    use statestore::azure_table::AzureTableConfig;
    use statestore_conformance::servers::azurite::AzuriteServer;

    let server = AzuriteServer::start().await.unwrap();
    let config = AzureTableConfig::emulator("process").with_endpoint(server.endpoint());
    AzureTableStore::new(config)
        .unwrap()
        .create_table()
        .await
        .unwrap();
    let plan = plan(Duration::from_secs(8));
    let url = format!(
        "azure-table:///process?emulator=true&endpoint={}&{PATIENCE}",
        server.endpoint()
    );
    tokio::select! {
        _ = check(Direct(url), &plan) => {}
        () = suspend_and_resume(server.process(), Rng::with_seed(plan.seed)) => {}
    }
}

#[cfg(feature = "firestore")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn firestore_is_suspended() {
    use statestore_conformance::servers::firestore::FirestoreServer;

    let server = FirestoreServer::start().await.unwrap();
    let plan = plan(Duration::from_secs(8));
    let url = format!("firestore://process/state?emulator={}&{PATIENCE}", server.addr());
    tokio::select! {
        _ = check(Direct(url), &plan) => {}
        () = suspend_and_resume(server.process(), Rng::with_seed(plan.seed)) => {}
    }
}
