//! Who takes part.

pub(crate) mod azure_table;
pub(crate) mod dynamodb;
pub(crate) mod engine;
pub(crate) mod files;
pub(crate) mod firestore;
pub(crate) mod maps;
pub(crate) mod ours;
pub(crate) mod redis;
pub(crate) mod rivals;
pub(crate) mod sqlite;

use statestore::UpdateOptions;

/// Waits after so many attempts, just as `update` does: not after the first.
async fn back_off(attempt: u32) {
    if attempt > 1 {
        tokio::time::sleep(UpdateOptions::default().delay(attempt)).await;
    }
}
