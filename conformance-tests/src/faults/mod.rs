//! What a store answers when the network fails: each [`Fault`], on each
//! operation, with and without other writers, on any store that has a server.
//!
//! [`fault_tests!`](crate::fault_tests) makes a test of each pair of a scenario and an operation. A case sends the operation
//! through the proxy, which makes the fault; lets others write, or the client crash; sends the operation again as the next
//! attempt of the same write, or resolves it; and holds what it is answered against what is really there, which it
//! reads past the proxy. What is demanded is what the contract says of exactly once, no less:
//! - a write that was applied is answered with its version as long as the entry remembers it, else with
//!   [`Indeterminate`](statestore_api::Error::Indeterminate), and not applied again where it has a condition;
//! - a [`Conflict`](statestore_api::Error::Conflict) is only ever the doing of others;
//! - what arrives late changes nothing.
//!
//! [`storm`] is many clients that lose their connections again and again. [`table`] has the outcomes as a table for the
//! documentation, and a check that it is as the documentation has it.

mod cases;
mod operation;
mod storm;
mod subject;
pub mod table;

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
}

/// How much longer than the client waits a request is held back: there is to be time for what happens meanwhile.
const LATE: u32 = 3;

const fn scenario(name: &'static str, fault: fn(Duration) -> Fault, meanwhile: Meanwhile) -> Scenario {
    Scenario {
        name,
        fault,
        meanwhile,
    }
}

const SCENARIOS: &[Scenario] = &[
    scenario("refused_connection", |_| Fault::Refuse, Meanwhile::Nothing),
    scenario(
        "delayed_request",
        |patience| Fault::Delay(patience / 5),
        Meanwhile::Nothing,
    ),
    scenario(
        "throttled_connection",
        |_| Fault::Throttle(20_000),
        Meanwhile::Nothing,
    ),
    scenario(
        "cut_before_the_request",
        |_| Fault::CutRequest,
        Meanwhile::Nothing,
    ),
    scenario(
        "cut_before_the_request_and_another_writes",
        |_| Fault::CutRequest,
        Meanwhile::Writes(|_| 1),
    ),
    scenario(
        "cut_before_the_request_and_a_crash",
        |_| Fault::CutRequest,
        Meanwhile::Crash,
    ),
    scenario("lost_reply", |_| Fault::LoseReply, Meanwhile::Nothing),
    scenario(
        "lost_reply_and_another_writes",
        |_| Fault::LoseReply,
        Meanwhile::Writes(|_| 1),
    ),
    scenario(
        "lost_reply_and_one_write_less_than_is_remembered",
        |_| Fault::LoseReply,
        Meanwhile::Writes(|remembered| remembered - 1),
    ),
    scenario(
        "lost_reply_and_one_write_more_than_is_remembered",
        |_| Fault::LoseReply,
        Meanwhile::Writes(|remembered| remembered + 1),
    ),
    scenario(
        "lost_reply_and_another_deletes",
        |_| Fault::LoseReply,
        Meanwhile::Deletes,
    ),
    scenario("lost_reply_and_a_crash", |_| Fault::LoseReply, Meanwhile::Crash),
    scenario("cut_in_the_reply", |_| Fault::CutReply, Meanwhile::Nothing),
    scenario(
        "stalled_reply",
        |patience| Fault::Stall(patience * 3 / 2),
        Meanwhile::Nothing,
    ),
    scenario(
        "late_delivery",
        |patience| Fault::Late(patience * LATE),
        Meanwhile::Nothing,
    ),
    scenario(
        "late_delivery_and_another_writes",
        |patience| Fault::Late(patience * LATE),
        Meanwhile::Writes(|_| 1),
    ),
];

/// Hands every case there is to a macro: scenarios with their operations.
#[doc(hidden)]
#[macro_export]
macro_rules! __fault_cases {
    ($callback:path, $($arguments:tt)*) => {
        $callback! { $($arguments)*
            refused_connection { get create compare_and_set put touch delete delete_always transaction batch }
            delayed_request { get create compare_and_set put touch delete delete_always transaction batch }
            throttled_connection { get create compare_and_set put touch delete delete_always transaction batch }
            cut_before_the_request { get create compare_and_set put touch delete delete_always transaction batch }
            cut_before_the_request_and_another_writes { create compare_and_set put touch delete transaction }
            cut_before_the_request_and_a_crash { create compare_and_set put touch delete transaction }
            lost_reply { get create compare_and_set put touch delete delete_always transaction batch }
            lost_reply_and_another_writes { create compare_and_set put touch delete transaction }
            lost_reply_and_one_write_less_than_is_remembered { create compare_and_set put touch transaction }
            lost_reply_and_one_write_more_than_is_remembered { create compare_and_set put touch transaction }
            lost_reply_and_another_deletes { create compare_and_set put touch transaction }
            lost_reply_and_a_crash { create compare_and_set put touch delete transaction }
            cut_in_the_reply { get create compare_and_set put touch delete delete_always transaction batch }
            stalled_reply { get create compare_and_set put touch delete delete_always transaction batch }
            late_delivery { get create compare_and_set put touch delete transaction batch }
            late_delivery_and_another_writes { create compare_and_set touch delete transaction }
        }
    };
}

/// Makes a test of each scenario and operation, named `module::scenario::operation`; one of a storm; and one that the
/// table in the documentation is current.
///
/// The expression makes a [`FaultSubject`](crate::faults::FaultSubject). The string is the file of the table.
#[macro_export]
macro_rules! fault_tests {
    ($(#[$attribute:meta])* mod $name:ident = $subject:expr, table in $table:expr;) => {
        mod $name {
            #[allow(unused_imports, reason = "whatever the subject needs")]
            use super::*;

            $crate::__fault_cases! { $crate::__fault_tests, [$(#[$attribute])*] {$subject} }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$attribute])*
            async fn a_connection_storm() {
                $crate::faults::storm($subject).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$attribute])*
            async fn the_table_in_the_documentation_is_current() {
                $crate::faults::table::check(async || $subject, ::std::path::Path::new($table)).await;
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fault_tests {
    ($attributes:tt $subject:tt $($scenario:ident { $($operation:ident)+ })+) => {$(
        mod $scenario {
            #[allow(unused_imports, reason = "whatever the subject needs")]
            use super::*;

            $($crate::__fault_test! { $attributes $subject $scenario $operation })+
        }
    )+};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fault_test {
    ([$($attribute:tt)*] {$subject:expr} $scenario:ident $operation:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $operation() {
            $crate::faults::check(&$subject, stringify!($scenario), stringify!($operation)).await;
        }
    };
}
