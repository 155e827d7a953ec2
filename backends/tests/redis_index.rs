//! The index does not grow without end under expiry.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod redis_support;

use std::time::Duration;

use futures::StreamExt;
use redis_support::open;
use statestore::{Key, PutOptions, RedisStore, StateStore, StateStoreExt, Ttl};
use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
use statestore_conformance::servers::wait_for;

const KEYS: usize = 100_000;
const MINUTE: Duration = Duration::from_secs(60);

async fn write(store: &RedisStore, keys: impl Iterator<Item = Key>, ttl: Ttl) {
    let writes = keys.map(|key| async move {
        store
            .put(&key, "x".into(), PutOptions::expiring(ttl))
            .await
            .unwrap();
    });
    futures::stream::iter(writes)
        .buffer_unordered(256)
        .collect::<()>()
        .await;
}

async fn number(server: &RedisServer, command: &[&str]) -> usize {
    server.command(command).await.unwrap().text().parse().unwrap()
}

async fn memory(server: &RedisServer) -> usize {
    let info = server.info("memory").await.unwrap();
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .unwrap();
    used.parse().unwrap()
}

/// Waits until the server has removed the entries that expire, by itself.
async fn expired(server: &RedisServer, left: usize) {
    let few = async || match number(server, &["DBSIZE"]).await {
        size if size <= left => Ok(()),
        size => Err(format!("{size} keys are left")),
    };
    wait_for("expiry", MINUTE, few).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_swept_by_ordinary_traffic() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let store = open(&server.url(), "");
    let lasting: Key = "p/lasting".parse().unwrap();
    store.create(&lasting, "x").await.unwrap();
    let start = memory(&server).await;

    let ids = (0..KEYS).map(|number| Key::new("p", format!("session-{number}")).unwrap());
    write(&store, ids, Ttl::After(Duration::from_secs(1))).await;
    let full = memory(&server).await;
    expired(&server, 3).await;
    let listed = number(&server, &["ZCARD", "ss:{p}#ids"]).await;

    // Writes of one key that does not expire: the least that a program can do.
    for _ in 0..listed / 32 + 1 {
        store
            .put(&lasting, "x".into(), PutOptions::default())
            .await
            .unwrap();
    }
    assert_eq!(number(&server, &["ZCARD", "ss:{p}#ids"]).await, 1);
    assert_eq!(number(&server, &["EXISTS", "ss:{p}#ttl"]).await, 0);
    let near = async || match memory(&server).await {
        now if now < start + (full - start) / 20 => Ok(now),
        now => Err(format!(
            "{now} bytes are in use, {start} at the start, {full} when full"
        )),
    };
    let now = wait_for("the memory", MINUTE, near).await.unwrap();
    println!(
        "{KEYS} keys: {start} bytes before, {full} when full, {listed} ids listed when all had expired, {now} bytes after"
    );
    let keys: Vec<_> = store.list("p", Default::default()).collect().await;
    assert_eq!(keys.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_what_expires_expires_with_it() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let store = open(&server.url(), "");
    store.ready().await.unwrap();
    let start = memory(&server).await;
    let sessions = (0..KEYS / 4).map(|number| Key::new(format!("session-{number}"), "state").unwrap());
    write(&store, sessions, Ttl::After(Duration::from_secs(1))).await;
    // Nobody ever comes back to these partitions.
    expired(&server, 0).await;
    let near = async || match memory(&server).await {
        now if now < start + (4 << 20) => Ok(()),
        now => Err(format!("{now} bytes are in use, {start} at the start")),
    };
    wait_for("the memory", MINUTE, near).await.unwrap();
}

#[tokio::test]
async fn an_index_lives_as_long_as_its_longest_entry() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let store = open(&server.url(), "");
    let put = async |id: &str, ttl| {
        let key = Key::new("p", id).unwrap();
        store
            .put(&key, "x".into(), PutOptions::expiring(ttl))
            .await
            .unwrap();
    };
    let left = async || number_of_ms(&server).await;
    let hours = |n: u64| Ttl::After(Duration::from_secs(3600 * n));
    put("a", hours(1)).await;
    assert!((3_500_000..=3_600_000).contains(&left().await));
    put("b", hours(2)).await;
    assert!((7_100_000..=7_200_000).contains(&left().await));
    put("c", Ttl::None).await;
    assert_eq!(left().await, -1, "one never expires");
    put("c", hours(3)).await;
    assert!((10_700_000..=10_800_000).contains(&left().await));
    put("d", Ttl::None).await;
    store
        .touch(&Key::new("p", "d").unwrap(), hours(1), Default::default())
        .await
        .unwrap();
    assert!((10_700_000..=10_800_000).contains(&left().await));
    put("e", Ttl::None).await;
    store
        .delete(&Key::new("p", "e").unwrap(), Default::default())
        .await
        .unwrap();
    assert!((10_700_000..=10_800_000).contains(&left().await));
    assert_eq!(
        store
            .list_page("p", Default::default())
            .await
            .unwrap()
            .items
            .len(),
        4
    );
}

async fn number_of_ms(server: &RedisServer) -> i64 {
    let left = server.command(&["PTTL", "ss:{p}#ids"]).await.unwrap().text();
    left.parse().unwrap()
}
