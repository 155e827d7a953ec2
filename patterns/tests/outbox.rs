//! Orders and their events.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statestore_api::{
    BoxError, Clock, Error, ErrorKind, Key, ListOptions, ManualClock, MemoryStore, StateStore, TransactOp,
};
use statestore_conformance::{Fate, Tapped};
use statestore_patterns::{Event, Lease, LeaseError, OnFailure, Outbox, OutboxError};
use tokio::time::Instant;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    lines: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    Added(String),
    Refused,
}

type Orders = Outbox<Order, OrderEvent>;

fn key() -> &'static Key {
    static KEY: LazyLock<Key> = LazyLock::new(|| "user-42/order-7".parse().unwrap());
    &KEY
}

async fn add(orders: &Orders, line: &str) -> Result<usize, OutboxError> {
    orders
        .update(key(), |order, events| {
            let order = order.get_or_insert_default();
            order.lines.push(line.to_owned());
            events.push(OrderEvent::Added(line.to_owned()));
            Ok(order.lines.len())
        })
        .await
}

async fn add_once(orders: &Orders, id: &str, line: &str) -> Result<usize, OutboxError> {
    orders
        .update_once(key(), id, |order, events| {
            let order = order.get_or_insert_default();
            order.lines.push(line.to_owned());
            events.push(OrderEvent::Added(line.to_owned()));
            Ok(order.lines.len())
        })
        .await
}

/// What handlers were given.
#[derive(Clone, Default)]
struct Warehouse {
    got: Arc<Mutex<Vec<(String, OrderEvent)>>>,
}

impl Warehouse {
    async fn gets(&self, event: Event<OrderEvent>) -> Result<(), BoxError> {
        self.got.lock().unwrap().push((event.id, event.event));
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        let lines = got.iter().map(|(_, event)| match event {
            OrderEvent::Added(line) => line.clone(),
            OrderEvent::Refused => "refused".to_owned(),
        });
        lines.collect()
    }
}

async fn ids(store: &MemoryStore) -> Vec<String> {
    let page = store.list_page("user-42", ListOptions::default()).await.unwrap();
    page.items.iter().map(|item| item.key.id().to_owned()).collect()
}

#[tokio::test]
async fn a_state_is_written_with_its_events_which_are_delivered_in_order() {
    let store = MemoryStore::new();
    let (orders, warehouse) = (Orders::new(store.clone()), Warehouse::default());
    for (count, line) in ["lamp", "chair", "table"].iter().enumerate() {
        assert_eq!(add(&orders, line).await.unwrap(), count + 1);
    }
    assert_eq!(orders.waiting().await.unwrap(), ["user-42"]);
    let delivered = orders
        .deliver("user-42", |event| warehouse.gets(event))
        .await
        .unwrap();
    assert_eq!((delivered.handled, delivered.given_up), (3, 0));
    assert_eq!(warehouse.lines(), ["lamp", "chair", "table"]);
    let ids_got: Vec<_> = warehouse
        .got
        .lock()
        .unwrap()
        .iter()
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(ids_got, ["user-42/0", "user-42/1", "user-42/2"]);
    assert_eq!(ids(&store).await, ["order-7", "~outbox/lease", "~outbox/next"]);

    // Nothing is left, and what comes later goes on counting.
    let delivered = orders
        .deliver("user-42", |event| warehouse.gets(event))
        .await
        .unwrap();
    assert_eq!(delivered.handled, 0);
    assert_eq!(orders.waiting().await.unwrap(), Vec::<String>::new());
    add(&orders, "bed").await.unwrap();
    orders
        .deliver("user-42", |event| warehouse.gets(event))
        .await
        .unwrap();
    assert_eq!(warehouse.got.lock().unwrap().last().unwrap().0, "user-42/3");
    let state = orders.states().get(key()).await.unwrap().unwrap();
    assert_eq!(state.value.lines.len(), 4);
}

#[tokio::test]
async fn an_event_that_comes_in_again_is_not_applied_again() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let orders = Orders::new(store.clone()).with_retention(Duration::from_secs(60));
    let long = "x".repeat(500);
    for id in ["event-1", &long] {
        let first = add_once(&orders, id, "lamp").await.unwrap();
        assert_eq!(add_once(&orders, id, "another").await.unwrap(), first);
    }
    let state = orders.states().get(key()).await.unwrap().unwrap();
    assert_eq!(state.value.lines, ["lamp", "lamp"]);
    // Behind the retention it is.
    clock.set(clock.now() + Duration::from_secs(60));
    assert_eq!(add_once(&orders, "event-1", "late").await.unwrap(), 3);
}

