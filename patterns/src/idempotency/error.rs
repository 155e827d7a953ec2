use std::time::Duration;

use statestore_api::Error;

/// Why a handler was not run, or its result not kept. `E` is the handler's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyError<E> {
    /// The same request is being worked on. Try again later, for its result.
    #[error("`{id}` is in progress")]
    InProgress {
        /// The request's id.
        id: String,
        /// When its time is up at the latest; `None` when its record has lost its deadline: it is never taken for an orphan, so delete it by hand if
        /// it is one.
        retry_after: Option<Duration>,
    },

    /// Another request with the same id has another payload. Nothing was run: correct the id.
    #[error("`{id}` was used before, for another payload")]
    PayloadMismatch {
        /// The id of both.
        id: String,
    },

    /// The handler was ended at its deadline, half way: it is free to be tried again.
    #[error("the handler of `{id}` did not end within {deadline:?}")]
    DeadlineExceeded {
        /// The request's id.
        id: String,
        /// The deadline.
        deadline: Duration,
    },

    /// The handler has done its work, and its result could not be kept: a repeated request will run it again as soon as its deadline has
    /// passed.
    #[error("the handler of `{id}` succeeded, and its result could not be kept")]
    NotRecorded {
        /// The request's id.
        id: String,
        /// What the store said.
        #[source]
        source: Error,
    },

    /// The handler's error. Its record was removed, so that the request can be tried again.
    #[error("{0}")]
    Handler(E),

    /// The store's error, before the handler was run; see its kind for what to do.
    #[error(transparent)]
    Store(#[from] Error),
}
