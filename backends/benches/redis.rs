//! What the store adds to the client it is built on: each operation beside the same one sent raw, on one server, with values of
//! 1 KB, by one task alone and by 64 at once.
//!
//! `get` is beside a GET on the client's connection manager; `compare_and_set` beside the same script, invoked raw;
//! `get_many` of 100 keys beside a pipeline of 100 GETs. At the end both are measured in turns, and the ratio of their throughputs is
//! printed: more than 1 is faster than raw.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use futures::future::join_all;
use redis::aio::ConnectionManager;
use redis::{Client, Script};
use statestore::backend::Stamp;
use statestore::{Key, Precondition, RedisStore, StateStore, Version, WriteId};
use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
use tokio::runtime::Runtime;

const TASKS: [usize; 2] = [1, 64];
const BATCH: usize = 100;
const ROUNDS: usize = 21;

#[derive(Clone, Copy)]
enum Operation {
    Get,
    CompareAndSet,
    GetMany,
}

const OPERATIONS: [(Operation, &str, u64); 3] = [
    (Operation::Get, "get", 2000),
    (Operation::CompareAndSet, "compare_and_set", 2000),
    (Operation::GetMany, "get_many_100", 100),
];

struct Bench {
    store: RedisStore,
    raw: ConnectionManager,
    script: Arc<Script>,
    _server: RedisServer,
}

fn key(task: usize, n: usize) -> Key {
    Key::new(format!("bench-{task}"), n.to_string()).unwrap()
}

fn data(key: &Key) -> String {
    format!("ss:{{{}}}/{}", key.partition(), key.id())
}

fn value() -> Vec<u8> {
    vec![0xa5; 1024]
}

impl Bench {
    async fn start() -> Self {
        let server = RedisServer::start(RedisOptions::default()).await.unwrap();
        let store = RedisStore::open(&server.url()).unwrap();
        let puts = (0..64).flat_map(|task| (0..BATCH).map(move |n| key(task, n)));
        for key in puts {
            store.put(&key, value().into(), Default::default()).await.unwrap();
        }
        let client = Client::open(server.url()).unwrap();
        Self {
            store,
            raw: ConnectionManager::new(client).await.unwrap(),
            script: Arc::new(Script::new(include_str!("../src/redis/mutate.lua"))),
            _server: server,
        }
    }

    /// The time that `count` operations take, shared out among the tasks.
    async fn ours(&self, operation: Operation, tasks: usize, count: u64) -> Duration {
        let each = count.div_ceil(tasks as u64);
        let run = |task| {
            let store = self.store.clone();
            tokio::spawn(async move {
                let key = key(task, 0);
                match operation {
                    Operation::Get => {
                        for _ in 0..each {
                            black_box(store.get(&key, Default::default()).await.unwrap().unwrap());
                        }
                    }
                    Operation::CompareAndSet => {
                        let mut version: Version = store
                            .get(&key, Default::default())
                            .await
                            .unwrap()
                            .unwrap()
                            .version;
                        for _ in 0..each {
                            let expected = Precondition::Matches(version).into();
                            version = store.put(&key, value().into(), expected).await.unwrap();
                        }
                    }
                    Operation::GetMany => {
                        let keys: Vec<_> = (0..BATCH).map(|n| self::key(task, n)).collect();
                        for _ in 0..each {
                            let entries = store.get_many(&keys, Default::default()).await;
                            assert!(entries.iter().all(Result::is_ok));
                            black_box(entries);
                        }
                    }
                }
            })
        };
        let begin = Instant::now();
        for task in join_all((0..tasks).map(run)).await {
            task.unwrap();
        }
        begin.elapsed()
    }

