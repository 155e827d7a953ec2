//! What programs build on state, on any [`StateStore`](statestore_api::StateStore), in terms of that trait alone.
//!
//! - [`Typed`]: values of a Rust type, with a [codec] and schemas that are upgraded as they are read.
//! - [`Counter`] and [`ShardedCounter`]: numbers that many change at once.
//! - [`RateLimit`]: how often something may be done, across all instances.
//! - [`Lease`]: one at a time, with a fencing token that a write can be made conditional on ([`Fenced`]).
//! - [`Idempotency`]: a handler runs once for each request; the `Idempotency-Key` header as a `tower` layer.
//! - [`Sessions`]: what is known of a visitor, with an expiry that slides; `TowerSessions`, a store for `tower-sessions`.
//! - [`Outbox`]: a change of state and the events it causes, in one step; an event that comes in twice is applied once, one that goes out is delivered at
//!   least once.
//!
//! Programs get this as `statestore::patterns`, with the feature `patterns`.

pub mod codec;
mod counter;
mod hash;
mod idempotency;
mod lease;
mod outbox;
mod rate_limit;
mod session;
mod typed;

pub use counter::{Counter, CounterError, ShardedCounter};
pub use idempotency::{Idempotency, IdempotencyError, OnDuplicate};
#[cfg(feature = "tower")]
pub use idempotency::{IdempotencyLayer, IdempotencyService};
pub use lease::{Fenced, Lease, LeaseError, LeaseGuard};
pub use outbox::{Delivered, Event, Failed, OnFailure, Outbox, OutboxError};
pub use rate_limit::{RateLimit, Verdict};
#[cfg(feature = "tower-sessions")]
pub use session::TowerSessions;
pub use session::{SessionId, Sessions};
pub use typed::{Old, State, Typed};
