//! The connection: made by one for all who need it, and made anew when it is stuck.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use statestore::firestore::FirestoreConfig;
use statestore::{ErrorKind, FirestoreStore, GetOptions, StateStore, StateStoreExt};
use statestore_conformance::proxy::{Fault, Protocol, Proxy};

use super::{key, local};

/// Much longer than a busy machine takes to connect.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nobody_waits_for_a_call_that_is_not_polled() {
    let (config, _) = local().await;
    let (store, key) = (FirestoreStore::new(config).unwrap(), key("x"));
    // It begins to connect, and then is left alone, as one in a stream's buffer.
    let mut first = Box::pin(store.get(&key, GetOptions::default()));
    let begun = poll_fn(|context| Poll::Ready(first.as_mut().poll(context))).await;
    assert!(begun.is_pending());
    let second = tokio::time::timeout(LIMIT, store.get(&key, GetOptions::default())).await;
    assert_eq!(second.expect("it has a connection").unwrap(), None);
    assert_eq!(first.await.unwrap(), None);
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_connects_is_no_harm() {
    let (config, _) = local().await;
    let (store, key) = (FirestoreStore::new(config).unwrap(), key("x"));
    let mut first = Box::pin(store.get(&key, GetOptions::default()));
    let begun = poll_fn(|context| Poll::Ready(first.as_mut().poll(context))).await;
    assert!(begun.is_pending());
    drop(first);
    let second = tokio::time::timeout(LIMIT, store.get(&key, GetOptions::default())).await;
    assert_eq!(second.expect("it has a connection").unwrap(), None);
}

#[tokio::test]
async fn a_connection_that_does_not_answer_is_left() {
    let (config, server) = local().await;
    let proxy = Proxy::start(server.addr(), Protocol::Http2).await.unwrap();
    let store = |config: FirestoreConfig| {
        let config = config.with_emulator(proxy.addr().to_string());
        FirestoreStore::new(config).unwrap()
    };
    let store = store(config.with_timeout(Duration::from_secs(2)));
    let key = key("x");
    let seen = store.create(&key, "before").await.unwrap();
    // As of a connection of which one end is gone without a word.
    proxy.inject([Fault::Stall(Duration::from_secs(3_600))]);
    let lost = store.get(&key, GetOptions::default()).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Timeout, "{lost}");
    let before = proxy.counts().connections;
    let answered = loop {
        match store.compare_and_set(&key, Some(&seen), "after").await {
            // On a machine that is busy for so long.
            Err(error) if error.kind() == ErrorKind::Timeout && proxy.counts().connections > before => {}
            answered => break answered,
        }
    };
    answered.unwrap();
    assert!(proxy.counts().connections > before, "{}", proxy.counts());
}