    async fn raw(&self, operation: Operation, tasks: usize, count: u64) -> Duration {
        let each = count.div_ceil(tasks as u64);
        let run = |task| {
            let (mut raw, store, script) = (self.raw.clone(), self.store.clone(), self.script.clone());
            tokio::spawn(async move {
                let key = key(task, 0);
                match operation {
                    Operation::Get => {
                        let name = data(&key);
                        for _ in 0..each {
                            let got: Vec<u8> =
                                redis::cmd("GET").arg(&name).query_async(&mut raw).await.unwrap();
                            black_box(got);
                        }
                    }
                    Operation::CompareAndSet => {
                        let entry = store.get(&key, Default::default()).await.unwrap().unwrap();
                        let mut version = entry.version.stamp().unwrap().to_bytes();
                        let base = data(&key);
                        let base = base.strip_suffix("/0").unwrap();
                        for _ in 0..each {
                            let next = Stamp::new(WriteId::new(), Stamp::new_nonce(), &key).to_bytes();
                            let mut call = script.key(format!("{base}#ids"));
                            call.key(format!("{base}#ttl")).key(data(&key));
                            call.arg("i").arg("p").arg("m").arg(&version[..]).arg(&next[..]);
                            call.arg("n").arg(0).arg(value());
                            let applied: i64 = call.invoke_async(&mut raw).await.unwrap();
                            assert_eq!(applied, 1);
                            version = next;
                        }
                    }
                    Operation::GetMany => {
                        let names: Vec<_> = (0..BATCH).map(|n| data(&self::key(task, n))).collect();
                        for _ in 0..each {
                            let mut pipeline = redis::pipe();
                            for name in &names {
                                pipeline.cmd("GET").arg(name);
                            }
                            let got: Vec<Vec<u8>> = pipeline.query_async(&mut raw).await.unwrap();
                            black_box(got);
                        }
                    }
                }
            })
        };
        let begin = Instant::now();
        for task in join_all((0..tasks).map(run)).await {
            task.unwrap();
        }
        begin.elapsed()
    }
}

fn measure(criterion: &mut Criterion, runtime: &Runtime, bench: &Bench) {
    for (operation, name, _) in OPERATIONS {
        let mut group = criterion.benchmark_group(format!("redis/{name}"));
        group.throughput(Throughput::Elements(1));
        for tasks in TASKS {
            group.bench_function(format!("store/{tasks}"), |bencher| {
                bencher.iter_custom(|count| runtime.block_on(bench.ours(operation, tasks, count)));
            });
            group.bench_function(format!("raw/{tasks}"), |bencher| {
                bencher.iter_custom(|count| runtime.block_on(bench.raw(operation, tasks, count)));
            });
        }
    }
}

/// Both in turns, so that what else the machine does is shared by both.
fn ratios(runtime: &Runtime, bench: &Bench) {
    for (operation, name, count) in OPERATIONS {
        for tasks in TASKS {
            let count = if tasks == 1 { count } else { count * 8 };
            let mut rounds: Vec<(f64, Duration, Duration)> = (0..ROUNDS)
                .map(|round| {
                    let (ours, raw) = runtime.block_on(async {
                        if round % 2 == 0 {
                            let ours = bench.ours(operation, tasks, count).await;
                            (ours, bench.raw(operation, tasks, count).await)
                        } else {
                            let raw = bench.raw(operation, tasks, count).await;
                            (bench.ours(operation, tasks, count).await, raw)
                        }
                    });
                    (raw.as_secs_f64() / ours.as_secs_f64(), ours, raw)
                })
                .collect();
            rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (ratio, ours, raw) = rounds[ROUNDS / 2];
            let per = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
            println!(
                "{name:>16} x{tasks:<2}  store {:8.1} us  raw {:8.1} us  {ratio:.2}x",
                per(ours),
                per(raw)
            );
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let bench = runtime.block_on(Bench::start());
    let mut criterion = Criterion::default()
        .sample_size(10)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(300))
        .configure_from_args();
    if !std::env::args().any(|argument| argument == "--ratios") {
        measure(&mut criterion, &runtime, &bench);
    }
    if std::env::args().any(|argument| argument == "--bench" || argument == "--ratios") {
        ratios(&runtime, &bench);
    }
    criterion.final_summary();
}
