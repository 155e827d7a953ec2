use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use statestore_api::{BoxError, Error, Key, StateStore};

use super::LeaseError;
use crate::Typed;

/// Values that remember the fencing token of their last writer, and refuse a lower one: for what a lease guards in other partitions, or in
/// another store, than its own.
///
/// ```
/// use statestore_api::MemoryStore;
/// use statestore_patterns::{Fenced, LeaseError};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), LeaseError> {
/// let reports = Fenced::<String>::new(MemoryStore::new());
/// let key = "reports/today".parse()?;
/// let (paused, its_successor) = (7, 8); // their tokens: LeaseGuard::token
///
/// reports.put(&key, its_successor, "of the successor".to_owned()).await?;
/// let late = reports.put(&key, paused, "of the one that was paused".to_owned()).await;
/// assert!(matches!(late, Err(LeaseError::Stale { token: 7, newer: 8 })));
/// assert_eq!(reports.get(&key).await?.as_deref(), Some("of the successor"));
/// # Ok(()) }
/// ```
///
/// Stored as JSON: `{"token":8,"value":…}`. A value that was taken away leaves its token.
#[derive(Clone, Debug)]
pub struct Fenced<T> {
    values: Typed<Marked<T>>,
}

#[derive(Serialize, Deserialize)]
struct Marked<T> {
    token: u64,
    value: Option<T>,
}

impl<T: Serialize + DeserializeOwned + Send> Fenced<T> {
    /// Values in this store.
    pub fn new(store: impl StateStore + 'static) -> Self {
        Self {
            values: Typed::new(store),
        }
    }

    /// The value of `key`, or `None` when there is none.
    ///
    /// # Errors
    /// As for [`Typed::get`].
    pub async fn get(&self, key: &Key) -> Result<Option<T>, LeaseError> {
        Ok(self.values.get(key).await?.and_then(|state| state.value.value))
    }

    /// Writes `value`, unless a later holder has written.
    ///
    /// # Errors
    /// [`Stale`](LeaseError::Stale) when one has; else as for [`Typed::update`].
    pub async fn put(&self, key: &Key, token: u64, value: T) -> Result<(), LeaseError>
    where
        T: Clone + Sync,
    {
        self.update(key, token, |current| {
            *current = Some(value.clone());
            Ok(())
        })
        .await
    }

    /// Reads the value, lets `change` change it, and writes it back, unless a later holder has written; as [`Typed::update`] does.
    ///
    /// # Errors
    /// [`Stale`](LeaseError::Stale) when one has; else as for [`Typed::update`].
    pub async fn update<R, F>(&self, key: &Key, token: u64, mut change: F) -> Result<R, LeaseError>
    where
        F: FnMut(&mut Option<T>) -> Result<R, BoxError> + Send,
        R: Send,
    {
        let mut refused = None;
        let updated = self
            .values
            .update(key, |marked| {
                let newer = marked.as_ref().map_or(0, |marked| marked.token);
                refused = (newer > token).then_some(newer);
                if refused.is_some() {
                    return Err("a later holder has written".into());
                }
                let mut value = marked.take().and_then(|marked| marked.value);
                let returned = change(&mut value)?;
                *marked = Some(Marked { token, value });
                Ok(returned)
            })
            .await;
        match (updated, refused) {
            (Err(Error::Aborted { .. }), Some(newer)) => Err(LeaseError::Stale { token, newer }),
            (updated, _) => Ok(updated?),
        }
    }
}
