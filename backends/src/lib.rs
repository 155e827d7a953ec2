//! State for serverless functions. (Work in progress: the crate's front page is written with `open`.)

pub use statestore_api::*;

#[cfg(feature = "embedded")]
pub mod embedded;

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
