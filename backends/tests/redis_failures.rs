//! Writers go on while servers die, hang, forget and move: nothing is applied twice, no version is reused.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod redis_support;

use std::time::Duration;

use redis_support::load::{Load, Written};
use redis_support::{RIGHTS, open};
use statestore::{
    Applied, Error, ErrorKind, Key, Precondition, PutOptions, RedisStore, StateStore, StateStoreExt,
};
use statestore_conformance::servers::redis::{
    RedisCluster, RedisOptions, RedisSentinel, RedisServer, slot_of,
};
use statestore_conformance::servers::wait_for;

const WRITERS: usize = 8;
const MINUTE: Duration = Duration::from_secs(60);

fn options() -> RedisOptions {
    RedisOptions::default().user("functions", "pass/word", RIGHTS)
}

fn keys(partitions: impl IntoIterator<Item = String>) -> Vec<Key> {
    partitions
        .into_iter()
        .map(|partition| Key::new(partition, "counter").unwrap())
        .collect()
}

fn partitions() -> impl Iterator<Item = String> {
    (0..WRITERS).map(|number| format!("partition-{number}"))
}

/// The partition's slot, as the store lays it out.
fn slot(partition: &str) -> u16 {
    slot_of(format!("ss:{{{partition}}}/counter"))
}

/// Checks that what was acknowledged last is there, or something newer of the same writer.
async fn assert_nothing_lost(store: &RedisStore, written: &[Written]) {
    for written in written {
        let entry = store
            .get(&written.key, Default::default())
            .await
            .unwrap()
            .expect("it is there");
        let number: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
        assert!(
            number >= written.last.1,
            "{} has {number}, {} was acknowledged",
            written.key,
            written.last.1
        );
        assert_eq!(written.lost, 0, "{} lost writes on the way", written.key);
    }
}

