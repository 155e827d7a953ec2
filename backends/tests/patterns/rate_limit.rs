use std::sync::Arc;
use std::time::Duration;

use statestore::patterns::{RateLimit, Verdict};
use statestore::{Key, UpdateOptions};
use statestore_conformance::Subject;

use crate::network::Network;

const HOUR: Duration = Duration::from_secs(3600);

/// How many of 12 at once are let through.
async fn let_through(limit: &RateLimit, key: &Key) -> usize {
    let patient = UpdateOptions::default().with_max_attempts(1000);
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let (limit, key) = (limit.clone().with_update_options(patient), key.clone());
            tokio::spawn(async move { limit.take(&key, 1).await.unwrap() })
        })
        .collect();
    let mut allowed = 0;
    for call in calls {
        allowed += usize::from(call.await.unwrap().is_allowed());
    }
    allowed
}

pub(crate) async fn a_window_lets_no_more_through_at_once(subject: &mut Subject, _: Network) {
    let limit = RateLimit::fixed_window(Arc::clone(subject.store()), 5, HOUR).unwrap();
    let key = subject.key("calls");
    assert_eq!(let_through(&limit, &key).await, 5);
    let Verdict::Limited { retry_after } = limit.take(&key, 1).await.unwrap() else {
        panic!("five were let through already");
    };
    assert!(retry_after > HOUR / 2 && retry_after <= HOUR, "{retry_after:?}");
    // Another key has a window of its own.
    let other = limit.take(&subject.key("others"), 2).await.unwrap();
    assert_eq!(other, Verdict::Allowed { remaining: 3 });
}

pub(crate) async fn a_window_ends(subject: &mut Subject, _: Network) {
    let window = Duration::from_millis(700);
    let limit = RateLimit::fixed_window(Arc::clone(subject.store()), 1, window).unwrap();
    let key = subject.key("calls");
    assert!(limit.take(&key, 1).await.unwrap().is_allowed());
    let ends = subject
        .get(&key)
        .await
        .map_or(subject.now(), |entry| entry.expires_at.unwrap());
    subject.wait_until(ends).await;
    assert!(limit.take(&key, 1).await.unwrap().is_allowed());
}

pub(crate) async fn a_bucket_lets_no_more_through_at_once(subject: &mut Subject, _: Network) {
    let limit = RateLimit::token_bucket(Arc::clone(subject.store()), 5, HOUR).unwrap();
    let key = subject.key("calls");
    assert_eq!(let_through(&limit, &key).await, 5);
    let entry = subject.entry(&key).await;
    assert!(
        entry.expires_at.unwrap() > subject.now() + 4 * HOUR,
        "it is kept until it is full"
    );
}

pub(crate) async fn a_window_lets_as_many_through_although_replies_are_lost(
    subject: &mut Subject,
    network: Network,
) {
    let instance = network.instance(13).await;
    let limit = RateLimit::fixed_window(instance.store(), 20, HOUR).unwrap();
    let key = subject.key("calls");
    let mut allowed = 0;
    for _ in 0..30 {
        allowed += u32::from(limit.take(&key, 1).await.unwrap().is_allowed());
    }
    assert_eq!(allowed, 20);
    assert!(instance.faults() > 3);
}
