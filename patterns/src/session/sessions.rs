use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use statestore_api::{
    BoxError, Clock, Error, Key, Precondition, PutOptions, Result, StateStore, SystemClock, Ttl,
};

use super::{SessionId, key};
use crate::Typed;

/// What is known of visitors, each for as long as they keep coming.
///
/// ```
/// use std::time::Duration;
/// use statestore_api::MemoryStore;
/// use statestore_patterns::Sessions;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let sessions = Sessions::<Vec<String>>::new(MemoryStore::new(), Duration::from_secs(1800));
///
/// let id = sessions.start(&vec![]).await?; // its text goes into a cookie
/// let add = sessions.update(&id, |cart| {
///     cart.push("lamp".to_owned());
///     Ok(())
/// });
/// assert!(add.await?.is_some());
/// assert_eq!(sessions.get(&id).await?, Some(vec!["lamp".to_owned()]));
///
/// sessions.end(&id).await?;
/// assert_eq!(sessions.get(&id).await?, None);
/// # Ok(()) }
/// ```
///
/// Each use moves the expiry, by [`touch`](StateStore::touch), which sends no value; and not more often than after a sixteenth of the idle time, so that
/// most reads write nothing. A session that was ended or has expired is gone: nothing brings it back.
///
/// For an application on `tower-sessions`, see `TowerSessions`.
#[derive(Clone, Debug)]
pub struct Sessions<T> {
    values: Typed<T>,
    idle: Duration,
    clock: Arc<dyn Clock>,
}

impl<T: Serialize + DeserializeOwned + Send + Sync> Sessions<T> {
    /// Sessions that expire when they were not used for this long.
    pub fn new(store: impl StateStore + 'static, idle: Duration) -> Self {
        Self {
            values: Typed::new(store).with_ttl(Ttl::After(idle)),
            idle,
            clock: Arc::new(SystemClock),
        }
    }

    /// The same where this clock tells whether it is time to move an expiry, for tests. Whether one has passed is judged by the store's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Starts one.
    ///
    /// # Errors
    /// As for [`Typed::put`].
    pub async fn start(&self, value: &T) -> Result<SessionId> {
        let id = SessionId::new();
        let options = PutOptions::from(Precondition::Absent).with_ttl(Ttl::After(self.idle));
        self.values.put(&Self::key(&id)?, value, options).await?;
        Ok(id)
    }

    /// What is known, or `None` when the session was ended or has expired.
    ///
    /// # Errors
    /// As for [`Typed::get`].
    pub async fn get(&self, id: &SessionId) -> Result<Option<T>> {
        let key = Self::key(id)?;
        let Some(state) = self.values.get(&key).await? else {
            return Ok(None);
        };
        let left = state.expires_at.map_or(Duration::ZERO, |time| {
            time.duration_since(self.clock.now()).unwrap_or_default()
        });
        if left > self.idle - self.idle / 16 {
            return Ok(Some(state.value));
        }
        let touched = self
            .values
            .store()
            .touch(&key, Ttl::After(self.idle), Precondition::None.into());
        match touched.await {
            Ok(_) => {}
            Err(Error::Conflict(_)) => return Ok(None),
            // The visitor need not know; the next use tries again.
            Err(error) => tracing::warn!(%error, "a session's expiry was not moved"),
        }
        Ok(Some(state.value))
    }

    /// Changes what is known, as [`Typed::update`] does, and returns what `change` returned; `None` when the session was ended or has expired.
    ///
    /// # Errors
    /// As for [`Typed::update`].
    pub async fn update<R, F>(&self, id: &SessionId, mut change: F) -> Result<Option<R>>
    where
        F: FnMut(&mut T) -> Result<R, BoxError> + Send,
        R: Send,
    {
        self.values
            .update(&Self::key(id)?, |value| {
                value.as_mut().map(&mut change).transpose()
            })
            .await
    }

    /// Moves a session to a new id, as is due when somebody signs in: an id that was known before is then worth nothing. `None` when it was ended or has
    /// expired.
    ///
    /// # Errors
    /// As for [`Typed::put`]; the old id then may be good still.
    pub async fn change_id(&self, id: &SessionId) -> Result<Option<SessionId>> {
        let key = Self::key(id)?;
        loop {
            let Some(state) = self.values.get(&key).await? else {
                return Ok(None);
            };
            let new = self.start(&state.value).await?;
            match self.values.delete(&key, state.version.into()).await {
                Ok(()) => return Ok(Some(new)),
                Err(error) => {
                    self.end(&new).await?;
                    // It was used in between.
                    if !matches!(error, Error::Conflict(_)) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Ends one. It need not be there.
    ///
    /// # Errors
    /// As for [`Typed::delete`].
    pub async fn end(&self, id: &SessionId) -> Result<()> {
        self.values
            .delete(&Self::key(id)?, Precondition::None.into())
            .await
    }

    fn key(id: &SessionId) -> Result<Key> {
        key(id.as_str(), "session")
    }
}
