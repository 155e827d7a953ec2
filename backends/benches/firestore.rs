//! The Firestore store beside the crate that it is built on, on one hidane: reads and compare-and-sets of 1 KB, from 1 and from 32
//! tasks.
//!
//! The crate does what a careful program does by hand: a read by id, and an update on the condition that the document
//! still has the update time that was read, which answers with the new one alone, both with a time-out. They share a client, and
//! write to the server in turns, so that it treats them alike; the turns are short, so that so does a busy machine. The last lines
//! are the ratios of their medians: 1 is as fast as the crate, 2 twice as fast.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark")]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use firestore::gcloud_sdk::google_cloud_auth::credentials::anonymous;
use firestore::{FirestoreDb, FirestoreDbOptions, FirestoreTimestamp, FirestoreWritePrecondition};
use serde::{Deserialize, Serialize};
use statestore::{FirestoreStore, Key, StateStore, StateStoreExt};
use statestore_conformance::servers::firestore::FirestoreServer;
use tokio::runtime::Runtime;

const PROJECT: &str = "statestore-bench";
const COLLECTION: &str = "raw";
const CONCURRENCIES: [usize; 2] = [1, 32];

/// How often the two take turns for a ratio, and how many operations a turn has, per task.
const TURNS: usize = 600;
const OPERATIONS: [u64; 2] = [20, 4];

fn value() -> String {
    "x".repeat(1024)
}

/// What the crate stores.
#[derive(Serialize, Deserialize)]
struct Raw {
    v: String,
    n: u64,
}

/// What is read for the next condition.
#[derive(Deserialize)]
struct Updated {
    v: Option<String>,
    #[serde(alias = "_firestore_updated")]
    updated: Option<FirestoreTimestamp>,
}

/// One of the two, doing one of the operations.
#[derive(Clone)]
enum Side {
    Ours(FirestoreStore),
    Crate(FirestoreDb),
}

#[derive(Clone, Copy)]
enum Operation {
    Get,
    CompareAndSet,
}

impl Operation {
    const ALL: [(Self, &'static str); 2] = [
        (Self::Get, "get of 1 KB"),
        (Self::CompareAndSet, "compare-and-set of 1 KB"),
    ];
}

impl Side {
    fn name(&self) -> &'static str {
        match self {
            Self::Ours(_) => "statestore",
            Self::Crate(_) => "firestore",
        }
    }

    async fn get(&self, task: usize, times: u64) {
        for _ in 0..times {
            let size = match self {
                Self::Ours(store) => {
                    let entry = store.get(&key(task), Default::default()).await.unwrap().unwrap();
                    entry.value.len()
                }
                Self::Crate(db) => {
                    let read: Option<Updated> = db
                        .fluent()
                        .select()
                        .by_id_in(COLLECTION)
                        .obj()
                        .one(id(task))
                        .await
                        .unwrap();
                    let read = read.unwrap();
                    assert!(read.updated.is_some());
                    read.v.unwrap().len()
                }
            };
            assert_eq!(size, 1024);
        }
    }

    /// As many compare-and-sets, each on the version that the one before made.
    async fn set(&self, task: usize, times: u64) {
        match self {
            Self::Ours(store) => {
                let key = key(task);
                let mut version = store.put(&key, value().into(), Default::default()).await.unwrap();
                for _ in 0..times {
                    version = store
                        .compare_and_set(&key, Some(&version), value())
                        .await
                        .unwrap();
                }
            }
            Self::Crate(db) => {
                let mut updated = put(db, task, 0, None).await;
                for n in 0..times {
                    updated = put(db, task, n + 1, Some(updated)).await;
                }
            }
        }
    }

    async fn run(&self, operation: Operation, tasks: usize, times: u64) -> Duration {
        let start = Instant::now();
        let tasks: Vec<_> = (0..tasks)
            .map(|task| {
                let side = self.clone();
                tokio::spawn(async move {
                    match operation {
                        Operation::Get => side.get(task, times).await,
                        Operation::CompareAndSet => side.set(task, times).await,
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        start.elapsed()
    }
}

fn id(task: usize) -> String {
    format!("key-{task:04}")
}

fn key(task: usize) -> Key {
    Key::new("ours", id(task)).unwrap()
}

async fn put(
    db: &FirestoreDb,
    task: usize,
    n: u64,
    expected: Option<FirestoreTimestamp>,
) -> FirestoreTimestamp {
    let update = db.fluent().update().in_col(COLLECTION).return_only_fields(["n"]);
    let update = match expected {
        Some(expected) => update.precondition(FirestoreWritePrecondition::UpdateTime(expected.0)),
        None => update,
    };
    let raw = Raw { v: value(), n };
    let answer: Updated = update.document_id(id(task)).object(&raw).execute().await.unwrap();
    answer.updated.unwrap()
}

async fn sides(server: &FirestoreServer) -> [Side; 2] {
    let mut options = FirestoreDbOptions::new(PROJECT.to_owned());
    options.firebase_api_url = Some(format!("http://{}", server.addr()));
    options.request_timeout = Some(Duration::from_secs(10));
    let auth = anonymous::Builder::new().build();
    let db = FirestoreDb::with_options_auth(options, auth).await.unwrap();
    let sides = [
        Side::Ours(FirestoreStore::from_client(&db, "ours").unwrap()),
        Side::Crate(db),
    ];
    for side in &sides {
        side.run(Operation::CompareAndSet, CONCURRENCIES[1], 50).await;
        side.run(Operation::Get, CONCURRENCIES[1], 50).await;
    }
    sides
}

fn beside_the_crate(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(FirestoreServer::start()).unwrap();
    let sides = runtime.block_on(sides(&server));
    for (operation, name) in Operation::ALL {
        let mut group = c.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Elements(1));
        for tasks in CONCURRENCIES {
            for side in &sides {
                group.bench_function(BenchmarkId::new(side.name(), format!("{tasks} tasks")), |b| {
                    b.to_async(&runtime).iter_custom(|times| {
                        let each = times.div_ceil(tasks as u64);
                        let side = side.clone();
                        async move {
                            let took = side.run(operation, tasks, each).await.as_secs_f64();
                            Duration::from_secs_f64(took * times as f64 / (each * tasks as u64) as f64)
                        }
                    });
                });
            }
        }
        group.finish();
    }
    for (operation, name) in Operation::ALL {
        for (tasks, times) in CONCURRENCIES.into_iter().zip(OPERATIONS) {
            let [ours, theirs] = runtime.block_on(async {
                let mut took = [Vec::new(), Vec::new()];
                for turn in 0..2 * TURNS {
                    // The order changes too: ours, theirs, theirs, ours.
                    let side = [0, 1, 1, 0][turn % 4];
                    took[side].push(sides[side].run(operation, tasks, times).await);
                }
                took.map(|mut took| {
                    took.sort_unstable();
                    took[took.len() / 2] / u32::try_from(times).unwrap()
                })
            });
            let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
            eprintln!("{name}, {tasks} tasks: {ours:?} a round, the crate {theirs:?}, ratio {ratio:.2}");
        }
    }
}

criterion_group!(benches, beside_the_crate);
criterion_main!(benches);
