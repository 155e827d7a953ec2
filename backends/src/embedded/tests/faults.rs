//! A full disk, and reads, writes and syncs that fail.

use fastrand::Rng;
use statestore_api::{
    Bytes, ErrorKind, Key, ListOptions, Precondition, PutOptions, StateStore, Version, WriteId,
};

use super::super::EmbeddedStore;
use super::{Disk, all, open};

fn key(n: usize) -> Key {
    Key::new("p", format!("{n:04}")).unwrap()
}

fn value(n: usize) -> Bytes {
    vec![n.to_le_bytes()[0]; 100 + n % 7 * 1000].into()
}

/// Checks that the store has the first `n` and nothing of those behind.
async fn has_exactly(store: &EmbeddedStore, n: usize) {
    for n in 0..n {
        let entry = store.get(&key(n), Default::default()).await.unwrap();
        assert_eq!(entry.expect("it was acknowledged").value, value(n));
    }
    let page = store
        .list_page("p", ListOptions::default().with_page_size(1000))
        .await
        .unwrap();
    assert_eq!(page.items.len(), n);
}

#[tokio::test]
async fn one_write_without_room_is_storage_full_and_the_next_one_works() {
    let mut refused = 0;
    for fails in 1..60 {
        let disk = Disk::new();
        let store = open(&disk).await.unwrap();
        for n in 0..5 {
            store.put(&key(n), value(n), Default::default()).await.unwrap();
        }
        disk.state().writes_left = Some(fails);
        let mut n = 5;
        while n < 10 {
            let written = store.put(&key(n), value(n), Precondition::Absent.into()).await;
            match written {
                Ok(_) => n += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                    assert!(!error.may_have_applied());
                    refused += 1;
                    has_exactly(&store, n).await;
                }
            }
        }
        has_exactly(&store, 10).await;
        disk.state().writes_left = None;
        store.close().await.unwrap();
        has_exactly(&open(&disk).await.unwrap(), 10).await;
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn a_disk_that_takes_no_write_at_all_is_survived_until_it_has_room() {
    for fails in 1..30 {
        let disk = Disk::new();
        let store = open(&disk).await.unwrap();
        let (mut n, id) = (0, WriteId::new());
        {
            let mut state = disk.state();
            (state.writes_left, state.stays_full) = (Some(fails), true);
        }
        let error = loop {
            let options = PutOptions::from(Precondition::Absent).with_write_id(id);
            match store.put(&key(n), value(n), options).await {
                Ok(_) if n == 999 => panic!("no write fails"),
                Ok(_) => n += 1,
                Err(error) => break error,
            }
        };
        // Opening it again needs to write, too: what became of the write is not known.
        assert!(error.may_have_applied(), "{error}");
        assert!(error.to_string().contains("full"), "{error}");
        let error = store.get(&key(0), Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        let error = store
            .put(&key(n), value(n), Default::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        assert!(!error.may_have_applied());

        disk.state().writes_left = None;
        let options = PutOptions::from(Precondition::Absent).with_write_id(id);
        store.put(&key(n), value(n), options).await.unwrap();
        has_exactly(&store, n + 1).await;
        store.close().await.unwrap();
        has_exactly(&open(&disk).await.unwrap(), n + 1).await;
    }
}

#[tokio::test]
async fn a_disk_without_room_to_grow_is_read_as_before() {
    let disk = Disk::new();
    let store = open(&disk).await.unwrap();
    disk.state().capacity = Some(300_000);
    let mut n = 0;
    let error = loop {
        match store.put(&key(n), value(n), Default::default()).await {
            Ok(_) if n == 999 => panic!("no write fails"),
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(n > 5);
    has_exactly(&store, n).await;
    disk.state().capacity = None;
    store.put(&key(n), value(n), Default::default()).await.unwrap();
    has_exactly(&store, n + 1).await;
}

#[tokio::test]
async fn all_that_share_a_failed_commit_are_answered_alike() {
    let mut refused = 0;
    for fails in 1..12 {
        let disk = Disk::new();
        let store = open(&disk).await.unwrap();
        disk.state().writes_left = Some(fails);
        let keys: Vec<Key> = (0..20).map(key).collect();
        let puts = keys
            .iter()
            .map(|key| store.put(key, value(1), Default::default()));
        let results = all(puts).await;
        for (key, result) in keys.iter().zip(&results) {
            let there = store.get(key, Default::default()).await.unwrap();
            match result {
                Ok(version) => assert_eq!(&there.unwrap().version, version),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                    assert!(there.is_none());
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn a_failed_sync_is_made_up_for_before_anything_else_is_acknowledged() {
    let disk = Disk::new();
    let store = open(&disk).await.unwrap();
    for n in 0..20 {
        disk.state().fail_sync = n % 3 == 1;
        let id = WriteId::new();
        let key = key(n);
        let put = || {
            let options = PutOptions::from(Precondition::Absent).with_write_id(id);
            store.put(&key, value(n), options)
        };
        let version: Version = match put().await {
            Ok(version) => version,
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                put().await.unwrap()
            }
        };
        // The disk forgot what the failed sync was to write, though it is still read. Had it not been written again, the power
        // cut would show that.
        let after = disk.after_power_cut(disk.age(), &mut Rng::with_seed(n as u64));
        let after = open(&after).await.unwrap();
        has_exactly(&after, n + 1).await;
        let entry = after.get(&key, Default::default()).await.unwrap().unwrap();
        assert_eq!(entry.version, version);
    }
}

#[test]
fn a_file_that_is_abandoned_is_not_written_to() {
    let disk = Disk::new();
    let opened = disk.place().open(&super::EmbeddedOptions::default()).unwrap();
    let age = disk.age();
    opened.abandon();
    assert_eq!(disk.age(), age);
    disk.place().open(&super::EmbeddedOptions::default()).unwrap();
}

#[tokio::test]
async fn a_read_that_fails_once_is_done_again() {
    let disk = Disk::new();
    let store = open(&disk).await.unwrap();
    for n in 0..20 {
        store.put(&key(n), value(n), Default::default()).await.unwrap();
    }
    store.close().await.unwrap();
    let options = super::EmbeddedOptions::default().with_cache_bytes(0);
    let store = EmbeddedStore::open_at(disk.place(), options).await.unwrap();
    for n in 0..20 {
        disk.state().fail_read = true;
        let entry = store.get(&key(n), Default::default()).await.unwrap();
        assert_eq!(entry.unwrap().value, value(n));
        assert!(!disk.state().fail_read, "nothing was read");
    }
    let keys: Vec<Key> = (0..20).map(key).collect();
    disk.state().fail_read = true;
    for (n, entry) in store
        .get_many(&keys, Default::default())
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(entry.unwrap().unwrap().value, value(n));
    }
}

#[tokio::test]
async fn damage_in_an_open_file_is_corrupt_and_no_panic() {
    let mut damaged = 0;
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let disk = Disk::new();
        let options = super::EmbeddedOptions::default().with_cache_bytes(0);
        let store = EmbeddedStore::open_at(disk.place(), options).await.unwrap();
        for n in 0..30 {
            store.put(&key(n), value(n), Default::default()).await.unwrap();
        }
        disk.scramble(&mut rng);
        for n in 0..30 {
            match store.get(&key(n), Default::default()).await {
                Ok(Some(entry)) => assert_eq!(entry.value, value(n)),
                // A page's inner order is redb's to check, and it does when it opens the file.
                Ok(None) => damaged += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    damaged += 1;
                }
            }
        }
        // Writing there either works or is refused; what is acknowledged can be read.
        for n in 0..30 {
            match store.put(&key(n), value(n), Default::default()).await {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
            }
        }
        let _ = store.close().await;
    }
    assert!(damaged > 10, "{damaged}");
}
