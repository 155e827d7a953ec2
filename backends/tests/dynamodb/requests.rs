//! How many requests each operation takes, counted on the wire.

use std::time::Duration;

use statestore::{
    Clock as _, DynamoDbStore, ErrorKind, GetOptions, Key, ListOptions, ManualClock, Precondition,
    PutOptions, ScanOptions, StateStore, StateStoreExt, TransactOp, Ttl,
};
use statestore_conformance::proxy::{Protocol, Proxy};

use super::{key, local};

struct Counted {
    store: DynamoDbStore,
    proxy: Proxy,
}

impl Counted {
    async fn new() -> Self {
        let (config, server) = local().await;
        let proxy = Proxy::start(server.addr(), Protocol::Http1).await.unwrap();
        let config = config.clone().with_endpoint(format!("http://{}", proxy.addr()));
        let store = DynamoDbStore::new(config).unwrap();
        assert_eq!(proxy.counts().connections, 0, "opening does no I/O");
        Self { store, proxy }
    }

    /// Runs `operation`, which has to take exactly these requests, and returns what it gave.
    async fn takes<T>(&self, what: &str, expected: &[(&str, u64)], operation: impl Future<Output = T>) -> T {
        let before = self.proxy.counts();
        let output = operation.await;
        let spent = self.proxy.counts() - before;
        assert_eq!(spent.unparsed_connections, 0);
        let all: u64 = expected.iter().map(|(_, count)| count).sum();
        assert_eq!(spent.requests, all, "{what}: {spent}");
        for (name, count) in expected {
            let name = format!("POST / DynamoDB_20120810.{name}");
            assert_eq!(spent.requests_named(&name), *count, "{what}: {spent}");
        }
        output
    }
}

