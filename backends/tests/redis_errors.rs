//! What real servers say, and what becomes of it.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod redis_support;

use std::time::Duration;

use redis_support::{RIGHTS, open};
use statestore::{
    Error, ErrorKind, Key, ListOptions, Precondition, PutOptions, RedisStore, StateStore, StateStoreExt,
};
use statestore_conformance::servers::redis::{RedisCluster, RedisOptions, RedisServer};
use statestore_conformance::servers::wait_for;

const MINUTE: Duration = Duration::from_secs(60);

async fn server() -> RedisServer {
    RedisServer::start(RedisOptions::default()).await.unwrap()
}

fn key() -> Key {
    "p/k".parse().unwrap()
}

async fn put(store: &RedisStore) -> Result<(), Error> {
    store
        .put(&key(), "hunter2".into(), PutOptions::default())
        .await
        .map(drop)
}

/// The put is refused like this, was not applied, and the error shows neither value nor password.
async fn assert_refused(what: &str, store: &RedisStore, kind: ErrorKind) -> Error {
    let error = put(store).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{what}: {error}");
    assert!(!error.may_have_applied(), "{what}: {error}");
    assert!(
        !format!("{error} {error:?}").contains("hunter2"),
        "{what}: {error:?}"
    );
    error
}

#[tokio::test]
async fn logins() {
    let options = RedisOptions::default().user("functions", "hunter2", RIGHTS);
    let server = RedisServer::start(options).await.unwrap();
    let address = server.addr();
    for (what, url) in [
        ("no login", format!("redis://{address}")),
        ("wrong password", format!("redis://functions:wrong@{address}")),
        ("unknown user", format!("redis://nobody:hunter2@{address}")),
    ] {
        let store = open(&url, "");
        assert_eq!(
            store.ready().await.unwrap_err().kind(),
            ErrorKind::Unauthorized,
            "{what}"
        );
        assert_refused(what, &store, ErrorKind::Unauthorized).await;
    }
    put(&open(&server.url(), "")).await.unwrap();
}

#[tokio::test]
async fn rights() {
    for missing in ["+get", "+set", "+evalsha", "+eval", "+zadd", "+time", "~ss:*"] {
        let rights: Vec<&str> = RIGHTS.split(' ').filter(|right| *right != missing).collect();
        let options = RedisOptions::default().user("functions", "hunter2", rights.join(" "));
        let server = RedisServer::start(options).await.unwrap();
        let store = open(&server.url(), "");
        let error = match store.get(&key(), Default::default()).await {
            Ok(_) => assert_refused(missing, &store, ErrorKind::Unauthorized).await,
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{missing}: {error}");
        assert!(
            error.to_string().contains("ACL SETUSER <name> on ~ss:* +get"),
            "{missing}: {error}"
        );
    }
}

#[tokio::test]
async fn what_is_not_ours_is_left_as_it_is() {
    let server = server().await;
    let store = open(&server.url(), "");
    for foreign in [
        &["SET", "ss:{p}/k", "something else"][..],
        &["SET", "ss:{p}/k", ""],
        &["SET", "ss:{p}/k", "ST2000000000000000000000000000000000000000000"],
        &["RPUSH", "ss:{p}/k", "a list"],
    ] {
        server.command(&["DEL", "ss:{p}/k"]).await.unwrap();
        server.command(foreign).await.unwrap();
        let there = server.command(&["DUMP", "ss:{p}/k"]).await.unwrap();
        let error = assert_refused(foreign[2], &store, ErrorKind::Corrupt).await;
        assert!(error.to_string().contains("`p/k`"), "{error}");
        let read = [
            store.get(&key(), Default::default()).await.map(drop),
            store.delete(&key(), Default::default()).await,
            store.create(&key(), "x").await.map(drop),
        ];
        for result in read {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Corrupt, "{foreign:?}");
        }
        let mut many = store
            .get_many(&[key(), "p/other".parse().unwrap()], Default::default())
            .await;
        assert_eq!(many.remove(1).unwrap(), None);
        assert_eq!(
            many.remove(0).unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{foreign:?}"
        );
        assert_eq!(
            server.command(&["DUMP", "ss:{p}/k"]).await.unwrap(),
            there,
            "{foreign:?}"
        );
    }
}

