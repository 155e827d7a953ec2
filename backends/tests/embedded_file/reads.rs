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

#[tokio::test]
async fn whoever_reads_sees_the_same() {
    for blocking in [false, true] {
        let place = Place::new();
        let options = EmbeddedOptions::default().with_blocking_reads(blocking);
        let store = EmbeddedStore::open_with(place.path(), options).await.unwrap();
        for (n, size) in [0, 1, 60_000, 70_000, 3_000_000].into_iter().enumerate() {
            let large = Bytes::from(vec![7; size]);
            let version = store.create(&key(n), large.clone()).await.unwrap();
            let entry = store.get(&key(n), Default::default()).await.unwrap().unwrap();
            assert_eq!(
                (entry.value == large, entry.version),
                (true, version),
                "{size} bytes"
            );
        }
    }
}
