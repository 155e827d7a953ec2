use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::backoff::full_jitter;
use crate::error::{BoxError, Error, Result};
use crate::{
    Current, DeleteOptions, Entry, Item, Key, ListOptions, Page, Precondition, PutOptions, ScanOptions,
    StateStore, Ttl, Version,
};

/// How many keys of one batch of writes are under way at once.
const BATCH_CONCURRENCY: usize = 32;

/// The least bound of the first wait: doubled often, it still outlasts a rival whose thread is held up.
const LEAST: Duration = Duration::from_micros(10);

/// What tokio's timer counts in. For less than that, other tasks are let go on until the time is over.
const TIMER: Duration = Duration::from_millis(1);

/// What every [`StateStore`] can do besides, in terms of it.
pub trait StateStoreExt: StateStore {
    /// Writes `value` if the key is missing or expired.
    ///
    /// # Errors
    /// [`Conflict`](Error::Conflict) when it is there; else as for [`put`](StateStore::put).
    fn create(
        &self,
        key: &Key,
        value: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<Version>> + Send {
        async move { self.put(key, value.into(), Precondition::Absent.into()).await }
    }

    /// Writes `value` if the key has the version `expected`, or, for `None`, if it is missing or expired.
    ///
    /// # Errors
    /// [`Conflict`](Error::Conflict) when it has not; else as for [`put`](StateStore::put).
    fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&Version>,
        value: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<Version>> + Send {
        async move {
            self.put(key, value.into(), Precondition::from(expected).into())
                .await
        }
    }

    /// Whether `key` is there and has not expired.
    ///
    /// # Errors
    /// As for [`get`](StateStore::get).
    fn exists(&self, key: &Key) -> impl Future<Output = Result<bool>> + Send {
        async move { Ok(self.get(key, Default::default()).await?.is_some()) }
    }

    /// Reads the entry, lets `change` decide, and writes that if nobody else wrote in between; else begins again,
    /// with jittered back-off, as often as `options` allow. Returns the version the key has then, `None` when it is
    /// gone.
    ///
    /// `change` may be called several times and should do nothing but decide. Its own error ends the update.
    ///
    /// ```
    /// use statestore_api::{Change, MemoryStore, StateStore, StateStoreExt};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
    /// let store = MemoryStore::new();
    /// let key = "page/visits".parse()?;
    /// for _ in 0..3 {
    ///     store
    ///         .update(&key, Default::default(), |entry| {
    ///             let visits = match entry {
    ///                 Some(entry) => std::str::from_utf8(&entry.value)?.parse::<u64>()?,
    ///                 None => 0,
    ///             };
    ///             Ok(Change::put((visits + 1).to_string()))
    ///         })
    ///         .await?;
    /// }
    /// assert_eq!(store.get(&key, Default::default()).await?.expect("it is there").value, "3");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Contended`](Error::Contended), with the number of attempts, when others were faster each time;
    /// [`Aborted`](Error::Aborted) when `change` returned an error (one of this crate is returned as it is); else as
    /// for [`get`](StateStore::get) and [`put`](StateStore::put).
    fn update<F>(
        &self,
        key: &Key,
        options: UpdateOptions,
        mut change: F,
    ) -> impl Future<Output = Result<Option<Version>>> + Send
    where
        F: FnMut(Option<&Entry>) -> Result<Change, BoxError> + Send,
    {
        async move {
            let mut current = self.get(key, Default::default()).await?;
            let mut attempts = 0;
            loop {
                attempts += 1;
                let began = Instant::now();
                let error = match apply(self, key, current.as_ref(), &mut change).await {
                    Err(error @ Error::Conflict(_)) => error,
                    done => return done,
                };
                if attempts >= options.max_attempts {
                    return Err(Error::Contended {
                        key: key.clone(),
                        attempts,
                        source: Some(error.into()),
                    });
                }
                // A conflict usually shows what is there: who goes on at once needs no other request to read it.
                let waited = options.pause(attempts, began.elapsed()).await;
                let shown = match error {
                    Error::Conflict(conflict) if !waited => conflict.current,
                    _ => Current::Unknown,
                };
                current = match shown {
                    Current::Entry(entry) => Some(entry),
                    Current::Absent => None,
                    Current::Unknown => self.get(key, Default::default()).await?,
                };
            }
        }
    }

    /// Writes any number of values, each under its own options, and returns their results in the order given.
    ///
    /// Different keys are written concurrently; the writes of one key one after the other, in the order given.
    fn put_many(
        &self,
        puts: Vec<(Key, Bytes, PutOptions)>,
    ) -> impl Future<Output = Vec<Result<Version>>> + Send {
        let puts = puts
            .into_iter()
            .map(|(key, value, options)| (key, (value, options)));
        in_order(puts, move |key, (value, options)| async move {
            self.put(&key, value, options).await
        })
    }

    /// Deletes any number of keys, each under its own options, and returns their results in the order given.
    ///
    /// Different keys are deleted concurrently; a key that is named twice, one after the other, in the order given.
    fn delete_many(
        &self,
        deletes: Vec<(Key, DeleteOptions)>,
    ) -> impl Future<Output = Vec<Result<()>>> + Send {
        in_order(deletes.into_iter(), move |key, options| async move {
            self.delete(&key, options).await
        })
    }

    /// All of [`list_page`](StateStore::list_page)'s pages as one stream, from `options.page_token` on.
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// use statestore_api::{ListOptions, MemoryStore, StateStoreExt};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
    /// let store = MemoryStore::new();
    /// for id in ["order-2", "order-1", "cart"] {
    ///     store.create(&statestore_api::Key::new("user-42", id)?, "").await?;
    /// }
    /// let orders: Vec<_> =
    ///     store.list("user-42", ListOptions::default().with_prefix("order-")).try_collect().await?;
    /// assert_eq!(orders.iter().map(|item| item.key.id()).collect::<Vec<_>>(), ["order-1", "order-2"]);
    /// # Ok(()) }
    /// ```
    fn list<'a>(&'a self, partition: &'a str, options: ListOptions) -> BoxStream<'a, Result<Item>> {
        let first = options.page_token.clone();
        pages(first, move |token| {
            let options = ListOptions {
                page_token: token,
                ..options.clone()
            };
            async move { self.list_page(partition, options).await }
        })
    }

    /// All of [`scan_page`](StateStore::scan_page)'s pages as one stream, from `options.page_token` on.
    fn scan(&self, options: ScanOptions) -> BoxStream<'_, Result<Item>> {
        let first = options.page_token.clone();
        pages(first, move |token| {
            let options = ScanOptions {
                page_token: token,
                ..options.clone()
            };
            async move { self.scan_page(options).await }
        })
    }
}

