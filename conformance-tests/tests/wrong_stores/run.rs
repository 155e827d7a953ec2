use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic;
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use statestore_api::backend::expiry;
use statestore_api::{Clock as _, ManualClock, StateStore};
use statestore_conformance::{Case, Subject, clock, contract, restart};

use crate::fault::Fault;
use crate::table::{Table, TableStore};

/// How long a case may take. None does: it is here so that nothing hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// The threads that cases panic on.
const THREAD: &str = "wrong-store";

/// Cases that go another way each time: what they notice by chance is not held against
/// a wrong store.
const RANDOM: &[&str] = &[
    "cancellation::a_dropped_transaction_is_whole_or_not_there",
    "cancellation::a_dropped_write_is_whole_or_not_there",
    "cancellation::a_dropped_write_that_is_retried_is_applied_once",
    "keys::random_pairs_never_meet",
    "listing::random_ids_list_in_order",
    "listing::writers_disturb_no_listing",
    "model::random_sequences_agree_with_a_map",
    "scan::writers_disturb_no_scan",
];

/// A fault, and the cases, as `group::case`, that notice it.
#[derive(Clone, Copy)]
pub(crate) struct WrongStore {
    pub(crate) name: &'static str,
    pub(crate) fault: fn() -> Arc<dyn Fault>,
    pub(crate) fails: &'static [&'static str],
    /// Whether all others have to pass.
    pub(crate) exactly: bool,
}

/// All cases there are.
pub(crate) fn cases() -> Vec<Case> {
    [contract(), restart(), clock()].concat()
}

/// Runs every case on the store; those that fail have to be those that it names.
pub(crate) fn check(store: &WrongStore) {
    let failed = failures(store.fault);
    let known: BTreeSet<&str> = cases().iter().map(|case| case.name).collect();
    let mut diff = String::new();
    for name in store.fails {
        if !known.contains(name) {
            let _ = writeln!(diff, "? {name} is no case");
        } else if !failed.contains_key(name) {
            let _ = writeln!(diff, "- {name} passes, and should fail");
        }
    }
    for (name, message) in failed.iter().filter(|_| store.exactly) {
        let by_chance = RANDOM.contains(name) && !store.fails.is_empty();
        if !store.fails.contains(name) && !by_chance {
            let message: String = message.chars().take(300).collect();
            let _ = writeln!(diff, "+ {name} fails, and should pass: {message}");
        }
    }
    assert!(diff.is_empty(), "other cases fail than should:\n{diff}");
}

/// The cases that fail, with what they say.
fn failures(make: fn() -> Arc<dyn Fault>) -> BTreeMap<&'static str, String> {
    be_quiet();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1) // all that a case starts runs in turns, so that a race ends the same each time
        .thread_name(THREAD)
        .enable_time()
        .build()
        .unwrap();
    let failed = runtime.block_on(async {
        let runs: Vec<_> = cases()
            .into_iter()
            .map(|case| {
                let run = async move { case.run(subject(make())).await };
                (case.name, tokio::spawn(tokio::time::timeout(LIMIT, run)))
            })
            .collect();
        let mut failed = BTreeMap::new();
        for (name, run) in runs {
            match run.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    failed.insert(name, format!("it did not end within {LIMIT:?}"));
                }
                Err(error) => {
                    let message = message(error.into_panic().as_ref());
                    if message == "not written yet" {
                        continue;
                    }
                    failed.insert(name, message);
                }
            }
        }
        failed
    });
    runtime.shutdown_background();
    failed
}

fn subject(fault: Arc<dyn Fault>) -> Subject {
    let clock = ManualClock::new();
    // In the middle of a second, so that a store that counts in seconds is wrong by as much each time.
    let second = Duration::from_secs(expiry::to_ms(clock.now()) / 1000);
    clock.set(SystemTime::UNIX_EPOCH + second + Duration::from_millis(500));
    let table = Arc::new(Table::new(fault, clock.clone()));
    let reopened = table.clone();
    Subject::new(TableStore(table))
        .with_clock(clock)
        .with_reopen(move || {
            let store: Arc<dyn StateStore> = Arc::new(TableStore(Arc::new(reopened.reopen())));
            async move { store }
        })
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// Keeps the panics of cases that should fail out of the output.
fn be_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() != Some(THREAD) {
                loud(info);
            }
        }));
    });
}
