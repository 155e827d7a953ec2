//! A store on Redis 6.2 or later, or Valkey: a single server, a cluster, or a server that sentinels watch.
//!
//! ```no_run
//! use statestore_api::{StateStore, StateStoreExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
//! let store = statestore::redis::RedisStore::open("redis://user:password@localhost:6379/0")?;
//! store.ready().await?;
//! store.create(&"user-42/cart".parse()?, "one apple").await?;
//! # Ok(()) }
//! ```
//!
//! # Layout
//! | Key | Type | Holds |
//! |---|---|---|
//! | `ss:{partition}/id` | string | one entry: a header, then the value as it is |
//! | `ss:{partition}#ids` | sorted set | the ids of the partition, by name: the index |
//! | `ss:{partition}#ttl` | sorted set | those that expire, by expiry in epoch milliseconds |
//!
//! - `ss:` is the option `prefix`. The partition is the keys' hash tag, so that it is in one slot; in it `%` is written `%25` and
//!   `}` is written `%7D`. The id is as it is.
//! - The header is `ST1`; how many replaced versions follow, as a digit; the expiry in 15 digits of epoch milliseconds (0: none);
//!   the version in 24 bytes; up to 4 replaced versions of 24 bytes, the newest first. So an entry has 43 to 139 bytes besides
//!   its key and value. A string of another form is [`Corrupt`](statestore_api::Error::Corrupt) and is never overwritten.
//! - The expiry is native too (`PXAT`), so that Redis itself removes what has expired. The index does not grow under expiry: each
//!   write to a partition takes up to 32 expired ids out of it, and an index all of whose ids expire does so with the last of them.
//! - With `index=off` there are only the strings, and [`list_page`](StateStore::list_page) and
//!   [`scan_page`](StateStore::scan_page) are refused. Entries written so are not listed when the index is switched on again,
//!   until they are deleted and created anew.
//!
//! # Requests
//! A read is one `GET`, a mutation or a transaction one `EVALSHA` (and one `EVAL` where the server does not know the script),
//! [`get_many`](StateStore::get_many) one `MGET` per 256 keys (in a cluster per slot, in one pipeline per node), and one `EXISTS`
//! more where some are missing, to tell a missing key from one of another type. A page of a listing is one script and one `MGET`.
//!
//! # Rights
//! The user needs these, and no others:
//!
//! ```text
//! ACL SETUSER functions on >password ~ss:* +get +mget +exists +evalsha +eval +set +del +getrange
//!   +setrange +zadd +zrem +zcard +zrangebyscore +zrangebylex +zrevrange +zmscore +pexpireat +persist
//!   +time +scan +wait +asking +cluster|slots
//! ```
//!
//! `+scan` is for [`scan_page`](StateStore::scan_page) alone, `+wait` for `min_replicas`, `+asking` and `+cluster|slots` for a cluster,
//! `+select` for a database other than 0. The sentinels' own user needs `+sentinel|get-master-addr-by-name`.
//!
//! # Limits
//! 2,048 bytes in each part of a key, 16 MiB a value, 100 operations and 32 MiB a transaction (a server does nothing else while it applies one). Set `maxmemory-policy` to
//! `noeviction`: an entry that is evicted is lost, and its id stays listed among keys. When memory is full, writes are
//! [`StorageFull`](statestore_api::Error::StorageFull), and deletes still work.
//!
//! [`scan_page`](StateStore::scan_page) goes with `SCAN`: what is there throughout is returned, and it is returned twice only
//! where a server makes its table smaller during the scan. When slots or primaries have moved since the first page, or the server is
//! another, the token is refused and the scan has to begin again.
//!
//! While a cluster moves a slot, a mutation of a partition of which some keys have gone and some have not is
//! [`Unavailable`](statestore_api::Error::Unavailable), not applied, and worth a retry; that ends with the move.
//!
//! # Time
//! The server judges expiry, by its own clock; after a failover the new primary does. [`Ttl::After`]
//! counts from the server's time at the write.
//!
//! # What a failover can lose
//! Redis replicates after it has answered. So **without `min_replicas` a failover can lose writes that were acknowledged**: those of the
//! last moments, that had not reached the replica which is promoted. An entry then has an older version again, or is gone. Versions
//! are still never reused and nothing is applied twice: a compare-and-set on a lost version conflicts.
//!
//! With `min_replicas=N` a mutation is acknowledged when N replicas have it too, and is
//! [`Indeterminate`](statestore_api::Error::Indeterminate) when fewer say so in `replica_timeout`: it is applied on the primary, and a
//! failover may lose it. If N is the number of all replicas, no acknowledged write is lost as long as one of them is promoted. If there are
//! more replicas than N, one that lacks the write may be promoted; Sentinel and Cluster prefer the one that has received most.
//! Reads do not wait: they may see a write that is not replicated yet, and a primary that was cut off answers reads until it notices.
//! What the disk keeps when all servers stop is up to their `appendfsync`.
//!
//! **Do not switch the `default` user off on a server with an append-only file**, unless it is of a release with the fix: at its next
//! start it leaves out every script that wrote more than one key, and says so only in its log
//! ([redis#14541](https://github.com/redis/redis/issues/14541), [valkey#3983](https://github.com/valkey-io/valkey/issues/3983)). Give the
//! user a long password instead.
//!
//! # Connections
//! One for each server, shared by all tasks, made with the first request and made anew when it breaks; with `min_replicas` a second
//! one for mutations. Nothing is sent twice, except what the server refused or never got. A mutation whose connection
//! breaks, or that has no answer within `timeout`, [may have been
//! applied](statestore_api::Error::may_have_applied): retry it with the same write id, as the [`Retry`](crate::layer::Retry) does that
//! [`open`](crate::open()) puts around the store.
//! [`Consistency::Eventual`](statestore_api::Consistency::Eventual) reads from the primary as well.

