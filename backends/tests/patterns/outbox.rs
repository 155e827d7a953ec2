use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use statestore::patterns::{Event, Outbox, OutboxError};
use statestore::{Key, UpdateOptions};
use statestore_conformance::Subject;

use crate::network::Network;

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

pub(crate) async fn an_order_and_its_events_are_written_as_one(subject: &mut Subject, _: Network) {
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

pub(crate) async fn updates_at_once_keep_all_events(subject: &mut Subject, _: Network) {
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

/// Who gets the events: it ships what was placed and books what was paid, once for each event, however often that comes.
struct Warehouse {
    stock: AtomicU64,
    booked: AtomicU64,
    deliveries: AtomicU64,
    /// The events that it has seen, by their ids.
    seen: Mutex<HashMap<String, OrderEvent>>,
}

impl Warehouse {
    fn with_stock(stock: u64) -> Self {
        Self {
            stock: AtomicU64::new(stock),
            booked: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    fn take(&self, event: Event<OrderEvent>) {
        self.deliveries.fetch_add(1, Ordering::SeqCst);
        let known = self.seen.lock().unwrap().insert(event.id, event.event.clone());
        match (known, event.event) {
            (None, OrderEvent::Placed) => drop(self.stock.fetch_sub(1, Ordering::SeqCst)),
            (None, OrderEvent::Paid) => drop(self.booked.fetch_add(1, Ordering::SeqCst)),
            (Some(known), event) => assert_eq!(known, event, "one event has one id"),
        }
    }
}

/// What happened on the way.
#[derive(Debug, Default)]
struct Trouble {
    deliveries: AtomicU64,
    kills: AtomicU64,
    faults: AtomicU64,
}

/// What an order's events were, as they came.
type Got = Mutex<Vec<(u64, OrderEvent)>>;

/// An instance of the function, which handles what the queue delivers.
async fn handle(orders: &Orders, key: &Key, got: &Got, warehouse: &Warehouse) -> Result<(), OutboxError> {
    place_and_pay(orders, key).await?;
    let ship = async |event: Event<OrderEvent>| {
        got.lock().unwrap().push((event.number, event.event.clone()));
        warehouse.take(event);
        Ok(())
    };
    match orders.deliver(key.partition(), ship).await {
        // The other instance delivers them.
        Err(OutboxError::Lease(_)) => Ok(()),
        delivered => delivered.map(drop),
    }
}

async fn one_order(subject: &Subject, network: &Network, run: u64, warehouse: &Warehouse, trouble: &Trouble) {
    let key = order_key(subject, &format!("order-{run}"));
    let got = Got::default();
    let lease = (Duration::from_secs(3), Duration::from_millis(200));
    // The queue delivers the order to two instances, and again until one has said that it is done.
    let delivery = async |delivery: u64| {
        let mut dice = fastrand::Rng::with_seed(2 * run + delivery);
        for time in 0.. {
            trouble.deliveries.fetch_add(1, Ordering::SeqCst);
            // It is killed three times at the most.
            let life = if time < 3 { dice.u64(1..15) } else { u64::MAX };
            let instance = network.mortal(dice.u64(..), life).await;
            let orders = Orders::new(instance.store()).with_lease(lease.0, lease.1);
            let done = tokio::select! {
                ended = handle(&orders, &key, &got, warehouse) => match ended {
                    Ok(()) => true,
                    // As the process is, an error is a delivery that comes again.
                    Err(error) => {
                        assert!(time < 20, "run {run}: {error:?}");
                        false
                    }
                },
                () = instance.killed() => {
                    trouble.kills.fetch_add(1, Ordering::SeqCst);
                    false
                }
            };
            trouble.faults.fetch_add(instance.faults(), Ordering::SeqCst);
            if done {
                return;
            }
        }
    };
    tokio::join!(delivery(0), delivery(1));
    // What is left, by the schedule.
    let orders = Orders::new(Arc::clone(subject.store())).with_lease(lease.0, Duration::from_secs(60));
    for time in 0.. {
        let rest = orders.deliver(key.partition(), async |event| {
            got.lock().unwrap().push((event.number, event.event.clone()));
            warehouse.take(event);
            Ok(())
        });
        match rest.await {
            Ok(_) => break,
            // On a machine that is so busy that the lease ran out.
            Err(OutboxError::Lease(error)) => assert!(time < 20, "run {run}: {error:?}"),
            Err(error) => panic!("run {run}: {error:?}"),
        }
    }

    let state = orders.states().get(&key).await.unwrap().unwrap();
    assert_eq!(state.value, Order { placed: 1, paid: 1 }, "run {run}");
    // Each at least once, in their order, and told apart by their numbers.
    let mut got = got.into_inner().unwrap();
    got.dedup();
    assert_eq!(got, [(0, OrderEvent::Placed), (1, OrderEvent::Paid)], "run {run}");
}

/// How many orders: where there is a server, fewer than `scripts/soak` places.
fn orders(network: &Network) -> u64 {
    let soak = std::env::var("STATESTORE_SOAK_ORDERS").ok();
    match (soak, network) {
        (Some(orders), _) => orders.parse().expect("STATESTORE_SOAK_ORDERS is a number"),
        (None, Network::InProcess(_)) => 1_000,
        #[cfg(unix)]
        (None, Network::Wire(_)) => 100,
    }
}

pub(crate) async fn every_order_is_placed_once_whatever_is_lost_or_killed(
    subject: &mut Subject,
    network: Network,
) {
    let (count, start) = (orders(&network), Instant::now());
    let (warehouse, trouble) = (&Warehouse::with_stock(count), &Trouble::default());
    let subject = &*subject;
    let at_once = if matches!(network, Network::InProcess(_)) {
        100
    } else {
        30
    };
    futures::stream::iter(0..count)
        .for_each_concurrent(at_once, |run| {
            one_order(subject, &network, run, warehouse, trouble)
        })
        .await;
    let placed = count - warehouse.stock.load(Ordering::SeqCst);
    let paid = warehouse.booked.load(Ordering::SeqCst);
    println!(
        "{placed} of {count} orders placed, {paid} paid, each once, in {:.1} s: {trouble:?}, and the warehouse was told {} times",
        start.elapsed().as_secs_f64(),
        warehouse.deliveries.load(Ordering::SeqCst),
    );
    assert_eq!((placed, paid), (count, count));
    assert_eq!(warehouse.seen.lock().unwrap().len() as u64, 2 * count);
    assert!(trouble.kills.load(Ordering::SeqCst) > count / 2, "{trouble:?}");
    assert!(trouble.faults.load(Ordering::SeqCst) > count / 2, "{trouble:?}");
}
