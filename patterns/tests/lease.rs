//! Leases by a clock that jumps: every wait here takes no time.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use statestore_api::{Key, MemoryStore, Precondition, StateStore, TransactOp};
use statestore_conformance::{Fate, Tapped};
use statestore_patterns::{Fenced, Lease, LeaseError, LeaseGuard};
use tokio::time::Instant;

const LENGTH: Duration = Duration::from_secs(9);

fn key(id: &str) -> Key {
    Key::new("reports", id).unwrap()
}

fn lease(store: impl StateStore + 'static, holder: &str) -> Lease {
    Lease::new(store, key("lease"), LENGTH).with_holder(holder)
}

async fn write(guard: &LeaseGuard, value: &'static str) -> Result<(), LeaseError> {
    guard
        .transact(vec![TransactOp::put(key("data"), value)])
        .await
        .map(drop)
}

async fn read(store: &MemoryStore) -> String {
    let entry = store
        .get(&key("data"), Default::default())
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(entry.value.to_vec()).unwrap()
}

/// A store of one machine, which can be cut off: its calls then hang until it is mended.
#[derive(Clone, Default)]
struct Network {
    cut: Arc<AtomicBool>,
    mended: Arc<tokio::sync::Notify>,
    writes: Arc<AtomicU32>,
}

impl Network {
    fn to(&self, store: &MemoryStore) -> Tapped {
        let network = self.clone();
        Tapped::new(store.clone(), move |call| {
            let network = network.clone();
            async move {
                let mended = network.mended.notified();
                if network.cut.load(Ordering::SeqCst) {
                    mended.await;
                }
                network
                    .writes
                    .fetch_add(u32::from(call == "put"), Ordering::SeqCst);
                Fate::Deliver
            }
        })
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
        self.mended.notify_waiters();
    }
}

