use std::time::Duration;

use statestore_api::layer::{Retry, RetryPolicy, Timeout};
use statestore_api::{
    Attempt, Clock, ErrorKind, ManualClock, MemoryStore, Precondition, PutOptions, Resolution, StateStore,
    StateStoreExt, TransactOp, TransactOptions, Ttl, WriteId,
};

use crate::scripted::Step::{Hang, Late, Lose, Pass, Refuse, Slow};
use crate::scripted::{Scripted, throttled, unanswered, unauthorized, unreachable};
use crate::{indeterminate, key};

fn retrying(scripted: &Scripted) -> Retry<Scripted> {
    Retry::new(scripted.clone(), RetryPolicy::default())
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answers_are_lost_is_applied_once() {
    let scripted = Scripted::new(&[]);
    let (store, key) = (retrying(&scripted), key("k"));
    let lost = [Lose(unanswered), Lose(unanswered)];

    scripted.then(&lost);
    let created = store.create(&key, "one").await.unwrap();
    assert_eq!(scripted.numbers(), [0, 1, 2]);

    scripted.then(&lost);
    let set = store.compare_and_set(&key, Some(&created), "two").await.unwrap();
    assert_eq!(scripted.numbers(), [0, 1, 2]);

    scripted.then(&lost);
    let put = store.put(&key, "three".into(), Default::default()).await.unwrap();
    assert_eq!(scripted.numbers(), [0, 1, 2]);

    scripted.then(&lost);
    let touched = store.touch(&key, Ttl::None, put.clone().into()).await.unwrap();
    assert_eq!(scripted.numbers(), [0, 1, 2]);

    let entry = store.get(&key, Default::default()).await.unwrap().unwrap();
    assert_eq!((entry.value, &entry.version), ("three".into(), &touched));
    assert!(created != set && set != put && put != touched);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_whose_answers_are_lost_is_applied_once() {
    let scripted = Scripted::new(&[Lose(unanswered), Lose(unanswered)]);
    let (store, key) = (retrying(&scripted), key("k"));
    let ops = vec![TransactOp::put(key.clone(), "one").when(Precondition::Absent)];
    let versions = store.transact(ops, Default::default()).await.unwrap();
    assert_eq!(scripted.numbers(), [0, 1, 2]);
    let entry = store.get(&key, Default::default()).await.unwrap().unwrap();
    assert_eq!(versions, [Some(entry.version)]);
}

#[tokio::test(start_paused = true)]
async fn the_writes_of_a_batch_are_repeated_each_for_itself() {
    let scripted = Scripted::new(&[Lose(unanswered), Refuse(throttled)]);
    let store = retrying(&scripted);
    let puts = ["a", "b", "c"].map(|id| (key(id), id.into(), Precondition::Absent.into()));
    let put = store.put_many(puts.into()).await;
    assert!(put.iter().all(Result::is_ok), "{put:?}");
    assert_eq!(scripted.requests().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_surely_did_nothing_is_not_counted() {
    let scripted = Scripted::new(&[]);
    let (store, key) = (retrying(&scripted), key("k"));
    scripted.then(&[Refuse(throttled), Refuse(unreachable)]);
    store.create(&key, "one").await.unwrap();
    assert_eq!(scripted.numbers(), [0, 0, 0]);

    // So this is known to be a conflict.
    scripted.then(&[Refuse(throttled), Refuse(unreachable)]);
    let error = store.create(&key, "two").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(scripted.numbers(), [0, 0, 0]);

    scripted.then(&[Refuse(throttled), Lose(unanswered), Refuse(throttled)]);
    store.put(&key, "three".into(), Default::default()).await.unwrap();
    assert_eq!(scripted.numbers(), [0, 0, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_callers_own_attempt_is_counted_on() {
    let scripted = Scripted::new(&[Refuse(throttled), Refuse(unanswered)]);
    let (store, id) = (retrying(&scripted), WriteId::new());
    let options = PutOptions::default().with_attempt(Attempt::first(id).next().next());
    store.put(&key("k"), "v".into(), options).await.unwrap();
    let attempts: Vec<_> = scripted
        .requests()
        .iter()
        .map(|request| request.attempt.unwrap())
        .collect();
    assert_eq!(
        attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(),
        [2, 2, 3]
    );
    assert!(attempts.iter().all(|attempt| attempt.id == id));
}

#[tokio::test(start_paused = true)]
async fn each_call_is_a_write_of_its_own() {
    let scripted = Scripted::new(&[]);
    let store = retrying(&scripted);
    for _ in 0..2 {
        store
            .put(&key("k"), "v".into(), Default::default())
            .await
            .unwrap();
    }
    let requests = scripted.requests();
    assert_ne!(requests[0].attempt.unwrap().id, requests[1].attempt.unwrap().id);
}

#[tokio::test(start_paused = true)]
async fn what_others_did_to_an_unanswered_write_is_told_as_far_as_it_can_be() {
    let scripted = Scripted::new(&[]);
    let (store, key) = (retrying(&scripted), key("k"));
    let first = scripted.behind().create(&key, "theirs").await.unwrap();
    scripted
        .behind()
        .put(&key, "theirs".into(), Default::default())
        .await
        .unwrap();

    // The entry remembers all that came after the expected version: ours is not among it.
    scripted.then(&[Refuse(unanswered)]);
    let error = store
        .compare_and_set(&key, Some(&first), "ours")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);

    // Ours may have been there, and have been deleted, before theirs was created.
    scripted.then(&[Refuse(unanswered)]);
    let error = store.create(&key, "ours").await.unwrap_err();
    assert_eq!(indeterminate(&error).1, None, "this is the store's own judgement");
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_that_arrives_late_changes_nothing() {
    let scripted = Scripted::new(&[]);
    let (store, key) = (retrying(&scripted), key("k"));
    let version = store.create(&key, "one").await.unwrap();
    scripted.then(&[Late]);
    let ours = store.compare_and_set(&key, Some(&version), "two").await.unwrap();
    let theirs = store.compare_and_set(&key, Some(&ours), "three").await.unwrap();
    let late = scripted.deliver().await;
    assert!(matches!(&late[..], [Ok(version)] if *version == ours), "{late:?}");
    let entry = store.get(&key, Default::default()).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.version), ("three".into(), theirs));
}

#[tokio::test(start_paused = true)]
async fn a_late_attempt_cannot_turn_a_conflict_into_a_write() {
    let scripted = Scripted::new(&[]);
    let (store, key) = (retrying(&scripted), key("k"));
    let version = store.create(&key, "one").await.unwrap();
    scripted
        .behind()
        .put(&key, "theirs".into(), Default::default())
        .await
        .unwrap();
    scripted.then(&[Late]);
    let error = store
        .compare_and_set(&key, Some(&version), "ours")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    scripted.deliver().await[0].as_ref().unwrap_err();
    assert_eq!(
        store.get(&key, Default::default()).await.unwrap().unwrap().value,
        "theirs"
    );
}

#[tokio::test(start_paused = true)]
async fn a_delete_whose_answer_is_lost() {
    let scripted = Scripted::new(&[]);
    let (store, key) = (retrying(&scripted), key("k"));
    let version = store.create(&key, "one").await.unwrap();
    scripted.then(&[Lose(unanswered)]);
    store.delete(&key, Default::default()).await.unwrap();

    let again = store.create(&key, "two").await.unwrap();
    assert_ne!(again, version);
    scripted.requests();
    scripted.then(&[Lose(unanswered)]);
    // Somebody else may have deleted it.
    let error = store.delete(&key, again.into()).await.unwrap_err();
    assert_eq!(indeterminate(&error).1, None);
    assert_eq!(scripted.numbers(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_given_up_says_whether_it_may_have_been_applied() {
    let scripted = Scripted::new(&[]);
    let policy = RetryPolicy::default().with_max_attempts(3);
    let (store, key) = (Retry::new(scripted.clone(), policy), key("k"));
    scripted.then(&[Refuse(throttled), Refuse(throttled), Refuse(unreachable)]);
    let error = store.create(&key, "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable(), "{error}");

    scripted.then(&[Lose(unanswered), Refuse(unreachable), Refuse(throttled)]);
    let error = store.create(&key, "v").await.unwrap_err();
    let (id, source) = indeterminate(&error);
    assert_eq!(source, Some(ErrorKind::Throttled));
    assert!(
        error.to_string().contains("all 3 attempts are used up"),
        "{error}"
    );
    let became = store.resolve(&key, id, &Precondition::Absent).await.unwrap();
    let version = store
        .get(&key, Default::default())
        .await
        .unwrap()
        .unwrap()
        .version;
    assert_eq!(became, Resolution::Applied(version.clone()));
    // Or the write is sent on.
    let options = PutOptions::from(Precondition::Absent).with_attempt(Attempt::first(id).next());
    assert_eq!(store.put(&key, "v".into(), options).await.unwrap(), version);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_until_the_deadline_may_have_been_applied() {
    let policy = RetryPolicy::default().with_deadline(Duration::from_secs(2));
    // The deadline is the reason for the last attempt too.
    for policy in [policy, policy.with_max_attempts(1)] {
        let scripted = Scripted::new(&[Hang]);
        let error = Retry::new(scripted.clone(), policy)
            .create(&key("k"), "v")
            .await
            .unwrap_err();
        let (id, source) = indeterminate(&error);
        assert_eq!(source, Some(ErrorKind::Timeout));
        assert!(
            error.to_string().contains("2s leave no time for another attempt"),
            "{error}"
        );
        assert_eq!(scripted.requests()[0].attempt, Some(Attempt::first(id)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_behind_an_unanswered_attempt_does_not_hide_it() {
    let scripted = Scripted::new(&[Refuse(unauthorized)]);
    let store = retrying(&scripted);
    let error = store.create(&key("k"), "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);

    scripted.then(&[Refuse(unanswered), Refuse(unauthorized)]);
    let error = store.create(&key("k"), "v").await.unwrap_err();
    assert_eq!(indeterminate(&error).1, Some(ErrorKind::Unauthorized));
    // Arguments are refused before anything is sent, whatever went before.
    let (empty, options) = (Vec::new(), TransactOptions::default());
    assert_eq!(store.transact(empty, options).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_expiry_has_passed_meanwhile_is_looked_for() {
    let clock = ManualClock::new();
    let scripted = Scripted::over(MemoryStore::with_clock(clock.clone()), &[]);
    let store = retrying(&scripted);
    let minute = Duration::from_secs(60);
    // Each is sent for the first time before it expires, and again, by the caller, after that.
    for applied in [true, false] {
        let [put, touch, one, other] =
            ["put", "touch", "one", "other"].map(|id| key(&format!("{id}-{applied}")));
        let before = store.create(&touch, "v").await.unwrap();
        let ttl = Ttl::At(clock.now() + minute);
        let (id, first) = (WriteId::new(), Attempt::first(WriteId::new()));
        let ops = || {
            let ops = [&one, &other].map(|key| TransactOp::put_expiring(key.clone(), "v", ttl));
            ops.map(|op| op.when(Precondition::Absent)).to_vec()
        };
        let options = |id| {
            PutOptions::from(Precondition::Absent)
                .with_ttl(ttl)
                .with_write_id(id)
        };
        let sent = store.put(&put, "v".into(), options(id)).await.unwrap();
        let touched = store.touch(&touch, ttl, before.clone().into()).await.unwrap();
        let transaction = TransactOptions::default().with_attempt(first);
        let versions = store.transact(ops(), transaction.clone()).await.unwrap();
        let touched_by = scripted
            .requests()
            .iter()
            .find(|sent| sent.operation == "touch")
            .unwrap()
            .attempt;
        clock.set(clock.now() + minute);
        if !applied {
            // What is gone from storage cannot be told any more.
            for key in [&put, &touch, &one, &other] {
                store.delete(key, Default::default()).await.unwrap();
            }
        }

        let retry = options(id).with_attempt(Attempt::first(id).next());
        let put = store.put(&put, "v".into(), retry).await;
        let again = statestore_api::TouchOptions::from(before).with_attempt(touched_by.unwrap().next());
        let touch = store.touch(&touch, ttl, again).await;
        let both = store
            .transact(ops(), transaction.with_attempt(first.next()))
            .await;
        if applied {
            assert_eq!(put.unwrap(), sent);
            assert_eq!(touch.unwrap(), touched);
            assert_eq!(both.unwrap(), versions);
        } else {
            for error in [put.unwrap_err(), touch.unwrap_err(), both.unwrap_err()] {
                assert_eq!(indeterminate(&error).1, Some(ErrorKind::InvalidTtl), "{error}");
            }
        }
    }
    // A first attempt is refused as it is.
    let past = PutOptions::expiring(Ttl::At(clock.now()));
    let error = store.put(&key("k"), "v".into(), past).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTtl);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_attempt_takes_too_long_may_have_been_applied_and_is_sent_again() {
    let scripted = Scripted::new(&[Hang, Lose(unanswered)]);
    let policy = RetryPolicy::default().with_attempt_timeout(Duration::from_secs(1));
    let store = Retry::new(scripted.clone(), policy);
    store.create(&key("k"), "v").await.unwrap();
    assert_eq!((scripted.numbers(), scripted.dropped()), (vec![0, 1, 2], 1));

    scripted.then(&[Hang; 2]);
    let store = Retry::new(scripted.clone(), policy.with_max_attempts(2));
    let error = store.create(&key("l"), "v").await.unwrap_err();
    assert_eq!(indeterminate(&error).1, Some(ErrorKind::Timeout));
}

#[tokio::test(start_paused = true)]
async fn the_search_for_a_transaction_ends_with_the_deadline() {
    let clock = ManualClock::new();
    let scripted = Scripted::over(MemoryStore::with_clock(clock.clone()), &[]);
    let second = Duration::from_secs(1);
    let ops: Vec<_> = (0..4)
        .map(|n| {
            let op = TransactOp::put_expiring(key(&n.to_string()), "v", Ttl::At(clock.now() + second));
            op.when(Precondition::Absent)
        })
        .collect();
    let first = Attempt::first(WriteId::new());
    let options = TransactOptions::default().with_attempt(first);
    scripted.transact(ops.clone(), options.clone()).await.unwrap();
    clock.set(clock.now() + second);

    let slow = Slow(Duration::from_millis(900));
    // It is refused, and each of its keys is asked for in less than what an attempt may take.
    scripted.then(&[Pass, slow, slow, slow, slow]);
    let policy = RetryPolicy::default()
        .with_deadline(3 * second)
        .with_attempt_timeout(second);
    let start = tokio::time::Instant::now();
    let store = Retry::new(scripted, policy);
    let again = store.transact(ops, options.with_attempt(first.next()));
    let error = again.await.unwrap_err();
    assert_eq!(indeterminate(&error).1, Some(ErrorKind::Timeout), "{error}");
    assert_eq!(start.elapsed(), 3 * second);
}

#[tokio::test(start_paused = true)]
async fn an_expiry_that_passes_between_two_attempts_does_not_hide_the_first() {
    let clock = ManualClock::new();
    let scripted = Scripted::over(
        MemoryStore::with_clock(clock.clone()),
        &[Lose(unanswered), Refuse(throttled)],
    );
    let wait = Duration::from_secs(1);
    let policy = RetryPolicy::default().with_base_delay(wait).with_max_delay(wait);
    let (store, key) = (Retry::new(scripted.clone(), policy), key("k"));
    let expiring = PutOptions::expiring(Ttl::At(clock.now() + Duration::from_millis(1)));
    let put = store.put(&key, "v".into(), expiring);
    let passes = async {
        tokio::task::yield_now().await;
        clock.set(clock.now() + wait);
    };
    let (put, ()) = futures::join!(put, passes);
    let operations: Vec<_> = scripted
        .requests()
        .iter()
        .map(|request| request.operation)
        .collect();
    assert_eq!(operations, ["put", "put", "put", "resolve"]);
    put.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_time_out_for_each_attempt_leaves_time_for_the_next() {
    let scripted = Scripted::new(&[Hang, Hang]);
    let store = Timeout::new(scripted.clone(), Duration::from_secs(1));
    let store = Retry::new(store, RetryPolicy::default());
    store.create(&key("k"), "v").await.unwrap();
    assert_eq!((scripted.numbers(), scripted.dropped()), (vec![0, 1, 2], 2));
}
