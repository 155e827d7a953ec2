//! What the layers allocate for a call that is answered at its first attempt, and that nobody listens to.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use statestore_api::layer::{Observe, Retry, RetryPolicy, Timeout};
use statestore_api::{Bytes, Key, MemoryStore, PutOptions, StateStore, WriteId};

/// The allocations of a get, and of a put of bytes that nobody else has.
fn allocations(store: &impl StateStore) -> [u64; 2] {
    let key = Key::new("user-42", "cart").unwrap();
    let put = |value: Vec<u8>| {
        let options = PutOptions::default().with_write_id(WriteId::new());
        let put = store.put(&key, Bytes::from(value), options);
        put.now_or_never().expect("nothing is waited for").unwrap();
    };
    put(vec![b'x'; 1024]);
    let (one, other) = (vec![b'y'; 1024], vec![b'z'; 1024]);
    put(one);
    let get = || {
        let get = store.get(&key, Default::default());
        get.now_or_never().expect("nothing is waited for").unwrap();
    };
    get();
    let get = allocation_counter::measure(get).count_total;
    let put = allocation_counter::measure(|| put(other)).count_total;
    [get, put]
}

#[test]
fn a_call_through_all_layers_allocates_thrice_more_at_most() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _context = runtime.enter();
    let bare = allocations(&MemoryStore::new());
    assert!(bare[0] > 0, "allocations are counted: {bare:?}");

    let layers = || {
        let store = Timeout::new(MemoryStore::new(), Duration::from_secs(12));
        Retry::new(store, RetryPolicy::default())
    };
    let layered = allocations(&layers());
    let observed = allocations(&Observe::new(layers()).with_collection("app-state").with_keys());
    assert_eq!(observed, layered, "nobody listens");
    let heard = allocations(&Observe::new(layers()).on_error(|_| ()));
    assert_eq!(heard, layered.map(|count| count + 1), "somebody does");

    let pointer: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    assert_eq!(allocations(&pointer), bare, "a pointer to a store costs nothing");

    let more = |count: [u64; 2]| [count[0] - bare[0], count[1] - bare[1]];
    println!("a get and a put: {bare:?} allocations, layered {layered:?}, heard {heard:?}");
    assert!(
        more(observed).iter().all(|more| *more <= 3),
        "{bare:?}, {observed:?}"
    );
}
