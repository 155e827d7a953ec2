//! The crate `redis` used directly: with a script of one's own, and with the very script of the store.

use std::sync::Arc;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Client, Script, Value};
use statestore::backend::Stamp;
use statestore::{Key, WriteId};

use super::back_off;
use crate::contest::{Contestant, Does, Operation, next};

/// What one writes who needs conditions and listing: a random version before the value, and a sorted set of the ids. It knows no
/// expiry and no repeated write.
///
/// KEYS: the index, then the data keys. ARGV: the expected version (empty: none may be there, `*`: any), then for each key its
/// id and what to store. Answers 1, or what is there instead.
const BY_HAND: &str = "
if ARGV[1] ~= '*' then
  local there = redis.call('GETRANGE', KEYS[2], 0, 7)
  if there ~= ARGV[1] then return redis.call('GET', KEYS[2]) end
end
for place = 2, #KEYS do
  redis.call('SET', KEYS[place], ARGV[place * 2 - 1])
  redis.call('ZADD', KEYS[1], 0, ARGV[place * 2 - 2])
end
return 1";

const ANY: &[u8] = b"*";
const ABSENT: &[u8] = b"";

#[derive(Clone)]
pub(crate) struct ByHand {
    connection: MultiplexedConnection,
    script: Arc<Script>,
}

/// The names of an entry: of its partition's index, its id, and its data.
#[derive(Clone)]
pub(crate) struct Names {
    index: String,
    id: String,
    data: String,
}

/// A random version, and the value behind it.
type Versioned = ([u8; 8], Bytes);

impl ByHand {
    pub(crate) async fn connect(url: &str) -> Self {
        Self {
            connection: connect(url).await,
            script: Arc::new(Script::new(BY_HAND)),
        }
    }

    /// Writes all under this condition; what is there is the error.
    async fn write(&self, keys: &[Names], expected: &[u8], value: &[u8]) -> Result<[u8; 8], Versioned> {
        let version = fastrand::u64(..).to_be_bytes();
        let mut call = self.script.key(&keys[0].index);
        call.arg(expected);
        for key in keys {
            call.key(&key.data).arg(&key.id).arg([&version, value].concat());
        }
        let answer = call.invoke_async(&mut self.connection.clone()).await;
        match answer.expect("the script answers") {
            Value::Int(1) => Ok(version),
            Value::BulkString(there) => Err(split(there)),
            other => panic!("the script answers {other:?}"),
        }
    }

    async fn read(&self, key: &Names) -> Option<Versioned> {
        let mut get = redis::cmd("GET");
        get.arg(&key.data);
        let read: Option<Vec<u8>> = get
            .query_async(&mut self.connection.clone())
            .await
            .expect("a GET");
        read.map(split)
    }

    async fn read_all(&self, names: impl IntoIterator<Item = String>) -> usize {
        let mut get = redis::cmd("MGET");
        for name in names {
            get.arg(name);
        }
        let read: Vec<Option<Vec<u8>>> = get
            .query_async(&mut self.connection.clone())
            .await
            .expect("an MGET");
        read.into_iter().flatten().map(split).count()
    }
}

fn split(stored: Vec<u8>) -> Versioned {
    let version = *stored.first_chunk().expect("a version");
    (version, Bytes::from(stored).slice(8..))
}

impl Contestant for ByHand {
    type Key = Names;
    type Version = [u8; 8];

    fn name(&self) -> &str {
        "redis, by hand"
    }

    fn does(&self, operation: Operation) -> Does {
        Does::Work(match operation {
            Operation::Get => "GET",
            Operation::Page => "ZRANGEBYLEX, then MGET",
            Operation::GetMany => "MGET",
            Operation::Transact => "a script of 10 SET and ZADD",
            Operation::Update => {
                "GET, then a script that compares, again with what it answers, with back-off"
            }
            _ => "a script that compares, SET and ZADD: no expiry, no memory of writes",
        })
    }

    fn key(&self, partition: &str, id: &str) -> Names {
        Names {
            index: format!("raw:{{{partition}}}#"),
            id: id.to_owned(),
            data: format!("raw:{{{partition}}}/{id}"),
        }
    }

    async fn get(&self, key: &Names) -> Option<Bytes> {
        self.read(key).await.map(|(_, value)| value)
    }

    async fn put(&self, key: &Names, value: Bytes) {
        self.write(std::slice::from_ref(key), ANY, &value)
            .await
            .expect("no condition");
    }

    async fn delete(&self, key: &Names) {
        let mut pipe = redis::pipe();
        pipe.del(&key.data).zrem(&key.index, &key.id);
        pipe.exec_async(&mut self.connection.clone())
            .await
            .expect("a DEL");
    }

