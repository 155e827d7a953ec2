//! The crate `redis` used directly, with a script of one's own.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo, Script, Value};

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
        let work = match operation {
            Operation::Get => "GET",
            Operation::Page => "ZRANGEBYLEX, then MGET",
            Operation::GetMany => "MGET",
            Operation::Transact => "a script of 10 SET and ZADD",
            Operation::Update => {
                "GET, then a script that compares, again with what it answers, with back-off"
            }
            _ => "a script that compares, SET and ZADD",
        };
        let leaves_out = match operation {
            Operation::Get | Operation::GetMany => {
                "the expiry and the replaced versions, which are read with the value"
            }
            Operation::Page => "the look at what has expired",
            _ => "expiry, the memory of replaced versions, and the look whether this write is one of them",
        };
        Does::Less(work, leaves_out)
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
            let began = Instant::now();
            match self
                .write(std::slice::from_ref(key), &version, &next(&value))
                .await
            {
                Ok(_) => return,
                Err(_) if back_off(attempt, began).await => {
                    (version, value) = self.read(key).await.expect("it is there");
                }
                Err(there) => (version, value) = there,
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

pub(super) async fn connect(url: &str) -> MultiplexedConnection {
    // As the store, and as most clients do by themselves: without it, what is sent waits for the answer to what was.
    let tcp = TcpSettings::default().set_nodelay(true);
    let info = url.into_connection_info().expect("a URL");
    let client = Client::open(info.set_tcp_settings(tcp)).expect("a URL");
    client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection")
}
