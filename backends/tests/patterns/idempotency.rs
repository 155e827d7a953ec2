use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use statestore::WriteId;
use statestore::patterns::{Idempotency, IdempotencyError, OnDuplicate};
use statestore_conformance::Subject;
use tokio::sync::Notify;

use crate::network::Network;

fn orders(subject: &Subject) -> Idempotency {
    Idempotency::new(Arc::clone(subject.store()), subject.partition("orders"))
}

/// An id that no other test uses; its record is in a partition of its own.
fn id() -> String {
    format!("order-{}", WriteId::new())
}

pub(crate) async fn it_is_run_once_and_its_result_replayed(subject: &mut Subject, _: Network) {
    let (orders, id, placed) = (orders(subject), id(), AtomicU32::new(0));
    let place = async |amount: u32| {
        let place = async || Ok::<_, &str>((placed.fetch_add(1, Ordering::SeqCst), amount));
        orders.run(&id, &amount, place).await
    };
    for _ in 0..3 {
        assert_eq!(place(100).await.unwrap(), (0, 100));
    }
    assert!(matches!(
        place(101).await,
        Err(IdempotencyError::PayloadMismatch { .. })
    ));
    let failed = orders
        .run(&format!("{id}-b"), &(), async || Err::<(), _>("no stock"))
        .await;
    assert!(matches!(failed, Err(IdempotencyError::Handler("no stock"))));
    orders
        .run(&format!("{id}-b"), &(), async || Ok::<_, &str>(()))
        .await
        .unwrap();
    assert_eq!(placed.load(Ordering::SeqCst), 1);
}

pub(crate) async fn of_many_at_once_one_is_run_and_all_get_its_result(subject: &mut Subject, _: Network) {
    let orders = orders(subject).on_duplicate(OnDuplicate::Wait(Duration::from_secs(60)));
    let (id, placed) = (id(), AtomicU32::new(0));
    let runs = (0..12).map(|run| {
        let (orders, id, placed) = (&orders, &id, &placed);
        async move {
            let place = async || {
                placed.fetch_add(1, Ordering::SeqCst);
                Ok::<_, &str>(run)
            };
            orders.run(id, &(), place).await.unwrap()
        }
    });
    let results: Vec<u32> = futures::future::join_all(runs).await;
    assert_eq!(placed.load(Ordering::SeqCst), 1);
    assert!(results.iter().all(|result| result == &results[0]), "{results:?}");
}

pub(crate) async fn a_dead_ones_deadline_passes(subject: &mut Subject, _: Network) {
    let orders = orders(subject).with_deadline(Duration::from_secs(3));
    let (id, begun) = (id(), Notify::new());
    let dies = orders.run(&id, &(), async || {
        begun.notify_one();
        std::future::pending::<Result<u32, &str>>().await
    });
    tokio::select! {
        ended = dies => panic!("{ended:?}"),
        () = begun.notified() => {}
    }
    let early = orders.run(&id, &(), async || Ok::<_, &str>(2)).await;
    let Err(IdempotencyError::InProgress {
        retry_after: Some(wait),
        ..
    }) = early
    else {
        panic!("{early:?}")
    };
    subject.wait_until(subject.now() + wait).await;
    let patient = orders.on_duplicate(OnDuplicate::Wait(Duration::from_secs(60)));
    assert_eq!(patient.run(&id, &(), async || Ok::<_, &str>(3)).await.unwrap(), 3);
}

pub(crate) async fn it_is_run_once_although_replies_are_lost(subject: &mut Subject, network: Network) {
    let instance = network.instance(3).await;
    let orders = Idempotency::new(instance.store(), subject.partition("orders"))
        .on_duplicate(OnDuplicate::Wait(Duration::from_secs(60)));
    for order in 0..10 {
        let (id, placed) = (id(), AtomicU32::new(0));
        let runs = (0..4).map(|_| {
            orders.run(&id, &order, async || {
                placed.fetch_add(1, Ordering::SeqCst);
                Ok::<_, &str>(order)
            })
        });
        for result in futures::future::join_all(runs).await {
            assert_eq!(result.unwrap(), order);
        }
        assert_eq!(placed.load(Ordering::SeqCst), 1);
    }
    assert!(instance.faults() > 3);
}
