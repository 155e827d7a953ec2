//! `MemoryStore` beside a bare `DashMap` of the same bytes: what the contract costs when nothing else does.
//!
//! Run with `cargo bench -p statestore-api`. Read the ratios within one run, not the times.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dashmap::DashMap;
use statestore_api::{Bytes, Key, ListOptions, MemoryStore, StateStore, StateStoreExt};
use tokio::runtime::Runtime;

const KEYS: usize = 10_000;

/// As many keys, spread over partitions as users are.
fn keys() -> Vec<Key> {
    (0..KEYS)
        .map(|n| Key::new(format!("user-{}", n / 10), format!("item-{}", n % 10)).expect("not empty"))
        .collect()
}

fn value() -> Vec<u8> {
    vec![b'x'; 1024]
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

fn get(c: &mut Criterion) {
    let (keys, runtime) = (keys(), runtime());
    let mut group = c.benchmark_group("get of 1 KB");
    group.throughput(Throughput::Elements(1));

    let map: DashMap<Key, (u64, Bytes)> = keys
        .iter()
        .map(|key| (key.clone(), (0, value().into())))
        .collect();
    let mut next = keys.iter().cycle();
    group.bench_function("DashMap", |b| {
        b.iter(|| {
            let key = next.next().expect("endless");
            black_box(map.get(key).map(|entry| entry.value().clone()))
        });
    });

    let store = MemoryStore::new();
    runtime.block_on(async {
        for key in &keys {
            store.create(key, value()).await.expect("a create");
        }
    });
    let mut next = keys.iter().cycle();
    group.bench_function("MemoryStore", |b| {
        b.to_async(&runtime).iter(|| {
            let key = next.next().expect("endless");
            let store = &store;
            async move { black_box(store.get(key, Default::default()).await) }
        });
    });
    group.finish();
}

fn compare_and_set(c: &mut Criterion) {
    let (keys, runtime) = (keys(), runtime());
    let mut group = c.benchmark_group("compare-and-set of 1 KB");
    group.throughput(Throughput::Elements(1));

    let map: DashMap<Key, (u64, Bytes)> = keys
        .iter()
        .map(|key| (key.clone(), (0, value().into())))
        .collect();
    let mut versions = vec![0_u64; KEYS];
    let mut next = (0..KEYS).cycle();
    group.bench_function("DashMap", |b| {
        b.iter(|| {
            let place = next.next().expect("endless");
            let mut entry = map.get_mut(&keys[place]).expect("it is there");
            assert_eq!(entry.0, versions[place]);
            *entry = (entry.0 + 1, Bytes::from(value()));
            versions[place] = entry.0;
        });
    });

    let store = MemoryStore::new();
    let mut versions: Vec<_> = runtime.block_on(async {
        let mut versions = Vec::with_capacity(KEYS);
        for key in &keys {
            versions.push(store.create(key, value()).await.expect("a create"));
        }
        versions
    });
    let mut next = (0..KEYS).cycle();
    group.bench_function("MemoryStore", |b| {
        b.iter_custom(|rounds| {
            runtime.block_on(async {
                let start = std::time::Instant::now();
                for _ in 0..rounds {
                    let place = next.next().expect("endless");
                    let put = store
                        .compare_and_set(&keys[place], Some(&versions[place]), value())
                        .await;
                    versions[place] = put.expect("nobody else writes");
                }
                start.elapsed()
            })
        });
    });
    group.finish();
}

/// A page of 100 of 10,000 keys costs the same wherever it is.
fn page(c: &mut Criterion) {
    let runtime = runtime();
    let store = MemoryStore::new();
    runtime.block_on(async {
        for n in 0..KEYS {
            let key = Key::new("partition", format!("{n:05}")).expect("not empty");
            store.create(&key, value()).await.expect("a create");
        }
    });
    let mut group = c.benchmark_group("page of 100 of 10,000");
    for (place, after) in [("start", "00000"), ("middle", "05000"), ("end", "09899")] {
        group.bench_function(BenchmarkId::from_parameter(place), |b| {
            b.to_async(&runtime).iter(|| async {
                let page = store
                    .list_page("partition", ListOptions::default().with_start_after(after))
                    .await;
                assert_eq!(page.expect("a page").items.len(), 100);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, get, compare_and_set, page);
criterion_main!(benches);