impl<S: StateStore + ?Sized> StateStoreExt for S {}

/// What the function given to [`update`](StateStoreExt::update) decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write this value.
    Put {
        /// The value.
        value: Bytes,
        /// When it expires.
        ttl: Ttl,
    },
    /// Delete the entry.
    Delete,
    /// Leave it as it is.
    Leave,
}

impl Change {
    /// Writes `value`. Unlike a [`put`](StateStore::put) this keeps the entry's expiry, which is what changing an
    /// entry usually means.
    #[must_use]
    pub fn put(value: impl Into<Bytes>) -> Self {
        Self::Put {
            value: value.into(),
            ttl: Ttl::Keep,
        }
    }
}

/// How long [`update`](StateStoreExt::update) goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateOptions {
    /// How often it is tried, at least once.
    pub max_attempts: u32,
    /// The upper bound of the wait after the second attempt; it doubles with each. Each wait is random, from none to its bound,
    /// and shorter where the store is quick: see [`pause`](Self::pause).
    pub base_delay: Duration,
    /// The upper bound of every wait.
    pub max_delay: Duration,
}

impl UpdateOptions {
    /// The same with this many attempts.
    #[must_use]
    pub fn with_max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// How long to wait after so many attempts, from 2 on, before the next: random, up to the bound.
    #[must_use]
    pub fn delay(&self, attempts: u32) -> Duration {
        full_jitter(self.base_delay, self.max_delay, attempts.saturating_sub(2))
    }

    /// Waits before the next attempt after so many that others were faster than; the last one's write took `took`. Returns whether
    /// it did: it does not after the first attempt.
    ///
    /// It is the [`delay`](Self::delay), but for `took` in place of `base_delay` where that is less: those who collided on a store
    /// that answers within microseconds need not go out of each other's way for longer.
    pub async fn pause(&self, attempts: u32, took: Duration) -> bool {
        let wait = match attempts {
            ..2 => Duration::ZERO,
            _ => full_jitter(self.base_delay.min(took.max(LEAST)), self.max_delay, attempts - 2),
        };
        if wait >= TIMER {
            tokio::time::sleep(wait).await;
        } else if !wait.is_zero() {
            let begun = std::time::Instant::now();
            while begun.elapsed() < wait {
                tokio::task::yield_now().await;
            }
        }
        !wait.is_zero()
    }
}

