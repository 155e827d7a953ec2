//! State for stateless functions: one contract for compare-and-set, expiry, listing and transactions on every cloud.
//!
//! A serverless function keeps nothing between two calls. It reads its state, decides, and writes it back, while other
//! instances do the same and replies get lost. [`StateStore`] is the contract that makes this safe: optimistic
//! concurrency with [versions](Version), and a compare-and-set that is applied exactly once however often it is
//! retried.
//!
//! ```
//! use statestore_api::{Change, MemoryStore, StateStore, StateStoreExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
//! let store = MemoryStore::new();
//! let cart = "user-42/cart".parse()?;
//!
//! // Two clicks at once: neither is lost.
//! let add = |item: &'static str| {
//!     let (store, cart) = (&store, &cart);
//!     async move {
//!         store
//!             .update(cart, Default::default(), |entry| {
//!                 let mut items = entry.map(|entry| entry.value.to_vec()).unwrap_or_default();
//!                 items.extend(item.bytes());
//!                 Ok(Change::put(items))
//!             })
//!             .await
//!     }
//! };
//! let (apple, pear) = futures::join!(add("apple "), add("pear "));
//! (apple?, pear?);
//! assert_eq!(store.get(&cart, Default::default()).await?.expect("it is there").value.len(), 11);
//! # Ok(()) }
//! ```
//!
//! This crate holds the contract, its types and [`MemoryStore`], its executable reference; it knows no cloud. Programs
//! depend on `statestore`, which re-exports it and adds the backends. To write a backend of your own, start with
//! [`backend`].

pub mod backend;
mod backoff;
mod capabilities;
mod clock;
mod entry;
mod error;
mod ext;
mod key;
pub mod layer;
mod memory;
mod options;
mod precondition;
mod store;
mod token;
mod transaction;
mod ttl;
mod version;
mod write;

pub use bytes::Bytes;
pub use capabilities::Capabilities;
pub use clock::{Clock, ManualClock, SystemClock};
pub use entry::{Entry, Item, Page};
pub use error::{Applied, BoxError, Conflict, Current, Error, ErrorKind, KeyPart, KeyProblem, Result};
pub use ext::{Change, StateStoreExt, UpdateOptions};
pub use key::Key;
#[doc(no_inline)]
pub use layer::{Observe, Retry, RetryPolicy, Timeout};
pub use memory::MemoryStore;
pub use options::{
    Consistency, DeleteOptions, GetOptions, ListOptions, Projection, PutOptions, ScanOptions, TouchOptions,
    TransactOptions,
};
pub use precondition::Precondition;
pub use store::StateStore;
pub use token::PageToken;
pub use transaction::{Action, TransactOp};
pub use ttl::Ttl;
pub use version::Version;
pub use write::{Attempt, Resolution, WriteId};
