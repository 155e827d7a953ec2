//! The crate `redis` sending what the store sends: its scripts, its keys and what it keeps under them. What is left is what the store adds
//! around them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Script, ScriptInvocation, Value};
use statestore::backend::Stamp;
use statestore::{Key, WriteId};

use super::redis::connect;
use super::{back_off, twin};
use crate::contest::{Contestant, Does, Operation, next};

/// Where in what is kept the number of replaced versions is, and where the version.
const COUNT: usize = 3;
const VERSION: usize = 19;

#[derive(Clone)]
pub(crate) struct SameScript {
    connection: MultiplexedConnection,
    mutate: Arc<Script>,
    list: Arc<Script>,
}

type Version = [u8; Stamp::LEN];

impl SameScript {
    pub(crate) async fn connect(url: &str) -> Self {
        let mutate = include_str!("../../../backends/src/redis/mutate.lua");
        let list = include_str!("../../../backends/src/redis/list.lua");
        Self {
            connection: connect(url).await,
            mutate: Arc::new(Script::new(mutate)),
            list: Arc::new(Script::new(list)),
        }
    }

    async fn call(&self, call: ScriptInvocation<'_>) -> Value {
        let answer = call.invoke_async(&mut self.connection.clone()).await;
        answer.expect("the script answers")
    }

    /// Puts all under this condition; the answer is the error if it did not hold.
    async fn write(
        &self,
        keys: &[Key],
        condition: &str,
        expected: &[u8],
        value: &[u8],
    ) -> Result<Version, Vec<Value>> {
        let (id, nonce) = (WriteId::new(), Stamp::new_nonce());
        let base = base(keys[0].partition());
        let mut call = self.mutate.key(format!("{base}#ids"));
        call.key(format!("{base}#ttl")).arg("i");
        for key in keys {
            let stamp = Stamp::new(id, nonce, key).to_bytes();
            call.key(format!("{base}/{}", key.id()));
            call.arg("p").arg(condition).arg(expected).arg(&stamp[..]);
            call.arg("n").arg(0).arg(value);
        }
        match self.call(call).await {
            Value::Int(1) => Ok(Stamp::new(id, nonce, &keys[0]).to_bytes()),
            Value::Array(refused) => Err(refused),
            other => panic!("the script answers {other:?}"),
        }
    }

    async fn write_one(
        &self,
        key: &Key,
        condition: &str,
        expected: &[u8],
        value: &[u8],
    ) -> Result<Version, Vec<Value>> {
        self.write(std::slice::from_ref(key), condition, expected, value)
            .await
    }

    async fn read(&self, key: &Key) -> Option<(Version, Bytes)> {
        let mut get = redis::cmd("GET");
        get.arg(format!("{}/{}", base(key.partition()), key.id()));
        let read: Option<Vec<u8>> = get
            .query_async(&mut self.connection.clone())
            .await
            .expect("a GET");
        read.map(split)
    }

    async fn read_all<'a>(&self, partition: &str, ids: impl IntoIterator<Item = &'a str>) -> usize {
        let base = base(partition);
        let mut get = redis::cmd("MGET");
        for id in ids {
            get.arg(format!("{base}/{id}"));
        }
        let read: Vec<Option<Vec<u8>>> = get
            .query_async(&mut self.connection.clone())
            .await
            .expect("an MGET");
        read.into_iter().flatten().map(split).count()
    }
}

/// What all keys of a partition begin with.
fn base(partition: &str) -> String {
    format!("ss:{{{partition}}}")
}

/// The version and the value of what is kept: behind the head are the version and those that it replaced.
fn split(kept: Vec<u8>) -> (Version, Bytes) {
    let replaced = usize::from(kept[COUNT] - b'0');
    let version = *kept[VERSION..].first_chunk().expect("a version");
    let head = VERSION + (1 + replaced) * Stamp::LEN;
    (version, Bytes::from(kept).slice(head..))
}

impl Contestant for SameScript {
    type Key = Key;
    type Version = Version;

    fn name(&self) -> &str {
        "redis, the store's script"
    }

    fn does(&self, operation: Operation) -> Does {
        Does::Same(match operation {
            Operation::Put | Operation::Create | Operation::CompareAndSet => {
                "EVALSHA of the store's own script"
            }
            Operation::Get => "GET of what that script has kept",
            Operation::GetMany => "MGET of what that script has kept",
            Operation::Page => "EVALSHA of the store's own script that lists, then MGET",
            Operation::Update => {
                "GET, then EVALSHA of the store's own script, again with what it answers, with back-off"
            }
            Operation::Transact => "EVALSHA of the store's own script with 10 puts",
        })
    }

    fn key(&self, partition: &str, id: &str) -> Key {
        Key::new(twin(partition), id).expect("not empty")
    }

    async fn get(&self, key: &Key) -> Option<Bytes> {
        self.read(key).await.map(|(_, value)| value)
    }

    async fn put(&self, key: &Key, value: Bytes) {
        let put = self.write_one(key, "n", b"", &value).await;
        put.expect("no condition");
    }

    async fn delete(&self, key: &Key) {
        let base = base(key.partition());
        let mut pipe = redis::pipe();
        pipe.del(format!("{base}/{}", key.id()))
            .zrem(format!("{base}#ids"), key.id());
        pipe.exec_async(&mut self.connection.clone())
            .await
            .expect("a DEL");
    }

    async fn create(&self, key: &Key, value: Bytes) -> Version {
        let create = self.write_one(key, "a", b"", &value).await;
        create.expect("nothing was there")
    }

    async fn compare_and_set(&self, key: &Key, expected: Version, value: Bytes) -> Version {
        let set = self.write_one(key, "m", &expected, &value).await;
        set.expect("nobody else writes it")
    }

    async fn update(&self, key: &Key) {
        let (mut version, mut value) = self.read(key).await.expect("it is there");
        for attempt in 1.. {
            let began = Instant::now();
            match self.write_one(key, "m", &version, &next(&value)).await {
                Ok(_) => return,
                Err(_) if back_off(attempt, began).await => {
                    (version, value) = self.read(key).await.expect("it is there");
                }
                Err(refused) => {
                    // `refused`, the operation's number, and what is there.
                    let Some(Value::BulkString(there)) = refused.into_iter().nth(2) else {
                        panic!("a refusal shows what is there");
                    };
                    (version, value) = split(there);
                }
            }
        }
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let partition = twin(partition);
        let base = base(&partition);
        let mut call = self.list.key(format!("{base}#ids"));
        call.key(format!("{base}#ttl")).arg("-").arg("+").arg(limit);
        let answer = redis::from_redis_value(self.call(call).await);
        let (_, ids): (Option<String>, Vec<String>) = answer.expect("ids");
        self.read_all(&partition, ids.iter().map(String::as_str)).await
    }

    async fn get_many(&self, keys: &[Key]) -> usize {
        self.read_all(keys[0].partition(), keys.iter().map(Key::id)).await
    }

    async fn transact(&self, keys: &[Key], value: Bytes) {
        let write = self.write(keys, "n", b"", &value).await;
        write.expect("no condition");
    }
}
