use bytes::Bytes;
use statestore_api::backend::Mutation;
use statestore_api::backend::expiry::Expiry;
use statestore_api::{Action, Result};

/// What is done to one key.
#[derive(Clone)]
pub(crate) enum Change {
    Put(Bytes, Expiry),
    Touch(Expiry),
    Delete,
    Check,
}

impl Change {
    /// What a transaction's action asks for at `now`, in epoch milliseconds.
    ///
    /// # Errors
    /// Those of [`Expiry::new`].
    pub(crate) fn of(action: &Action, now: u64) -> Result<Self> {
        Ok(match action {
            Action::Put { value, ttl } => Self::Put(value.clone(), Expiry::new(*ttl, now)?),
            Action::Delete => Self::Delete,
            Action::Check => Self::Check,
        })
    }

    pub(crate) fn mutation(&self) -> Mutation {
        match self {
            Self::Put(..) => Mutation::Put,
            Self::Touch(_) => Mutation::Touch,
            Self::Delete => Mutation::Delete,
            Self::Check => Mutation::Check,
        }
    }
}