impl Default for UpdateOptions {
    /// 20 attempts, waits from 5 ms to 1 s: some seconds altogether, and less on a store that is quick.
    fn default() -> Self {
        Self {
            max_attempts: 20,
            base_delay: Duration::from_millis(5),
            max_delay: Duration::from_secs(1),
        }
    }
}

/// One attempt of an update, on top of `current`.
async fn apply<S: StateStore + ?Sized>(
    store: &S,
    key: &Key,
    current: Option<&Entry>,
    change: &mut impl FnMut(Option<&Entry>) -> Result<Change, BoxError>,
) -> Result<Option<Version>> {
    let decided = change(current).map_err(|source| match source.downcast::<Error>() {
        Ok(own) => *own,
        Err(source) => Error::Aborted { source },
    })?;
    let expected = current.map(|entry| &entry.version);
    match decided {
        Change::Put { value, ttl } => {
            let options = PutOptions::from(Precondition::from(current)).with_ttl(ttl);
            store.put(key, value, options).await.map(Some)
        }
        Change::Delete => {
            if let Some(version) = expected {
                store.delete(key, version.clone().into()).await?;
            }
            Ok(None)
        }
        Change::Leave => Ok(expected.cloned()),
    }
}

/// Runs `write` for each key with its argument: those of one key in order, those of different keys concurrently.
async fn in_order<A, T, W, F>(writes: impl Iterator<Item = (Key, A)>, write: W) -> Vec<Result<T>>
where
    W: Fn(Key, A) -> F,
    F: Future<Output = Result<T>>,
{
    let mut by_key: HashMap<Key, Vec<(usize, A)>> = HashMap::new();
    for (place, (key, argument)) in writes.enumerate() {
        by_key.entry(key).or_default().push((place, argument));
    }
    let write = &write;
    let one_key = |(key, arguments): (Key, Vec<(usize, A)>)| async move {
        let mut results = Vec::with_capacity(arguments.len());
        for (place, argument) in arguments {
            results.push((place, write(key.clone(), argument).await));
        }
        results
    };
    let mut results: Vec<(usize, Result<T>)> = stream::iter(by_key)
        .map(one_key)
        .buffer_unordered(BATCH_CONCURRENCY)
        .map(stream::iter)
        .flatten()
        .collect()
        .await;
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The items of all pages that `fetch` returns, from the token `first` on.
fn pages<'a, F, P>(first: Option<crate::PageToken>, fetch: F) -> BoxStream<'a, Result<Item>>
where
    F: Fn(Option<crate::PageToken>) -> P + Send + 'a,
    P: Future<Output = Result<Page>> + Send + 'a,
{
    stream::try_unfold((Some(first), fetch), |(token, fetch)| async move {
        let Some(token) = token else {
            return Ok::<_, Error>(None);
        };
        let page = fetch(token).await?;
        let items = stream::iter(page.items.into_iter().map(Ok));
        Ok(Some((items, (page.next.map(Some), fetch))))
    })
    .try_flatten()
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_fits_what_an_attempt_takes() {
        let options = UpdateOptions::default();
        // Whether one of many waited, and the longest of them by the runtime's clock.
        let pause = async |attempts, took| {
            let (mut waited, mut longest) = (false, Duration::ZERO);
            for _ in 0..100 {
                let began = Instant::now();
                waited |= options.pause(attempts, took).await;
                longest = longest.max(began.elapsed());
            }
            (waited, longest)
        };
        let (quick, slow) = (Duration::from_micros(1), Duration::from_secs(1));
        assert_eq!(
            pause(1, slow).await,
            (false, Duration::ZERO),
            "the first goes on at once"
        );
        assert_eq!(
            pause(6, quick).await,
            (true, Duration::ZERO),
            "160 µs are nothing for a timer"
        );
        for (attempts, took, bound) in [(10, 20 * quick, 6), (4, slow, 20), (20, slow, 1000)] {
            let (waited, longest) = pause(attempts, took).await;
            let bound = Duration::from_millis(bound);
            assert!(
                waited && longest > bound / 2 && longest <= bound + TIMER,
                "{longest:?} of {bound:?}"
            );
        }
    }
}
