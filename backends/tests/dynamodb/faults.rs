//! Replies that are lost after the service has applied the write.

use statestore::{
    Attempt, DynamoDbStore, Error, GetOptions, Key, Precondition, PutOptions, Resolution, StateStore,
    StateStoreExt, TransactOp, TransactOptions, Version, WriteId,
};
use statestore_conformance::proxy::Protocol;

use super::http_support::lossy::Lossy;
use super::{key, local};

async fn lossy() -> (Lossy, DynamoDbStore) {
    let (config, server) = local().await;
    let lossy = Lossy::start(server.addr(), Protocol::Http1).await;
    let config = config.clone().with_endpoint(format!("http://{}", lossy.addr()));
    let store = DynamoDbStore::new(config).unwrap();
    store.ready().await.unwrap();
    (lossy, store)
}

fn assert_maybe<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.unwrap_err();
    assert!(error.may_have_applied(), "{error}");
    assert!(!error.is_retryable(), "{error}");
}

async fn stored(store: &DynamoDbStore, key: &Key) -> (String, Version) {
    let entry = store.get(key, GetOptions::default()).await.unwrap().unwrap();
    (String::from_utf8(entry.value.to_vec()).unwrap(), entry.version)
}

#[tokio::test]
async fn a_put_whose_reply_was_lost_is_answered_with_the_stored_version() {
    let (lossy, store) = lossy().await;
    for exactly_once in [false, true] {
        let store = store.clone().with_exactly_once(exactly_once);
        let key = key("put");
        let seen = store.create(&key, "before").await.unwrap();
        let preconditions = [
            Precondition::Matches(seen),
            Precondition::Exists,
            Precondition::None,
        ];
        for precondition in preconditions {
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
}

#[tokio::test]
async fn a_lost_create_that_others_covered_is_answered_with_its_own_version() {
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
    for value in ["1", "2", "3", "4"] {
        store
            .put(&key, value.into(), PutOptions::default())
            .await
            .unwrap();
    }
    assert_eq!(create(attempt.next()).await.unwrap(), applied);
    let resolved = store.resolve(&key, attempt.id, &Precondition::Absent).await;
    assert_eq!(resolved.unwrap(), Resolution::Applied(applied));
    assert_eq!(stored(&store, &key).await.0, "4");
}

#[tokio::test]
async fn a_lost_transaction_is_answered_with_its_versions_also_if_nothing_remembers_it() {
    let (lossy, store) = lossy().await;
    let first = key("0");
    let other = Key::new(first.partition(), "1").unwrap();
    let attempt = Attempt::first(WriteId::new());
    let transact = |ops: &[TransactOp], attempt: Attempt| {
        store.transact(ops.to_vec(), TransactOptions::default().with_attempt(attempt))
    };
    store.create(&other, "doomed").await.unwrap();
    let ops = [
        TransactOp::put(first.clone(), "ours"),
        TransactOp::delete(other.clone()),
    ];
    lossy.lose_the_next();
    assert_maybe(transact(&ops, attempt).await);
    lossy.assert_lost();
    let (_, applied) = stored(&store, &first).await;
    // What others do in between is not undone: the token knows that it was applied.
    store.create(&other, "theirs").await.unwrap();
    store.delete(&first, Default::default()).await.unwrap();
    let versions = transact(&ops, attempt.next()).await.unwrap();
    assert_eq!(versions, [Some(applied), None]);
    assert_eq!(stored(&store, &other).await.0, "theirs");
    assert_eq!(store.get(&first, GetOptions::default()).await.unwrap(), None);
}

#[tokio::test]
async fn exactly_once_applies_an_unconditional_delete_once_even_from_another_process() {
    let (lossy, store) = lossy().await;
    let store = store.with_exactly_once(true);
    let key = key("delete");
    store.create(&key, "doomed").await.unwrap();
    let attempt = Attempt::first(WriteId::new());
    let delete = |store: DynamoDbStore, attempt: Attempt| {
        let key = key.clone();
        async move {
            let options = statestore::DeleteOptions::default().with_attempt(attempt);
            store.delete(&key, options).await
        }
    };
    lossy.lose_the_next();
    assert_maybe(delete(store.clone(), attempt).await);
    store.create(&key, "theirs").await.unwrap();
    let another = DynamoDbStore::new(local().await.0.clone().with_exactly_once(true)).unwrap();
    delete(another, attempt.next()).await.unwrap();
    assert_eq!(stored(&store, &key).await.0, "theirs");
}

#[tokio::test]
async fn exactly_once_applies_an_unconditional_put_once_even_from_another_process() {
    let (lossy, store) = lossy().await;
    let store = store.with_exactly_once(true);
    let key = key("put");
    let attempt = Attempt::first(WriteId::new());
    let put = |store: DynamoDbStore, attempt: Attempt| {
        let key = key.clone();
        async move {
            let options = PutOptions::default().with_attempt(attempt);
            store.put(&key, "ours".into(), options).await
        }
    };
    lossy.lose_the_next();
    assert_maybe(put(store.clone(), attempt).await);
    store.delete(&key, Default::default()).await.unwrap();
    store.create(&key, "theirs").await.unwrap();
    // It cannot say the version, which nobody remembers, but it does not write again.
    let another = DynamoDbStore::new(local().await.0.clone().with_exactly_once(true)).unwrap();
    let answer = put(another, attempt.next()).await;
    assert!(matches!(answer, Err(Error::Indeterminate { .. })), "{answer:?}");
    assert_eq!(stored(&store, &key).await.0, "theirs");
    // The store that sent it can.
    put(store.clone(), attempt.next()).await.unwrap();
    assert_eq!(stored(&store, &key).await.0, "theirs");
}

#[tokio::test]
async fn a_read_whose_reply_was_lost_is_not_sent_again_by_the_sdk() {
    let (lossy, store) = lossy().await;
    let key = key("read");
    store.create(&key, "x").await.unwrap();
    lossy.lose_the_next();
    let error = store.get(&key, GetOptions::default()).await.unwrap_err();
    lossy.assert_lost();
    assert!(error.is_retryable(), "{error}");
    // The layer does that.
    lossy.lose_the_next();
    let store = statestore::Retry::new(store, Default::default());
    let entry = store.get(&key, GetOptions::default()).await.unwrap().unwrap();
    lossy.assert_lost();
    assert_eq!(entry.value, "x");
}
