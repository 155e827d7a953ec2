//! Replies that are lost after the service has applied the write.

use statestore::{
    Attempt, AzureTableStore, DeleteOptions, Error, GetOptions, Key, Precondition, PutOptions, Resolution,
    StateStore, StateStoreExt, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};
use statestore_conformance::proxy::Protocol;

use super::http_support::lossy::Lossy;
use super::{azurite, key, table};

async fn lossy() -> (Lossy, AzureTableStore) {
    let lossy = Lossy::start(azurite().await.addr(), Protocol::Http1).await;
    let config = table()
        .await
        .with_endpoint(format!("http://{}/devstoreaccount1", lossy.addr()));
    let store = AzureTableStore::new(config).unwrap();
    store.ready().await.unwrap();
    (lossy, store)
}

fn assert_maybe<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.unwrap_err();
    assert!(error.may_have_applied(), "{error}");
    assert!(!error.is_retryable(), "{error}");
}

async fn stored(store: &AzureTableStore, key: &Key) -> (String, Version) {
    let entry = store.get(key, GetOptions::default()).await.unwrap().unwrap();
    (String::from_utf8(entry.value.to_vec()).unwrap(), entry.version)
}

#[tokio::test]
async fn a_put_whose_reply_was_lost_is_answered_with_the_stored_version() {
    let (lossy, store) = lossy().await;
    let key = key("put");
    let seen = store.create(&key, "before").await.unwrap();
    for precondition in [Precondition::Matches(seen), Precondition::None] {
        let attempt = Attempt::first(WriteId::new());
        let put = |attempt: Attempt| {
            let options = PutOptions::from(precondition.clone()).with_attempt(attempt);
            store.put(&key, "after".into(), options)
        };
        lossy.lose_the_next();
        assert_maybe(put(attempt).await);
        lossy.assert_lost();
        let applied = stored(&store, &key).await;
        let version = put(attempt.next()).await.unwrap();
        assert_eq!(applied, ("after".to_owned(), version), "{precondition:?}");
        assert_eq!(stored(&store, &key).await, applied, "it is not written again");
    }
}

#[tokio::test]
async fn a_lost_create_that_another_covered_is_answered_with_its_own_version() {
    let (lossy, store) = lossy().await;
    let key = key("covered");
    let attempt = Attempt::first(WriteId::new());
    let create = |attempt: Attempt| {
        let options = PutOptions::from(Precondition::Absent).with_attempt(attempt);
        store.put(&key, "ours".into(), options)
    };
    lossy.lose_the_next();
    assert_maybe(create(attempt).await);
    let (_, applied) = stored(&store, &key).await;
    store
        .compare_and_set(&key, Some(&applied), "theirs")
        .await
        .unwrap();
    assert_eq!(create(attempt.next()).await.unwrap(), applied);
    let resolved = store.resolve(&key, attempt.id, &Precondition::Absent).await;
    assert_eq!(resolved.unwrap(), Resolution::Applied(applied));
    // One more, and nothing tells any more.
    let (value, theirs) = stored(&store, &key).await;
    assert_eq!(value, "theirs");
    store
        .compare_and_set(&key, Some(&theirs), "theirs again")
        .await
        .unwrap();
    let answer = create(attempt.next()).await;
    assert!(matches!(answer, Err(Error::Indeterminate { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_lost_touch_is_not_applied_again() {
    let (lossy, store) = lossy().await;
    let key = key("touch");
    let version = store.create(&key, "x").await.unwrap();
    let attempt = Attempt::first(WriteId::new());
    let touch = |attempt: Attempt| {
        let options = TouchOptions::from(version.clone()).with_attempt(attempt);
        store.touch(&key, Ttl::After(std::time::Duration::from_secs(3600)), options)
    };
    lossy.lose_the_next();
    assert_maybe(touch(attempt).await);
    let applied = stored(&store, &key).await;
    assert_eq!(touch(attempt.next()).await.unwrap(), applied.1);
    assert_eq!(stored(&store, &key).await, applied);
}

#[tokio::test]
async fn a_lost_delete_cannot_be_told_and_is_not_repeated() {
    let (lossy, store) = lossy().await;
    let key = key("delete");
    let version = store.create(&key, "doomed").await.unwrap();
    let attempt = Attempt::first(WriteId::new());
    let delete =
        |attempt: Attempt| store.delete(&key, DeleteOptions::from(version.clone()).with_attempt(attempt));
    lossy.lose_the_next();
    assert_maybe(delete(attempt).await);
    store.create(&key, "theirs").await.unwrap();
    let answer = delete(attempt.next()).await;
    assert!(matches!(answer, Err(Error::Indeterminate { .. })), "{answer:?}");
    assert_eq!(stored(&store, &key).await.0, "theirs");
}

#[tokio::test]
async fn a_lost_transaction_is_answered_with_its_versions() {
    let (lossy, store) = lossy().await;
    let first = key("0");
    let [second, doomed] = ["1", "2"].map(|id| Key::new(first.partition(), id).unwrap());
    store.create(&doomed, "doomed").await.unwrap();
    let attempt = Attempt::first(WriteId::new());
    let transact = |attempt: Attempt| {
        let ops = vec![
            TransactOp::put(first.clone(), "ours").when(Precondition::Absent),
            TransactOp::put(second.clone(), "ours"),
            TransactOp::delete(doomed.clone()),
        ];
        store.transact(ops, TransactOptions::default().with_attempt(attempt))
    };
    lossy.lose_the_next();
    assert_maybe(transact(attempt).await);
    lossy.assert_lost();
    let applied = [stored(&store, &first).await.1, stored(&store, &second).await.1];
    // What others do in between is not undone, as long as one entry remembers.
    store.delete(&first, Default::default()).await.unwrap();
    store.create(&doomed, "theirs").await.unwrap();
    let versions = transact(attempt.next()).await.unwrap();
    assert_eq!(
        versions,
        [Some(applied[0].clone()), Some(applied[1].clone()), None]
    );
    assert_eq!(stored(&store, &doomed).await.0, "theirs");
    assert_eq!(store.get(&first, GetOptions::default()).await.unwrap(), None);
}
