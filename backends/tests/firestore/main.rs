//! The Firestore store keeps the contract, on hidane or on the Firestore that `STATESTORE_TEST_FIRESTORE` names
//! (`firestore://project/collection?…`, the service or an emulator).

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod answers;
mod canned;
mod connection;
mod errors;
mod faults;
#[path = "../http_support/lossy.rs"]
mod lossy;
mod requests;
mod setup;

use std::sync::Arc;
use std::time::Duration;

use statestore::firestore::FirestoreConfig;
use statestore::{Clock, FirestoreStore, Key, ManualClock, StateStore, SystemClock, WriteId};
use statestore_conformance::servers::firestore::FirestoreServer;
use statestore_conformance::{Subject, conformance_tests};
use tokio::sync::OnceCell;

/// One hidane for all tests of this process. It ends with it.
static LOCAL: OnceCell<FirestoreServer> = OnceCell::const_new();

/// The collection on hidane, and its server.
async fn local() -> (FirestoreConfig, &'static FirestoreServer) {
    let server = LOCAL
        .get_or_init(|| async { FirestoreServer::start().await.unwrap() })
        .await;
    let config = FirestoreConfig::new("statestore-test", "state")
        .with_emulator(server.addr().to_string())
        // The machine may be busy with other tests.
        .with_timeout(Duration::from_secs(30))
        .with_connect_timeout(Duration::from_secs(30));
    (config, server)
}

/// The collection under test.
async fn config() -> FirestoreConfig {
    match std::env::var("STATESTORE_TEST_FIRESTORE") {
        Ok(url) => url.parse().unwrap_or_else(|error| panic!("{error}")),
        Err(_) => local().await.0,
    }
}

/// A key that no other test uses.
fn key(id: &str) -> Key {
    Key::new(format!("t-{}", WriteId::new()), id).unwrap()
}

async fn subject(clock: impl Clock + Clone + 'static) -> Subject {
    let config = config().await;
    let open = move || {
        FirestoreStore::new(config.clone())
            .unwrap()
            .with_clock(clock.clone())
    };
    Subject::new(open()).with_reopen(move || {
        let store: Arc<dyn StateStore> = Arc::new(open());
        async { store }
    })
}

conformance_tests! {
    mod firestore = subject(SystemClock).await, with restart;
}

conformance_tests! {
    mod firestore_by_manual_clock = {
        let clock = ManualClock::new();
        subject(clock.clone()).await.with_clock(clock)
    }, with clock;
}
