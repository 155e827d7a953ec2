//! Servers and stores that several tests of Redis use.
#![allow(dead_code, reason = "not every test uses all of it")]

use statestore::RedisStore;
use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
use tokio::sync::OnceCell;

/// The rights that the documentation of the backend names, and one key pattern.
pub const RIGHTS: &str = "~ss:* +get +mget +exists +evalsha +eval +set +del +getrange +setrange +zadd +zrem +zcard \
     +zrangebyscore +zrangebylex +zrevrange +zmscore +pexpireat +persist +time +scan +wait +cluster|slots";

/// A store on a server that the tests of this process share, as a user with [`RIGHTS`].
pub async fn standalone(options: &str) -> RedisStore {
    static SERVER: OnceCell<RedisServer> = OnceCell::const_new();
    let server = SERVER
        .get_or_init(async || {
            let options = RedisOptions::default().user("functions", "pass/word", RIGHTS);
            RedisServer::start(options).await.unwrap()
        })
        .await;
    RedisStore::open(&format!("{}{options}", server.url())).unwrap()
}
