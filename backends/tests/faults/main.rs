//! Every store with a server, behind a network that fails.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

#[cfg(any(feature = "azure-table", feature = "dynamodb", feature = "redis"))]
mod process;
#[cfg(any(feature = "azure-table", feature = "dynamodb", feature = "redis"))]
mod served;
mod workload;