    async fn create(&self, key: &Names, value: Bytes) -> [u8; 8] {
        let write = self.write(std::slice::from_ref(key), ABSENT, &value);
        write.await.expect("nothing was there")
    }

    async fn compare_and_set(&self, key: &Names, expected: [u8; 8], value: Bytes) -> [u8; 8] {
        let write = self.write(std::slice::from_ref(key), &expected, &value);
        write.await.expect("nobody else writes it")
    }

    async fn update(&self, key: &Names) {
        let (mut version, mut value) = self.read(key).await.expect("it is there");
        for attempt in 1.. {
            match self
                .write(std::slice::from_ref(key), &version, &next(&value))
                .await
            {
                Ok(_) => return,
                Err(there) if attempt == 1 => (version, value) = there,
                Err(_) => {
                    back_off(attempt).await;
                    (version, value) = self.read(key).await.expect("it is there");
                }
            }
        }
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let index = format!("raw:{{{partition}}}#");
        let mut range = redis::cmd("ZRANGEBYLEX");
        range.arg(index).arg("-").arg("+").arg("LIMIT").arg(0).arg(limit);
        let ids: Vec<String> = range
            .query_async(&mut self.connection.clone())
            .await
            .expect("a range");
        self.read_all(ids.into_iter().map(|id| format!("raw:{{{partition}}}/{id}")))
            .await
    }

    async fn get_many(&self, keys: &[Names]) -> usize {
        self.read_all(keys.iter().map(|key| key.data.clone())).await
    }

    async fn transact(&self, keys: &[Names], value: Bytes) {
        self.write(keys, ANY, &value).await.expect("no condition");
    }
}

/// The script of the store, invoked by the client alone: what is left is what the crate adds around it.
#[derive(Clone)]
pub(crate) struct SameScript {
    connection: MultiplexedConnection,
    script: Arc<Script>,
}

impl SameScript {
    pub(crate) async fn connect(url: &str) -> Self {
        Self {
            connection: connect(url).await,
            script: Arc::new(Script::new(include_str!(
                "../../../backends/src/redis/mutate.lua"
            ))),
        }
    }

    async fn write(&self, key: &Key, condition: &str, expected: &[u8], value: &[u8]) -> [u8; Stamp::LEN] {
        let stamp = Stamp::new(WriteId::new(), Stamp::new_nonce(), key).to_bytes();
        let base = format!("raw-script:{{{}}}", key.partition());
        let mut call = self.script.key(format!("{base}#ids"));
        call.key(format!("{base}#ttl"))
            .key(format!("{base}/{}", key.id()));
        call.arg("i")
            .arg("p")
            .arg(condition)
            .arg(expected)
            .arg(&stamp[..])
            .arg("n")
            .arg(0)
            .arg(value);
        let applied: i64 = call
            .invoke_async(&mut self.connection.clone())
            .await
            .expect("it is applied");
        assert_eq!(applied, 1);
        stamp
    }
}

impl Contestant for SameScript {
    type Key = Key;
    type Version = [u8; Stamp::LEN];

    fn name(&self) -> &str {
        "redis, the store's script"
    }

    fn does(&self, operation: Operation) -> Does {
        match operation {
            Operation::Put | Operation::Create | Operation::CompareAndSet => {
                Does::Work("EVALSHA of the store's own script")
            }
            Operation::Get | Operation::GetMany => Does::Cannot("no script: see `redis, by hand`"),
            Operation::Page => Does::Cannot("see `redis, by hand`"),
            Operation::Update | Operation::Transact => {
                Does::Cannot("see `redis, by hand`, and compare-and-set")
            }
        }
    }

    fn key(&self, partition: &str, id: &str) -> Key {
        Key::new(partition, id).expect("not empty")
    }

    async fn get(&self, _: &Key) -> Option<Bytes> {
        unreachable!("it says that it cannot")
    }

    async fn put(&self, key: &Key, value: Bytes) {
        self.write(key, "n", b"", &value).await;
    }

    async fn delete(&self, key: &Key) {
        let base = format!("raw-script:{{{}}}", key.partition());
        let mut pipe = redis::pipe();
        pipe.del(format!("{base}/{}", key.id()))
            .zrem(format!("{base}#ids"), key.id());
        pipe.exec_async(&mut self.connection.clone())
            .await
            .expect("a DEL");
    }

    async fn create(&self, key: &Key, value: Bytes) -> [u8; Stamp::LEN] {
        self.write(key, "a", b"", &value).await
    }

    async fn compare_and_set(&self, key: &Key, expected: [u8; Stamp::LEN], value: Bytes) -> [u8; Stamp::LEN] {
        self.write(key, "m", &expected, &value).await
    }
}

async fn connect(url: &str) -> MultiplexedConnection {
    let client = Client::open(url).expect("a URL");
    client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection")
}
