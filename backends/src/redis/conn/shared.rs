//! A thing that is made when it is first needed, by one for all who wait for it, and anew when it is of no use any more.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::redis::error::Failure;

/// A place for one `T`. Who drops the future that makes it leaves that to the next one.
pub(super) struct Shared<T>(Mutex<Arc<OnceCell<Result<T, Failure>>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Shared<T> {
    /// What is there if it is `usable`; else what `make` makes. A failure is for those who wait for it, and no longer.
    pub(super) async fn get<F>(
        &self,
        usable: impl Fn(&T) -> bool,
        make: impl FnOnce() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let place = {
            let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if place.get().is_some_and(|made| !made.as_ref().is_ok_and(&usable)) {
                *place = Arc::default();
            }
            place.clone()
        };
        place.get_or_init(make).await.clone()
    }

    /// What is there, if it is made.
    pub(super) fn peek(&self) -> Option<T> {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place.get().and_then(|made| made.as_ref().ok()).cloned()
    }
}
