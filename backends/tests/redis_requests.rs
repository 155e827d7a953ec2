//! What each operation costs, counted on the wire.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod redis_support;

use std::time::Duration;

use redis_support::open;
use statestore::{
    ErrorKind, Key, ListOptions, Precondition, PutOptions, StateStore, StateStoreExt, TransactOp, Ttl,
};
use statestore_conformance::proxy::{Counts, Protocol, Proxy};
use statestore_conformance::servers::redis::{RedisOptions, RedisServer};

/// What `operation` sends.
async fn spent<T>(proxy: &Proxy, operation: impl Future<Output = T>) -> (Counts, T) {
    let before = proxy.counts();
    let result = operation.await;
    (proxy.counts() - before, result)
}

fn one(name: &str, (counts, _): (Counts, impl Sized)) {
    assert_eq!((counts.requests, counts.requests_named(name)), (1, 1), "{counts}");
    assert_eq!(
        (counts.connections, counts.unparsed_connections),
        (0, 0),
        "{counts}"
    );
}

#[tokio::test]
async fn every_operation_is_one_request() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let proxy = Proxy::start(server.addr(), Protocol::Resp).await.unwrap();
    let store = open(&format!("redis://{}", proxy.addr()), "");
    assert_eq!(proxy.counts().connections, 0, "opening connects to nobody");
    store.ready().await.unwrap();
    assert_eq!(proxy.counts().connections, 1);

    let key: Key = "p/k".parse().unwrap();
    one("GET", spent(&proxy, store.get(&key, Default::default())).await);
    let created = spent(&proxy, store.create(&key, "x")).await;
    let version = created.1.as_ref().unwrap().clone();
    one("EVALSHA", created);
    let (counts, refused) = spent(&proxy, store.create(&key, "y")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
    one("EVALSHA", (counts, ()));
    one(
        "EVALSHA",
        spent(&proxy, store.compare_and_set(&key, Some(&version), "z")).await,
    );
    one(
        "EVALSHA",
        spent(&proxy, store.put(&key, "z".into(), Default::default())).await,
    );
    one(
        "EVALSHA",
        spent(&proxy, store.put(&key, "z".into(), Precondition::Exists.into())).await,
    );
    let minute = Ttl::After(Duration::from_secs(60));
    one(
        "EVALSHA",
        spent(&proxy, store.touch(&key, minute, Default::default())).await,
    );
    one(
        "GETRANGE",
        spent(
            &proxy,
            store.resolve(&key, statestore::WriteId::new(), &Precondition::None),
        )
        .await,
    );
    one(
        "EVALSHA",
        spent(&proxy, store.delete(&key, Default::default())).await,
    );

    let keys: Vec<Key> = (0..100)
        .map(|number| Key::new("many", number.to_string()).unwrap())
        .collect();
    let puts = |keys: &[Key]| {
        keys.iter()
            .cloned()
            .map(|key| TransactOp::put(key, "x"))
            .collect()
    };
    one(
        "EVALSHA",
        spent(&proxy, store.transact(puts(&keys), Default::default())).await,
    );
    let read = spent(&proxy, store.get_many(&keys, Default::default())).await;
    assert!(read.1.iter().all(|result| matches!(result, Ok(Some(_)))));
    one("MGET", read);
    let keys_alone = ListOptions::default().with_projection(statestore::Projection::Keys);
    let (counts, page) = spent(&proxy, store.list_page("many", keys_alone)).await;
    assert_eq!(page.unwrap().items.len(), 100);
    assert_eq!(
        (counts.requests, counts.requests_named("EVALSHA")),
        (2, 1),
        "the first list loads its script: {counts}"
    );
    let (counts, _) = spent(&proxy, store.list_page("many", Default::default())).await;
    assert_eq!(
        (counts.requests, counts.requests_named("MGET")),
        (2, 1),
        "{counts}"
    );
    // All over one connection.
    assert_eq!(proxy.counts().connections, 1);
}

#[tokio::test]
async fn a_bad_argument_sends_nothing() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let proxy = Proxy::start(server.addr(), Protocol::Resp).await.unwrap();
    let store = open(&format!("redis://{}", proxy.addr()), "");
    let key: Key = "p/k".parse().unwrap();
    let large = vec![0; store.capabilities().max_value_bytes + 1];
    let refused = store
        .put(&key, large.into(), PutOptions::default())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ValueTooLarge);
    let zero = PutOptions::expiring(Ttl::After(Duration::ZERO));
    let refused = store.put(&key, "x".into(), zero).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidTtl);
    assert_eq!(proxy.counts().connections, 0);
}
