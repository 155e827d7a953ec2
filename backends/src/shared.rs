//! A thing that is made when it is first needed, by one for all who wait for it, and anew when it is of no use any more.

#[cfg(any(feature = "dynamodb", feature = "firestore"))]
mod failed;

use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{self, BoxFuture};

#[cfg(any(feature = "dynamodb", feature = "firestore"))]
pub(crate) use failed::Failed;

/// A `T` that is made or being made.
type Making<T, E> = future::Shared<BoxFuture<'static, Result<T, E>>>;

/// A place for one `T`, the making of which fails with an `E`.
pub(crate) struct Shared<T, E>(Mutex<Option<Making<T, E>>>);

/// The runtime ended before a thing was made.
pub(crate) struct CutShort;

impl<T, E> Default for Shared<T, E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T, E> Shared<T, E>
where
    T: Clone + Send + Sync + 'static,
    E: Clone + From<CutShort> + Send + Sync + 'static,
{
    /// A place where this is from the start.
    #[cfg(any(feature = "dynamodb", feature = "firestore"))]
    pub(crate) fn of(made: T) -> Self {
        Self(Mutex::new(Some(future::ready(Ok(made)).boxed().shared())))
    }

    /// What is there if it is `usable`; else what `make` makes. A failure is for those who wait for it, and no longer.
    ///
    /// It is made in a task of its own: who waits for it may be a future that nobody polls for a while, such as one in a
    /// stream's buffer, and all others who need it would wait for that one.
    pub(crate) async fn get<F>(&self, usable: impl Fn(&T) -> bool, make: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let making = {
            let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match place.as_ref().map(|making| (making, making.peek())) {
                Some((_, Some(Ok(made)))) if usable(made) => return Ok(made.clone()),
                Some((making, None)) => making.clone(),
                _ => {
                    let task = tokio::spawn(make());
                    let making = async { task.await.unwrap_or_else(|_| Err(CutShort.into())) };
                    place.insert(making.boxed().shared()).clone()
                }
            }
        };
        making.await
    }

    /// What is there, if it is made.
    #[cfg(any(feature = "firestore", feature = "redis", test))]
    pub(crate) fn peek(&self) -> Option<T> {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place.as_ref()?.peek()?.as_ref().ok().cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Poll;

    use tokio::sync::Notify;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Failure;

    impl From<CutShort> for Failure {
        fn from(_: CutShort) -> Self {
            Self
        }
    }

    fn always(_: &u32) -> bool {
        true
    }

    #[tokio::test]
    async fn nobody_waits_for_one_who_is_not_polled() {
        let (place, go) = (Shared::default(), Arc::new(Notify::new()));
        let make = || {
            let go = go.clone();
            async move {
                go.notified().await;
                Ok::<_, Failure>(1)
            }
        };
        // It begins to make it, and then is left alone.
        let mut first = Box::pin(place.get(always, make));
        let begun = future::poll_fn(|context| Poll::Ready(first.as_mut().poll(context))).await;
        assert!(begun.is_pending());
        go.notify_one();
        let second = place.get(always, || async { unreachable!("it is being made") });
        assert!(matches!(second.await, Ok(1)));
        assert!(matches!(first.await, Ok(1)));
    }

    #[tokio::test]
    async fn it_is_made_on_when_the_first_is_dropped() {
        let (place, go) = (Shared::default(), Arc::new(Notify::new()));
        let make = || {
            let go = go.clone();
            async move {
                go.notified().await;
                Ok::<_, Failure>(1)
            }
        };
        let mut first = Box::pin(place.get(always, make));
        let begun = future::poll_fn(|context| Poll::Ready(first.as_mut().poll(context))).await;
        assert!(begun.is_pending());
        drop(first);
        go.notify_one();
        let second = place.get(always, || async { unreachable!("it is being made") });
        assert_eq!(second.await, Ok(1));
    }

    #[tokio::test]
    async fn all_who_wait_are_told_of_one_failure() {
        let (place, go) = (Shared::<u32, Failure>::default(), Arc::new(Notify::new()));
        let mut waiting = Vec::new();
        for number in 0..5 {
            let go = go.clone();
            let mut get = Box::pin(place.get(always, move || async move {
                assert_eq!(number, 0, "one tries for all");
                go.notified().await;
                Err(Failure)
            }));
            let begun = future::poll_fn(|context| Poll::Ready(get.as_mut().poll(context))).await;
            assert!(begun.is_pending());
            waiting.push(get);
        }
        go.notify_one();
        assert_eq!(future::join_all(waiting).await, [Err(Failure); 5]);
    }

    #[tokio::test]
    async fn what_has_failed_or_is_of_no_use_is_made_anew() {
        let place = Shared::<u32, Failure>::default();
        let failed = place.get(always, || async { Err(Failure) }).await;
        assert!(matches!(failed, Err(Failure)));
        assert_eq!(place.peek(), None);
        assert!(matches!(place.get(always, || async { Ok(1) }).await, Ok(1)));
        assert!(matches!(place.get(always, || async { Ok(2) }).await, Ok(1)));
        assert!(matches!(
            place.get(|made| *made > 1, || async { Ok(2) }).await,
            Ok(2)
        ));
        assert_eq!(place.peek(), Some(2));
    }
}
