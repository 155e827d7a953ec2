//! The contract of a [`StateStore`](statestore_api::StateStore) as an executable test suite.
//!
//! [`conformance_tests!`] makes a test of each sentence of the contract for any store, one's own included. See
//! `docs/write-a-backend.md` and `docs/conformance-in-ci.md` in the repository.
//!
//! - [`cases`]: the sentences, in groups; [`contract`], [`restart()`] and [`clock()`] list them.
//! - [`Subject`]: the store under test.
//! - [`faults`]: what a store answers when the network fails, as tests, for a store with a server.
//! - [`history`]: what concurrent clients saw, and a checker of whether it is linearizable.
//! - [`Tapped`]: a store whose calls a test counts, holds up or loses.
//! - [`proxy`]: a TCP proxy that counts what a store sends to its server, and makes faults.
//! - [`workload`]: concurrent clients whose history is recorded and checked, with and without faults.
//! - `servers`, with the feature of that name: starting and stopping real servers.

#[macro_use]
mod macros;
mod case;
pub mod cases;
mod configured;
mod expect;
pub mod faults;
pub mod history;
pub mod proxy;
#[cfg(all(feature = "servers", unix))]
pub mod servers;
mod subject;
mod tapped;
pub mod workload;

pub use case::Case;
#[doc(hidden)]
pub use case::run;
pub use cases::{clock, contract, restart};
pub use configured::configured;
pub use subject::Subject;
pub use tapped::{Fate, Tapped};
