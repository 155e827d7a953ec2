//! For those who write a backend: the parts of the contract that are the same for all of them, as pure functions.
//!
//! - [`Stamp`]: a version that a backend makes itself, and the write it came from.
//! - [`decide`] and [`decide_transaction`]: whether a mutation is applied, was applied before, conflicts, or cannot be
//!   told, from what is stored. A backend whose service checks the condition itself asks them after a refusal only.
//! - [`ListQuery`]: where a page of a listing starts and ends, and its token.
//! - [`expiry`]: from a [`Ttl`](crate::Ttl) to epoch milliseconds and back.
//! - [`check`]: the limits and arguments that are checked before any request.
//!
//! Users of a store need none of this.

pub mod check;
mod decide;
pub mod expiry;
mod hash;
mod listing;
mod stamp;

pub use decide::{
    Decision, Mutation, Stored, TransactDecision, decide, decide_transaction, resolve, transaction_versions,
};
pub use hash::stable_hash;
pub use listing::ListQuery;
pub use stamp::Stamp;
