//! Idempotent handlers, by clocks that the test sets.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};
use statestore_api::{
    Clock, Error, ErrorKind, Item, ManualClock, MemoryStore, ScanOptions, StateStore, StateStoreExt,
};
use statestore_conformance::{Fate, Tapped};
use statestore_patterns::{Idempotency, IdempotencyError, OnDuplicate};
use tokio::time::Instant;

type Outcome = Result<String, IdempotencyError<&'static str>>;

const MINUTE: Duration = Duration::from_secs(60);

/// What the handler did, how often.
#[derive(Default)]
struct Bank {
    called: Cell<u32>,
}

impl Bank {
    async fn pays(&self) -> Result<String, &'static str> {
        self.called.set(self.called.get() + 1);
        Ok(format!("payment {}", self.called.get()))
    }

    async fn takes(&self, time: Duration) -> Result<String, &'static str> {
        tokio::time::sleep(time).await;
        self.pays().await
    }
}

fn payments(store: impl StateStore + 'static) -> Idempotency {
    Idempotency::new(store, "payments").with_deadline(MINUTE)
}

async fn pay(payments: &Idempotency, bank: &Bank) -> Outcome {
    payments.run("order-7", &100, || bank.pays()).await
}

/// The one record there is.
async fn record(store: &MemoryStore) -> Option<Item> {
    let page = store.scan_page(ScanOptions::default()).await.unwrap();
    assert!(page.items.len() <= 1);
    page.items.into_iter().next()
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_ones_result() {
    let (payments, bank) = (payments(MemoryStore::new()), Bank::default());
    for _ in 0..3 {
        assert_eq!(pay(&payments, &bank).await.unwrap(), "payment 1");
    }
    assert_eq!(bank.called.get(), 1);
    let other = payments.run("order-8", &100, || bank.pays()).await.unwrap();
    assert_eq!(other, "payment 2");
}

#[tokio::test]
async fn every_kind_of_result_is_replayed() {
    let payments = payments(MemoryStore::new());
    for (id, value) in [
        ("null", Value::Null),
        ("text", json!("")),
        (
            "map",
            json!({"b": [1, null, {}], "a": 18_446_744_073_709_551_615_u64}),
        ),
    ] {
        let first = payments
            .run(id, &(), async || Ok::<_, &str>(value.clone()))
            .await
            .unwrap();
        let replayed = payments
            .run(id, &(), async || Err::<Value, _>("again"))
            .await
            .unwrap();
        assert_eq!((&first, &replayed), (&value, &value));
    }
    let unit = || payments.run("unit", &(), async || Ok::<(), &str>(()));
    unit().await.unwrap();
    unit().await.unwrap();
    let wide = payments
        .run("wide", &(), async || Ok::<_, &str>(u128::MAX))
        .await
        .unwrap();
    let again = payments
        .run("wide", &(), async || Err::<u128, _>("again"))
        .await
        .unwrap();
    assert_eq!(wide, again);
}

#[tokio::test]
async fn another_payload_under_the_same_id_is_refused() {
    let (payments, bank) = (payments(MemoryStore::new()), Bank::default());
    let nested = payments.run("order-7", &100, async || {
        let during = payments.run("order-7", &101, || bank.pays()).await;
        assert!(
            matches!(during, Err(IdempotencyError::PayloadMismatch { .. })),
            "{during:?}"
        );
        Ok::<_, &str>("payment 1".to_owned())
    });
    nested.await.unwrap();
    let after = payments.run("order-7", &101, || bank.pays()).await;
    assert!(
        matches!(after, Err(IdempotencyError::PayloadMismatch { .. })),
        "{after:?}"
    );
    assert_eq!(bank.called.get(), 0);
}

#[tokio::test]
async fn a_failed_handlers_record_is_removed() {
    let store = MemoryStore::new();
    let (payments, bank) = (payments(store.clone()), Bank::default());
    let failed: Outcome = payments.run("order-7", &100, async || Err("no money")).await;
    assert!(matches!(failed, Err(IdempotencyError::Handler("no money"))));
    assert_eq!(record(&store).await, None);

    let panicking = payments.run("order-7", &100, async || -> Result<String, &str> {
        panic!("a bug")
    });
    let panicked = std::panic::AssertUnwindSafe(panicking).catch_unwind().await;
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a bug"));
    assert_eq!(record(&store).await, None);

    pay(&payments, &bank).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_two_at_once_one_is_run_and_the_other_told() {
    let (payments, bank) = (payments(MemoryStore::new()), Bank::default());
    let first = payments.run("order-7", &100, || bank.takes(MINUTE / 2));
    let (first, second) = tokio::join!(first, pay(&payments, &bank));
    assert_eq!(first.unwrap(), "payment 1");
    let Err(IdempotencyError::InProgress { id, retry_after }) = second else {
        panic!("{second:?}")
    };
    assert_eq!(id, "order-7");
    assert!(retry_after.unwrap() > MINUTE / 2 && retry_after.unwrap() < 2 * MINUTE);
    assert_eq!(bank.called.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_other_waits_when_asked_to() {
    let bank = Bank::default();
    let payments = payments(MemoryStore::new()).on_duplicate(OnDuplicate::Wait(MINUTE));
    let first = payments.run("order-7", &100, || bank.takes(MINUTE / 2));
    let (first, second) = tokio::join!(first, pay(&payments, &bank));
    assert_eq!(
        (first.unwrap(), second.unwrap()),
        ("payment 1".into(), "payment 1".into())
    );

    // It waits no longer than that.
    let impatient = payments.clone().on_duplicate(OnDuplicate::Wait(MINUTE / 4));
    let began = Instant::now();
    let first = payments.run("order-8", &100, || bank.takes(MINUTE / 2));
    let waiting = async {
        let second = impatient.run("order-8", &100, || bank.pays()).await;
        (second, began.elapsed())
    };
    let (first, (second, waited)) = tokio::join!(first, waiting);
    assert_eq!(first.unwrap(), "payment 2");
    assert!(
        matches!(second, Err(IdempotencyError::InProgress { .. })),
        "{second:?}"
    );
    assert!(waited >= MINUTE / 4 && waited < MINUTE / 3, "{waited:?}");

    // And takes the place of one that fails.
    let first = payments.run("order-9", &100, async || {
        tokio::time::sleep(MINUTE / 2).await;
        Err::<String, _>("no money")
    });
    let second = payments.run("order-9", &100, || bank.pays());
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err());
    assert_eq!(second.unwrap(), "payment 3");
}

#[tokio::test(start_paused = true)]
async fn a_dead_processs_request_can_be_tried_again_after_its_deadline() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let (payments, bank) = (payments(store.clone()), Bank::default());
    {
        let dies = payments.run("order-7", &100, || bank.takes(MINUTE / 2));
        tokio::pin!(dies);
        assert!(futures::poll!(&mut dies).is_pending());
    }
    let expires_at = record(&store).await.unwrap().entry.unwrap().expires_at.unwrap();
    assert!(
        expires_at > clock.now() + MINUTE,
        "the handler has its whole time"
    );
    clock.set(expires_at - Duration::from_millis(1));
    let early = pay(&payments, &bank).await;
    assert!(
        matches!(early, Err(IdempotencyError::InProgress { .. })),
        "{early:?}"
    );
    clock.set(expires_at);
    assert_eq!(pay(&payments, &bank).await.unwrap(), "payment 1");
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_ended_before_another_may_run() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let (payments, bank) = (payments(store.clone()), Bank::default());
    let began = Instant::now();
    let slow = payments.run("order-7", &100, || bank.takes(2 * MINUTE)).await;
    let Err(IdempotencyError::DeadlineExceeded { deadline, .. }) = slow else {
        panic!("{slow:?}")
    };
    assert_eq!((deadline, began.elapsed()), (MINUTE, MINUTE));
    assert_eq!(bank.called.get(), 0);
    clock.set(clock.now() + began.elapsed());
    assert!(record(&store).await.is_some(), "it still keeps others out");
}

#[tokio::test]
async fn a_record_without_a_deadline_is_never_taken_for_an_orphan() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let (payments, bank) = (payments(store.clone()), Bank::default());
    let outcome = payments.run("order-7", &100, async || {
        let Item { key, entry, .. } = record(&store).await.unwrap();
        // Another program writes it back, and forgets its expiry.
        store
            .put(&key, entry.unwrap().value, Default::default())
            .await
            .unwrap();
        Ok::<_, &str>("payment 1".to_owned())
    });
    assert!(outcome.await.is_err(), "its record was changed under it");
    clock.set(clock.now() + 1000 * MINUTE);
    let again = pay(&payments, &bank).await;
    assert!(
        matches!(
            again,
            Err(IdempotencyError::InProgress {
                retry_after: None,
                ..
            })
        ),
        "{again:?}"
    );
    assert_eq!(bank.called.get(), 0);
}

#[tokio::test]
async fn a_result_is_kept_as_long_as_asked_for() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let (payments, bank) = (payments(store).with_retention(10 * MINUTE), Bank::default());
    pay(&payments, &bank).await.unwrap();
    clock.set(clock.now() + 10 * MINUTE - Duration::from_millis(1));
    assert_eq!(pay(&payments, &bank).await.unwrap(), "payment 1");
    clock.set(clock.now() + Duration::from_millis(1));
    assert_eq!(pay(&payments, &bank).await.unwrap(), "payment 2");
}

