//! Stores around a store: each is a [`StateStore`](crate::StateStore) that forwards every method to the one inside.
//!
//! [`Retry`] makes the attempts of a call and limits each; [`Observe`] tells of calls as their caller sees them, so it goes around it.
//! [`Timeout`] limits a call that is one attempt, without the other two or inside of them:
//!
//! ```
//! use std::time::Duration;
//! use statestore_api::layer::{Observe, Retry, RetryPolicy};
//! use statestore_api::{MemoryStore, StateStoreExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
//! let store = MemoryStore::new(); // or one on a network
//! let policy = RetryPolicy::default()
//!     .with_deadline(Duration::from_secs(3))
//!     .with_attempt_timeout(Duration::from_secs(1));
//! let store = Observe::new(Retry::new(store, policy));
//!
//! store.create(&"user-42/cart".parse()?, "one apple").await?;
//! # Ok(()) }
//! ```
//!
//! `statestore::open` puts these two around every store on a network, and `Observe` around the others. `Retry` and `Timeout` need
//! Tokio's timer.

mod budget;
mod call;
mod observe;
mod policy;
mod retries;
mod retry;
mod timeout;

pub use observe::{Failure, Observe};
pub use policy::RetryPolicy;
pub use retry::Retry;
pub use timeout::Timeout;

use std::time::Duration;

/// How many keys of a batch may take the time of one call.
const KEYS_PER_LIMIT: usize = 100;

/// What `limit` is for a batch of this many keys: a batch is split into several requests.
fn for_keys(limit: Duration, keys: usize) -> Duration {
    let parts = keys.div_ceil(KEYS_PER_LIMIT).max(1);
    limit.saturating_mul(u32::try_from(parts).unwrap_or(u32::MAX))
}
