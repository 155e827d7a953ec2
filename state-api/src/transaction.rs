use std::fmt;

use bytes::Bytes;

use crate::{Key, Precondition, Ttl};

/// One operation of a transaction.
///
/// ```
/// # use statestore_api::{MemoryStore, StateStore, StateStoreExt, TransactOp};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// use statestore_api::Precondition::{Absent, Matches};
/// # let store = MemoryStore::new();
/// # let cart = "user-42/cart".parse()?;
/// # let version = store.create(&cart, "one apple").await?;
///
/// // The order is placed and the cart emptied, or neither.
/// store
///     .transact(
///         vec![
///             TransactOp::put("user-42/order-7".parse()?, "one apple").when(Absent),
///             TransactOp::delete(cart).when(Matches(version)),
///         ],
///         Default::default(),
///     )
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactOp {
    /// The key it is about.
    pub key: Key,
    /// What has to hold of the key.
    pub precondition: Precondition,
    /// What is done.
    pub action: Action,
}

/// What an operation of a transaction does. `Debug` shows a value's size, not the value.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// Writes the value.
    Put {
        /// The value.
        value: Bytes,
        /// When it expires.
        ttl: Ttl,
    },
    /// Deletes the key.
    Delete,
    /// Only checks the precondition.
    Check,
}

impl TransactOp {
    /// Writes `value`, without an expiry.
    #[must_use]
    pub fn put(key: Key, value: impl Into<Bytes>) -> Self {
        Self::put_expiring(key, value, Ttl::None)
    }

    /// Writes `value` with this expiry.
    #[must_use]
    pub fn put_expiring(key: Key, value: impl Into<Bytes>, ttl: Ttl) -> Self {
        Self::new(
            key,
            Action::Put {
                value: value.into(),
                ttl,
            },
        )
    }

    /// Deletes `key`.
    #[must_use]
    pub fn delete(key: Key) -> Self {
        Self::new(key, Action::Delete)
    }

    /// Only checks that `precondition` holds.
    #[must_use]
    pub fn check(key: Key, precondition: Precondition) -> Self {
        Self::new(key, Action::Check).when(precondition)
    }

    fn new(key: Key, action: Action) -> Self {
        Self {
            key,
            precondition: Precondition::None,
            action,
        }
    }

    /// The same, under this condition.
    #[must_use]
    pub fn when(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { value, ttl } => f
                .debug_struct("Put")
                .field("value", &format_args!("<{} bytes>", value.len()))
                .field("ttl", ttl)
                .finish(),
            Self::Delete => f.write_str("Delete"),
            Self::Check => f.write_str("Check"),
        }
    }
}
