//! The suite under test: deliberately wrong stores, each of which has to fail the cases that are for it, and no others.
//!
//! A [`Fault`](fault::Fault) is one bug, as somebody has really made it, in a store that is right but for that. Beside it
//! stand the names of the cases that notice.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::collections::BTreeSet;

/// A test for each wrong store, and the list of them all.
///
/// `fails` names the cases that fail, and all others pass. Where nearly nothing works any more, `fails at least` names
/// those that are about just that.
macro_rules! wrong_stores {
    ($($name:ident: $fault:expr => $($verdict:ident)+ { $($group:ident { $($case:ident)+ })* };)+) => {
        pub(crate) const ALL: &[crate::run::WrongStore] = &[$(crate::run::WrongStore {
            name: stringify!($name),
            fault: || ::std::sync::Arc::new($fault),
            exactly: wrong_stores!(@exactly $($verdict)+),
            fails: &[$($(concat!(stringify!($group), "::", stringify!($case))),+),*],
        }),+];

        mod a_store_that {
            wrong_stores!(@tests 0, $($name)+);
        }
    };
    (@exactly fails) => { true };
    (@exactly fails at least) => { false };
    (@tests $place:expr, $name:ident $($rest:ident)*) => {
        #[test]
        fn $name() {
            crate::run::check(&super::ALL[$place]);
        }
        wrong_stores!(@tests $place + 1, $($rest)*);
    };
    (@tests $place:expr,) => {};
}

mod batches;
mod calls;
mod conditions;
mod exactly_once;
mod expiry;
mod fault;
mod histories;
mod keys;
mod life;
mod listing;
mod races;
mod right;
mod run;
mod scan;
mod table;
mod transactions;
mod values;
mod versions;

/// Cases that no wrong store can fail.
const CANNOT_FAIL: &[(&str, &str)] = &[(
    "values::changing_a_returned_buffer_changes_nothing",
    "`Bytes` that are shared cannot be changed, and those that are not are nobody else's",
)];

/// All wrong stores there are.
fn all() -> Vec<run::WrongStore> {
    let stores = [
        batches::ALL,
        conditions::ALL,
        exactly_once::ALL,
        expiry::ALL,
        keys::ALL,
        life::ALL,
        listing::ALL,
        races::ALL,
        scan::ALL,
        transactions::ALL,
        values::ALL,
        versions::ALL,
    ];
    stores.concat()
}

/// A case that no wrong store fails tests nothing.
#[test]
fn every_case_is_failed_by_a_wrong_store() {
    let failed: BTreeSet<&str> = all().iter().flat_map(|store| store.fails).copied().collect();
    let excused: BTreeSet<&str> = CANNOT_FAIL.iter().map(|(name, _)| *name).collect();
    let all: BTreeSet<&str> = run::cases().iter().map(|case| case.name).collect();
    let untested: Vec<_> = all
        .iter()
        .filter(|name| !failed.contains(*name) && !excused.contains(*name))
        .collect();
    assert!(
        untested.is_empty(),
        "no wrong store fails these cases: {untested:#?}"
    );
    let needless: Vec<_> = excused
        .iter()
        .filter(|name| failed.contains(*name) || !all.contains(*name))
        .collect();
    assert!(needless.is_empty(), "these need no excuse: {needless:#?}");
}

/// Lets the others run, as a round trip to a service does.
async fn pause() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}
