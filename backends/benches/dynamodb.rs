//! The DynamoDB store beside the SDK alone, on one DynamoDB Local: reads and compare-and-sets of 1 KB, from 1 and from 32 tasks.
//!
//! The SDK does what a careful program does by hand: a consistent GetItem, and a PutItem under the condition that
//! the version is the one that was read. Both write to the server in turns, so that it treats them alike, and
//! the last lines are the ratios of their medians: 1 is as fast as the SDK, 2 twice as fast.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark")]

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use statestore::dynamodb::DynamoDbConfig;
use statestore::{DynamoDbStore, Key, StateStore, StateStoreExt, Version};
use statestore_conformance::servers::dynamodb::DynamoDbServer;
use tokio::runtime::Runtime;

const TABLE: &str = "statestore-bench";
const CONCURRENCIES: [usize; 2] = [1, 32];

/// How often the two take turns for a ratio, and how many operations a turn has, per task.
const TURNS: usize = 40;
const OPERATIONS: [u64; 2] = [100, 8];

fn value() -> String {
    "x".repeat(1024)
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

/// One of the two, doing one of the operations.
#[derive(Clone)]
enum Side {
    Ours(DynamoDbStore),
    Sdk(Client),
}

impl Side {
    fn name(&self) -> &'static str {
        match self {
            Self::Ours(_) => "statestore",
            Self::Sdk(_) => "aws-sdk-dynamodb",
        }
    }

    async fn get(self, task: usize) {
        match self {
            Self::Ours(store) => {
                let entry = store.get(&key(task), Default::default()).await.unwrap().unwrap();
                assert_eq!(entry.value.len(), 1024);
            }
            Self::Sdk(client) => {
                let got = client
                    .get_item()
                    .table_name(TABLE)
                    .set_key(Some(raw_key(task)))
                    .consistent_read(true)
                    .send()
                    .await
                    .unwrap();
                assert_eq!(got.item.unwrap()["v"].as_s().unwrap().len(), 1024);
            }
        }
    }

    /// What a task's key holds, as a read shows it.
    async fn read(&self, task: usize) -> Seen {
        match self {
            Self::Ours(store) => {
                let key = key(task);
                store.put(&key, value().into(), Default::default()).await.unwrap();
                Seen::Ours(
                    store
                        .get(&key, Default::default())
                        .await
                        .unwrap()
                        .unwrap()
                        .version,
                )
            }
            Self::Sdk(client) => {
                put(client, task, 0, None).await;
                Seen::Sdk(0)
            }
        }
    }

    /// As many compare-and-sets, each on the version that the one before made.
    async fn set(self, task: usize, times: u64, seen: Seen) {
        match (self, seen) {
            (Self::Ours(store), Seen::Ours(mut version)) => {
                let key = key(task);
                for _ in 0..times {
                    version = store
                        .compare_and_set(&key, Some(&version), value())
                        .await
                        .unwrap();
                }
            }
            (Self::Sdk(client), Seen::Sdk(seen)) => {
                for version in seen..seen + times {
                    put(&client, task, version + 1, Some(version)).await;
                }
            }
            _ => unreachable!("each side reads what it wrote"),
        }
    }

    async fn run(self, operation: Operation, tasks: usize, times: u64) -> Duration {
        match operation {
            Operation::Get => side_by_side(tasks, times, |task, _| self.clone().get(task)).await,
            Operation::CompareAndSet => {
                let mut seen = Vec::new();
                for task in 0..tasks {
                    seen.push(self.read(task).await);
                }
                side_by_side(tasks, 1, |task, _| {
                    self.clone().set(task, times, seen[task].clone())
                })
                .await
            }
        }
    }
}

/// The version that a read showed.
#[derive(Clone)]
enum Seen {
    Ours(Version),
    Sdk(u64),
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
    Key::new("ours", format!("key-{task:04}")).unwrap()
}

fn raw_key(task: usize) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S("theirs".to_owned())),
        ("sk".to_owned(), AttributeValue::S(format!("key-{task:04}"))),
    ])
}

async fn put(client: &Client, task: usize, version: u64, expected: Option<u64>) {
    let mut item = raw_key(task);
    item.insert("v".to_owned(), AttributeValue::S(value()));
    item.insert("ver".to_owned(), AttributeValue::N(version.to_string()));
    let mut request = client.put_item().table_name(TABLE).set_item(Some(item));
    if let Some(expected) = expected {
        request = request
            .condition_expression("ver = :expected")
            .expression_attribute_values(":expected", AttributeValue::N(expected.to_string()));
    }
    request.send().await.unwrap();
}

async fn sides(server: &DynamoDbServer) -> [Side; 2] {
    let config = DynamoDbConfig::new(TABLE)
        .with_endpoint(server.endpoint())
        .with_made_up_credentials()
        .with_timeout(Duration::from_secs(60));
    let store = DynamoDbStore::new(config).unwrap();
    store.create_table().await.unwrap();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("made", "up", None, None, "bench"))
        .endpoint_url(server.endpoint())
        .build();
    let sides = [Side::Ours(store), Side::Sdk(Client::from_conf(config))];
    for tasks in [CONCURRENCIES[1]; 4] {
        // The server compiles its code while it runs.
        for side in &sides {
            side.clone().run(Operation::CompareAndSet, tasks, 50).await;
            side.clone().run(Operation::Get, tasks, 50).await;
        }
    }
    sides
}

fn beside_the_sdk(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(DynamoDbServer::start()).unwrap();
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
            let [ours, sdk] = runtime.block_on(async {
                let mut took = [Vec::new(), Vec::new()];
                for turn in 0..2 * TURNS {
                    // The order changes too: ours, SDK, SDK, ours.
                    let side = [0, 1, 1, 0][turn % 4];
                    took[side].push(sides[side].clone().run(operation, tasks, times).await);
                }
                took.map(|mut took| {
                    took.sort_unstable();
                    took[took.len() / 2] / u32::try_from(times).unwrap()
                })
            });
            let ratio = sdk.as_secs_f64() / ours.as_secs_f64();
            eprintln!("{name}, {tasks} tasks: {ours:?} a round, the SDK {sdk:?}, ratio {ratio:.2}");
        }
    }
}

criterion_group!(benches, beside_the_sdk);
criterion_main!(benches);