/// A store where the calls of this name meet these fates, one after the other, and the rest is delivered.
fn fates(store: &MemoryStore, name: &'static str, fates: &'static [Fate]) -> Tapped {
    let calls = Arc::new(AtomicU32::new(0));
    Tapped::new(store.clone(), move |call| {
        let call = (call == name).then(|| calls.fetch_add(1, Ordering::SeqCst));
        let fate = call.and_then(|call| fates.get(call as usize)).copied();
        async move { fate.unwrap_or(Fate::Deliver) }
    })
}

#[tokio::test(start_paused = true)]
async fn ones_own_lost_reply_is_not_anothers_progress() {
    use Fate::{Deliver, LoseReply, LoseRequest};
    // The first write begins, the second keeps the result.
    for lost in [
        &[LoseReply][..],
        &[Deliver, LoseReply],
        &[Deliver, LoseRequest, LoseReply],
        &[LoseReply, LoseRequest, LoseRequest],
    ] {
        let (store, bank) = (MemoryStore::new(), Bank::default());
        let outcome = pay(&payments(fates(&store, "put", lost)), &bank).await;
        assert_eq!(outcome.unwrap(), "payment 1", "{lost:?}");
        assert_eq!(
            pay(&payments(store), &bank).await.unwrap(),
            "payment 1",
            "{lost:?}"
        );
    }
}

