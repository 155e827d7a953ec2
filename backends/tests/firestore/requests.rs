//! How many requests each operation takes, counted on the wire.

use std::time::Duration;

use statestore::{
    Clock as _, Current, ErrorKind, FirestoreStore, GetOptions, Key, ListOptions, ManualClock, Precondition,
    PutOptions, ScanOptions, StateStore, StateStoreExt, TransactOp, Ttl,
};
use statestore_conformance::proxy::{Protocol, Proxy};

use super::{key, local};

struct Counted {
    store: FirestoreStore,
    proxy: Proxy,
}

impl Counted {
    async fn new() -> Self {
        let (config, server) = local().await;
        let proxy = Proxy::start(server.addr(), Protocol::Http2).await.unwrap();
        let store = FirestoreStore::new(config.with_emulator(proxy.addr().to_string())).unwrap();
        assert_eq!(proxy.counts().connections, 0, "opening does no I/O");
        Self { store, proxy }
    }

    /// Runs `operation`, which has to take this many requests, and returns what it gave.
    async fn takes<T>(&self, what: &str, expected: u64, operation: impl Future<Output = T>) -> T {
        let before = self.proxy.counts();
        let output = operation.await;
        let spent = self.proxy.counts() - before;
        assert_eq!(spent.unparsed_connections, 0);
        assert_eq!(spent.requests, expected, "{what}: {spent}");
        output
    }
}

