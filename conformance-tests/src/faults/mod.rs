//! What a store answers when the network fails: each [`Fault`], on each
//! operation, with and without other writers, on any store that has a server.
//!
//! [`fault_tests!`](crate::fault_tests) makes a test of each scenario, with a case for each operation. A case sends it
//! through the proxy, which makes the fault; lets others write, or the client crash; sends the operation again as the next
//! attempt of the same write, or resolves it; and holds what it is answered against what is really there, which it
//! reads past the proxy. What is demanded is what the contract says of exactly once, no less:
//! - a write that was applied is answered with its version as long as the entry remembers it, else with
//!   [`Indeterminate`](statestore_api::Error::Indeterminate), and not applied again where it has a condition;
//! - a [`Conflict`](statestore_api::Error::Conflict) is only ever the doing of others;
//! - what arrives late changes nothing.
//!
//! The outcomes stand in a table of the documentation, which the tests write, or check. [`storm`] is many clients that
//! lose their connections again and again.

mod cases;
mod operation;
mod storm;
mod subject;
mod table;

pub use self::cases::check;
pub use self::operation::Operation;
pub use self::storm::storm;
pub use self::subject::{FaultSubject, Opening};

use crate::proxy::Fault;
use std::time::Duration;

/// What happens while a write is in doubt.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    Nothing,
    /// Others write the same keys so often, given how many writes an entry remembers.
    Writes(fn(usize) -> usize),
    /// Another deletes the keys.
    Deletes,
    /// The client's process ends, and another one asks what became of the write.
    Crash,
}

/// A fault, and what happens after it.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    /// As tests are named.
    name: &'static str,
    fault: fn(patience: Duration) -> Fault,
    meanwhile: Meanwhile,
    /// To which operations, by their names.
    operations: &'static [&'static str],
}

/// Every operation.
const ALL: &[&str] = &[
    "get",
    "create",
    "compare_and_set",
    "put",
    "touch",
    "delete",
    "delete_always",
    "transaction",
    "batch",
];
/// Those of one write that others can disturb.
const WRITES: &[&str] = &[
    "create",
    "compare_and_set",
    "put",
    "touch",
    "delete",
    "transaction",
];
/// The same that leave an entry.
const PUTS: &[&str] = &["create", "compare_and_set", "put", "touch", "transaction"];
/// The same under a condition that holds once at the most. (Without one, what comes late is applied late.)
const ONCE: &[&str] = &["create", "compare_and_set", "touch", "delete", "transaction"];
/// All but the delete without a condition.
const KNOWN: &[&str] = &[
    "get",
    "create",
    "compare_and_set",
    "put",
    "touch",
    "delete",
    "transaction",
    "batch",
];

/// How much longer than the client waits a request is held back: there is to be time for what happens meanwhile.
const LATE: u32 = 3;

/// Declares the scenarios.
macro_rules! scenarios {
    ($($name:ident: $fault:expr, $meanwhile:expr, $operations:expr;)+) => {
        const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: stringify!($name),
            fault: $fault,
            meanwhile: $meanwhile,
            operations: $operations,
        }),+];
    };
}

scenarios! {
    refused_connection: |_| Fault::Refuse, Meanwhile::Nothing, ALL;
    delayed_request: |_| Fault::Delay(Duration::from_millis(100)), Meanwhile::Nothing, ALL;
    throttled_connection: |_| Fault::Throttle(20_000), Meanwhile::Nothing, ALL;
    cut_before_the_request: |_| Fault::CutRequest, Meanwhile::Nothing, ALL;
    cut_before_the_request_and_another_writes: |_| Fault::CutRequest, Meanwhile::Writes(|_| 1), WRITES;
    cut_before_the_request_and_a_crash: |_| Fault::CutRequest, Meanwhile::Crash, WRITES;
    lost_reply: |_| Fault::LoseReply, Meanwhile::Nothing, ALL;
    lost_reply_and_another_writes: |_| Fault::LoseReply, Meanwhile::Writes(|_| 1), WRITES;
    lost_reply_and_one_write_less_than_is_remembered: |_| Fault::LoseReply, Meanwhile::Writes(|remembered| remembered - 1), PUTS;
    lost_reply_and_one_write_more_than_is_remembered: |_| Fault::LoseReply, Meanwhile::Writes(|remembered| remembered + 1), PUTS;
    lost_reply_and_another_deletes: |_| Fault::LoseReply, Meanwhile::Deletes, PUTS;
    lost_reply_and_a_crash: |_| Fault::LoseReply, Meanwhile::Crash, WRITES;
    cut_in_the_reply: |_| Fault::CutReply, Meanwhile::Nothing, ALL;
    stalled_reply: |patience| Fault::Stall(patience * 3 / 2), Meanwhile::Nothing, ALL;
    late_delivery: |patience| Fault::Late(patience * LATE), Meanwhile::Nothing, KNOWN;
    late_delivery_and_another_writes: |patience| Fault::Late(patience * LATE), Meanwhile::Writes(|_| 1), ONCE;
}

/// Makes a test of each scenario, named `module::scenario`, and one of a storm.
///
/// The expression makes a [`FaultSubject`](crate::faults::FaultSubject). The string is the file of the table with the
/// outcomes, which each test checks, or writes when `STATESTORE_WRITE_FAULT_TABLE` is set.
#[macro_export]
macro_rules! fault_tests {
    ($(#[$attribute:meta])* mod $name:ident = $subject:expr, table in $table:expr;) => {
        mod $name {
            #[allow(unused_imports, reason = "whatever the subject needs")]
            use super::*;

            $crate::__fault_tests! { [$(#[$attribute])*] {$subject} {$table}
                refused_connection
                delayed_request
                throttled_connection
                cut_before_the_request
                cut_before_the_request_and_another_writes
                cut_before_the_request_and_a_crash
                lost_reply
                lost_reply_and_another_writes
                lost_reply_and_one_write_less_than_is_remembered
                lost_reply_and_one_write_more_than_is_remembered
                lost_reply_and_another_deletes
                lost_reply_and_a_crash
                cut_in_the_reply
                stalled_reply
                late_delivery
                late_delivery_and_another_writes
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$attribute])*
            async fn a_connection_storm() {
                $crate::faults::storm($subject).await;
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fault_tests {
    ($attributes:tt $subject:tt $table:tt $($scenario:ident)+) => {
        $($crate::__fault_test! { $attributes $subject $table $scenario })+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fault_test {
    ([$($attribute:tt)*] {$subject:expr} {$table:expr} $scenario:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $scenario() {
            let table = ::std::path::Path::new($table);
            $crate::faults::check(async || $subject, stringify!($scenario), table).await;
        }
    };
}
