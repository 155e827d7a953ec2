//! State for serverless functions: one contract, exactly-once compare-and-set, the backend chosen by a URL.
//!
//! A function keeps nothing between two calls. It reads its state, decides and writes it back, while other instances do
//! the same, replies get lost and queues deliver twice. [`StateStore`] makes that safe: a write holds only if nobody
//! changed the entry since it was read, and one that is retried is applied once.
//!
//! ```
//! use statestore::Precondition::{Absent, Matches};
//! use statestore::{ErrorKind, Key, StateStore, StateStoreExt, TransactOp};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore::Result<()> {
//! let store = statestore::open("memory:").await?; // or "file:state.redb"
//! let stock: Key = "shop/stock".parse()?;
//! let seen = store.create(&stock, "1 lamp").await?;
//!
//! // Two customers saw the last lamp. To sell it is to take it and to write the order: both, or neither.
//! let sell = async |order: &str| {
//!     let ops = vec![
//!         TransactOp::put(stock.clone(), "sold out").when(Matches(seen.clone())),
//!         TransactOp::put(Key::new("shop", order)?, "1 lamp").when(Absent),
//!     ];
//!     store.transact(ops, Default::default()).await
//! };
//! sell("order-1").await?;
//! assert_eq!(sell("order-2").await.unwrap_err().kind(), ErrorKind::Conflict);
//! assert!(!store.exists(&"shop/order-2".parse()?).await?);
//! # Ok(()) }
//! ```
//!
//! The example `quickstart` of the repository goes on from there: events that are delivered twice, instances that die
//! and a restart.
//!
//! # Backends
//! | Feature | Store | URL | For |
//! |---|---|---|---|
//! | (always) | `MemoryStore` | `memory:` | tests and caches; it is gone with the process |
//! | `embedded` (default) | `EmbeddedStore` | `file:state.redb` | one durable file, no server |
//! | `redis` | `RedisStore` | `redis://host`, `redis-cluster://…`, `redis-sentinel://…` | Redis or Valkey |
//! | `dynamodb` | `DynamoDbStore` | `dynamodb://table?region=…` | AWS Lambda and whatever runs beside it |
//! | `firestore` | `FirestoreStore` | `firestore://project/collection` | Cloud Run, Firebase and Google Cloud |
//! | `azure-table` | `AzureTableStore` | `azure-table://account/table` | Azure Functions and whatever runs beside them |
//!
//! With the feature `patterns`, which is on by default, `Typed` holds values of a Rust type, and `patterns` has what is built on state:
//! counters, rate limits, leases, idempotent handlers, sessions, and orders with their events.
//!
//! [`open`](open()) takes such a URL, [`Config`] reads it from a configuration file or the environment. Both give an
//! `Arc<dyn StateStore>`, so that a program does not name its backend; the types above are there for one that does. Around a
//! store on a network `open` puts [retries and time-outs](layer), and around every store [spans and metrics](layer::Observe), which the
//! types do not have by themselves.

#[cfg(any(feature = "dynamodb", feature = "firestore"))]
mod batch;
#[cfg(any(feature = "dynamodb", feature = "firestore"))]
mod change;
mod config;
mod layers;
mod observed;
mod open;
#[cfg(any(feature = "dynamodb", feature = "firestore", feature = "redis"))]
mod shared;
#[cfg(any(feature = "azure-table", feature = "dynamodb", feature = "firestore"))]
mod text;

#[cfg(feature = "azure-table")]
pub mod azure_table;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "firestore")]
pub mod firestore;
#[cfg(feature = "redis")]
pub mod redis;

#[cfg(feature = "azure-table")]
pub use azure_table::AzureTableStore;
pub use config::Config;
#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoDbStore;
#[cfg(feature = "embedded")]
pub use embedded::EmbeddedStore;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreStore;
pub use open::open;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[doc(inline)]
pub use statestore_api::*;
#[cfg(feature = "patterns")]
#[doc(inline)]
pub use statestore_patterns as patterns;
#[cfg(feature = "patterns")]
#[doc(inline)]
pub use statestore_patterns::Typed;

/// The README's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
