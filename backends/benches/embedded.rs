//! What a durable write costs when many share one sync, and what a read costs, beside redb used directly.
//!
//! `put` is the time for each of many puts of 1 KB that are on the disk when they return: by 64 tasks at once through
//! [`EmbeddedStore`], by one task alone, and by one commit a put in redb. `get` is one read of 1 KB, and `page` 100 of
//! 10,000 entries at the start, in the middle and at the end of a partition.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redb::{Database, ReadableDatabase, TableDefinition};
use statestore::{Bytes, EmbeddedStore, Key, ListOptions, StateStore};
use tokio::runtime::Runtime;

const TABLE: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("raw");
const TASKS: usize = 64;
const KEYS: u64 = 10_000;

fn value() -> Bytes {
    vec![0xa5; 1024].into()
}

fn key(n: u64) -> Key {
    Key::new("bench", format!("{:08}", n % KEYS)).unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
}

/// A database with `KEYS` entries.
fn raw(path: &Path) -> Database {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(TABLE).unwrap();
    for n in 0..KEYS {
        let key = key(n);
        let place = (key.partition().as_bytes(), key.id().as_bytes());
        table.insert(place, &value()[..]).unwrap();
    }
    drop(table);
    transaction.commit().unwrap();
    database
}

/// A store with `KEYS` entries.
async fn store(path: &Path) -> EmbeddedStore {
    let store = EmbeddedStore::open(path).await.unwrap();
    put(&store, KEYS, TASKS).await;
    store
}

/// Puts `count` values by this many tasks at once.
async fn put(store: &EmbeddedStore, count: u64, tasks: usize) -> Duration {
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let (store, next) = (store.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    store.put(&key(n), value(), Default::default()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    start.elapsed()
}

fn puts(criterion: &mut Criterion) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = runtime();
    let mut group = criterion.benchmark_group("put");
    group
        .throughput(Throughput::Elements(1))
        .sample_size(20)
        .measurement_time(Duration::from_secs(8));

    let database = raw(&directory.path().join("raw.redb"));
    let mut n = 0;
    group.bench_function("redb, a commit each", |bencher| {
        bencher.iter(|| {
            n += 1;
            let key = key(n);
            let transaction = database.begin_write().unwrap();
            let mut table = transaction.open_table(TABLE).unwrap();
            let place = (key.partition().as_bytes(), key.id().as_bytes());
            table.insert(place, &value()[..]).unwrap();
            drop(table);
            transaction.commit().unwrap();
        });
    });

    let store = runtime.block_on(store(&directory.path().join("store.redb")));
    for (name, tasks) in [("store, 64 tasks", TASKS), ("store, 1 task", 1)] {
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_custom(|count| {
                let store = store.clone();
                async move { put(&store, count, tasks).await }
            });
        });
    }
    group.finish();
    runtime.block_on(store.close()).unwrap();
}

fn gets(criterion: &mut Criterion) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = runtime();
    let mut group = criterion.benchmark_group("get");
    group.throughput(Throughput::Elements(1)).sample_size(50);

    let database = raw(&directory.path().join("raw.redb"));
    let mut n = 0;
    group.bench_function("redb", |bencher| {
        bencher.iter(|| {
            n += 7;
            let key = key(n);
            let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
            let place = (key.partition().as_bytes(), key.id().as_bytes());
            let value = table.get(place).unwrap().unwrap();
            black_box(Bytes::copy_from_slice(value.value()));
        });
    });
    group.bench_function("redb, on a blocking thread", |bencher| {
        let database = Arc::new(raw(&directory.path().join("blocking.redb")));
        bencher.to_async(&runtime).iter(|| {
            n += 7;
            let (key, database) = (key(n), Arc::clone(&database));
            tokio::task::spawn_blocking(move || {
                let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
                let place = (key.partition().as_bytes(), key.id().as_bytes());
                let value = table.get(place).unwrap().unwrap();
                Bytes::copy_from_slice(value.value())
            })
        });
    });

    let store = runtime.block_on(store(&directory.path().join("store.redb")));
    let next = AtomicU64::new(0);
    group.bench_function("store", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let key = key(next.fetch_add(7, Ordering::Relaxed));
            let store = &store;
            async move { black_box(store.get(&key, Default::default()).await.unwrap().unwrap()) }
        });
    });
    let keys: Vec<Key> = (0..100).map(|n| key(n * 97)).collect();
    group.throughput(Throughput::Elements(100));
    group.bench_function("store, 100 at once", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| store.get_many(&keys, Default::default()));
    });
    group.finish();
    runtime.block_on(store.close()).unwrap();
}

/// A page of 100 of 10,000 keys costs the same wherever it is.
fn pages(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = runtime();
    let store = runtime.block_on(store(&folder.path().join("pages.redb")));
    let mut group = criterion.benchmark_group("page of 100 of 10,000");
    for (place, after) in [("start", 0), ("middle", 5_000), ("end", KEYS - 101)] {
        group.bench_function(place, |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let options = ListOptions::default().with_start_after(key(after).id());
                let page = store.list_page("bench", options).await.unwrap();
                assert_eq!(page.items.len(), 100);
            });
        });
    }
    group.finish();
    runtime.block_on(store.close()).unwrap();
}

criterion_group!(benches, puts, gets, pages);
criterion_main!(benches);