async fn killed_primary_of_a_cluster(options_of_store: &str) -> (RedisStore, Vec<Written>, Duration) {
    let cluster = RedisCluster::start(options()).await.unwrap();
    let store = open(&cluster.url(), options_of_store);
    // Every writer is on the node that dies.
    let victim = cluster.primary_of_slot(slot("partition-0")).await.unwrap();
    let mut hit = Vec::new();
    for number in 0.. {
        let partition = format!("partition-{number}");
        if cluster.primary_of_slot(slot(&partition)).await.unwrap().addr() == victim.addr() {
            hit.push(partition);
        }
        if hit.len() == WRITERS {
            break;
        }
    }
    let load = Load::start(&store, keys(hit));
    load.wait_for(200).await;
    victim.kill().unwrap();
    cluster.wait_for_failover(victim).await.unwrap();
    let promoted = std::time::Instant::now();
    if options_of_store.is_empty() {
        load.wait_for(200).await;
    } else {
        // The promoted node has no replica until the old primary is back.
        victim.restart().await.unwrap();
        cluster.wait_until_whole().await.unwrap();
        load.wait_for(100).await;
    }
    let took = promoted.elapsed();
    let written = load.finish().await;
    // The cluster ends with this function; what is there has to be looked at before.
    if !options_of_store.is_empty() {
        assert_nothing_lost(&store, &written).await;
    }
    (store, written, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_of_a_cluster_is_replaced() {
    let (_, written, took) = killed_primary_of_a_cluster("").await;
    assert_eq!(written.len(), WRITERS);
    assert!(
        took < MINUTE / 2,
        "200 more writes took {took:?} after the failover"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_min_replicas_a_killed_primary_of_a_cluster_takes_nothing_with_it() {
    killed_primary_of_a_cluster("min_replicas=1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_under_sentinels_is_replaced() {
    for options_of_store in ["", "min_replicas=1"] {
        let sentinel = RedisSentinel::start(options()).await.unwrap();
        let store = open(&sentinel.url(), options_of_store);
        let load = Load::start(&store, keys(partitions()));
        load.wait_for(200).await;
        let victim = sentinel.primary().await.unwrap();
        victim.kill().unwrap();
        sentinel.wait_for_failover(victim).await.unwrap();
        load.wait_for(200).await;
        let written = load.finish().await;
        if !options_of_store.is_empty() {
            assert_nothing_lost(&store, &written).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_a_time_out_and_recovers() {
    let server = RedisServer::start(options()).await.unwrap();
    let store = open(
        &server.url(),
        "timeout=300ms&replica_timeout=100ms&connect_timeout=300ms",
    );
    store.ready().await.unwrap();
    let load = Load::start(&store, keys(partitions()));
    load.wait_for(200).await;
    server.suspend().unwrap();
    let met = load.errors.clone();
    let late = async || {
        let met = met.lock().unwrap();
        if met.contains(&ErrorKind::Timeout) {
            Ok(())
        } else {
            Err("no time-out yet")
        }
    };
    wait_for("a time-out", MINUTE, late).await.unwrap();
    server.resume().unwrap();
    load.wait_for(200).await;
    assert_nothing_lost(&store, &load.finish().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_says_whether_the_write_was_sent() {
    let server = RedisServer::start(options()).await.unwrap();
    let store = open(
        &server.url(),
        "timeout=300ms&replica_timeout=100ms&connect_timeout=300ms",
    );
    let key: Key = "p/k".parse().unwrap();
    store.create(&key, "x").await.unwrap();
    server.suspend().unwrap();
    // On the connection that is there it was sent; the next one is not even logged in.
    for applied in [Applied::Maybe, Applied::No] {
        let error = store
            .put(&key, "y".into(), PutOptions::default())
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Timeout { applied: said, .. } if *said == applied),
            "{error}"
        );
    }
    let error = store.get(&key, Default::default()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    server.resume().unwrap();
    wait_for("the store to recover", MINUTE, async || store.ready().await)
        .await
        .unwrap();
    // What was sent was applied when the server woke up.
    assert_eq!(
        store.get(&key, Default::default()).await.unwrap().unwrap().value,
        "y"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_unavailable_and_its_successor_is_found() {
    // With its default user off Redis 7.0 does not load what scripts have appended; the backend's documentation says so.
    let options = options().append_only().password("default");
    let server = RedisServer::start(options).await.unwrap();
    let store = open(&server.url(), "");
    let key: Key = "p/k".parse().unwrap();
    store.create(&key, "x").await.unwrap();
    server.kill().unwrap();
    let error = store
        .put(&key, "y".into(), PutOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let error = store
        .put(&key, "y".into(), PutOptions::default())
        .await
        .unwrap_err();
    assert!(
        error.is_retryable(),
        "nobody listens, so nothing was sent: {error}"
    );
    server.restart().await.unwrap();
    assert_eq!(
        store.get(&key, Default::default()).await.unwrap().unwrap().value,
        "x"
    );
    store.put(&key, "y".into(), PutOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_forgotten_under_load_are_sent_again() {
    let server = RedisServer::start(options()).await.unwrap();
    let store = open(&server.url(), "");
    let load = Load::start(&store, keys(partitions()));
    for _ in 0..50 {
        server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        load.wait_for(5).await;
    }
    assert_eq!(load.errors.lock().unwrap().len(), 0, "nobody notices");
    assert_nothing_lost(&store, &load.finish().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_are_followed() {
    let cluster = RedisCluster::start(options()).await.unwrap();
    let store = open(&cluster.url(), "");
    let load = Load::start(&store, keys(partitions()));
    load.wait_for(100).await;
    for round in 0..2 {
        for partition in partitions() {
            let from = cluster.primary_of_slot(slot(&partition)).await.unwrap().addr();
            let nodes = &cluster.nodes()[..3];
            let to = nodes
                .iter()
                .cycle()
                .skip(round)
                .find(|node| node.addr() != from)
                .unwrap();
            cluster.migrate_slot(slot(&partition), to).await.unwrap();
        }
        load.wait_for(100).await;
    }
    assert_nothing_lost(&store, &load.finish().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_slot_is_served_or_refused_and_never_split() {
    let cluster = RedisCluster::start(options()).await.unwrap();
    let store = open(&cluster.url(), "");
    let [there, gone, new] = ["there", "gone", "new"].map(|id| Key::new("p", id).unwrap());
    store.create(&there, "1").await.unwrap();
    store.create(&gone, "1").await.unwrap();
    let slot = slot_of("ss:{p}/there");
    let from = cluster.primary_of_slot(slot).await.unwrap().addr();
    let to = cluster.nodes()[..3]
        .iter()
        .find(|node| node.addr() != from)
        .unwrap();
    let migration = cluster.start_migration(slot, to).await.unwrap();
    migration.move_keys(&["ss:{p}/gone"]).await.unwrap();
    // Reads find both, one after ASK.
    for key in [&there, &gone] {
        assert_eq!(
            store.get(key, Default::default()).await.unwrap().unwrap().value,
            "1"
        );
    }
    let got = store
        .get_many(&[there.clone(), gone.clone(), new.clone()], Default::default())
        .await;
    for (result, value) in got.into_iter().zip([Some("1"), Some("1"), None]) {
        match result {
            Ok(entry) => assert_eq!(entry.map(|entry| entry.value), value.map(Into::into)),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    // The index is on one side and the entry on the other: TRYAGAIN.
    for key in [&there, &gone, &new] {
        if let Err(error) = store.put(key, "2".into(), Precondition::None.into()).await {
            assert!(error.is_retryable(), "{error}");
        }
    }
    migration.move_all().await.unwrap();
    migration.finish().await.unwrap();
    for key in [&there, &gone, &new] {
        store
            .put(key, "3".into(), Precondition::None.into())
            .await
            .unwrap();
        assert_eq!(
            store.get(key, Default::default()).await.unwrap().unwrap().value,
            "3"
        );
    }
    let page = store.list_page("p", Default::default()).await.unwrap();
    assert_eq!(page.items.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_replicas_are_indeterminate() {
    let server = RedisServer::start(options()).await.unwrap();
    let store = open(&server.url(), "min_replicas=1&replica_timeout=100ms");
    let key: Key = "p/k".parse().unwrap();
    let error = store.create(&key, "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    assert!(error.to_string().contains("0 of the 1 replicas"), "{error}");
    // The primary has it all the same, and a conflict is one without replicas too.
    assert_eq!(
        store.get(&key, Default::default()).await.unwrap().unwrap().value,
        "x"
    );
    let error = store.create(&key, "y").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_write_is_acknowledged_when_the_replica_has_it() {
    let cluster = RedisCluster::start(options().node_timeout(MINUTE)).await.unwrap();
    let store = open(&cluster.url(), "min_replicas=1&replica_timeout=200ms");
    let key: Key = "p/k".parse().unwrap();
    store.create(&key, "x").await.unwrap();
    let primary = cluster.primary_of("ss:{p}/k").await.unwrap();
    let replica = cluster.replica_of(primary).await.unwrap().unwrap();
    replica.suspend().unwrap();
    let attempt = statestore::Attempt::first(statestore::WriteId::new());
    let put = |attempt| store.put(&key, "y".into(), PutOptions::default().with_attempt(attempt));
    for attempt in [attempt, attempt.next()] {
        let error = put(attempt).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    }
    replica.resume().unwrap();
    let last = attempt.next().next();
    let version = wait_for("the replica", MINUTE, async || put(last).await)
        .await
        .unwrap();
    let entry = store.get(&key, Default::default()).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.version), ("y".into(), version));
}
