use std::time::Duration;

use statestore_api::layer::{Retry, RetryPolicy};
use statestore_api::{ErrorKind, ListOptions, Precondition, ScanOptions, StateStore, StateStoreExt, WriteId};
use tokio::time::Instant;

use crate::key;
use crate::scripted::Step::{Hang, Pass, Refuse, RefuseIds, Slow};
use crate::scripted::{Scripted, throttled, throttled_for_3s, unanswered, unauthorized, unreachable};

#[tokio::test(start_paused = true)]
async fn every_read_is_repeated_until_it_is_answered() {
    let scripted = Scripted::new(&[]);
    let store = Retry::new(scripted.clone(), RetryPolicy::default());
    let key = key("k");
    scripted.behind().create(&key, "v").await.unwrap();
    let fails = || scripted.then(&[Refuse(throttled), Refuse(unreachable), Refuse(unanswered)]);
    fails();
    store.ready().await.unwrap();
    fails();
    assert!(store.get(&key, Default::default()).await.unwrap().is_some());
    fails();
    store
        .resolve(&key, WriteId::new(), &Precondition::None)
        .await
        .unwrap();
    fails();
    assert_eq!(
        store
            .list_page("p", ListOptions::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    fails();
    assert_eq!(
        store.scan_page(ScanOptions::default()).await.unwrap().items.len(),
        1
    );
    fails();
    store.sweep().await.unwrap();
    let operations: Vec<_> = scripted
        .requests()
        .iter()
        .map(|request| request.operation)
        .collect();
    let expected = ["ready", "get", "resolve", "list_page", "scan_page", "sweep"];
    assert_eq!(operations, expected.map(|operation| [operation; 4]).concat());
}

#[tokio::test(start_paused = true)]
async fn what_another_try_does_not_change_is_returned_at_once() {
    let scripted = Scripted::new(&[Refuse(unauthorized)]);
    let store = Retry::new(scripted.clone(), RetryPolicy::default());
    let error = store.get(&key("k"), Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(scripted.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_is_not_repeated() {
    let scripted = Scripted::new(&[Refuse(unreachable)]);
    let store = Retry::new(scripted.clone(), RetryPolicy::default());
    assert_eq!(store.close().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(scripted.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn waits_grow_up_to_their_bounds() {
    let policy = RetryPolicy::default()
        .with_base_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_millis(800))
        .with_deadline(Duration::MAX)
        .with_max_attempts(8);
    let mut longest = [Duration::ZERO; 7];
    for _ in 0..60 {
        let scripted = Scripted::new(&[Refuse(throttled); 8]);
        let store = Retry::new(scripted.clone(), policy);
        store.ready().await.unwrap_err();
        let requests = scripted.requests();
        assert_eq!(requests.len(), 8);
        for (longest, pair) in longest.iter_mut().zip(requests.windows(2)) {
            *longest = (*longest).max(pair[1].at - pair[0].at);
        }
    }
    for (longest, bound) in longest.iter().zip([100, 200, 400, 800, 800, 800, 800]) {
        // Tokio's timer rounds up to a millisecond.
        let bound = Duration::from_millis(bound + 1);
        assert!(
            (bound / 2..=bound).contains(longest),
            "{longest:?}, the bound is {bound:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_service_asks_for_is_waited() {
    let scripted = Scripted::new(&[Refuse(throttled_for_3s)]);
    let store = Retry::new(scripted.clone(), RetryPolicy::default());
    store.ready().await.unwrap();
    let requests = scripted.requests();
    let waited = requests[1].at - requests[0].at;
    assert!(
        (Duration::from_secs(3)..=Duration::from_millis(3_021)).contains(&waited),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_that_comes_behind_the_deadline() {
    let scripted = Scripted::new(&[Refuse(throttled_for_3s)]);
    let policy = RetryPolicy::default().with_deadline(Duration::from_secs(3));
    let start = Instant::now();
    let error = Retry::new(scripted.clone(), policy).ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!((start.elapsed(), scripted.requests().len()), (Duration::ZERO, 1));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_ends_with_the_deadline() {
    let scripted = Scripted::new(&[Refuse(unreachable), Hang]);
    let policy = RetryPolicy::default().with_deadline(Duration::from_secs(2));
    let start = Instant::now();
    let error = Retry::new(scripted.clone(), policy).ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.is_retryable() && !error.may_have_applied(), "{error}");
    assert_eq!((start.elapsed(), scripted.dropped()), (Duration::from_secs(2), 1));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_hang_end_with_their_own_time_and_the_last_with_the_deadline() {
    let policy = RetryPolicy::default()
        .with_deadline(Duration::from_millis(2_500))
        .with_attempt_timeout(Duration::from_secs(1))
        .with_max_delay(Duration::ZERO);
    let start = Instant::now();
    let scripted = Scripted::new(&[Hang, Hang]);
    Retry::new(scripted.clone(), policy).ready().await.unwrap();
    assert_eq!((start.elapsed(), scripted.dropped()), (Duration::from_secs(2), 2));

    let keys: Vec<_> = (0..150).map(|n| key(&n.to_string())).collect();
    // A batch of more than 100 has twice the time.
    for (keys, millis) in [(&keys[..1], 2_500), (&keys[..100], 2_500), (&keys[..], 5_000)] {
        let scripted = Scripted::new(&[Hang; 3]);
        let start = Instant::now();
        let answers = Retry::new(scripted.clone(), policy)
            .get_many(keys, Default::default())
            .await;
        assert_eq!(start.elapsed(), Duration::from_millis(millis));
        assert_eq!(answers.len(), keys.len());
        assert_eq!(answers[0].as_ref().unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!((scripted.requests().len(), scripted.dropped()), (3, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_takes_its_time() {
    let policy = RetryPolicy::default()
        .with_deadline(Duration::from_secs(2))
        .with_attempt_timeout(Duration::from_secs(1));
    let scripted = Scripted::new(&[Slow(Duration::from_secs(60))]);
    Retry::new(scripted.clone(), policy).sweep().await.unwrap();
    assert_eq!(scripted.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_its_error_is_returned() {
    let scripted = Scripted::new(&[Refuse(throttled), Refuse(throttled), Refuse(unreachable), Pass]);
    let policy = RetryPolicy::default().with_max_attempts(3);
    let error = Retry::new(scripted.clone(), policy).ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(scripted.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_only_the_keys_that_failed_are_asked_for_again() {
    let scripted = Scripted::new(&[]);
    let keys: Vec<_> = ["a", "b", "c", "d", "e"].map(key).into();
    for key in &keys[..4] {
        scripted.behind().create(key, key.id().to_owned()).await.unwrap();
    }
    scripted.then(&[
        RefuseIds(&["b", "d", "e"], throttled),
        RefuseIds(&["d"], unreachable),
        RefuseIds(&["d"], unauthorized),
    ]);
    let store = Retry::new(scripted.clone(), RetryPolicy::default());
    let answers = store.get_many(&keys, Default::default()).await;
    let asked: Vec<String> = scripted
        .requests()
        .iter()
        .map(|request| request.keys.iter().map(|key| key.id()).collect())
        .collect();
    assert_eq!(asked, ["abcde", "bde", "d"]);
    let found: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Ok(entry) => entry
                .as_ref()
                .map_or("none", |entry| std::str::from_utf8(&entry.value).unwrap()),
            Err(error) if error.kind() == ErrorKind::Unauthorized => "refused",
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(found, ["a", "b", "c", "refused", "none"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_given_up_keeps_what_was_answered() {
    let scripted = Scripted::new(&[RefuseIds(&["b"], throttled_for_3s), Hang]);
    let keys = ["a", "b"].map(key);
    let policy = RetryPolicy::default().with_deadline(Duration::from_secs(5));
    let start = Instant::now();
    let answers = Retry::new(scripted, policy)
        .get_many(&keys, Default::default())
        .await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert!(matches!(answers[0], Ok(None)), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Timeout);
}
