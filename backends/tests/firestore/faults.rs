//! Replies that are lost after the service has applied the write.

use statestore::{
    Attempt, Error, FirestoreStore, GetOptions, Key, Precondition, PutOptions, Resolution, StateStore,
    StateStoreExt, TransactOp, TransactOptions, Version, WriteId,
};
use statestore_conformance::proxy::Protocol;

use super::lossy::Lossy;
use super::{key, local};

async fn lossy() -> (Lossy, FirestoreStore) {
    let (config, server) = local().await;
    let lossy = Lossy::start(server.addr(), Protocol::Http2).await;
    let store = FirestoreStore::new(config.with_emulator(lossy.addr().to_string())).unwrap();
    store.ready().await.unwrap();
    (lossy, store)
}

fn assert_maybe<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.unwrap_err();
    assert!(error.may_have_applied(), "{error}");
    assert!(!error.is_retryable(), "{error}");
}

async fn stored(store: &FirestoreStore, key: &Key) -> (String, Version) {
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
    let theirs = store
        .compare_and_set(&key, Some(&applied), "theirs")
        .await
        .unwrap();
    assert_eq!(create(attempt.next()).await.unwrap(), applied);
    let resolved = store.resolve(&key, attempt.id, &Precondition::Absent).await;
    assert_eq!(resolved.unwrap(), Resolution::Applied(applied.clone()));
    assert_eq!(stored(&store, &key).await.0, "theirs");

    // Without a condition, Firestore writes without a look, and the entry forgets. Then it cannot be told.
    store
        .put(&key, "theirs too".into(), PutOptions::default())
        .await
        .unwrap();
    let answer = create(attempt.next()).await;
    assert!(matches!(answer, Err(Error::Indeterminate { .. })), "{answer:?}");
    let resolved = store.resolve(&key, attempt.id, &Precondition::Absent).await;
    assert_eq!(resolved.unwrap(), Resolution::Unknown);
    // Of the writes before it, that is: their versions match no more.
    let stale = store.compare_and_set(&key, Some(&theirs), "x").await;
    assert!(matches!(stale, Err(Error::Conflict(_))), "{stale:?}");
}

#[tokio::test]
async fn a_lost_transaction_is_answered_with_its_versions() {
    let (lossy, store) = lossy().await;
    let first = key("0");
    let [second, doomed] = ["1", "2"].map(|id| Key::new(first.partition(), id).unwrap());
    let seen = store.create(&second, "before").await.unwrap();
    let condemned = store.create(&doomed, "doomed").await.unwrap();
    let ops = [
        TransactOp::put(first.clone(), "ours").when(Precondition::Absent),
        TransactOp::put(second.clone(), "ours").when(Precondition::Matches(seen)),
        TransactOp::delete(doomed.clone()).when(Precondition::Matches(condemned)),
    ];
    let attempt = Attempt::first(WriteId::new());
    let transact =
        |attempt: Attempt| store.transact(ops.to_vec(), TransactOptions::default().with_attempt(attempt));
    lossy.lose_the_next();
    assert_maybe(transact(attempt).await);
    lossy.assert_lost();
    let applied = [stored(&store, &first).await.1, stored(&store, &second).await.1];
    // What others do in between is not undone, as long as one of its puts remembers it.
    store.delete(&first, Default::default()).await.unwrap();
    store.create(&doomed, "theirs").await.unwrap();
    let versions = transact(attempt.next()).await.unwrap();
    let [created, replaced] = applied.map(Some);
    assert_eq!(versions, [created, replaced, None]);
    assert_eq!(store.get(&first, GetOptions::default()).await.unwrap(), None);
    assert_eq!(stored(&store, &doomed).await.0, "theirs");
}

#[tokio::test]
async fn a_lost_delete_cannot_be_told() {
    let (lossy, store) = lossy().await;
    let key = key("delete");
    let seen = store.create(&key, "doomed").await.unwrap();
    let attempt = Attempt::first(WriteId::new());
    let delete = |attempt: Attempt| {
        let options = statestore::DeleteOptions::from(seen.clone()).with_attempt(attempt);
        store.delete(&key, options)
    };
    lossy.lose_the_next();
    assert_maybe(delete(attempt).await);
    lossy.assert_lost();
    let answer = delete(attempt.next()).await;
    assert!(matches!(answer, Err(Error::Indeterminate { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_lost_read_may_be_sent_again() {
    let (lossy, store) = lossy().await;
    let key = key("read");
    store.create(&key, "x").await.unwrap();
    lossy.lose_the_next();
    let error = store.get(&key, GetOptions::default()).await.unwrap_err();
    assert!(error.is_retryable() && !error.may_have_applied(), "{error}");
    assert_eq!(stored(&store, &key).await.0, "x");
}
