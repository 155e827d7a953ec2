//! The Azure Table store beside the crate `azure_data_tables`, on one Azurite: reads and compare-and-sets of 1 KB, from 1 and from 32 tasks.
//!
//! That crate is there twice: as it comes, which opens a connection for each request, and with a client that pools. Both do what a careful
//! program does by hand: get the entity, and update it under its ETag. All write to the server in turns, so that it treats them alike, and the
//! last lines are the ratios of their medians: 1 is as fast as the other, 2 twice as fast.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark")]

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use azure_core_0_21::{Etag, RetryOptions, TransportOptions};
use azure_data_tables::IfMatchCondition;
use azure_data_tables::clients::{EntityClient, TableClient, TableServiceClientBuilder};
use azure_storage::{CloudLocation, StorageCredentials};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use statestore::azure_table::AzureTableConfig;
use statestore::{AzureTableStore, Key, StateStore, StateStoreExt};
use statestore_conformance::servers::azurite::AzuriteServer;
use tokio::runtime::Runtime;

const TABLE: &str = "bench";
const CONCURRENCIES: [usize; 2] = [1, 32];

/// How often the three take turns for a ratio, and how many operations a turn has, per task.
const TURNS: usize = 40;
const OPERATIONS: [u64; 2] = [100, 8];

fn value() -> String {
    "x".repeat(1024)
}

#[derive(Clone, Deserialize, Serialize)]
struct Entity {
    #[serde(rename = "PartitionKey")]
    partition: String,
    #[serde(rename = "RowKey")]
    row: String,
    v: String,
}

/// Runs `operation` this often in each of `tasks` tasks.
async fn side_by_side<F>(tasks: usize, times: u64, operation: impl Fn(usize, u64) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let start = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let operations: Vec<F> = (0..times).map(|time| operation(task, time)).collect();
            tokio::spawn(async move {
                for operation in operations {
                    operation.await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    start.elapsed()
}

/// One of the three, doing one of the operations.
#[derive(Clone)]
enum Side {
    Ours(AzureTableStore),
    /// Its name, and the partition that it writes to.
    Theirs(&'static str, TableClient),
}

impl Side {
    fn name(&self) -> &'static str {
        match self {
            Self::Ours(_) => "statestore",
            Self::Theirs(name, _) => name,
        }
    }

    async fn get(self, task: usize) {
        match self {
            Self::Ours(store) => {
                let entry = store.get(&key(task), Default::default()).await.unwrap().unwrap();
                assert_eq!(entry.value.len(), 1024);
            }
            Self::Theirs(name, client) => {
                let got = entity_client(&client, name, task).get::<Entity>().await.unwrap();
                assert_eq!(got.entity.v.len(), 1024);
            }
        }
    }

    /// As many compare-and-sets, each on the version that the one before made.
    async fn set(self, task: usize, times: u64) {
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
            Self::Theirs(name, client) => {
                let entity = |v| Entity {
                    partition: name.to_owned(),
                    row: row(task),
                    v,
                };
                let client = entity_client(&client, name, task);
                let first = client.insert_or_replace(entity(value())).unwrap().await.unwrap();
                let mut etag: Etag = first.etag;
                for _ in 0..times {
                    let update = client.update(entity(value()), IfMatchCondition::Etag(etag));
                    etag = update.unwrap().await.unwrap().etag;
                }
            }
        }
    }

    async fn run(self, operation: Operation, tasks: usize, times: u64) -> Duration {
        match operation {
            Operation::Get => side_by_side(tasks, times, |task, _| self.clone().get(task)).await,
            Operation::CompareAndSet => side_by_side(tasks, 1, |task, _| self.clone().set(task, times)).await,
        }
    }
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

fn key(task: usize) -> Key {
    Key::new("ours", row(task)).unwrap()
}

fn row(task: usize) -> String {
    format!("key-{task:04}")
}

fn entity_client(client: &TableClient, partition: &str, task: usize) -> EntityClient {
    client.partition_key_client(partition).entity_client(row(task))
}

async fn sides(server: &AzuriteServer) -> [Side; 3] {
    let config = AzureTableConfig::emulator(TABLE)
        .with_endpoint(server.endpoint())
        .with_timeout(Duration::from_secs(60));
    let store = AzureTableStore::new(config).unwrap();
    store.create_table().await.unwrap();
    let location = CloudLocation::Emulator {
        address: server.addr().ip().to_string(),
        port: server.addr().port(),
    };
    let builder = || {
        TableServiceClientBuilder::with_location(location.clone(), StorageCredentials::emulator())
            .retry(RetryOptions::none())
    };
    let pooled = reqwest_0_12::Client::builder().tcp_nodelay(true).build().unwrap();
    let pooled = builder()
        .transport(TransportOptions::new(Arc::new(pooled)))
        .build();
    let sides = [
        Side::Ours(store),
        Side::Theirs("azure_data_tables, pooled", pooled.table_client(TABLE)),
        Side::Theirs("azure_data_tables", builder().build().table_client(TABLE)),
    ];
    for tasks in [CONCURRENCIES[1]; 4] {
        // The server compiles its code while it runs.
        for side in &sides {
            side.clone().run(Operation::CompareAndSet, tasks, 20).await;
            side.clone().run(Operation::Get, tasks, 20).await;
        }
    }
    sides
}

fn beside_azure_data_tables(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(AzuriteServer::start()).unwrap();
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
            let [ours, pooled, as_it_comes] = runtime.block_on(async {
                let mut took = [Vec::new(), Vec::new(), Vec::new()];
                for turn in 0..3 * TURNS {
                    // The order changes too: there and back.
                    let side = [0, 1, 2, 2, 1, 0][turn % 6];
                    took[side].push(sides[side].clone().run(operation, tasks, times).await);
                }
                took.map(|mut took| {
                    took.sort_unstable();
                    took[took.len() / 2] / u32::try_from(times).unwrap()
                })
            });
            let ratio = |other: Duration| other.as_secs_f64() / ours.as_secs_f64();
            eprintln!(
                "{name}, {tasks} tasks: {ours:?} a round; azure_data_tables pooled {pooled:?}, ratio {:.2}; as it comes \
                 {as_it_comes:?}, ratio {:.2}",
                ratio(pooled),
                ratio(as_it_comes)
            );
        }
    }
}

criterion_group!(benches, beside_azure_data_tables);
criterion_main!(benches);
