use std::sync::Arc;

use statestore::patterns::{Counter, CounterError, ShardedCounter};
use statestore::{Error, UpdateOptions};
use statestore_conformance::Subject;

use crate::network::Network;

const TASKS: i64 = 12;

fn patient(counter: Counter) -> Counter {
    counter.with_update_options(UpdateOptions::default().with_max_attempts(1000))
}

/// Each task adds its number three times.
async fn all_add(counter: &Counter) {
    let tasks: Vec<_> = (1..=TASKS)
        .map(|task| {
            let counter = counter.clone();
            tokio::spawn(async move {
                for _ in 0..3 {
                    counter.add(task).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(counter.get().await.unwrap(), 3 * TASKS * (TASKS + 1) / 2);
}

pub(crate) async fn additions_at_once_are_all_counted(subject: &mut Subject, _: Network) {
    let key = subject.key("visits");
    let counter = patient(Counter::new(Arc::clone(subject.store()), key.clone()));
    assert_eq!(counter.get().await.unwrap(), 0);
    all_add(&counter).await;
    subject.assert_value(&key, "234").await;
}

pub(crate) async fn it_never_leaves_its_range(subject: &mut Subject, _: Network) {
    let seats = patient(Counter::new(Arc::clone(subject.store()), subject.key("seats")).with_range(0..=7));
    assert_eq!(seats.add(7).await.unwrap(), 7);
    let buyers: Vec<_> = (0..12)
        .map(|_| {
            let seats = seats.clone();
            tokio::spawn(async move { seats.add(-1).await })
        })
        .collect();
    let mut sold = Vec::new();
    for buyer in buyers {
        match buyer.await.unwrap() {
            Ok(left) => sold.push(left),
            Err(CounterError::OutOfRange { value: 0, by: -1 }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    sold.sort_unstable();
    assert_eq!(sold, [0, 1, 2, 3, 4, 5, 6], "each seat once");

    for (by, range) in [(i64::MAX, i64::MIN..=i64::MAX), (8, 0..=7), (i64::MIN, 0..=7)] {
        let counter = Counter::new(Arc::clone(subject.store()), subject.key("other")).with_range(range);
        counter.add(1).await.unwrap();
        let refused = counter.add(by).await;
        assert!(matches!(refused, Err(CounterError::OutOfRange { .. })), "{by}");
        counter.add(-1).await.unwrap();
    }
}

pub(crate) async fn shards_add_up(subject: &mut Subject, _: Network) {
    let key = subject.key("clicks");
    let clicks = ShardedCounter::new(Arc::clone(subject.store()), key.clone(), 8).unwrap();
    let tasks: Vec<_> = (0..24)
        .map(|task| {
            let clicks = clicks.clone();
            tokio::spawn(async move { clicks.add(task).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(clicks.get().await.unwrap(), 24 * 23 / 2);
    // More shards later find what the fewer have counted.
    let more = ShardedCounter::new(Arc::clone(subject.store()), key, 20).unwrap();
    assert_eq!(more.get().await.unwrap(), 24 * 23 / 2);
}

/// With replies lost *and* others writing in between, a store may not be able to tell: such an addition says so, and
/// is not counted twice in any case.
pub(crate) async fn what_is_said_to_be_counted_is_although_replies_are_lost(
    subject: &mut Subject,
    network: Network,
) {
    let instance = network.instance(11).await;
    let counter = patient(Counter::new(instance.store(), subject.key("visits")));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let counter = counter.clone();
            tokio::spawn(async move { (1 << (4 * task), counter.add(1 << (4 * task)).await) })
        })
        .collect();
    let (mut counted, mut unknown) = (0_i64, 0_i64);
    for task in tasks {
        let (by, added) = task.await.unwrap();
        match added {
            Ok(_) => counted |= by,
            Err(CounterError::Store(Error::Indeterminate { .. })) => unknown |= by,
            Err(error) => panic!("{error}"),
        }
    }
    let sum = counter.get().await.unwrap();
    // Each task has a digit of its own, and a digit of 2 would be an addition that was counted twice.
    assert_eq!(sum & !unknown, counted, "{sum:x} counted, {unknown:x} unknown");
    assert!(instance.faults() > 3);
}
