use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use statestore::patterns::{Event, Outbox, OutboxError};
use statestore::{Key, StateStore, UpdateOptions};
use statestore_conformance::{Fate, Subject, Tapped};
use tokio::sync::Notify;

use crate::lossy::Lossy;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    placed: u32,
    paid: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    Placed,
    Paid,
}

type Orders = Outbox<Order, OrderEvent>;

/// A key in a partition of its own, whose other entries are noted to be cleaned up.
fn order_key(subject: &Subject, name: &str) -> Key {
    for id in [
        "~outbox/next",
        "~outbox/lease",
        "~outbox/done/:place",
        "~outbox/done/:pay",
    ] {
        let _ = subject.key_in(name, id);
    }
    subject.key_in(name, "order")
}

/// The two events that come in, in this order; each may come any number of times.
async fn place_and_pay(orders: &Orders, key: &Key) -> Result<(), OutboxError> {
    orders
        .update_once(key, "place", |order, events| {
            order.get_or_insert_default().placed += 1;
            events.push(OrderEvent::Placed);
            Ok(())
        })
        .await?;
    orders
        .update_once(key, "pay", |order, events| {
            order.as_mut().ok_or("it was placed before")?.paid += 1;
            events.push(OrderEvent::Paid);
            Ok(())
        })
        .await
}

pub(crate) async fn an_order_and_its_events_are_written_as_one(subject: &mut Subject) {
    let orders = Orders::new(Arc::clone(subject.store()));
    let key = order_key(subject, "");
    for _ in 0..2 {
        place_and_pay(&orders, &key).await.unwrap();
    }
    let state = orders.states().get(&key).await.unwrap().unwrap();
    assert_eq!(state.value, Order { placed: 1, paid: 1 });
    let got = Mutex::new(Vec::new());
    let deliver = || {
        orders.deliver(key.partition(), async |event: Event<OrderEvent>| {
            got.lock().unwrap().push(event.event);
            Ok(())
        })
    };
    assert_eq!(deliver().await.unwrap().handled, 2);
    assert_eq!(deliver().await.unwrap().handled, 0);
    assert_eq!(*got.lock().unwrap(), [OrderEvent::Placed, OrderEvent::Paid]);
}

pub(crate) async fn updates_at_once_keep_all_events(subject: &mut Subject) {
    let patient = UpdateOptions::default().with_max_attempts(1000);
    let orders = Orders::new(Arc::clone(subject.store())).with_update_options(patient);
    let key = order_key(subject, "");
    let updates = (0..8).map(|_| {
        orders.update(&key, |order, events| {
            let order = order.get_or_insert_default();
            order.placed += 1;
            events.push(OrderEvent::Placed);
            Ok(order.placed)
        })
    });
    let mut counts: Vec<u32> = futures::future::try_join_all(updates).await.unwrap();
    counts.sort_unstable();
    assert_eq!(counts, (1..=8).collect::<Vec<_>>());
    let delivered = orders.deliver(key.partition(), async |_| Ok(()));
    assert_eq!(delivered.await.unwrap().handled, 8);
}

/// What the warehouse got, as it came.
type Got = Mutex<Vec<(u64, OrderEvent)>>;

/// An instance of the function, which handles what the queue delivers.
async fn instance(orders: &Orders, key: &Key, got: &Got) -> Result<(), OutboxError> {
    place_and_pay(orders, key).await?;
    let ship = async |event: Event<OrderEvent>| {
        got.lock().unwrap().push((event.number, event.event));
        Ok(())
    };
    match orders.deliver(key.partition(), ship).await {
        // The other instance delivers them.
        Err(OutboxError::Lease(_)) => Ok(()),
        delivered => delivered.map(drop),
    }
}

/// A store over a network that loses requests and replies, of a process that is killed at its `calls`th request, and that request.
fn mortal(subject: &Subject, calls: u32, seed: u64) -> (Arc<dyn StateStore>, Arc<Notify>) {
    let (killed, made) = (Arc::new(Notify::new()), AtomicU32::new(0));
    let kill = Arc::clone(&killed);
    let tapped = Tapped::new(Arc::clone(subject.store()), move |_| {
        let (kill, call) = (Arc::clone(&kill), made.fetch_add(1, Ordering::SeqCst));
        async move {
            // The one before may have been done, and its reply not have arrived.
            if call + 1 == calls && seed.is_multiple_of(2) {
                return Fate::LoseReply;
            }
            if call >= calls {
                kill.notify_one();
                std::future::pending::<()>().await;
            }
            Fate::Deliver
        }
    });
    let tapped: Arc<dyn StateStore> = Arc::new(tapped);
    (Lossy::new(&tapped, seed).store(), killed)
}

async fn one_order(subject: &Subject, run: u64, kills: &AtomicU32) {
    let key = order_key(subject, &format!("order-{run}"));
    let got = Got::default();
    let lease = (Duration::from_secs(3), Duration::from_millis(200));
    // The queue delivers the order to two instances, and again until one has said that it is done.
    let delivery = async |delivery: u64| {
        let mut dice = fastrand::Rng::with_seed(2 * run + delivery);
        for time in 0.. {
            // It is killed three times at the most.
            let calls = if time < 3 { dice.u32(1..15) } else { u32::MAX };
            let (store, killed) = mortal(subject, calls, dice.u64(..));
            let orders = Orders::new(store).with_lease(lease.0, lease.1);
            tokio::select! {
                ended = instance(&orders, &key, &got) => match ended {
                    Ok(()) => return,
                    // As the process is, an error is a delivery that comes again.
                    Err(error) => assert!(time < 10, "run {run}: {error:?}"),
                },
                () = killed.notified() => {
                    kills.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    };
    tokio::join!(delivery(0), delivery(1));
    // What is left, by the schedule.
    let orders = Orders::new(Arc::clone(subject.store())).with_lease(lease.0, Duration::from_secs(60));
    let rest = orders.deliver(key.partition(), async |event| {
        got.lock().unwrap().push((event.number, event.event));
        Ok(())
    });
    rest.await.unwrap();

    let state = orders.states().get(&key).await.unwrap().unwrap();
    assert_eq!(state.value, Order { placed: 1, paid: 1 }, "run {run}");
    // Each at least once, in their order, and told apart by their numbers.
    let mut got = got.into_inner().unwrap();
    got.dedup();
    assert_eq!(got, [(0, OrderEvent::Placed), (1, OrderEvent::Paid)], "run {run}");
}

/// 1,000 orders in four cases, each of which ends in good time on the slowest server.
async fn quarter(subject: &Subject, quarter: u64) {
    let kills = &AtomicU32::new(0);
    futures::stream::iter(quarter * 250..(quarter + 1) * 250)
        .for_each_concurrent(50, |run| one_order(subject, run, kills))
        .await;
    assert!(kills.load(Ordering::SeqCst) > 125, "{kills:?}");
}

pub(crate) async fn an_order_is_placed_once_whatever_is_lost_or_killed_1_of_4(subject: &mut Subject) {
    quarter(subject, 0).await;
}

pub(crate) async fn an_order_is_placed_once_whatever_is_lost_or_killed_2_of_4(subject: &mut Subject) {
    quarter(subject, 1).await;
}

pub(crate) async fn an_order_is_placed_once_whatever_is_lost_or_killed_3_of_4(subject: &mut Subject) {
    quarter(subject, 2).await;
}

pub(crate) async fn an_order_is_placed_once_whatever_is_lost_or_killed_4_of_4(subject: &mut Subject) {
    quarter(subject, 3).await;
}
