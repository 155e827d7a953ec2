//! Who takes part.

pub(crate) mod azure_table;
pub(crate) mod dynamodb;
pub(crate) mod dynamodb_requests;
pub(crate) mod engine;
pub(crate) mod files;
pub(crate) mod firestore;
pub(crate) mod firestore_requests;
pub(crate) mod maps;
pub(crate) mod ours;
pub(crate) mod redis;
pub(crate) mod redis_script;
pub(crate) mod rivals;
pub(crate) mod sqlite;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use statestore::UpdateOptions;

/// Waits after so many attempts, the last of which began then, just as `update` does. Returns whether it did.
async fn back_off(attempt: u32, began: Instant) -> bool {
    UpdateOptions::default().pause(attempt, began.elapsed()).await
}

/// Another partition whose name is as long, so that requests are.
fn twin(partition: &str) -> String {
    partition.to_uppercase()
}

/// The time in milliseconds since the epoch.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("later");
    u64::try_from(since.as_millis()).expect("not that late")
}
