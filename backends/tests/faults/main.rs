//! Every store behind a network that fails: case by case where it has a server, and as whole runs of concurrent clients
//! whose history is checked.
//!
//! To add a backend with a server, add its function and its line in `served.rs`.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "also in the helpers of tests"
)]
#![cfg_attr(
    not(all(
        feature = "azure-table",
        feature = "dynamodb",
        feature = "firestore",
        feature = "redis"
    )),
    allow(dead_code, unused_imports, reason = "what is for backends that are left out")
)]

mod process;
mod served;
mod workload;
