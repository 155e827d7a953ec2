use std::time::Duration;

use statestore_api::Error;

/// Why a [`Lease`](super::Lease) was not acquired, or a write under it not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Another holds it.
    #[error("`{holder}` holds the lease, with token {token}")]
    Held {
        /// The holder's name.
        holder: String,
        /// The holder's token.
        token: u64,
        /// How long it may take until it is free if the holder is dead: when to try again.
        retry_after: Duration,
    },

    /// It was lost, or let run out: another may hold it. Nothing was written; stop what is done under it.
    #[error("the lease with token {token} is lost: another may hold it")]
    Lost {
        /// The token it had.
        token: u64,
    },

    /// A later holder has written already. Nothing was written; stop what is done under the lease.
    #[error("a write with token {token} is too late: token {newer} has written already")]
    Stale {
        /// The token of this write.
        token: u64,
        /// The one that was there.
        newer: u64,
    },

    /// The store's error; see its kind for what to do.
    #[error(transparent)]
    Store(#[from] Error),
}
