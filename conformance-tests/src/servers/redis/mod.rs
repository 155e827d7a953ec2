//! Redis or Valkey servers: one, a cluster, or one with replicas under sentinels.
//!
//! They are processes of the `redis-server` or `valkey-server` on the `PATH`, or of the program that
//! `STATESTORE_REDIS_SERVER` names (a wrapper around one must `exec` it). Redis 6.2, Valkey 7.2 and later will do.

mod cluster;
mod migration;
mod options;
mod program;
mod resp;
mod sentinel;
mod server;
mod slot;
mod tls;
mod view;

pub use self::cluster::RedisCluster;
pub use self::migration::SlotMigration;
pub use self::options::RedisOptions;
pub use self::resp::Reply;
pub use self::sentinel::RedisSentinel;
pub use self::server::RedisServer;
pub use self::slot::slot_of;