#[tokio::test]
async fn a_refusal_writes_neither_state_nor_event_nor_mark() {
    let store = MemoryStore::new();
    let orders = Orders::new(store.clone());
    let refused = orders.update_once(key(), "event-1", |order, events| {
        *order = Some(Order::default());
        events.push(OrderEvent::Refused);
        Err::<(), _>("sold out".into())
    });
    let OutboxError::Store(error) = refused.await.unwrap_err() else {
        panic!("the function refused")
    };
    assert_eq!(error.kind(), ErrorKind::Aborted);
    assert_eq!(ids(&store).await, Vec::<String>::new());

    // Nor is anything written when nothing is decided.
    orders.update(key(), |_, _| Ok(())).await.unwrap();
    assert_eq!(ids(&store).await, Vec::<String>::new());
    // A deleted state may cause events, and so may one that is only looked at.
    add(&orders, "lamp").await.unwrap();
    let event_alone = orders.update(key(), |order, events| {
        events.push(OrderEvent::Refused);
        Ok(order.is_some())
    });
    assert!(event_alone.await.unwrap());
    let cancelled = orders.update(key(), |order, events| {
        events.push(OrderEvent::Refused);
        Ok(order.take())
    });
    cancelled.await.unwrap();
    let warehouse = Warehouse::default();
    orders
        .deliver("user-42", |event| warehouse.gets(event))
        .await
        .unwrap();
    assert_eq!(warehouse.lines(), ["lamp", "refused", "refused"]);
    assert_eq!(orders.states().get(key()).await.unwrap(), None);
}

