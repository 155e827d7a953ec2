//! The embedded store keeps the contract: a file of its own for each case.
#![cfg(feature = "embedded")]

use std::sync::Arc;

use statestore::embedded::EmbeddedOptions;
use statestore::{Clock, EmbeddedStore, ManualClock, StateStore, SystemClock};
use statestore_conformance::{Subject, conformance_tests};

async fn subject(clock: impl Clock + Clone + 'static) -> Subject {
    // It goes with the last closure that names it.
    let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
    let open = move || {
        let (folder, clock) = (folder.clone(), clock.clone());
        async move {
            let options = EmbeddedOptions::default().with_clock(clock);
            let opened = EmbeddedStore::open_with(folder.path().join("state.redb"), options).await;
            opened.unwrap_or_else(|error| panic!("opening failed: {error}"))
        }
    };
    let store = open().await;
    Subject::new(store).with_reopen(move || {
        let opening = open();
        async move { Arc::new(opening.await) as Arc<dyn StateStore> }
    })
}

conformance_tests! {
    mod embedded = subject(SystemClock).await, with restart;
}

conformance_tests! {
    mod embedded_by_manual_clock = {
        let clock = ManualClock::new();
        subject(clock.clone()).await.with_clock(clock)
    }, with restart, clock;
}