#[tokio::test(start_paused = true)]
async fn one_holds_it_for_as_long_as_it_lives() {
    let store = MemoryStore::new();
    let guard = lease(store.clone(), "one").acquire(Duration::ZERO).await.unwrap();
    let error = lease(store.clone(), "two")
        .acquire(10 * LENGTH)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, LeaseError::Held { holder, token, .. } if holder == "one" && *token == guard.token()),
        "{error}"
    );
    assert!(guard.is_held());
    write(&guard, "of one").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_released_one_is_free_at_once_with_a_higher_token() {
    let store = MemoryStore::new();
    let (one, two) = (lease(store.clone(), "one"), lease(store.clone(), "two"));
    let mut last = 0;
    for _ in 0..3 {
        for lease in [&one, &two] {
            let guard = lease.try_acquire().await.unwrap();
            assert!(guard.token() > last);
            last = guard.token();
            guard.release().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_contender_takes_over_after_it_has_watched_for_the_holders_length() {
    let store = MemoryStore::new();
    let guard = lease(store.clone(), "one").acquire(Duration::ZERO).await.unwrap();
    let token = guard.token();
    drop(guard);
    // However long ago it was: who has just come has seen nothing yet.
    tokio::time::sleep(100 * LENGTH).await;
    let began = Instant::now();
    // Its own length is of no matter.
    let short = Lease::new(store.clone(), key("lease"), LENGTH / 10);
    let guard = short.acquire(2 * LENGTH).await.unwrap();
    assert!(began.elapsed() >= LENGTH, "{:?}", began.elapsed());
    assert!(began.elapsed() < LENGTH + LENGTH / 10, "{:?}", began.elapsed());
    assert_eq!(guard.token(), token + 1);
}

#[tokio::test(start_paused = true)]
async fn who_only_tries_now_and_then_takes_over_too() {
    let store = MemoryStore::new();
    drop(lease(store.clone(), "one").acquire(Duration::ZERO).await.unwrap());
    let two = lease(store.clone(), "two");
    assert!(two.try_acquire().await.is_err());
    tokio::time::sleep(LENGTH - Duration::from_millis(1)).await;
    let error = two.clone().try_acquire().await.unwrap_err();
    let LeaseError::Held { retry_after, .. } = error else {
        panic!("{error}")
    };
    tokio::time::sleep(retry_after).await;
    assert!(two.try_acquire().await.unwrap().is_held());
}

#[tokio::test(start_paused = true)]
async fn a_paused_holders_late_write_is_refused() {
    let store = MemoryStore::new();
    let network = Network::default();
    let paused = lease(network.to(&store), "paused")
        .acquire(Duration::ZERO)
        .await
        .unwrap();
    let fenced = Fenced::<String>::new(store.clone());
    fenced
        .put(&key("elsewhere"), paused.token(), "of paused".to_owned())
        .await
        .unwrap();
    write(&paused, "of paused").await.unwrap();

    // Its write is on its way when it is cut off.
    network.cut();
    let late = {
        let write = write(&paused, "too late");
        tokio::pin!(write);
        assert!(futures::poll!(&mut write).is_pending());

        let successor = lease(store.clone(), "successor")
            .acquire(2 * LENGTH)
            .await
            .unwrap();
        write_as(&successor, &fenced).await;
        assert!(successor.token() > paused.token());
        network.mend();
        let late = write.await;
        assert!(successor.is_held());
        late
    };
    assert!(matches!(late, Err(LeaseError::Lost { .. })), "{late:?}");
    assert_eq!(read(&store).await, "of the successor");

    let stale = fenced
        .put(&key("elsewhere"), paused.token(), "too late".to_owned())
        .await;
    assert!(matches!(stale, Err(LeaseError::Stale { .. })), "{stale:?}");
    assert_eq!(
        fenced.get(&key("elsewhere")).await.unwrap().unwrap(),
        "of the successor"
    );

    // From now on it knows, and asks no more.
    assert!(!paused.is_held());
    assert!(matches!(
        write(&paused, "later").await,
        Err(LeaseError::Lost { .. })
    ));
    assert!(matches!(paused.release().await, Err(LeaseError::Lost { .. })));
}

async fn write_as(successor: &LeaseGuard, fenced: &Fenced<String>) {
    write(successor, "of the successor").await.unwrap();
    let value = "of the successor".to_owned();
    fenced
        .put(&key("elsewhere"), successor.token(), value)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_cut_off_knows_before_another_takes_over() {
    let store = MemoryStore::new();
    let network = Network::default();
    let guard = lease(network.to(&store), "one")
        .acquire(Duration::ZERO)
        .await
        .unwrap();
    tokio::time::sleep(5 * LENGTH).await;
    assert!(guard.is_held(), "it was renewed");
    network.cut();
    let began = Instant::now();
    let two = lease(store.clone(), "two");
    let (lost, taken) = tokio::join!(
        async {
            guard.lost().await;
            began.elapsed()
        },
        async {
            let guard = two.acquire(3 * LENGTH).await.unwrap();
            (began.elapsed(), guard)
        }
    );
    assert!(lost <= LENGTH, "{lost:?}");
    assert!(lost <= taken.0, "{lost:?}, {:?}", taken.0);
    assert!(!guard.is_held());
}

/// Else it would be held by two: another counts from when the record was written.
#[tokio::test(start_paused = true)]
async fn its_time_counts_from_when_the_last_renewal_was_sent() {
    const LATE: Duration = Duration::from_secs(4);
    for lost in [false, true] {
        let store = MemoryStore::new();
        let calls = Arc::new(AtomicU32::new(0));
        let tapped = Tapped::new(store, move |_| {
            // The look and the write that acquire it; the first renewal, with the look that finds it although its reply was lost; silence.
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                match call {
                    0 | 1 => Fate::Deliver,
                    2 if lost => Fate::LoseReply,
                    2 | 3 if lost || call == 2 => Fate::DelayReply(LATE),
                    _ => std::future::pending().await,
                }
            }
        });
        let began = Instant::now();
        let guard = lease(tapped, "one").acquire(Duration::ZERO).await.unwrap();
        tokio::time::sleep(LENGTH / 3 + LATE).await;
        guard.lost().await;
        let held = began.elapsed();
        let right = LENGTH / 3 + LENGTH;
        let about = held >= right && held < right + Duration::from_millis(20);
        assert!(about, "lost: {lost}, held for {held:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn renewal_stops_on_drop_and_after_a_release() {
    let store = MemoryStore::new();
    let network = Network::default();
    let one = lease(network.to(&store), "one");
    let guard = one.acquire(Duration::ZERO).await.unwrap();
    tokio::time::sleep(3 * LENGTH).await;
    assert!(
        network.writes.load(Ordering::SeqCst) >= 9,
        "it is renewed three times a length"
    );
    guard.release().await.unwrap();
    drop(one.acquire(Duration::ZERO).await.unwrap());
    let writes = network.writes.load(Ordering::SeqCst);
    tokio::time::sleep(3 * LENGTH).await;
    assert_eq!(network.writes.load(Ordering::SeqCst), writes);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_record_is_lost_and_the_token_grows_all_the_same() {
    let store = MemoryStore::new();
    let guard = lease(store.clone(), "one").acquire(Duration::ZERO).await.unwrap();
    let entry = store
        .get(&key("lease"), Default::default())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.expires_at, None, "the token must not expire");
    store
        .delete(&key("lease"), Precondition::None.into())
        .await
        .unwrap();
    assert!(matches!(
        write(&guard, "of one").await,
        Err(LeaseError::Lost { .. })
    ));
    guard.lost().await;
    // Clocks of the system have a millisecond to go on.
    std::thread::sleep(Duration::from_millis(2));
    let next = lease(store, "two").acquire(Duration::ZERO).await.unwrap();
    assert!(next.token() > guard.token());
}

#[tokio::test(start_paused = true)]
async fn what_others_write_in_the_transaction_is_no_loss() {
    let store = MemoryStore::new();
    let guard = lease(store.clone(), "one").acquire(Duration::ZERO).await.unwrap();
    let version = guard
        .transact(vec![TransactOp::put(key("data"), "1")])
        .await
        .unwrap();
    write(&guard, "2").await.unwrap();
    let stale = Precondition::Matches(version[0].clone().unwrap());
    let refused = guard
        .transact(vec![TransactOp::put(key("data"), "3").when(stale)])
        .await;
    let Err(LeaseError::Store(statestore_api::Error::Conflict(conflict))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((conflict.op, conflict.key), (Some(0), key("data")));
    assert!(guard.is_held());

    for op in [
        TransactOp::put("elsewhere/data".parse().unwrap(), "x"),
        TransactOp::delete(key("lease")),
    ] {
        let refused = guard.transact(vec![op]).await;
        assert!(
            matches!(
                refused,
                Err(LeaseError::Store(statestore_api::Error::InvalidTransaction {
                    op: 0,
                    ..
                }))
            ),
            "{refused:?}"
        );
    }
}

/// Each call is lost, or its reply is, by a seed.
fn bad_network(store: &MemoryStore, seed: u64) -> Tapped {
    let dice = Arc::new(std::sync::Mutex::new(fastrand::Rng::with_seed(seed)));
    Tapped::new(store.clone(), move |_| {
        let (fate, delay) = {
            let mut dice = dice.lock().unwrap();
            let fate = match dice.u8(..10) {
                0 => Fate::LoseRequest,
                1 | 2 => Fate::LoseReply,
                _ => Fate::Deliver,
            };
            // Now and then one takes very long.
            let long = if dice.u8(..20) == 0 {
                LENGTH.as_millis()
            } else {
                50
            };
            (
                fate,
                Duration::from_millis(dice.u64(..u64::try_from(long).unwrap())),
            )
        };
        async move {
            tokio::time::sleep(delay).await;
            fate
        }
    })
}

#[tokio::test(start_paused = true)]
async fn never_do_two_hold_it_and_tokens_only_grow_on_bad_networks() {
    let acquired = AtomicU32::new(0);
    for seed in 0..20 {
        let store = MemoryStore::new();
        let (holders, last) = (AtomicU32::new(0), AtomicU64::new(0));
        let worker = async |worker: u64| {
            let mut dice = fastrand::Rng::with_seed(seed * 100 + worker);
            let lease = lease(bad_network(&store, dice.u64(..)), &worker.to_string());
            let end = Instant::now() + 30 * LENGTH;
            while Instant::now() < end {
                let Ok(guard) = lease.acquire(LENGTH).await else {
                    tokio::time::sleep(LENGTH / 20).await;
                    continue;
                };
                acquired.fetch_add(1, Ordering::SeqCst);
                assert!(last.swap(guard.token(), Ordering::SeqCst) < guard.token());
                // It works as long as it holds it, and now and then it dies.
                assert_eq!(
                    holders.fetch_add(u32::from(guard.is_held()), Ordering::SeqCst),
                    0,
                    "seed {seed}"
                );
                let was_held = guard.is_held();
                let work = tokio::time::sleep(LENGTH.mul_f64(2.0 * dice.f64()));
                tokio::select! {
                    () = guard.lost() => {}
                    () = work => {}
                }
                holders.fetch_sub(u32::from(was_held), Ordering::SeqCst);
                if dice.bool() {
                    let _ = guard.release().await;
                }
            }
        };
        futures::future::join_all((0..4).map(worker)).await;
    }
    assert!(acquired.load(Ordering::SeqCst) > 200, "{acquired:?}");
}
