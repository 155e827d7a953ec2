use std::fmt;
use std::sync::Arc;

/// An event, as it is handed to a handler. `Debug` does not show what is in it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Event<E> {
    /// Its id, `partition/number`: the same each time it is handed out, and another event's never.
    pub id: String,
    /// Its partition.
    pub partition: String,
    /// Its number: events of a partition are handled in the order of their numbers.
    pub number: u64,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// What happened.
    pub event: E,
}

impl<E> fmt::Debug for Event<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// An event whose handler failed, for [`Outbox::on_error`](crate::Outbox::on_error).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failed<E> {
    /// The event.
    pub event: Event<E>,
    /// What the handler returned.
    pub error: Arc<dyn std::error::Error + Send + Sync>,
}

/// What is done about an event whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It stays, before those behind it, and the next delivery tries it again.
    Retry,
    /// It is taken out, and the delivery goes on with the next.
    GiveUp,
}

/// What a delivery did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// How many events were handled.
    pub handled: u64,
    /// How many were given up.
    pub given_up: u64,
}
