//! The index of expiries, and what sweeps it.

use super::*;

const ENTRIES: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("entries");
const EXPIRING: TableDefinition<'_, (u64, &[u8], &[u8]), ()> = TableDefinition::new("expiring");

async fn open(place: &Place, clock: &ManualClock) -> EmbeddedStore {
    let options = EmbeddedOptions::default().with_clock(clock.clone());
    EmbeddedStore::open_with(place.path(), options).await.unwrap()
}

fn advance(clock: &ManualClock) {
    clock.set(clock.now() + Duration::from_secs(10));
}

/// How many entries and expiries are in the closed file.
fn rows(place: &Place) -> (u64, u64) {
    let database = Database::open(place.path()).unwrap();
    let transaction = database.begin_read().unwrap();
    let entries = transaction.open_table(ENTRIES).unwrap();
    let expiring = transaction.open_table(EXPIRING).unwrap();
    (entries.len().unwrap(), expiring.len().unwrap())
}

async fn fill_expiring(store: &EmbeddedStore, count: usize) {
    for start in (0..count).step_by(100) {
        let ttl = Ttl::After(Duration::from_secs(10));
        let ops = (start..start + 100).map(|n| TransactOp::put_expiring(key(n), value(n), ttl));
        store.transact(ops.collect(), Default::default()).await.unwrap();
    }
}

#[tokio::test]
async fn sweep_removes_all_that_has_expired_and_nothing_else() {
    let (place, clock) = (Place::new(), ManualClock::new());
    let store = open(&place, &clock).await;
    fill_expiring(&store, 2500).await;
    let stays = Key::new("q", "stays").unwrap();
    store.put(&stays, value(0), Default::default()).await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), 0);
    advance(&clock);
    assert!(
        store
            .list_page("p", Default::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(store.get(&key(0), Default::default()).await.unwrap().is_none());
    assert_eq!(store.sweep().await.unwrap(), 2500);
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert_eq!(
        store.scan_page(ScanOptions::default()).await.unwrap().items.len(),
        1
    );
    store.close().await.unwrap();
    assert_eq!(rows(&place), (1, 0));
}

#[tokio::test]
async fn writes_sweep_as_they_go() {
    let (place, clock) = (Place::new(), ManualClock::new());
    let store = open(&place, &clock).await;
    fill_expiring(&store, 100).await;
    advance(&clock);
    let live = Key::new("q", "live").unwrap();
    for n in 0..50 {
        store.put(&live, value(n), Default::default()).await.unwrap();
    }
    store.close().await.unwrap();
    assert_eq!(rows(&place), (1, 0));
}

#[tokio::test]
async fn the_index_follows_each_change_of_an_expiry() {
    let (place, clock) = (Place::new(), ManualClock::new());
    let store = open(&place, &clock).await;
    let after = |seconds| Ttl::After(Duration::from_secs(seconds));
    for n in 0..6 {
        store
            .put(&key(n), value(n), PutOptions::expiring(after(10)))
            .await
            .unwrap();
    }
    store
        .put(&key(0), value(0), PutOptions::expiring(Ttl::Keep))
        .await
        .unwrap();
    store.put(&key(1), value(1), Default::default()).await.unwrap();
    store
        .put(&key(2), value(2), PutOptions::expiring(after(20)))
        .await
        .unwrap();
    store.touch(&key(3), after(20), Default::default()).await.unwrap();
    store.touch(&key(4), Ttl::None, Default::default()).await.unwrap();
    store.delete(&key(5), Default::default()).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(rows(&place), (5, 3));
    let store = open(&place, &clock).await;
    advance(&clock);
    assert_eq!(store.sweep().await.unwrap(), 1);
    advance(&clock);
    assert_eq!(store.sweep().await.unwrap(), 2);
    for n in [1, 4] {
        assert_eq!(
            store
                .get(&key(n), Default::default())
                .await
                .unwrap()
                .unwrap()
                .value,
            value(n)
        );
    }
    store.close().await.unwrap();
    assert_eq!(rows(&place), (2, 0));
}
