//! The DynamoDB store keeps the contract, on DynamoDB Local or on the DynamoDB that `STATESTORE_TEST_DYNAMODB` names
//! (`dynamodb://table?region=…`; its table has to be there).

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod canned;
mod connection;
mod errors;
mod faults;
#[path = "../http_support/mod.rs"]
mod http_support;
mod requests;
mod table;

use std::sync::Arc;
use std::time::Duration;

use statestore::dynamodb::DynamoDbConfig;
use statestore::{Clock, DynamoDbStore, Key, ManualClock, StateStore, SystemClock, WriteId};
use statestore_conformance::servers::dynamodb::DynamoDbServer;
use statestore_conformance::{Subject, conformance_tests};
use tokio::sync::OnceCell;

/// One DynamoDB Local with a table, for all tests of this process. It ends with it.
static LOCAL: OnceCell<(DynamoDbConfig, DynamoDbServer)> = OnceCell::const_new();

/// The table on DynamoDB Local, and its server.
async fn local() -> &'static (DynamoDbConfig, DynamoDbServer) {
    LOCAL
        .get_or_init(|| async {
            let server = DynamoDbServer::start().await.unwrap();
            let config = DynamoDbConfig::new("statestore-test")
                .with_endpoint(server.endpoint())
                .with_made_up_credentials()
                // The machine may be busy with other tests.
                .with_timeout(Duration::from_secs(30));
            let store = DynamoDbStore::new(config.clone()).unwrap();
            store.create_table().await.unwrap();
            (config, server)
        })
        .await
}

/// The table under test.
async fn config() -> DynamoDbConfig {
    match std::env::var("STATESTORE_TEST_DYNAMODB") {
        Ok(url) => url.parse().unwrap_or_else(|error| panic!("{error}")),
        Err(_) => local().await.0.clone(),
    }
}

/// A key that no other test uses.
fn key(id: &str) -> Key {
    Key::new(format!("t-{}", WriteId::new()), id).unwrap()
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
