use std::fmt;

use crate::Key;
use crate::error::{Error, ErrorKind};

/// A call that failed, as the function given to [`Observe::on_error`](super::Observe::on_error) is told of it.
///
/// `Display` and `Debug` are fit for a log: they say the operation, the error's kind and the attempts, and keys only where
/// [asked for](super::Observe::with_keys). The error itself is the one that the caller gets: a [`Conflict`](crate::Conflict) names
/// its key and holds what is there.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// The method of [`StateStore`](crate::StateStore) that was called, such as `put`.
    pub operation: &'static str,
    /// The caller's error; of a [`get_many`](crate::StateStore::get_many), the first.
    pub error: &'a Error,
    /// How often the call was tried by the [`Retry`](crate::layer::Retry) inside, the first time included; 1 without one.
    pub attempts: u32,
    /// The keys of the call, if [asked for](super::Observe::with_keys); else none.
    pub keys: &'a [Key],
    /// The partition of a [`list_page`](crate::StateStore::list_page), if [asked for](super::Observe::with_keys).
    pub partition: Option<&'a str>,
}

impl Failure<'_> {
    /// The error's kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation, attempts, ..
        } = self;
        write!(f, "{operation} failed: {:?} (attempts: {attempts})", self.kind())
    }
}

impl fmt::Debug for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("operation", &self.operation)
            .field("kind", &self.kind())
            .field("attempts", &self.attempts)
            .field("keys", &self.keys)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}