#[tokio::test]
async fn other_keys_in_the_database_are_not_scanned() {
    let server = server().await;
    let store = open(&server.url(), "");
    put(&store).await.unwrap();
    for other in ["x", "ss:x", "ss:{p}", "other:{p}/k", "ss:{}/k"] {
        server.command(&["SET", other, "x"]).await.unwrap();
    }
    let page = store.scan_page(Default::default()).await.unwrap();
    assert_eq!(
        page.items.iter().map(|item| item.key.clone()).collect::<Vec<_>>(),
        [key()]
    );
}

#[tokio::test]
async fn memory_that_is_full() {
    let server = server().await;
    let store = open(&server.url(), "");
    put(&store).await.unwrap();
    server
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    let before = server.command(&["DEBUG", "DIGEST"]).await.ok();
    assert_refused("OOM", &store, ErrorKind::StorageFull).await;
    let error = store
        .create(&Key::new("p", "new").unwrap(), "x")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(server.command(&["DEBUG", "DIGEST"]).await.ok(), before);
    assert!(store.get(&key(), Default::default()).await.unwrap().is_some());
    store.delete(&key(), Default::default()).await.unwrap();
    server
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    put(&store).await.unwrap();
}

#[tokio::test]
async fn replicas() {
    let server = server().await;
    let store = open(&server.url(), "");
    put(&store).await.unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    assert_refused("READONLY", &store, ErrorKind::Unavailable).await;
    let error = store.ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    server
        .command(&["CONFIG", "SET", "replica-serve-stale-data", "no"])
        .await
        .unwrap();
    let error = store.get(&key(), Default::default()).await.unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("lost its primary"),
        "{error}"
    );
    server.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    put(&store).await.unwrap();
    server
        .command(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await
        .unwrap();
    let error = assert_refused("NOREPLICAS", &store, ErrorKind::Unavailable).await;
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_script_that_does_not_end() {
    let server = server().await;
    server
        .command(&["CONFIG", "SET", "busy-reply-threshold", "1"])
        .await
        .unwrap();
    let store = open(&server.url(), "");
    put(&store).await.unwrap();
    // Its answer comes when it is killed; the server's own client gives up before.
    let endless = async { server.command(&["EVAL", "while true do end", "0"]).await };
    let others = async {
        let busy = async || match put(&store).await {
            Err(error) if error.to_string().contains("busy") => Ok(error),
            other => Err(format!("{other:?}")),
        };
        let error = wait_for("BUSY", MINUTE, busy).await.unwrap();
        assert!(error.is_retryable(), "{error}");
        server.command(&["SCRIPT", "KILL"]).await.unwrap();
    };
    let (_, ()) = tokio::join!(endless, others);
    wait_for("the server", MINUTE, async || put(&store).await)
        .await
        .unwrap();
}

#[tokio::test]
async fn too_many_clients() {
    let server = server().await;
    let other = open(&server.url(), "");
    put(&other).await.unwrap();
    server
        .command(&["CONFIG", "SET", "maxclients", "1"])
        .await
        .unwrap();
    // The server says why and hangs up, and may do so before its words have arrived: then it is merely unavailable. In
    // either case nothing was applied.
    for _ in 0..50 {
        let error = put(&open(&server.url(), "")).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Throttled | ErrorKind::Unavailable),
            "{error}"
        );
        assert!(!error.may_have_applied(), "{error}");
    }
    put(&other).await.unwrap();
}

#[tokio::test]
async fn databases() {
    let server = server().await;
    let store = open(&server.url(), "db=3");
    put(&store).await.unwrap();
    let size = async |db| {
        RedisStore::open(&format!("{}/{db}", server.url()))
            .unwrap()
            .scan_page(Default::default())
            .await
    };
    assert_eq!(size(3).await.unwrap().items.len(), 1);
    assert_eq!(size(0).await.unwrap().items.len(), 0);
    assert_refused("db 99", &open(&server.url(), "db=99"), ErrorKind::StoreNotFound).await;
}

#[tokio::test]
async fn nobody_listens() {
    let server = server().await;
    let url = server.url();
    drop(server);
    let error = assert_refused("refused", &open(&url, ""), ErrorKind::Unavailable).await;
    assert!(error.is_retryable(), "{error}");
    let cluster = url.replace("redis:", "redis-cluster:");
    assert_refused("cluster", &open(&cluster, ""), ErrorKind::Unavailable).await;
    let sentinel = url.replace("redis:", "redis-sentinel:") + "/statestore";
    assert_refused("sentinel", &open(&sentinel, ""), ErrorKind::Unavailable).await;
}