#[tokio::test]
async fn nothing_is_run_without_a_record() {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let lossy = payments(fates(&store, "put", &[Fate::LoseRequest]));
    let outcome = pay(&lossy, &bank).await;
    assert!(
        matches!(outcome, Err(IdempotencyError::Store(Error::Unavailable { .. }))),
        "{outcome:?}"
    );
    assert_eq!(bank.called.get(), 0);
    assert_eq!(pay(&lossy, &bank).await.unwrap(), "payment 1");
}

#[tokio::test]
async fn a_result_that_cannot_be_kept_is_said() {
    let bank = Bank::default();
    let store = MemoryStore::new();
    let size = store.capabilities().max_value_bytes;
    let outcome = payments(store)
        .run("order-7", &100, async || Ok::<_, &str>("x".repeat(size)))
        .await;
    let Err(IdempotencyError::NotRecorded { source, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(source.kind(), ErrorKind::ValueTooLarge);

    // Another has taken over, by a clock that ran ahead: its result stays.
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let payments = payments(store);
    let outcome = payments.run("order-7", &100, async || {
        clock.set(clock.now() + 2 * MINUTE);
        assert_eq!(pay(&payments, &bank).await.unwrap(), "payment 1");
        Ok::<_, &str>("too late".to_owned())
    });
    let outcome = outcome.await;
    assert!(
        matches!(outcome, Err(IdempotencyError::NotRecorded { .. })),
        "{outcome:?}"
    );
    assert_eq!(pay(&payments, &bank).await.unwrap(), "payment 1");
}

#[tokio::test]
async fn a_result_of_another_type_is_a_codec_error_that_does_not_show_it() {
    let payments = payments(MemoryStore::new());
    payments
        .run("order-7", &(), async || Ok::<_, &str>("secret".to_owned()))
        .await
        .unwrap();
    let error = payments
        .run("order-7", &(), async || Ok::<u32, &str>(1))
        .await
        .unwrap_err();
    let IdempotencyError::Store(error @ Error::Codec { .. }) = error else {
        panic!("{error:?}")
    };
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn a_wrapped_handler_runs_once_an_event() {
    let store = MemoryStore::new();
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let handler = payments(store.clone()).handler(
        |event: &Value| event["id"].as_str().unwrap().to_owned(),
        move |event: Value| {
            let count = counted.clone();
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                Ok::<_, &str>(event["amount"].clone())
            }
        },
    );
    let event = |id, amount| json!({"id": id, "amount": amount});
    // As a runtime would: from another task each time.
    for _ in 0..3 {
        let result = tokio::spawn(handler(event("1", 100))).await.unwrap();
        assert_eq!(result.unwrap(), 100);
    }
    assert_eq!(handler(event("2", 5)).await.unwrap(), 5);
    assert_eq!(count.load(Ordering::SeqCst), 2);
    let other = handler(event("1", 999)).await;
    assert!(
        matches!(other, Err(IdempotencyError::PayloadMismatch { .. })),
        "{other:?}"
    );
    assert!(!store.exists(&"1".parse().unwrap()).await.unwrap());
}