mod codec;
mod config;
mod conn;
mod error;
mod listing;
mod scripts;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use redis::Value;
use statestore_api::backend::{
    self, Decision, Mutation, Stamp, TransactDecision, check, decide, decide_transaction,
};
use statestore_api::{
    Applied, Attempt, Capabilities, Conflict, Current, DeleteOptions, Entry, Error, GetOptions, Key,
    ListOptions, Page, Precondition, PutOptions, Resolution, Result, ScanOptions, StateStore, TouchOptions,
    TransactOp, TransactOptions, Ttl, Version, WriteId,
};

use self::codec::{Head, Place};
pub(crate) use self::config::OPTIONS;
use self::config::{Config, SCHEMES, Topology};
use self::conn::{Answer, Call, Hello, Servers, Wait};
use self::error::{Context, Failure};
use self::scripts::{Action, Moment, Op, Reply, Scripts};
use crate::open::Location;

/// The most keys that one command reads: a server does nothing else meanwhile.
const KEYS_PER_COMMAND: usize = 256;

/// A store on Redis or Valkey. Clones share their connections. See the [module](self) for all about it.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    servers: Servers,
    scripts: Scripts,
    config: Config,
    capabilities: Capabilities,
}

impl RedisStore {
    /// The store of a URL. Connects to nobody yet, but has to be called where its connections will be made: in a Tokio
    /// runtime.
    ///
    /// | URL | Servers |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | a single one; the database's number behind the slash |
    /// | `redis+unix:///run/redis.sock` | the same on this machine |
    /// | `redis-cluster://user:password@host1:6379,host2:6379` | a cluster; some of its nodes |
    /// | `redis-sentinel://user:password@host1:26379,host2:26379/service` | the primary of a service; its sentinels |
    /// | `rediss://…`, `rediss-cluster://…`, `rediss-sentinel://…` | the same with TLS |
    ///
    /// | Option | Default | |
    /// |---|---|---|
    /// | `prefix` | `ss:` | what all keys begin with |
    /// | `index` | `on` | `off`: nothing is listed, and a write has less to do |
    /// | `min_replicas` | 0 | how many replicas have to confirm a mutation |
    /// | `connect_timeout` | `2s` | how long connecting may take, TLS and login included |
    /// | `timeout` | `5s` | how long an answer may take |
    /// | `replica_timeout` | `1s` | how long the replicas may take, less than `timeout` |
    /// | `ca_file` | the system's | the certificates to trust, in PEM |
    /// | `client_cert_file`, `client_key_file` | | the certificate to show, in PEM |
    /// | `db` | 0 | the database's number |
    /// | `user` | | the user, where it is not in the URL |
    /// | `sentinel_user`, `sentinel_password` | | the login at the sentinels |
    ///
    /// # Errors
    /// [`Config`](Error::Config) for what is malformed or unknown. The message holds no part of the login.
    pub fn open(url: &str) -> Result<Self> {
        Self::at(&Location::of(url, &SCHEMES, &OPTIONS)?)
    }