#[tokio::test]
async fn every_operation_of_one_key_is_one_request() {
    let counted = Counted::new().await;
    let (store, key) = (&counted.store, key("one"));
    let hour = Ttl::After(Duration::from_secs(3600));

    counted.takes("ready", 1, store.ready()).await.unwrap();
    let created = counted.takes("create", 1, store.create(&key, "a")).await.unwrap();
    let get = store.get(&key, GetOptions::default());
    counted.takes("get", 1, get).await.unwrap();
    let put = store.put(&key, "b".into(), PutOptions::default());
    let version = counted.takes("put", 1, put).await.unwrap();
    let set = store.compare_and_set(&key, Some(&version), "c");
    let version = counted.takes("compare-and-set", 1, set).await.unwrap();
    let touch = store.touch(&key, hour, version.into());
    let version = counted.takes("touch by version", 1, touch).await.unwrap();
    let keep = PutOptions::from(version).with_ttl(Ttl::Keep);
    let kept = store.put(&key, "d".into(), keep);
    let version = counted.takes("a keeping compare-and-set", 1, kept).await.unwrap();
    assert!(
        store
            .get(&key, GetOptions::default())
            .await
            .unwrap()
            .unwrap()
            .expires_at
            .is_some()
    );
    let delete = store.delete(&key, version.into());
    counted.takes("delete by version", 1, delete).await.unwrap();
    let delete = store.delete(&key, Default::default());
    counted.takes("delete", 1, delete).await.unwrap();
    let stale = store.delete(&key, created.into());
    let error = counted.takes("a refused delete", 2, stale).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn what_has_to_look_first_takes_two() {
    let counted = Counted::new().await;
    let (store, key) = (&counted.store, key("two"));
    let hour = Ttl::After(Duration::from_secs(3600));
    let created = store.create(&key, "a").await.unwrap();
    store.put(&key, "b".into(), PutOptions::default()).await.unwrap();

    let stale = store.compare_and_set(&key, Some(&created), "c");
    let error = counted.takes("a conflict", 2, stale).await.unwrap_err();
    match &error.conflict().unwrap().current {
        Current::Entry(entry) => assert_eq!(entry.value, "b"),
        other => panic!("the conflict shows {other:?}"),
    }
    let again = store.create(&key, "c");
    let error = counted.takes("a refused create", 2, again).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let touch = store.touch(&key, hour, Default::default());
    counted.takes("touch", 2, touch).await.unwrap();
    let put = store.put(&key, "c".into(), Precondition::Exists.into());
    counted.takes("put if it exists", 2, put).await.unwrap();
    let keep = store.put(&key, "d".into(), PutOptions::expiring(Ttl::Keep));
    counted.takes("a keeping put", 2, keep).await.unwrap();
}

#[tokio::test]
async fn an_expired_version_is_refused_without_a_write() {
    let counted = Counted::new().await;
    let (key, clock) = (key("expired"), ManualClock::new());
    let store = counted.store.clone().with_clock(clock.clone());
    let second = Duration::from_secs(1);
    let options = PutOptions::expiring(Ttl::After(second));
    let version = store.put(&key, "old".into(), options).await.unwrap();
    clock.set(clock.now() + second);

    let stale = store.compare_and_set(&key, Some(&version), "new");
    let error = counted.takes("its version", 1, stale).await.unwrap_err();
    assert!(
        matches!(error.conflict().unwrap().current, Current::Absent),
        "{error}"
    );
    let other = Key::new(key.partition(), "other").unwrap();
    let stale = store.compare_and_set(&other, Some(&version), "new");
    let error = counted
        .takes("another key's version", 1, stale)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let create = store.create(&key, "new");
    counted.takes("a create over it", 3, create).await.unwrap();
}

#[tokio::test]
async fn many_keys_take_one_request() {
    let counted = Counted::new().await;
    let (store, first) = (&counted.store, key("0"));
    let key = |id: usize| Key::new(first.partition(), id.to_string()).unwrap();
    let keys: Vec<Key> = (0..250).map(key).collect();
    let puts = || keys.iter().map(|key| TransactOp::put(key.clone(), "x")).take(100);
    let create = puts().map(|op| op.when(Precondition::Absent)).collect();
    let transact = store.transact(create, Default::default());
    let versions = counted.takes("a transaction of 100", 1, transact).await.unwrap();
    let get = store.get_many(&keys, GetOptions::default());
    let entries = counted.takes("get_many of 250", 1, get).await;
    for (place, entry) in entries.into_iter().enumerate() {
        let version = entry.unwrap().map(|entry| entry.version);
        assert_eq!(version, versions.get(place).cloned().flatten(), "{place}");
    }

    let mut checked: Vec<TransactOp> = puts().collect();
    checked[99] = TransactOp::check(keys[99].clone(), Precondition::Exists);
    let transact = store.transact(checked.clone(), Default::default());
    counted
        .takes("a transaction with a check", 2, transact)
        .await
        .unwrap();
    checked[99] = TransactOp::check(keys[100].clone(), Precondition::Exists);
    let transact = store.transact(checked, Default::default());
    let error = counted
        .takes("a transaction with a check that fails", 2, transact)
        .await
        .unwrap_err();
    assert_eq!(error.conflict().unwrap().op, Some(99));
    let refused = puts().map(|op| op.when(Precondition::Absent)).collect();
    let transact = store.transact(refused, Default::default());
    let error = counted
        .takes("a refused transaction", 2, transact)
        .await
        .unwrap_err();
    assert_eq!(error.conflict().unwrap().op, Some(0));

    // Each key is asked for once, however often it is named.
    let twice: Vec<Key> = keys.iter().chain(&keys).cloned().collect();
    let get = store.get_many(&twice, GetOptions::default());
    counted.takes("250 keys twice", 1, get).await;
    let page = store.list_page(first.partition(), ListOptions::default());
    counted.takes("list_page", 1, page).await.unwrap();
    let page = store.scan_page(ScanOptions::default());
    counted.takes("scan_page", 1, page).await.unwrap();
}

#[tokio::test]
async fn bad_arguments_take_none() {
    let counted = Counted::new().await;
    let (store, key) = (&counted.store, key("bad"));
    let value = vec![b'x'; store.capabilities().max_value_bytes + 1];
    let large = store.put(&key, value.into(), PutOptions::default());
    let error = counted.takes("a large value", 0, large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ValueTooLarge);
    let past = store.put(&key, "x".into(), PutOptions::expiring(Ttl::After(Duration::ZERO)));
    let error = counted.takes("a past expiry", 0, past).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTtl);
    let foreign = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
    let set = store.compare_and_set(&key, Some(&foreign), "x");
    let error = counted
        .takes("another store's version", 0, set)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidVersion);
    let transacted = counted.takes("no operations", 0, store.transact(Vec::new(), Default::default()));
    assert!(transacted.await.unwrap().is_empty());
}