#[tokio::test]
async fn clusters() {
    let single = server().await;
    let url = single.url().replace("redis:", "redis-cluster:");
    assert_refused("no cluster", &open(&url, ""), ErrorKind::Config).await;
    let lonely = RedisOptions::default().config("cluster-enabled", ["yes"]);
    let lonely = RedisServer::start(lonely).await.unwrap();
    let url = lonely.url().replace("redis:", "redis-cluster:");
    assert_refused("no slots", &open(&url, ""), ErrorKind::Unavailable).await;
    let error = assert_refused("CLUSTERDOWN", &open(&lonely.url(), ""), ErrorKind::Unavailable).await;
    assert!(error.to_string().contains("cluster is down"), "{error}");

    let cluster = RedisCluster::shared().await.unwrap();
    let node = cluster.primary_of("ss:{p}/k").await.unwrap().addr();
    let other = cluster.nodes()[..3]
        .iter()
        .find(|other| other.addr() != node)
        .unwrap();
    let error = assert_refused("MOVED", &open(&other.url(), ""), ErrorKind::Unavailable).await;
    assert!(error.to_string().contains("redis-cluster://"), "{error}");
    assert_eq!(
        open(&other.url(), "").ready().await.unwrap_err().kind(),
        ErrorKind::Config
    );
    // One node of it is enough to find all.
    let store = open(&other.url().replace("redis:", "redis-cluster:"), "");
    store.ready().await.unwrap();
    put(&store).await.unwrap();
}

#[tokio::test]
async fn sentinels_that_know_no_such_service() {
    let sentinel = statestore_conformance::servers::redis::RedisSentinel::shared()
        .await
        .unwrap();
    let url = sentinel.url().replace("/statestore", "/other");
    assert_refused("service", &open(&url, ""), ErrorKind::StoreNotFound).await;
}

#[tokio::test]
async fn tls_and_unix_sockets() {
    let server = RedisServer::start(RedisOptions::default().tls().password("hunter2"))
        .await
        .unwrap();
    let ca = server.ca_file().unwrap().display().to_string();
    let store = open(&server.url(), &format!("ca_file={ca}"));
    store.ready().await.unwrap();
    put(&store).await.unwrap();
    // Without its authority the certificate is not trusted, and its name has to be right.
    let error = assert_refused(
        "unknown authority",
        &open(&server.url(), ""),
        ErrorKind::Unavailable,
    )
    .await;
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    let other_name = server.url().replace("127.0.0.1", "ip6-localhost");
    let error = open(&other_name, &format!("ca_file={ca}"))
        .ready()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let missing = open(&server.url(), "ca_file=/nowhere.pem")
        .ready()
        .await
        .unwrap_err();
    assert!(format!("{missing:?}").contains("/nowhere.pem"), "{missing:?}");

    let plain = RedisServer::start(RedisOptions::default()).await.unwrap();
    let store = open(&format!("redis+unix://{}", plain.unix_socket().display()), "db=1");
    store.ready().await.unwrap();
    put(&store).await.unwrap();
}

#[tokio::test]
async fn tls_to_a_cluster_and_to_sentinels() {
    let cluster = RedisCluster::start(RedisOptions::default().tls()).await.unwrap();
    let ca = cluster.nodes()[0].ca_file().unwrap().display().to_string();
    let store = open(&cluster.url(), &format!("ca_file={ca}"));
    store.ready().await.unwrap();
    put(&store).await.unwrap();
    drop(cluster);
    let sentinel =
        statestore_conformance::servers::redis::RedisSentinel::start(RedisOptions::default().tls()).await;
    let sentinel = sentinel.unwrap();
    let ca = sentinel.servers()[0].ca_file().unwrap().display().to_string();
    let store = open(&sentinel.url(), &format!("ca_file={ca}"));
    store.ready().await.unwrap();
    put(&store).await.unwrap();
}

#[tokio::test]
async fn the_url_is_opened_by_name() {
    let server = server().await;
    let store = statestore::open(&server.url()).await.unwrap();
    assert_eq!(store.capabilities().backend, "redis");
    store
        .put(&key(), "x".into(), Precondition::Absent.into())
        .await
        .unwrap();
    let page = store.list_page("p", ListOptions::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    let error = statestore::open("redis://h?regoin=eu").await.unwrap_err();
    assert!(error.to_string().contains("`regoin`"), "{error}");
}