#[tokio::test]
async fn what_does_not_decode_is_left_as_it_is() {
    let store = MemoryStore::new();
    let orders = Orders::new(store.clone());
    store.put(key(), "{}".into(), Default::default()).await.unwrap();
    let error = add(&orders, "lamp").await.unwrap_err();
    assert!(
        matches!(error, OutboxError::Store(Error::Codec { .. })),
        "{error:?}"
    );
    assert_eq!(ids(&store).await, ["order-7"]);
    let other = "user-42/order-8".parse().unwrap();
    let too_many = orders.update(&other, |_, events| {
        events.extend(vec![OrderEvent::Refused; 100]);
        Ok(())
    });
    let error = too_many.await.unwrap_err();
    assert!(
        matches!(error, OutboxError::Store(Error::TooManyOps { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_failed_event_is_the_next_deliverys_first() {
    let (orders, warehouse) = (Orders::new(MemoryStore::new()), Warehouse::default());
    for line in ["lamp", "chair", "table"] {
        add(&orders, line).await.unwrap();
    }
    let tries = AtomicU32::new(0);
    let deliver = || {
        orders.deliver("user-42", |event| {
            let warehouse = warehouse.clone();
            let fails = event.event == OrderEvent::Added("chair".to_owned())
                && tries.fetch_add(1, Ordering::SeqCst) < 2;
            async move {
                if fails {
                    return Err("the warehouse is closed".into());
                }
                warehouse.gets(event).await
            }
        })
    };
    for time in 1..=2 {
        let Err(OutboxError::Handler { id, attempts, source }) = deliver().await else {
            panic!("it fails twice")
        };
        assert_eq!((id.as_str(), attempts), ("user-42/1", time));
        assert_eq!(source.to_string(), "the warehouse is closed");
        assert_eq!(warehouse.lines(), ["lamp"]);
    }
    assert_eq!(deliver().await.unwrap().handled, 2);
    assert_eq!(warehouse.lines(), ["lamp", "chair", "table"]);
}

#[tokio::test]
async fn a_hook_gives_up_and_compensates() {
    let orders = Orders::new(MemoryStore::new());
    let compensating = orders.clone();
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let hooked = orders.clone().on_error(move |failed| {
        count.fetch_add(1, Ordering::SeqCst);
        let orders = compensating.clone();
        async move {
            assert_eq!(failed.error.to_string(), "sold out");
            if failed.event.attempts < 2 {
                return OnFailure::Retry;
            }
            let undone = orders.update_once(key(), &failed.event.id, |order, events| {
                *order = None;
                events.push(OrderEvent::Refused);
                Ok(())
            });
            undone.await.unwrap();
            OnFailure::GiveUp
        }
    });
    add(&orders, "lamp").await.unwrap();
    let warehouse = Warehouse::default();
    let deliver = || {
        hooked.deliver("user-42", |event| {
            let warehouse = warehouse.clone();
            async move {
                match event.event {
                    OrderEvent::Added(_) => Err("sold out".into()),
                    OrderEvent::Refused => warehouse.gets(event).await,
                }
            }
        })
    };
    assert!(matches!(
        deliver().await,
        Err(OutboxError::Handler { attempts: 1, .. })
    ));
    let delivered = deliver().await.unwrap();
    assert_eq!((delivered.handled, delivered.given_up), (1, 1));
    assert_eq!(warehouse.lines(), ["refused"]);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(orders.states().get(key()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn one_delivers_at_a_time_and_a_dead_one_is_replaced() {
    let orders = Orders::new(MemoryStore::new()).with_lease(Duration::from_secs(9), Duration::from_secs(5));
    let warehouse = Warehouse::default();
    add(&orders, "lamp").await.unwrap();
    let slow = orders.deliver("user-42", |event| {
        let warehouse = warehouse.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(100)).await;
            warehouse.gets(event).await
        }
    });
    let (slow, other) = tokio::join!(slow, orders.deliver("user-42", |event| warehouse.gets(event)));
    assert_eq!(slow.unwrap().handled, 1);
    assert!(
        matches!(other, Err(OutboxError::Lease(LeaseError::Held { .. }))),
        "{other:?}"
    );

    add(&orders, "chair").await.unwrap();
    {
        let dies = orders.deliver("user-42", |_| std::future::pending());
        assert!(tokio::time::timeout(Duration::from_secs(1), dies).await.is_err());
    }
    let patient = orders.with_lease(Duration::from_secs(9), Duration::from_secs(20));
    let began = Instant::now();
    assert_eq!(
        patient
            .deliver("user-42", |event| warehouse.gets(event))
            .await
            .unwrap()
            .handled,
        1
    );
    assert!(began.elapsed() >= Duration::from_secs(9));
    assert_eq!(warehouse.lines(), ["lamp", "chair"]);
}

#[tokio::test(start_paused = true)]
async fn a_deliverer_that_is_replaced_is_ended_and_takes_nothing_out() {
    let store = MemoryStore::new();
    let orders = Orders::new(store.clone()).with_lease(Duration::from_secs(9), Duration::from_secs(5));
    add(&orders, "lamp").await.unwrap();
    let replaced = orders.deliver("user-42", |_| async {
        // Somebody takes the lease, wrongly.
        let lease = "user-42/~outbox/lease".parse().unwrap();
        store.delete(&lease, Default::default()).await.unwrap();
        let other = Lease::new(store.clone(), lease, Duration::from_secs(9));
        std::mem::forget(other.try_acquire().await.unwrap());
        std::future::pending().await
    });
    let replaced = replaced.await;
    assert!(
        matches!(replaced, Err(OutboxError::Lease(LeaseError::Lost { .. }))),
        "{replaced:?}"
    );
    assert_eq!(orders.waiting().await.unwrap(), ["user-42"]);

    // An event that was taken out by hand meanwhile is no error.
    let store = MemoryStore::new();
    let orders = Orders::new(store.clone());
    add(&orders, "lamp").await.unwrap();
    add(&orders, "chair").await.unwrap();
    let delivered = orders.deliver("user-42", |event| {
        let store = store.clone();
        async move {
            let key = format!("user-42/~outbox/event/{:020}", event.number)
                .parse()
                .unwrap();
            let gone = vec![TransactOp::delete(key)];
            store.transact(gone, Default::default()).await?;
            Ok(())
        }
    });
    assert_eq!(delivered.await.unwrap().handled, 2);
}

#[tokio::test(start_paused = true)]
async fn no_outcome_of_an_update_once_stays_unknown() {
    for fates in [
        &[Fate::LoseReply][..],
        &[Fate::LoseRequest, Fate::LoseReply],
        &[Fate::LoseReply, Fate::LoseReply, Fate::LoseRequest],
    ] {
        let store = MemoryStore::new();
        let calls = Arc::new(AtomicU32::new(0));
        let lossy = Tapped::new(store.clone(), move |call| {
            let call = (call == "transact").then(|| calls.fetch_add(1, Ordering::SeqCst));
            let fate = call.and_then(|call| fates.get(call as usize)).copied();
            async move { fate.unwrap_or(Fate::Deliver) }
        });
        let orders = Orders::new(lossy);
        assert_eq!(
            add_once(&orders, "event-1", "lamp").await.unwrap(),
            1,
            "{fates:?}"
        );
        assert_eq!(
            add_once(&orders, "event-1", "lamp").await.unwrap(),
            1,
            "{fates:?}"
        );
        let state = orders.states().get(key()).await.unwrap().unwrap();
        assert_eq!(state.value.lines, ["lamp"]);
    }
}

/// A store on which those who begin together read before any of them writes.
fn slow(store: &MemoryStore) -> Tapped {
    Tapped::new(store.clone(), |_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Fate::Deliver
    })
}

#[tokio::test(start_paused = true)]
async fn an_update_without_events_loses_none_either() {
    let store = MemoryStore::new();
    let orders = Orders::new(slow(&store));
    let add = async |line: &str| {
        let added = orders.update(key(), |order, _| {
            order.get_or_insert_default().lines.push(line.to_owned());
            Ok(())
        });
        added.await.unwrap();
    };
    tokio::join!(add("lamp"), add("chair"));
    let state = orders.states().get(key()).await.unwrap().unwrap();
    assert_eq!(state.value.lines.len(), 2);
    assert_eq!(ids(&store).await, ["order-7"]);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_applied_once_in_its_partition_whatever_the_state() {
    let store = MemoryStore::new();
    let orders = Orders::new(slow(&store));
    let place = async |id: &str| {
        let key = Key::new("user-42", id).unwrap();
        let placed = orders.update_once(&key, "event-1", |order, _| {
            *order = Some(Order::default());
            Ok(id.to_owned())
        });
        placed.await.unwrap()
    };
    let (one, other) = tokio::join!(place("order-1"), place("order-2"));
    assert_eq!(one, other);
    assert_eq!(ids(&store).await, [one.as_str(), "~outbox/done/:event-1"]);
}
