//! The SDK's client: made by one for all who need it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use statestore::{DynamoDbStore, GetOptions, StateStore};

use super::{key, local};

/// Much longer than a busy machine takes to make it.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nobody_waits_for_a_call_that_is_not_polled_or_is_dropped() {
    for dropped in [false, true] {
        let (config, _) = local().await;
        let (store, key) = (DynamoDbStore::new(config.clone()).unwrap(), key("x"));
        // It begins to make the client, and then is left alone, as one in a stream's buffer.
        let mut first = Some(Box::pin(store.get(&key, GetOptions::default())));
        let begun =
            poll_fn(|context| Poll::Ready(first.as_mut().map(|first| first.as_mut().poll(context)))).await;
        assert!(begun.is_some_and(|begun| begun.is_pending()));
        if dropped {
            first = None;
        }
        let second = tokio::time::timeout(LIMIT, store.get(&key, GetOptions::default())).await;
        assert_eq!(second.expect("it has a client").unwrap(), None);
        if let Some(first) = first {
            assert_eq!(first.await.unwrap(), None);
        }
    }
}
