//! Who reads: the task that asks, or a blocking thread.

use futures::FutureExt;

use super::*;

#[tokio::test]
async fn one_small_entry_is_read_by_the_task_that_asks() {
    let place = Place::with_entries(3).await;
    let store = place.open().await;
    for (n, expected) in [(1, Some(value(1))), (7, None)] {
        let key = key(n);
        let read = store.get(&key, Default::default()).now_or_never();
        let read = read.expect("nothing is waited for").unwrap();
        assert_eq!(read.map(|entry| entry.value), expected);
        let became = store
            .resolve(&key, WriteId::new(), &Precondition::None)
            .now_or_never();
        became.expect("nothing is waited for").unwrap();
    }
}

/// Whether reading `key` waits for a blocking thread, of which this runtime has one, and what it reads then.
async fn read(store: &dyn StateStore, key: &Key) -> (bool, Entry) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let busy = tokio::task::spawn_blocking(move || wait.recv());
    let mut reading = store.get(key, Default::default());
    let at_once = (&mut reading).now_or_never();
    drop(go);
    let waits = at_once.is_none();
    let entry = match at_once {
        Some(entry) => entry,
        None => reading.await,
    };
    busy.await.unwrap().unwrap_err();
    (waits, entry.unwrap().unwrap())
}

#[test]
fn large_values_and_slow_disks_wait_for_a_blocking_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for blocking in ["off", "on"] {
            let place = Place::new();
            let url = format!("file:{}?blocking_reads={blocking}", place.path().display());
            let store = statestore::open(&url).await.unwrap();
            for (n, size) in [0, 1, 250_000, 300_000, 3_000_000].into_iter().enumerate() {
                let value = Bytes::from(vec![7; size]);
                let version = store.create(&key(n), value.clone()).await.unwrap();
                let (waits, entry) = read(&*store, &key(n)).await;
                assert_eq!(waits, blocking == "on" || size > 256 << 10, "{size} bytes");
                assert_eq!(
                    (entry.value == value, entry.version),
                    (true, version),
                    "{size} bytes"
                );
            }
        }
    });
}

#[tokio::test]
async fn a_task_that_only_reads_lets_others_run() {
    let place = Place::with_entries(1).await;
    let store = place.open().await;
    let reads = async {
        loop {
            store.get(&key(0), Default::default()).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_millis(1), reads)
        .await
        .expect_err("it reads for ever");
}