    pub(crate) fn at(location: &Location) -> Result<Self> {
        let config = Config::new(location.scheme, &location.address, &location.options)?;
        let mut capabilities = Capabilities::portable("redis");
        capabilities.max_partition_bytes = 2048;
        capabilities.max_id_bytes = 2048;
        capabilities.max_value_bytes = 16 << 20;
        capabilities.max_transaction_bytes = Some(32 << 20);
        capabilities.remembered_writes = codec::REMEMBERED;
        capabilities.listing = config.index;
        Ok(Self {
            inner: Arc::new(Inner {
                servers: Servers::new(&config),
                scripts: Scripts::new(),
                config,
                capabilities,
            }),
        })
    }

    /// The number of the database.
    pub(crate) fn database(&self) -> u32 {
        self.inner.config.db
    }

    fn servers(&self) -> &Servers {
        &self.inner.servers
    }

    fn scripts(&self) -> &Scripts {
        &self.inner.scripts
    }

    fn prefix(&self) -> &str {
        &self.inner.config.prefix
    }

    fn limits(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    fn place(&self, key: &Key) -> Place {
        Place::new(self.prefix(), key.partition())
    }

    fn error(&self, failure: &Failure, writes: bool) -> Error {
        let config = &self.inner.config;
        let context = Context {
            writes,
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            prefix: &config.prefix,
        };
        error::error(failure, context)
    }

    async fn read(&self, call: &Call) -> Result<Value> {
        let answer = self.servers().call(call).await;
        answer
            .map(|answer| answer.value)
            .map_err(|failure| self.error(&failure, false))
    }

    fn get_call(&self, key: &Key) -> Call {
        let place = self.place(key);
        let mut command = redis::cmd("GET");
        command.arg(place.data(key.id()));
        Call::command(place.slot, command)
    }

    /// The entries of keys that are known to be within the limits, in their order.
    async fn read_many(&self, keys: &[Key]) -> Vec<Result<Option<Entry>>> {
        let groups = self.groups(keys);
        let calls = groups.iter().map(|group| self.many("MGET", keys, group));
        let answers = self.servers().call_all(calls.collect()).await;
        let mut entries: Vec<Result<Option<Entry>>> = keys.iter().map(|_| Ok(None)).collect();
        let mut missing = Vec::new();
        for (group, answer) in groups.iter().zip(answers) {
            let values = match answer {
                // One key is read by GET, which tells a missing key from one of another type.
                Ok(value) if group.len() == 1 => Ok(vec![value]),
                Ok(Value::Array(values)) if values.len() == group.len() => Ok(values),
                Ok(_) => Err(Failure::Strange("the server's answer to MGET is malformed")),
                Err(failure) => Err(failure),
            };
            match values {
                Ok(values) => {
                    let mut absent = Vec::new();
                    for (at, value) in group.iter().zip(values) {
                        if matches!(value, Value::Nil) && group.len() > 1 {
                            absent.push(*at);
                        }
                        entries[*at] = entry(&keys[*at], value);
                    }
                    if !absent.is_empty() {
                        missing.push(absent);
                    }
                }
                Err(failure) => {
                    for at in group {
                        entries[*at] = Err(self.error_of(&keys[*at], &failure, false));
                    }
                }
            }
        }
        self.look_again(keys, missing, &mut entries).await;
        entries
    }

    /// MGET says of a key of another type that it is missing. If one of those that it said so of is there, they are read one by one.
    async fn look_again(
        &self,
        keys: &[Key],
        missing: Vec<Vec<usize>>,
        entries: &mut [Result<Option<Entry>>],
    ) {
        if missing.is_empty() {
            return;
        }
        let calls = missing.iter().map(|group| self.many("EXISTS", keys, group));
        let answers = self.servers().call_all(calls.collect()).await;
        for (group, answer) in missing.into_iter().zip(answers) {
            if matches!(answer, Ok(Value::Int(0))) {
                continue;
            }
            let calls = group.iter().map(|at| self.get_call(&keys[*at]));
            let answers = self.servers().call_all(calls.collect()).await;
            for (at, answer) in group.into_iter().zip(answers) {
                entries[at] = match answer {
                    Ok(value) => entry(&keys[at], value),
                    Err(failure) => Err(self.error_of(&keys[at], &failure, false)),
                };
            }
        }
    }

    /// The places of `keys` that one command may read together.
    fn groups(&self, keys: &[Key]) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..keys.len()).collect();
        if self.servers().crosses_slots() {
            return all.chunks(KEYS_PER_COMMAND).map(<[usize]>::to_vec).collect();
        }
        let mut by_slot: HashMap<u16, Vec<usize>> = HashMap::new();
        for at in all {
            by_slot.entry(self.place(&keys[at]).slot).or_default().push(at);
        }
        let groups = by_slot.values();
        groups
            .flat_map(|group| group.chunks(KEYS_PER_COMMAND))
            .map(<[usize]>::to_vec)
            .collect()
    }

    fn many(&self, command: &str, keys: &[Key], group: &[usize]) -> Call {
        if let ([at], "MGET") = (group, command) {
            return self.get_call(&keys[*at]);
        }
        let mut command = redis::cmd(command);
        // Most often all are in one partition.
        let mut place: Option<(&str, Place)> = None;
        for key in group.iter().map(|at| &keys[*at]) {
            let place = match &mut place {
                Some((partition, place)) if *partition == key.partition() => place,
                other => &mut other.insert((key.partition(), self.place(key))).1,
            };
            command.arg(place.data(key.id()));
        }
        Call::command(place.map_or(0, |(_, place)| place.slot), command)
    }

    /// The same as [`error`](Self::error), which names the key where it is the key's fault.
    fn error_of(&self, key: &Key, failure: &Failure, writes: bool) -> Error {
        match self.error(failure, writes) {
            Error::Corrupt { reason, source, .. } => Error::Corrupt {
                what: format!("`{key}`"),
                reason,
                source,
            },
            other => other,
        }
    }

    /// Applies operations in the partition of `key`, all or none.
    async fn apply(&self, key: &Key, ops: &[Op<'_>], id: WriteId) -> Result<Reply> {
        let config = &self.inner.config;
        let writes = ops.iter().any(|op| !matches!(op.action, Action::Check));
        let wait = (writes && config.min_replicas > 0).then(|| Wait {
            replicas: config.min_replicas,
            timeout_ms: u64::try_from(config.replica_timeout.as_millis()).unwrap_or(u64::MAX),
        });
        let call = self.scripts().mutate(&self.place(key), ops, config.index, wait);
        let answer = self.servers().call(&call).await;
        let Answer { value, replicas } = answer.map_err(|failure| self.error_of(key, &failure, writes))?;
        let reply = Reply::read(value).map_err(|failure| self.error(&failure, writes))?;
        let applied = matches!(reply, Reply::Applied | Reply::Already { .. });
        match replicas {
            Some(confirmed) if applied && confirmed < i64::from(config.min_replicas) => {
                Err(Error::Indeterminate {
                    write_id: id,
                    reason: format!(
                        "the primary has it, and {confirmed} of the {} replicas asked for confirmed it in time, \
                         so that a failover may lose it",
                        config.min_replicas
                    ),
                    source: None,
                })
            }
            _ => Ok(reply),
        }
    }

    /// One mutation of one key. Returns the version it leaves; of a delete, one that is nowhere.
    async fn mutate(
        &self,
        key: &Key,
        mutation: Mutation,
        action: Action<'_>,
        precondition: &Precondition,
        attempt: Option<Attempt>,
    ) -> Result<Version> {
        check::stamp_of(precondition)?;
        let attempt = attempt.unwrap_or_else(|| Attempt::first(WriteId::new()));
        let op = Op {
            id: key.id(),
            action,
            precondition,
            stamp: Stamp::new(attempt.id, Stamp::new_nonce(), key),
        };
        match self.apply(key, std::slice::from_ref(&op), attempt.id).await? {
            Reply::Applied => Ok(op.stamp.into()),
            Reply::Already { stamp, .. } => Ok(stamp.into()),
            Reply::Ttl { reason } => Err(Error::InvalidTtl { reason }),
            Reply::Corrupt { .. } => Err(corrupt(key)),
            Reply::Refused { entry, .. } => {
                let head = entry.as_deref().map(|entry| head(key, entry)).transpose()?;
                let stored = head.as_ref().map(Head::stored);
                match decide(mutation, precondition, attempt, stored)? {
                    Decision::Indeterminate => Err(Error::indeterminate(attempt.id)),
                    _ => Err(Conflict::new(key.clone(), current(key, entry)?).into()),
                }
            }
        }
    }

    async fn ready_on(&self, node: &conn::Node) -> Result<()> {
        let Hello { version, role, mode } = node
            .hello()
            .await
            .map_err(|failure| self.error(&failure, false))?;
        if version < (6, 2) {
            return Err(self.error(&Failure::TooOld, false));
        }
        let is_cluster = matches!(self.inner.config.topology, Topology::Cluster(_));
        if is_cluster != (mode == "cluster") {
            let reason = if is_cluster {
                "the server is no node of a cluster: write `redis://` for it"
            } else {
                "the server is a node of a cluster: write `redis-cluster://` for it"
            };
            return Err(Error::Config {
                reason: reason.to_owned(),
                source: None,
            });
        }
        if role != "master" {
            return Err(Error::Unavailable {
                applied: Applied::No,
                reason: "the server is a replica: there is a failover, or the URL names a replica".to_owned(),
                source: None,
            });
        }
        let warm = node.warm_up(&self.scripts().warm_up()).await;
        warm.map_err(|failure| self.error(&failure, false))
    }
}

