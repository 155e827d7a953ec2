//! Servers and stores that several tests of Redis use.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]
#![allow(dead_code, reason = "not every test uses all of it")]

pub(crate) mod load;

use std::time::Duration;

use statestore::RedisStore;
use statestore_conformance::servers::redis::{RedisCluster, RedisOptions, RedisSentinel, RedisServer};
use tokio::sync::OnceCell;

/// The rights that the documentation of the backend names, and one key pattern.
pub(crate) const RIGHTS: &str = "~ss:* +get +mget +exists +evalsha +eval +set +del +getrange +setrange +zadd +zrem +zcard \
     +zrangebyscore +zrangebylex +zrevrange +zmscore +pexpireat +persist +time +scan +wait +asking +cluster|slots";

/// A server for a user with [`RIGHTS`]. It is not thought dead on a machine that is busy with other tests.
pub(crate) fn least_privilege() -> RedisOptions {
    RedisOptions::default()
        .user("functions", "pass/word", RIGHTS)
        .node_timeout(Duration::from_secs(60))
}

/// A store on a server that the tests of this process share, as a user with [`RIGHTS`].
pub(crate) async fn standalone(options: &str) -> RedisStore {
    static SERVER: OnceCell<RedisServer> = OnceCell::const_new();
    let server = SERVER.get_or_init(async || RedisServer::start(least_privilege()).await.unwrap());
    open(&server.await.url(), options)
}

/// The same on a cluster.
pub(crate) async fn cluster(options: &str) -> RedisStore {
    static CLUSTER: OnceCell<RedisCluster> = OnceCell::const_new();
    let cluster = CLUSTER.get_or_init(async || RedisCluster::start(least_privilege()).await.unwrap());
    open(&cluster.await.url(), options)
}

/// The same on a primary that sentinels know.
pub(crate) async fn sentinel(options: &str) -> RedisStore {
    static SENTINEL: OnceCell<RedisSentinel> = OnceCell::const_new();
    let sentinel = SENTINEL.get_or_init(async || RedisSentinel::start(least_privilege()).await.unwrap());
    open(&sentinel.await.url(), options)
}

/// The store of a URL with these options behind it.
pub(crate) fn open(url: &str, options: &str) -> RedisStore {
    let separator = match (options, url.contains('?')) {
        ("", _) => "",
        (_, false) => "?",
        (_, true) => "&",
    };
    RedisStore::open(&format!("{url}{separator}{options}")).unwrap()
}
