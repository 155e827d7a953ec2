//! Real servers for tests, on ports of 127.0.0.1 and in temporary folders of their own.
//!
//! A test starts what it needs and need not stop it: a server ends, and its folder goes, when the value is
//! dropped, and also when the test's process ends without dropping it (a static, an abort, a SIGKILL). Any number
//! of them run side by side, from any number of test processes.
//!
//! ```no_run
//! use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), statestore_conformance::servers::ServerError> {
//! let server = RedisServer::start(RedisOptions::default()).await?;
//! println!("{}", server.url()); // redis://127.0.0.1:17041
//! server.suspend()?; // to a client, a server that has stopped answering
//! server.resume()?;
//! # Ok(())
//! # }
//! ```
//!
//! All waiting is for a condition, and in bounds: what does not come in time is an error that tells what was
//! waited for, how far it had come, and what the server said.
//!
//! - [`azurite`]: Azurite, for Azure Table Storage.
//! - [`dynamodb`]: DynamoDB Local.
//! - [`firestore`]: hidane, an emulator of Firestore.
//! - [`redis`]: Redis or Valkey, standalone, Cluster and Sentinel.
//! - [`cache`], [`Group`], [`Process`], [`free_port`], [`wait_for`]: what they are made of, for further services.

pub mod azurite;
mod cache;
pub mod dynamodb;
mod error;
pub mod firestore;
mod group;
mod http;
mod port;
mod process;
pub mod redis;
mod wait;

pub use self::cache::cache;
pub use self::error::ServerError;
pub use self::group::Group;
pub use self::port::{BUS_OFFSET, free_port};
pub use self::process::{Process, Program};
pub use self::wait::wait_for;
