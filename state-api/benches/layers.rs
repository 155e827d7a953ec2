//! A store with its layers beside the same store without: what a call costs more that needs no retry.
//!
//! Run with `cargo bench -p statestore-api --bench layers`. Read the difference within one run, not the times.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use statestore_api::layer::{Observe, Retry, RetryPolicy, Timeout};
use statestore_api::{Bytes, Key, MemoryStore, PutOptions, StateStore, WriteId};
use tokio::runtime::Runtime;

fn layers(c: &mut Criterion) {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let key = Key::new("user-42", "cart").expect("not empty");
    let value = Bytes::from(vec![b'x'; 1024]);
    let bare = MemoryStore::new();
    let timeout = Timeout::new(bare.clone(), Duration::from_secs(12));
    let retry = Retry::new(timeout.clone(), RetryPolicy::default());
    let observe = Observe::new(retry.clone()).with_collection("app-state");
    let heard = observe.clone().on_error(|failure| panic!("{failure}"));
    let stores: [(&str, &dyn StateStore); 5] = [
        ("bare", &bare),
        ("Timeout", &timeout),
        ("Retry(Timeout)", &retry),
        ("Observe(Retry(Timeout)), nobody listens", &observe),
        ("Observe(Retry(Timeout)), for errors", &heard),
    ];
    for (name, store) in stores {
        c.bench_function(&format!("put of 1 KB, {name}"), |b| {
            b.to_async(&runtime).iter(|| async {
                // `Retry` makes a write id where the caller brings none; so does every store but this one.
                let options = PutOptions::default().with_write_id(WriteId::new());
                let put = store.put(&key, value.clone(), options).await;
                put.expect("a put")
            });
        });
        c.bench_function(&format!("get of 1 KB, {name}"), |b| {
            b.to_async(&runtime)
                .iter(|| async { store.get(&key, Default::default()).await.expect("a get") });
        });
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
