//! How many requests each operation takes, counted on the wire.

use std::time::Duration;

use statestore::{
    AzureTableStore, Clock as _, ErrorKind, GetOptions, Key, ListOptions, ManualClock, Precondition,
    PutOptions, ScanOptions, StateStore, StateStoreExt, TransactOp, Ttl,
};
use statestore_conformance::proxy::{Protocol, Proxy};

use super::{azurite, key, table};

struct Counted {
    store: AzureTableStore,
    proxy: Proxy,
}

impl Counted {
    async fn new() -> Self {
        let proxy = Proxy::start(azurite().await.addr(), Protocol::Http1)
            .await
            .unwrap();
        let config = table()
            .await
            .with_endpoint(format!("http://{}/devstoreaccount1", proxy.addr()));
        let store = AzureTableStore::new(config).unwrap();
        assert_eq!(proxy.counts().connections, 0, "opening does no I/O");
        store.ready().await.unwrap();
        assert_eq!(proxy.counts().requests, 1, "ready asks once");
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

    let missing = store.get(&key, GetOptions::default());
    counted.takes("get of a missing key", 1, missing).await.unwrap();
    let created = counted.takes("create", 1, store.create(&key, "a")).await.unwrap();
    counted
        .takes("get", 1, store.get(&key, GetOptions::default()))
        .await
        .unwrap();
    let put = store.put(&key, "b".into(), PutOptions::default());
    let version = counted.takes("put", 1, put).await.unwrap();
    let set = store.compare_and_set(&key, Some(&version), "c");
    let version = counted.takes("compare-and-set", 1, set).await.unwrap();
    let touch = store.touch(&key, hour, version.into());
    let version = counted.takes("touch", 1, touch).await.unwrap();
    let options = PutOptions::from(version).with_ttl(Ttl::Keep);
    let version = counted
        .takes("keeping compare-and-set", 1, store.put(&key, "d".into(), options))
        .await
        .unwrap();
    let exists = store.exists(&key);
    assert!(counted.takes("exists", 1, exists).await.unwrap());
    counted
        .takes("delete of a version", 1, store.delete(&key, version.into()))
        .await
        .unwrap();
    counted
        .takes(
            "delete of a missing key",
            1,
            store.delete(&key, Default::default()),
        )
        .await
        .unwrap();

    // A conflict is looked at.
    store.create(&key, "e").await.unwrap();
    let stale = store.compare_and_set(&key, Some(&created), "f");
    let error = counted.takes("conflict", 2, stale).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = counted
        .takes("create of what is there", 2, store.create(&key, "f"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = counted
        .takes("stale touch", 2, store.touch(&key, hour, created.clone().into()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = counted
        .takes("stale delete", 2, store.delete(&key, created.clone().into()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    store.delete(&key, Default::default()).await.unwrap();
    // The service says by itself that nothing is there.
    let gone = store.compare_and_set(&key, Some(&created), "f");
    let error = counted.takes("conflict with nothing", 1, gone).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn what_only_the_entity_tells_takes_a_read_first() {
    let counted = Counted::new().await;
    let (store, key) = (&counted.store, key("two"));
    let hour = Ttl::After(Duration::from_secs(3600));
    store.create(&key, "a").await.unwrap();
    counted
        .takes(
            "touch of any version",
            2,
            store.touch(&key, hour, Default::default()),
        )
        .await
        .unwrap();
    let exists = store.put(&key, "b".into(), Precondition::Exists.into());
    counted.takes("put where one exists", 2, exists).await.unwrap();
    let keep = store.put(&key, "c".into(), PutOptions::expiring(Ttl::Keep));
    counted.takes("keeping put", 2, keep).await.unwrap();
    counted
        .takes(
            "delete of what exists",
            2,
            store.delete(&key, Precondition::Exists.into()),
        )
        .await
        .unwrap();
    counted
        .takes(
            "delete of what is absent",
            1,
            store.delete(&key, Precondition::Absent.into()),
        )
        .await
        .unwrap();

    // A transaction's versions have no ETag.
    let put = vec![TransactOp::put(key.clone(), "d")];
    let versions = counted
        .takes("transaction", 1, store.transact(put, Default::default()))
        .await
        .unwrap();
    let version = versions[0].clone().unwrap();
    let set = store.compare_and_set(&key, Some(&version), "e");
    let version = counted
        .takes("compare-and-set after a transaction", 2, set)
        .await
        .unwrap();
    // A check changes the ETag.
    let check = vec![TransactOp::check(
        key.clone(),
        Precondition::Matches(version.clone()),
    )];
    counted
        .takes("check", 1, store.transact(check, Default::default()))
        .await
        .unwrap();
    let set = store.compare_and_set(&key, Some(&version), "f");
    counted
        .takes("compare-and-set after a check", 3, set)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_expired_entry_takes_a_read() {
    let counted = Counted::new().await;
    let (key, clock) = (key("expired"), ManualClock::new());
    let store = counted.store.clone().with_clock(clock.clone());
    let second = Duration::from_secs(1);
    let expire = async || {
        let options = PutOptions::expiring(Ttl::After(second));
        let version = store.put(&key, "old".into(), options).await.unwrap();
        clock.set(clock.now() + second);
        version
    };
    expire().await;
    counted
        .takes("create over it", 3, store.create(&key, "new"))
        .await
        .unwrap();
    let version = expire().await;
    let stale = store.compare_and_set(&key, Some(&version), "new");
    let error = counted.takes("conflict", 1, stale).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    counted
        .takes(
            "put over it",
            1,
            store.put(&key, "new".into(), PutOptions::default()),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_thousand_operations_in_sequence_take_one_connection() {
    a_thousand_operations().await;
}

/// Here a connection could come back to the pool later than the next request wants one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_do_they_on_several_threads() {
    a_thousand_operations().await;
}

async fn a_thousand_operations() {
    let counted = Counted::new().await;
    let (store, key) = (&counted.store, key("sequence"));
    let mut version = store.create(&key, "0").await.unwrap();
    for round in 0..250 {
        version = store
            .compare_and_set(&key, Some(&version), round.to_string())
            .await
            .unwrap();
        version = store.touch(&key, Ttl::None, version.into()).await.unwrap();
        store.get(&key, GetOptions::default()).await.unwrap().unwrap();
        store.create(&key, "x").await.unwrap_err();
    }
    let counts = counted.proxy.counts();
    assert!(counts.requests >= 1000, "{counts}");
    assert_eq!(counts.connections, 1, "{counts}");
}

#[tokio::test]
async fn many_keys() {
    let counted = Counted::new().await;
    let (store, first) = (&counted.store, key("0"));
    let keys: Vec<Key> = (0..100)
        .map(|id| Key::new(first.partition(), id.to_string()).unwrap())
        .collect();
    let puts = keys.iter().map(|key| TransactOp::put(key.clone(), "x")).collect();
    counted
        .takes(
            "a transaction of 100",
            1,
            store.transact(puts, Default::default()),
        )
        .await
        .unwrap();
    let get = store.get_many(&keys, GetOptions::default());
    let entries = counted.takes("get_many of 100", 100, get).await;
    assert!(entries.into_iter().all(|entry| entry.unwrap().is_some()));
    let page = store.list_page(first.partition(), ListOptions::default());
    counted.takes("list_page", 1, page).await.unwrap();
    counted
        .takes("scan_page", 1, store.scan_page(ScanOptions::default()))
        .await
        .unwrap();
    // A conflict in a transaction is looked at in one more request.
    let puts = keys
        .iter()
        .map(|key| TransactOp::put(key.clone(), "x").when(Precondition::Absent))
        .collect();
    let refused = store.transact(puts, Default::default());
    let error = counted
        .takes("a refused transaction of 100", 2, refused)
        .await
        .unwrap_err();
    assert_eq!(error.conflict().unwrap().op, Some(0));
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
    let long = Key::new("p", "x".repeat(171)).unwrap();
    let error = counted
        .takes("a long key", 0, store.create(&long, "x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    let transacted = counted.takes("no operations", 0, store.transact(Vec::new(), Default::default()));
    assert!(transacted.await.unwrap().is_empty());
}
