//! The DynamoDB store keeps the contract, on DynamoDB Local or on the DynamoDB that `STATESTORE_TEST_DYNAMODB` names
//! (`dynamodb://table?region=…`; its table has to be there).

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod lossy;
mod requests;
mod service;

use std::sync::Arc;
use std::time::Duration;

use statestore::dynamodb::DynamoDbConfig;
use statestore::{Clock, DynamoDbStore, ManualClock, StateStore, SystemClock};
use statestore_conformance::servers::dynamodb::DynamoDbServer;
use statestore_conformance::{Subject, conformance_tests};
use tokio::sync::OnceCell;

/// One server and table for all tests of this process, which outlives neither.
static SERVER: OnceCell<(DynamoDbConfig, Option<DynamoDbServer>)> = OnceCell::const_new();

/// The table under test.
async fn config() -> DynamoDbConfig {
    let started = SERVER.get_or_init(|| async {
        if let Ok(url) = std::env::var("STATESTORE_TEST_DYNAMODB") {
            let config = url.parse().unwrap_or_else(|error| panic!("{error}"));
            return (config, None);
        }
        let server = DynamoDbServer::start().await.unwrap();
        let config = DynamoDbConfig::new("statestore-test")
            .with_endpoint(server.endpoint())
            .with_made_up_credentials()
            // The machine may be busy with other tests.
            .with_timeout(Duration::from_secs(30));
        let store = DynamoDbStore::new(config.clone()).unwrap();
        store.create_table().await.unwrap();
        (config, Some(server))
    });
    started.await.0.clone()
}

async fn subject(clock: impl Clock + Clone + 'static, exactly_once: bool) -> Subject {
    let config = config().await.with_exactly_once(exactly_once);
    let open = move || {
        DynamoDbStore::new(config.clone())
            .unwrap()
            .with_clock(clock.clone())
    };
    Subject::new(open()).with_reopen(move || {
        let store: Arc<dyn StateStore> = Arc::new(open());
        async { store }
    })
}

conformance_tests! {
    mod dynamodb = subject(SystemClock, false).await, with restart;
}

conformance_tests! {
    mod dynamodb_exactly_once = subject(SystemClock, true).await, with restart;
}

conformance_tests! {
    mod dynamodb_by_manual_clock = {
        let clock = ManualClock::new();
        subject(clock.clone(), false).await.with_clock(clock)
    }, with clock;
}
