use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use statestore::TransactOp;
use statestore::patterns::{Fenced, Lease, LeaseError, LeaseGuard};
use statestore_conformance::Subject;

use crate::network::Network;

/// Longer than a busy machine holds a request up.
const PATIENCE: Duration = Duration::from_secs(60);

fn lease(subject: &Subject, length: Duration) -> Lease {
    Lease::new(Arc::clone(subject.store()), subject.key("lease"), length)
}

/// Adds one to what is stored, as one does who is alone.
async fn add_one(subject: &Subject, guard: &LeaseGuard) {
    let key = subject.key("data");
    let count = subject.get(&key).await.map_or(0, |entry| {
        std::str::from_utf8(&entry.value).unwrap().parse::<u32>().unwrap()
    });
    guard
        .transact(vec![TransactOp::put(key, (count + 1).to_string())])
        .await
        .unwrap();
}

pub(crate) async fn one_at_a_time_does_what_it_guards(subject: &mut Subject, _: Network) {
    let last = AtomicU64::new(0);
    let worker = async |_| {
        for _ in 0..3 {
            let guard = lease(subject, Duration::from_secs(30))
                .acquire(PATIENCE)
                .await
                .unwrap();
            assert!(last.swap(guard.token(), Ordering::SeqCst) < guard.token());
            add_one(subject, &guard).await;
            guard.release().await.unwrap();
        }
    };
    futures::future::join_all((0..5).map(worker)).await;
    subject.assert_value(&subject.key("data"), "15").await;
}

pub(crate) async fn a_dead_holders_lease_is_taken_over_with_a_higher_token(
    subject: &mut Subject,
    _: Network,
) {
    let length = Duration::from_millis(400);
    let dead = lease(subject, length).acquire(PATIENCE).await.unwrap().token();
    let began = Instant::now();
    let guard = lease(subject, length).acquire(PATIENCE).await.unwrap();
    assert!(began.elapsed() >= length, "{:?}", began.elapsed());
    assert!(guard.token() > dead);
    assert_eq!(
        subject.entry(&subject.key("lease")).await.expires_at,
        None,
        "it keeps the token"
    );
}

pub(crate) async fn a_late_write_is_refused(subject: &mut Subject, _: Network) {
    // It is not renewed for a minute, as if it were paused.
    let paused = lease(subject, Duration::from_secs(180))
        .acquire(PATIENCE)
        .await
        .unwrap();
    add_one(subject, &paused).await;
    let fenced = Fenced::<u32>::new(Arc::clone(subject.store()));
    let elsewhere = subject.key_in("elsewhere", "data");
    fenced.put(&elsewhere, paused.token(), 1).await.unwrap();

    // Others think that it is dead, rightly or not.
    let mut record: serde_json::Value =
        serde_json::from_slice(&subject.entry(&subject.key("lease")).await.value).unwrap();
    record["owner"] = serde_json::Value::Null;
    subject.put(&subject.key("lease"), &record.to_string()).await;
    let successor = lease(subject, Duration::from_secs(180))
        .acquire(PATIENCE)
        .await
        .unwrap();
    add_one(subject, &successor).await;
    fenced.put(&elsewhere, successor.token(), 2).await.unwrap();

    let late = paused
        .transact(vec![TransactOp::put(subject.key("data"), "late")])
        .await;
    assert!(matches!(late, Err(LeaseError::Lost { .. })), "{late:?}");
    let late = fenced.put(&elsewhere, paused.token(), 3).await;
    assert!(matches!(late, Err(LeaseError::Stale { .. })), "{late:?}");
    assert!(!paused.is_held());
    assert!(successor.is_held());
    subject.assert_value(&subject.key("data"), "2").await;
    assert_eq!(fenced.get(&elsewhere).await.unwrap(), Some(2));
}

pub(crate) async fn it_is_held_although_replies_are_lost(subject: &mut Subject, network: Network) {
    let instance = network.instance(5).await;
    let lease = Lease::new(instance.store(), subject.key("lease"), Duration::from_secs(30));
    let mut last = 0;
    for _ in 0..10 {
        let guard = lease.acquire(PATIENCE).await.unwrap();
        assert!(guard.token() > last);
        last = guard.token();
        add_one(subject, &guard).await;
        guard.release().await.unwrap();
    }
    subject.assert_value(&subject.key("data"), "10").await;
    assert!(instance.faults() > 3);
}
