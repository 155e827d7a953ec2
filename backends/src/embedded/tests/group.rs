//! What shares a commit, and what costs none.

use statestore_api::{Bytes, ErrorKind, Key, Precondition, StateStore, StateStoreExt};

use super::{Disk, all, open};

fn key(n: usize) -> Key {
    Key::new("p", n.to_string()).unwrap()
}

#[tokio::test]
async fn many_share_a_sync_and_one_alone_has_its_own() {
    let disk = Disk::new();
    let store = open(&disk).await.unwrap();
    let keys: Vec<Key> = (0..1000).map(key).collect();
    let before = disk.syncs().len();
    let puts = keys
        .iter()
        .map(|key| store.put(key, "x".into(), Default::default()));
    for put in all(puts).await {
        put.unwrap();
    }
    let shared = disk.syncs().len() - before;
    assert!((4..50).contains(&shared), "{shared}");
    for key in &keys[..10] {
        let before = disk.syncs().len();
        store.put(key, "y".into(), Default::default()).await.unwrap();
        assert_eq!(disk.syncs().len() - before, 1);
    }
}

#[tokio::test]
async fn what_writes_nothing_costs_no_sync() {
    let disk = Disk::new();
    let store = open(&disk).await.unwrap();
    let version = store.create(&key(0), "x").await.unwrap();
    let age = disk.age();
    let error = store.create(&key(0), "y").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    store.delete(&key(1), Default::default()).await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), 0);
    store.get(&key(0), Default::default()).await.unwrap();
    assert_eq!(disk.age(), age, "something was written");
    assert_eq!(
        store
            .get(&key(0), Default::default())
            .await
            .unwrap()
            .unwrap()
            .version,
        version
    );
}

#[tokio::test]
async fn those_of_one_batch_see_each_other() {
    let disk = Disk::new();
    let store = open(&disk).await.unwrap();
    for round in 0..20 {
        let before = store
            .put(&key(0), "before".into(), Default::default())
            .await
            .unwrap();
        let key = key(0);
        let values: Vec<Bytes> = (0..50).map(|n| format!("{round} {n}").into()).collect();
        let puts = values.iter().map(|value| {
            let expected = Precondition::Matches(before.clone());
            store.put(&key, value.clone(), expected.into())
        });
        let results = all(puts).await;
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        let there = store.get(&key, Default::default()).await.unwrap().unwrap();
        assert_eq!(there.version, *won[0]);
        for lost in results.iter().filter_map(|result| result.as_ref().err()) {
            assert_eq!(
                lost.conflict().unwrap().current,
                statestore_api::Current::Entry(there.clone())
            );
        }
    }
}