#[tokio::test]
async fn every_operation_of_one_key_is_one_request() {
    let counted = Counted::new().await;
    let (store, key) = (&counted.store, key("one"));
    let (update, whole) = (&[("UpdateItem", 1)][..], &[("PutItem", 1)][..]);
    let hour = Duration::from_secs(3600);

    counted
        .takes("ready", &[("DescribeTable", 1)], store.ready())
        .await
        .unwrap();
    let created = counted
        .takes("create", whole, store.create(&key, "a"))
        .await
        .unwrap();
    counted
        .takes("get", &[("GetItem", 1)], store.get(&key, GetOptions::default()))
        .await
        .unwrap();
    let put = store.put(&key, "b".into(), PutOptions::default());
    counted.takes("put", update, put).await.unwrap();
    let conflict = store.compare_and_set(&key, Some(&created), "c");
    let error = counted.takes("conflict", whole, conflict).await.unwrap_err();
    let there = match &error.conflict().unwrap().current {
        statestore::Current::Entry(entry) => entry.clone(),
        other => panic!("the conflict shows {other:?}"),
    };
    assert_eq!(there.value, "b");
    let set = store.compare_and_set(&key, Some(&there.version), "c");
    let version = counted.takes("compare-and-set", whole, set).await.unwrap();
    // A version that has come by way of text knows less of its item.
    let version = version.to_string().parse().unwrap();
    let set = store.compare_and_set(&key, Some(&version), "c");
    let version = counted
        .takes("compare-and-set by text", update, set)
        .await
        .unwrap();
    let touch = store.touch(&key, Ttl::After(hour), Default::default());
    counted.takes("touch", update, touch).await.unwrap();
    let kept = store.put(&key, "d".into(), PutOptions::expiring(Ttl::Keep));
    counted.takes("keeping put", update, kept).await.unwrap();
    let refused = store.delete(&key, version.into());
    let error = counted
        .takes("refused delete", &[("DeleteItem", 1)], refused)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let delete = store.delete(&key, Default::default());
    counted
        .takes("delete", &[("DeleteItem", 1)], delete)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_takes_over_an_expired_item_is_one_request_too() {
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
    let (update, whole) = (&[("UpdateItem", 1)][..], &[("PutItem", 1)][..]);

    expire().await;
    counted
        .takes("create", whole, store.create(&key, "new"))
        .await
        .unwrap();
    let version = expire().await;
    let stale = store.compare_and_set(&key, Some(&version), "new");
    let error = counted.takes("conflict", update, stale).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    counted
        .takes(
            "put",
            update,
            store.put(&key, "new".into(), PutOptions::default()),
        )
        .await
        .unwrap();
    // The one exception: "keep the expiry, unless it is past" cannot be said in one update expression.
    expire().await;
    let keep = store.put(&key, "new".into(), PutOptions::expiring(Ttl::Keep));
    counted
        .takes("keeping put", &[("UpdateItem", 2)], keep)
        .await
        .unwrap();
    assert_eq!(
        store
            .get(&key, GetOptions::default())
            .await
            .unwrap()
            .unwrap()
            .expires_at,
        None
    );
}

#[tokio::test]
async fn many_keys_take_a_request_a_hundred() {
    let counted = Counted::new().await;
    let (store, first) = (&counted.store, key("0"));
    let keys: Vec<Key> = (0..250)
        .map(|id| Key::new(first.partition(), id.to_string()).unwrap())
        .collect();
    let puts = keys.iter().map(|key| TransactOp::put(key.clone(), "x"));
    let puts: Vec<TransactOp> = puts.take(100).collect();
    let transact = store.transact(puts, Default::default());
    counted
        .takes("a transaction of 100", &[("TransactWriteItems", 1)], transact)
        .await
        .unwrap();
    let get = store.get_many(&keys, GetOptions::default());
    let entries = counted
        .takes("get_many of 250", &[("BatchGetItem", 3)], get)
        .await;
    let there = entries.iter().map(|entry| entry.as_ref().unwrap().is_some());
    assert_eq!(there.filter(|there| *there).count(), 100);

    // Each key is asked for once, however often it is named.
    let twice: Vec<Key> = keys[..100].iter().chain(&keys[..100]).cloned().collect();
    let get = store.get_many(&twice, GetOptions::default());
    counted.takes("100 keys twice", &[("BatchGetItem", 1)], get).await;
    let page = store.list_page(first.partition(), ListOptions::default());
    counted.takes("list_page", &[("Query", 1)], page).await.unwrap();
    let page = store.scan_page(ScanOptions::default());
    counted.takes("scan_page", &[("Scan", 1)], page).await.unwrap();
}

#[tokio::test]
async fn exactly_once_takes_transactions_for_unconditional_writes_alone() {
    let counted = Counted::new().await;
    let store = counted.store.clone().with_exactly_once(true);
    let key = key("exactly-once");
    let transact = &[("TransactWriteItems", 1)][..];
    let put = store.put(&key, "a".into(), PutOptions::default());
    let version = counted.takes("put", transact, put).await.unwrap();
    let set = store.put(&key, "b".into(), Precondition::Matches(version).into());
    counted
        .takes("compare-and-set", &[("UpdateItem", 1)], set)
        .await
        .unwrap();
    let delete = store.delete(&key, Default::default());
    counted.takes("delete", transact, delete).await.unwrap();
}

#[tokio::test]
async fn bad_arguments_take_none() {
    let counted = Counted::new().await;
    let (store, key) = (&counted.store, key("bad"));
    let none = &[][..];
    let value = vec![b'x'; store.capabilities().max_value_bytes + 1];
    let large = store.put(&key, value.into(), PutOptions::default());
    let error = counted.takes("a large value", none, large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ValueTooLarge);
    let past = store.put(&key, "x".into(), PutOptions::expiring(Ttl::After(Duration::ZERO)));
    let error = counted.takes("a past expiry", none, past).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTtl);
    let transacted = counted.takes(
        "no operations",
        none,
        store.transact(Vec::new(), Default::default()),
    );
    assert!(transacted.await.unwrap().is_empty());
}