/// What is stored under `key`, as its reader sees it.
fn entry(key: &Key, value: Value) -> Result<Option<Entry>> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => codec::entry(bytes).map(Some).ok_or_else(|| corrupt(key)),
        _ => Err(corrupt(key)),
    }
}

fn head(key: &Key, bytes: &[u8]) -> Result<Head> {
    Head::parse(bytes)
        .map(|(head, _)| head)
        .ok_or_else(|| corrupt(key))
}

fn current(key: &Key, stored: Option<Vec<u8>>) -> Result<Current> {
    Ok(match stored {
        None => Current::Absent,
        Some(bytes) => Current::Entry(codec::entry(bytes).ok_or_else(|| corrupt(key))?),
    })
}

fn corrupt(key: &Key) -> Error {
    Error::Corrupt {
        what: format!("`{key}`"),
        reason: "it is not an entry of this format".to_owned(),
        source: None,
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateStore for RedisStore {
    fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    async fn ready(&self) -> Result<()> {
        let primaries = self.servers().primaries().await;
        let (primaries, _) = primaries.map_err(|failure| self.error(&failure, false))?;
        let checks = join_all(primaries.iter().map(|node| self.ready_on(node))).await;
        checks.into_iter().collect::<Result<()>>()?;
        // A check of nothing, for the rights on the keys.
        let key = Key::new("statestore", "ready")?;
        let op = TransactOp::check(key, Precondition::None);
        self.transact(vec![op], TransactOptions::default())
            .await
            .map(drop)
    }

    async fn get(&self, key: &Key, _options: GetOptions) -> Result<Option<Entry>> {
        check::key(self.limits(), key)?;
        let answer = self.servers().call(&self.get_call(key)).await;
        let answer = answer.map_err(|failure| self.error_of(key, &failure, false))?;
        entry(key, answer.value)
    }

    async fn get_many(&self, keys: &[Key], _options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let checked: Vec<Result<()>> = keys.iter().map(|key| check::key(self.limits(), key)).collect();
        if checked.iter().all(Result::is_ok) {
            return self.read_many(keys).await;
        }
        let good: Vec<Key> = keys
            .iter()
            .zip(&checked)
            .filter(|(_, checked)| checked.is_ok())
            .map(|(key, _)| key.clone())
            .collect();
        let mut read = self.read_many(&good).await.into_iter();
        let answer = |checked: Result<()>| checked.and_then(|()| read.next().unwrap_or(Ok(None)));
        checked.into_iter().map(answer).collect()
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        check::key(self.limits(), key)?;
        check::value(self.limits(), &value)?;
        let action = Action::Put(&value, Moment::new(options.ttl)?);
        self.mutate(key, Mutation::Put, action, &options.precondition, options.attempt)
            .await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        check::key(self.limits(), key)?;
        let deleted = self.mutate(
            key,
            Mutation::Delete,
            Action::Delete,
            &options.precondition,
            options.attempt,
        );
        deleted.await.map(drop)
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        check::key(self.limits(), key)?;
        check::touch(&options.precondition)?;
        let action = Action::Touch(Moment::new(ttl)?);
        self.mutate(
            key,
            Mutation::Touch,
            action,
            &options.precondition,
            options.attempt,
        )
        .await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        check::key(self.limits(), key)?;
        let place = self.place(key);
        let mut command = redis::cmd("GETRANGE");
        command.arg(place.data(key.id())).arg(0).arg(codec::MAX_HEAD - 1);
        let answer = self.servers().call(&Call::command(place.slot, command)).await;
        let answer = answer.map_err(|failure| self.error_of(key, &failure, false))?;
        let head = match answer.value {
            Value::BulkString(bytes) if bytes.is_empty() => None,
            Value::BulkString(bytes) => Some(head(key, &bytes)?),
            _ => return Err(corrupt(key)),
        };
        backend::resolve(id, precondition, head.as_ref().map(Head::stored))
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.list(partition, options).await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.scan(options).await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        check::transaction(self.limits(), &ops)?;
        let Some(first) = ops.first() else {
            return Ok(Vec::new());
        };
        let attempt = options.attempt.unwrap_or_else(|| Attempt::first(WriteId::new()));
        let nonce = Stamp::new_nonce();
        let mut sent = Vec::with_capacity(ops.len());
        for op in &ops {
            check::stamp_of(&op.precondition)?;
            sent.push(Op {
                id: op.key.id(),
                action: match &op.action {
                    statestore_api::Action::Put { value, ttl } => Action::Put(value, Moment::new(*ttl)?),
                    statestore_api::Action::Delete => Action::Delete,
                    statestore_api::Action::Check => Action::Check,
                },
                precondition: &op.precondition,
                stamp: Stamp::new(attempt.id, nonce, &op.key),
            });
        }
        let key_at = |place: usize| ops.get(place).map_or(&first.key, |op| &op.key);
        match self.apply(&first.key, &sent, attempt.id).await? {
            Reply::Applied => Ok(backend::transaction_versions(&ops, attempt.id, nonce)),
            Reply::Already { place, stamp } => {
                let nonce = stamp.nonce(key_at(place));
                Ok(backend::transaction_versions(&ops, attempt.id, nonce))
            }
            Reply::Ttl { reason } => Err(Error::InvalidTtl { reason }),
            Reply::Corrupt { place } => Err(corrupt(key_at(place))),
            Reply::Refused { place, entry, heads } => {
                let head = |(at, bytes): (usize, &Vec<u8>)| match &bytes[..] {
                    [] => Ok(None),
                    bytes => head(key_at(at), bytes).map(Some),
                };
                let heads: Vec<_> = heads.iter().enumerate().map(head).collect::<Result<_>>()?;
                let stored = |at: usize| heads.get(at)?.as_ref().map(Head::stored);
                match decide_transaction(&ops, attempt, stored)? {
                    TransactDecision::Indeterminate(_) => Err(Error::indeterminate(attempt.id)),
                    TransactDecision::Conflict(at) if at != place => {
                        Err(Conflict::new(key_at(at).clone(), Current::Unknown)
                            .of_op(at)
                            .into())
                    }
                    _ => Err(
                        Conflict::new(key_at(place).clone(), current(key_at(place), entry)?)
                            .of_op(place)
                            .into(),
                    ),
                }
            }
        }
    }

    async fn sweep(&self) -> Result<u64> {
        Ok(0)
    }

    /// The connections end with the last clone of the store.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("servers", &self.inner.config.topology)
            .field("prefix", &self.inner.config.prefix)
            .finish_non_exhaustive()
    }
}
