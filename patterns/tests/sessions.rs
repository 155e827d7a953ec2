//! Sessions by a clock that the test sets.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use statestore_api::{Clock, ManualClock, MemoryStore, ScanOptions, StateStore};
use statestore_conformance::{Fate, Tapped};
use statestore_patterns::{SessionId, Sessions};

const IDLE: Duration = Duration::from_secs(1600);

struct World {
    clock: ManualClock,
    store: MemoryStore,
    touches: Arc<AtomicU32>,
    sessions: Sessions<Vec<String>>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::with_clock(clock.clone());
        let touches = Arc::new(AtomicU32::new(0));
        let count = touches.clone();
        let counted = Tapped::new(store.clone(), move |call| {
            count.fetch_add(u32::from(call == "touch"), Ordering::SeqCst);
            async { Fate::Deliver }
        });
        Self {
            sessions: Sessions::new(counted, IDLE).with_clock(clock.clone()),
            clock,
            store,
            touches,
        }
    }

    fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now() + time);
    }
}

fn cart(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

#[tokio::test]
async fn a_session_lives_as_long_as_it_is_used() {
    let world = World::new();
    let id = world.sessions.start(&cart(&["lamp"])).await.unwrap();
    for _ in 0..5 {
        world.pass(IDLE - Duration::from_millis(1));
        assert_eq!(world.sessions.get(&id).await.unwrap(), Some(cart(&["lamp"])));
    }
    world.pass(IDLE - Duration::from_millis(1));
    let length = world.sessions.update(&id, |cart| {
        cart.push("chair".to_owned());
        Ok(cart.len())
    });
    assert_eq!(length.await.unwrap(), Some(2));
    world.pass(IDLE - Duration::from_millis(1));
    assert_eq!(
        world.sessions.get(&id).await.unwrap(),
        Some(cart(&["lamp", "chair"]))
    );
    world.pass(IDLE);
    assert_eq!(world.sessions.get(&id).await.unwrap(), None);
    assert_eq!(world.sessions.update(&id, |_| Ok(())).await.unwrap(), None);
    assert_eq!(world.sessions.change_id(&id).await.unwrap(), None);
    let left = world.store.scan_page(ScanOptions::default()).await.unwrap();
    assert_eq!(left.items, [], "nothing brings it back");
}

#[tokio::test]
async fn most_reads_write_nothing() {
    let world = World::new();
    let id = world.sessions.start(&cart(&[])).await.unwrap();
    for _ in 0..160 {
        world.pass(IDLE / 160);
        assert!(world.sessions.get(&id).await.unwrap().is_some());
    }
    let touches = world.touches.load(Ordering::SeqCst);
    assert!((10..=16).contains(&touches), "{touches}");
}

#[tokio::test]
async fn an_update_that_changes_nothing_moves_the_expiry_too() {
    let world = World::new();
    let id = world.sessions.start(&cart(&[])).await.unwrap();
    world.pass(IDLE - Duration::from_secs(1));
    world.sessions.update(&id, |_| Ok(())).await.unwrap();
    world.pass(IDLE - Duration::from_secs(1));
    assert!(world.sessions.get(&id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_new_id_takes_the_value_along() {
    let world = World::new();
    let old = world.sessions.start(&cart(&["lamp"])).await.unwrap();
    let new = world.sessions.change_id(&old).await.unwrap().unwrap();
    assert_eq!(world.sessions.get(&old).await.unwrap(), None);
    assert_eq!(world.sessions.get(&new).await.unwrap(), Some(cart(&["lamp"])));
    world.sessions.end(&new).await.unwrap();
    world.sessions.end(&new).await.unwrap();
    assert_eq!(world.sessions.get(&new).await.unwrap(), None);
}

#[tokio::test]
async fn a_visitor_does_not_see_that_an_expiry_could_not_be_moved() {
    let clock = ManualClock::new();
    let store = Tapped::new(MemoryStore::with_clock(clock.clone()), |call| async move {
        if call == "touch" {
            Fate::LoseRequest
        } else {
            Fate::Deliver
        }
    });
    let sessions = Sessions::new(store, IDLE).with_clock(clock.clone());
    let id = sessions.start(&1).await.unwrap();
    clock.set(clock.now() + IDLE / 2);
    assert_eq!(sessions.get(&id).await.unwrap(), Some(1));
}

#[tokio::test]
async fn an_id_is_a_secret() {
    let world = World::new();
    let id = world.sessions.start(&cart(&[])).await.unwrap();
    assert_eq!(id.as_str().parse::<SessionId>().unwrap(), id);
    assert!(!format!("{id:?}").contains(id.as_str()));
    let page = world.store.scan_page(ScanOptions::default()).await.unwrap();
    assert!(!page.items[0].key.to_string().contains(id.as_str()));
    for text in ["", "short", &"g".repeat(32), &"A".repeat(32), &"1".repeat(33)] {
        assert!(text.parse::<SessionId>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_session_that_is_ended_while_it_is_read_is_gone() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let ending = store.clone();
    let tapped = Tapped::new(store, move |call| {
        let store = ending.clone();
        async move {
            if call == "touch" {
                let page = store.scan_page(ScanOptions::default()).await.unwrap();
                store
                    .delete(&page.items[0].key, Default::default())
                    .await
                    .unwrap();
            }
            Fate::Deliver
        }
    });
    let sessions = Sessions::new(tapped, IDLE).with_clock(clock.clone());
    let id = sessions.start(&1).await.unwrap();
    clock.set(clock.now() + IDLE / 2);
    assert_eq!(sessions.get(&id).await.unwrap(), None);
}
