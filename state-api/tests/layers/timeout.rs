use std::time::Duration;

use statestore_api::layer::Timeout;
use statestore_api::{
    ErrorKind, ListOptions, Precondition, ScanOptions, StateStore, StateStoreExt, Ttl, WriteId,
};
use tokio::time::Instant;

use crate::key;
use crate::scripted::Scripted;
use crate::scripted::Step::{Hang, Slow};

const LIMIT: Duration = Duration::from_secs(1);

fn limited(scripted: &Scripted) -> Timeout<Scripted> {
    Timeout::new(scripted.clone(), LIMIT)
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_not_answered_in_time_changed_nothing() {
    let scripted = Scripted::new(&[Hang; 6]);
    let (store, key, start) = (limited(&scripted), key("k"), Instant::now());
    let errors = [
        store.ready().await.unwrap_err(),
        store.get(&key, Default::default()).await.unwrap_err(),
        store
            .get_many(std::slice::from_ref(&key), Default::default())
            .await
            .remove(0)
            .unwrap_err(),
        store
            .resolve(&key, WriteId::new(), &Precondition::None)
            .await
            .unwrap_err(),
        store.list_page("p", ListOptions::default()).await.unwrap_err(),
        store.scan_page(ScanOptions::default()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.is_retryable() && !error.may_have_applied(), "{error}");
    }
    assert_eq!((start.elapsed(), scripted.dropped()), (6 * LIMIT, 6));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_not_answered_in_time_may_have_been_applied() {
    let scripted = Scripted::new(&[Hang; 4]);
    let (store, key, start) = (limited(&scripted), key("k"), Instant::now());
    let errors = [
        store.create(&key, "v").await.unwrap_err(),
        store.delete(&key, Default::default()).await.unwrap_err(),
        store
            .touch(&key, Ttl::None, Default::default())
            .await
            .unwrap_err(),
        store.transact(vec![], Default::default()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.may_have_applied() && !error.is_retryable(), "{error}");
    }
    assert_eq!((start.elapsed(), scripted.dropped()), (4 * LIMIT, 4));
}

#[tokio::test(start_paused = true)]
async fn what_may_take_long_has_its_time() {
    let long = 20 * LIMIT;
    let scripted = Scripted::new(&[Slow(long), Slow(long)]);
    let store = limited(&scripted);
    store.sweep().await.unwrap();
    store.close().await.unwrap();

    let keys: Vec<_> = (0..250).map(|i| key(&i.to_string())).collect();
    let longer = LIMIT * 3 - Duration::from_millis(1);
    scripted.then(&[Slow(longer), Slow(longer + LIMIT)]);
    assert!(
        store
            .get_many(&keys, Default::default())
            .await
            .iter()
            .all(Result::is_ok)
    );
    let late = store.get_many(&keys, Default::default()).await;
    assert_eq!(late.len(), keys.len());
    assert!(late.iter().all(Result::is_err));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_is_passed_on() {
    let scripted = Scripted::new(&[Slow(LIMIT - Duration::from_millis(1))]);
    let store = limited(&scripted);
    let version = store.create(&key("k"), "v").await.unwrap();
    let error = store.create(&key("k"), "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let entry = store.get(&key("k"), Default::default()).await.unwrap().unwrap();
    assert_eq!((entry.version, scripted.dropped()), (version, 0));
}
