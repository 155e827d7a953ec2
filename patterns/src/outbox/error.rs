use std::sync::Arc;

use statestore_api::Error;

use crate::LeaseError;

/// Why a delivery ended before all events were handled. What was handled before is done; the rest waits for the next delivery.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The handler failed. The event is the next delivery's first.
    #[error("handling event {id} failed for the {attempts}. time")]
    Handler {
        /// The event's id.
        id: String,
        /// How often it was tried.
        attempts: u32,
        /// The handler's error.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },

    /// Another is delivering, or has taken over.
    #[error("the partition's events are another's to deliver")]
    Lease(#[source] LeaseError),

    /// The store's error; see its kind for what to do.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<LeaseError> for OutboxError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Store(error) => Self::Store(error),
            error => Self::Lease(error),
        }
    }
}
