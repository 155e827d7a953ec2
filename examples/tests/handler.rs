//! The quickstart's handler where the quickstart itself cannot bring it: in front of a store whose replies get lost.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]
#![allow(dead_code, reason = "the example's modules are used in part")]

#[path = "../quickstart/events.rs"]
mod events;
#[path = "../quickstart/handler.rs"]
mod handler;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::{Event, deliveries};
use handler::{Cart, Outcome, handle};
use statestore::layer::{Retry, RetryPolicy};
use statestore::{
    Applied, Bytes, Capabilities, Clock, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions,
    ManualClock, MemoryStore, Page, Precondition, PutOptions, Resolution, Result, ScanOptions, StateStore,
    StateStoreExt, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

/// Applies every transaction, and loses the replies of the first ones.
#[derive(Debug)]
struct Lossy {
    store: MemoryStore,
    to_lose: AtomicU32,
    asked: AtomicU32,
}

impl Lossy {
    /// As `open` gives it out: with the layer around it that sends a write again.
    fn losing(replies: u32) -> Retry<Self> {
        let lossy = Self {
            store: MemoryStore::new(),
            to_lose: AtomicU32::new(replies),
            asked: AtomicU32::new(0),
        };
        Retry::new(lossy, RetryPolicy::default())
    }
}

#[async_trait]
impl StateStore for Lossy {
    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let reply = self.store.transact(ops, options).await;
        let lose = |left: u32| left.checked_sub(1);
        match self
            .to_lose
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, lose)
        {
            Ok(_) => Err(Error::Unavailable {
                applied: Applied::Maybe,
                reason: "the connection was reset".to_owned(),
                source: None,
            }),
            Err(_) => reply,
        }
    }

    fn capabilities(&self) -> &Capabilities {
        self.store.capabilities()
    }

    async fn ready(&self) -> Result<()> {
        self.store.ready().await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.store.get(key, options).await
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        self.store.get_many(keys, options).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        self.store.put(key, value, options).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.store.delete(key, options).await
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        self.store.touch(key, ttl, options).await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        self.store.resolve(key, id, precondition).await
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.store.list_page(partition, options).await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.store.scan_page(options).await
    }

    async fn sweep(&self) -> Result<u64> {
        self.store.sweep().await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}

fn event(id: &str) -> Event {
    let mut events = deliveries().unwrap().into_iter();
    events.find(|event| event.id == id).expect("it is in the file")
}

/// Bob's events, in the order of the file; the checkout is the last.
fn bobs() -> Vec<Event> {
    let events = deliveries().unwrap().into_iter();
    events.filter(|event| event.user == "bob").collect()
}

async fn cart(store: &dyn StateStore, event: &Event, id: &str) -> Option<Cart> {
    let entry = store
        .get(&event.key(id).unwrap(), Default::default())
        .await
        .unwrap()?;
    Some(serde_json::from_slice(&entry.value).unwrap())
}

#[tokio::test]
async fn a_lost_reply_does_not_do_it_twice_and_is_not_taken_for_a_duplicate() {
    let (store, event) = (Lossy::losing(3), event("1832c9"));
    assert_eq!(
        handle(&store, &event).await.unwrap(),
        Outcome::Done { conflicts: 0 }
    );
    assert_eq!(store.inner().asked.load(Ordering::Relaxed), 4);
    let stored = cart(&store, &event, "cart").await.unwrap();
    assert_eq!((stored.changes, stored.cents()), (1, 2 * 1290));
    assert_eq!(handle(&store, &event).await.unwrap(), Outcome::DoneBefore);
    assert_eq!(cart(&store, &event, "cart").await.unwrap(), stored);
}

#[tokio::test]
async fn an_order_whose_reply_is_lost_is_placed_once() {
    let (store, bobs) = (Lossy::losing(0), bobs());
    let checkout = bobs.last().unwrap();
    for event in &bobs[..bobs.len() - 2] {
        handle(&store, event).await.unwrap();
    }
    store.inner().to_lose.store(2, Ordering::Relaxed);
    assert_eq!(
        handle(&store, checkout).await.unwrap(),
        Outcome::Done { conflicts: 0 }
    );
    assert_eq!(
        cart(&store, checkout, "orders/B-20417").await.unwrap().cents(),
        6625
    );
    assert_eq!(cart(&store, checkout, "cart").await, None);
    assert_eq!(handle(&store, checkout).await.unwrap(), Outcome::DoneBefore);
}

#[tokio::test]
async fn a_checkout_waits_for_the_events_it_has_overtaken() {
    let (store, bobs) = (MemoryStore::new(), bobs());
    let checkout = bobs.last().unwrap();
    assert_eq!(handle(&store, checkout).await.unwrap(), Outcome::TooEarly);
    // A removal may come before its addition.
    for event in bobs[..bobs.len() - 2].iter().rev() {
        handle(&store, event).await.unwrap();
    }
    let (one, other) = tokio::join!(handle(&store, checkout), handle(&store, checkout));
    let outcomes = [one.unwrap(), other.unwrap()];
    assert!(outcomes.contains(&Outcome::DoneBefore), "{outcomes:?}");
    assert_eq!(
        cart(&store, checkout, "orders/B-20417").await.unwrap().cents(),
        6625
    );
}

#[tokio::test]
async fn the_marker_goes_after_a_week_and_the_cart_stays() {
    let clock = ManualClock::new();
    let (store, event) = (MemoryStore::with_clock(clock.clone()), event("1832c9"));
    handle(&store, &event).await.unwrap();
    let marker = event.key("events/1832c9").unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    clock.set(clock.now() + 6 * day);
    assert!(store.exists(&marker).await.unwrap());
    clock.set(clock.now() + day);
    assert!(!store.exists(&marker).await.unwrap());
    assert_eq!(cart(&store, &event, "cart").await.unwrap().changes, 1);
}
