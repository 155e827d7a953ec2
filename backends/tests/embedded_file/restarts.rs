//! What a file keeps from one opening to the next.

use super::*;

#[tokio::test]
async fn versions_never_repeat() {
    let place = Place::new();
    let mut seen = std::collections::HashSet::<Version>::new();
    let id = WriteId::new();
    for _ in 0..5 {
        let store = place.open().await;
        for n in 0..5 {
            assert!(seen.insert(store.put(&key(n), value(n), Default::default()).await.unwrap()));
            store.delete(&key(n), Default::default()).await.unwrap();
            // One write id, and each time a new write: the key was deleted in between.
            let options = PutOptions::from(Precondition::Absent).with_write_id(id);
            assert!(seen.insert(store.put(&key(n), value(n), options).await.unwrap()));
            store.delete(&key(n), Default::default()).await.unwrap();
        }
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_retry_after_a_restart_is_answered_with_the_same_version() {
    let place = Place::new();
    let store = place.open().await;
    let first = store.create(&key(0), value(0)).await.unwrap();
    let (id, transaction) = (WriteId::new(), WriteId::new());
    let options = PutOptions::from(first.clone()).with_attempt(Attempt::first(id));
    let version = store.put(&key(0), value(1), options.clone()).await.unwrap();
    let ops = vec![
        TransactOp::put(key(1), value(1)).when(Precondition::Absent),
        TransactOp::put(key(2), value(2)),
    ];
    let in_transaction = statestore::TransactOptions::default().with_write_id(transaction);
    let versions = store.transact(ops.clone(), in_transaction.clone()).await.unwrap();
    store.close().await.unwrap();

    let store = place.open().await;
    let retry = options.with_attempt(Attempt::first(id).next());
    assert_eq!(
        store.put(&key(0), value(1), retry.clone()).await.unwrap(),
        version
    );
    let again = in_transaction.with_attempt(Attempt::first(transaction).next());
    assert_eq!(
        store.transact(ops.clone(), again.clone()).await.unwrap(),
        versions
    );
    // And once others have written over it, as long as it is remembered.
    store.put(&key(0), value(2), Default::default()).await.unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    let precondition = Precondition::Matches(first.clone());
    let became = store.resolve(&key(0), id, &precondition).await.unwrap();
    assert_eq!(became, Resolution::Applied(version.clone()));
    for n in 0..3 {
        store.put(&key(0), value(n), Default::default()).await.unwrap();
        assert_eq!(
            store.put(&key(0), value(1), retry.clone()).await.unwrap(),
            version
        );
    }
    store.put(&key(0), value(9), Default::default()).await.unwrap();
    let error = store.put(&key(0), value(1), retry).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    assert_eq!(store.transact(ops, again).await.unwrap(), versions);
}

#[tokio::test]
async fn the_largest_entries_survive() {
    let place = Place::new();
    let store = place.open().await;
    let key = Key::new("p".repeat(2048), "i".repeat(2048)).unwrap();
    let value: Bytes = vec![0xa5; 16 << 20].into();
    let version = store
        .put(&key, value.clone(), Precondition::Absent.into())
        .await
        .unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    let entry = store.get(&key, Default::default()).await.unwrap().unwrap();
    assert!(entry.value == value && entry.version == version);
    // A page of large values ends early, and skips nothing.
    let partition = "large";
    for n in 0..6 {
        let key = Key::new(partition, n.to_string()).unwrap();
        store.put(&key, value.clone(), Default::default()).await.unwrap();
    }
    let (mut options, mut ids, mut pages) = (ListOptions::default(), Vec::new(), 0);
    loop {
        let page = store.list_page(partition, options.clone()).await.unwrap();
        assert!(page.items.len() <= 3);
        pages += 1;
        ids.extend(page.items.into_iter().map(|item| item.key.id().to_owned()));
        match page.next {
            Some(token) => options = options.with_page_token(token),
            None => break,
        }
    }
    assert_eq!((ids.concat().as_str(), pages), ("012345", 3));
    let page = store
        .list_page(
            partition,
            ListOptions::default().with_projection(Projection::Keys),
        )
        .await
        .unwrap();
    assert_eq!(page.items.len(), 6);
}
