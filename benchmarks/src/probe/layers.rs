//! Makes calls through layers around a store in memory: `statestore-bench-layers LAYERS OPERATION CALLS`. Prints the allocations and
//! bytes of a call. Under `callgrind` the difference between two numbers of calls is what a call takes.

mod allocator;

use std::sync::Arc;
use std::time::Duration;

use statestore::layer::{Observe, Retry, RetryPolicy, Timeout};
use statestore::{Bytes, Key, MemoryStore, Precondition, PutOptions, StateStore, WriteId};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// The store with these layers around it. A further layer is one line here, and its name in `layers.rs` of the benchmarks.
fn store(layers: &str) -> Arc<dyn StateStore> {
    let store = MemoryStore::new();
    let limit = Duration::from_secs(12);
    let policy = RetryPolicy::default().with_attempt_timeout(limit);
    match layers {
        "none" => Arc::new(store),
        "Timeout" => Arc::new(Timeout::new(store, limit)),
        "Retry" => Arc::new(Retry::new(store, policy)),
        "Observe(Retry)" => Arc::new(Observe::new(Retry::new(store, policy))),
        other => panic!("no layers `{other}`"),
    }
}

async fn calls(store: &dyn StateStore, operation: &str, calls: u64) {
    let key = Key::new("user-42", "cart").expect("not empty");
    let value = Bytes::from(vec![b'x'; 1024]);
    // `Retry` makes a write id where the caller brings none; so does every store but this one.
    let put = |precondition: Precondition| {
        let options = PutOptions::from(precondition).with_write_id(WriteId::new());
        store.put(&key, value.clone(), options)
    };
    let mut version = put(Precondition::None).await.expect("a put");
    for _ in 0..calls {
        match operation {
            "get" => drop(store.get(&key, Default::default()).await.expect("a get")),
            "put" => drop(put(Precondition::None).await.expect("a put")),
            "compare-and-set" => {
                version = put(Precondition::Matches(version))
                    .await
                    .expect("nobody else writes")
            }
            other => panic!("no operation `{other}`"),
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [layers, operation, count] = &arguments[..] else {
        panic!("usage: statestore-bench-layers LAYERS OPERATION CALLS");
    };
    let count = count.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let store = store(layers);
    runtime.block_on(async {
        calls(&*store, operation, 100).await;
        let before = allocator::counts();
        calls(&*store, operation, count).await;
        let after = allocator::counts();
        println!(
            "{} {}",
            after.allocations - before.allocations,
            after.allocated - before.allocated
        );
    });
}
