//! The Azure Table store keeps the contract, on Azurite or on the table that `STATESTORE_TEST_AZURE_TABLE` names
//! (`azure-table://account/table`, with a credential in the environment; the table has to be there).

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod canned;
mod errors;
mod faults;
#[path = "../http_support/mod.rs"]
mod http_support;
mod requests;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use statestore::azure_table::AzureTableConfig;
use statestore::{AzureTableStore, Clock, Key, ManualClock, StateStore, SystemClock, WriteId};
use statestore_conformance::servers::azurite::AzuriteServer;
use statestore_conformance::{Subject, conformance_tests};
use tokio::sync::OnceCell;

/// One Azurite, for all tests of this process. It ends with it.
static AZURITE: OnceCell<AzuriteServer> = OnceCell::const_new();

async fn azurite() -> &'static AzuriteServer {
    AZURITE
        .get_or_init(|| async { AzuriteServer::start().await.unwrap() })
        .await
}

/// A table on Azurite that no other test uses, which is not made yet.
async fn new_table() -> AzureTableConfig {
    static TABLES: AtomicU64 = AtomicU64::new(0);
    AzureTableConfig::emulator(format!("test{}", TABLES.fetch_add(1, Ordering::Relaxed)))
        .with_endpoint(azurite().await.endpoint())
        // The machine may be busy with other tests.
        .with_timeout(Duration::from_secs(30))
}

/// A table on Azurite that no other test uses.
async fn table() -> AzureTableConfig {
    let config = new_table().await;
    let store = AzureTableStore::new(config.clone()).unwrap();
    store.create_table().await.unwrap();
    config
}

/// A key that no other test uses.
fn key(id: &str) -> Key {
    Key::new(format!("t-{}", WriteId::new()), id).unwrap()
}

/// On Azurite each subject has a table of its own: it looks through all of one for a scan or a sweep.
async fn subject(clock: impl Clock + Clone + 'static) -> Subject {
    let config = match std::env::var("STATESTORE_TEST_AZURE_TABLE") {
        Ok(url) => url.parse().unwrap_or_else(|error| panic!("{error}")),
        Err(_) => table().await,
    };
    let open = move || {
        AzureTableStore::new(config.clone())
            .unwrap()
            .with_clock(clock.clone())
    };
    Subject::new(open()).with_reopen(move || {
        let store: Arc<dyn StateStore> = Arc::new(open());
        async { store }
    })
}

conformance_tests! {
    mod azure_table = subject(SystemClock).await, with restart;
}

conformance_tests! {
    mod azure_table_by_manual_clock = {
        let clock = ManualClock::new();
        subject(clock.clone()).await.with_clock(clock)
    }, with clock;
}
