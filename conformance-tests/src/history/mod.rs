//! Histories of concurrent clients, and a checker that finds out whether they are linearizable.
//!
//! Clients record each operation's invocation and its completion with a [`Recorder`]. A write whose answer never
//! came is of unknown outcome: it has an invocation and no completion. [`check`] then looks for an order of all
//! operations that a register with versions could have gone through one at a time, in which each takes effect
//! between its invocation and its completion. If there is none, the store has broken its contract, and the
//! [`Violation`] shows the shortest part of the history that cannot be.
//!
//! ```
//! use statestore_api::{Key, Version};
//! use statestore_conformance::history::{Bound, Call, Outcome, Recorder, Seen, check};
//!
//! let key: Key = "user-42/cart".parse()?;
//! let [first, second]: [Version; 2] = ["v1".parse()?, "v2".parse()?];
//! let recorder = Recorder::default();
//! let mut run = |call: Call, outcome| {
//!     let invoked = recorder.invoke(0, &key, call);
//!     recorder.complete(invoked, outcome);
//! };
//! run(Call::Put { value: 1, expected: None }, Outcome::Written(first.clone()));
//! run(Call::Put { value: 2, expected: Some(first.clone()) }, Outcome::Written(second));
//! // The write above was acknowledged, and this read does not see it.
//! run(Call::Get, Outcome::Read(Some(Seen { value: 1, version: first })));
//!
//! let violation = check(&recorder.history(), Bound::default()).violation().expect("a stale read");
//! println!("{violation}");
//! # Ok::<(), statestore_api::Error>(())
//! ```
//!
//! # What makes it both quick and able to say no
//! - **Every write writes a value of its own**, and none is unconditional. A version then names one write, so that a
//!   write can only take effect in one state of the register, and no state but absence comes back.
//! - **A write of unknown outcome has no completion** and is tried only where it changes the state. The search has
//!   succeeded when all known operations have their place. (Were it given a completion at the end, where it may also
//!   have had no effect, there would be as many orders as subsets of unknown writes, and a history with some thirty
//!   of them could never be rejected.)
//! - **A read is placed as soon as it fits**, since it changes nothing.
//! - The search is bounded ([`Bound`]), and what it does not decide within is [`Verdict::Unknown`], which counts as a
//!   failure.
//!
//! A create is the one write that the contract lets take effect twice: when it is retried after somebody has deleted
//! what it created. It then has a second version, and the checker wants to see the register absent for that.
//!
//! Besides, [`check`] holds the versions of each key against real time, which takes no search at all: they form one
//! chain, no version follows two others or is followed by two, and none is seen before it was written or after it was
//! known to be replaced.
//!
//! A checker that finds nothing is only worth something if it would have found it: [`Corruption`] damages a history the
//! way that broken stores do, and every run of the workload damages its own and has to see it rejected.

mod chain;
mod corruption;
mod operation;
mod part;
mod recorder;
mod search;
mod steps;
mod verdict;

pub use self::corruption::Corruption;
pub use self::operation::{Call, History, Operation, Outcome, Seen};
pub use self::recorder::{Invocation, Recorder};
pub use self::verdict::{Bound, Verdict, Violation};

use statestore_api::Key;

/// Whether a history is linearizable, and its versions are one chain for each key.
pub fn check(history: &History, bound: Bound) -> Verdict {
    let mut verdict = Verdict::Linearizable;
    for (key, operations) in history.keys() {
        match check_key(key, operations, bound) {
            Verdict::Linearizable => {}
            Verdict::Violation(violation) => return Verdict::Violation(violation),
            unknown => verdict = unknown,
        }
    }
    verdict
}

/// The same for the operations of one key.
pub fn check_key(key: &Key, operations: &[Operation], bound: Bound) -> Verdict {
    let violation = |(rule, part): (&str, Vec<usize>)| {
        let part = part.into_iter().map(|place| operations[place].clone()).collect();
        Verdict::Violation(Violation::new(key.clone(), rule.to_owned(), part))
    };
    if let Err(broken) = chain::check(operations) {
        return violation(broken);
    }
    let steps = match steps::steps(operations) {
        Ok(steps) => steps,
        Err(broken) => return violation(broken),
    };
    match search::search(&steps, search::ABSENT, bound) {
        search::Found::Order => Verdict::Linearizable,
        search::Found::Nothing => violation((
            "there is no order in which these could have happened",
            part::shortest(&steps, bound),
        )),
        search::Found::TooMuch => Verdict::Unknown {
            key: key.clone(),
            operations: operations.len(),
            bound,
        },
    }
}
