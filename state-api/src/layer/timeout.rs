use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::for_keys;
use crate::error::{Applied, Error, Result};
use crate::{
    Capabilities, DeleteOptions, Entry, GetOptions, Key, ListOptions, Page, Precondition, PutOptions,
    Resolution, ScanOptions, StateStore, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

/// Gives up each call that is not answered in time, by [`Error::Timeout`].
///
/// A write that was given up [may have been applied](Error::may_have_applied), or may yet be: put a [`Retry`](super::Retry)
/// around this store, which finds out.
///
/// ```
/// use std::time::Duration;
/// use statestore_api::layer::Timeout;
/// use statestore_api::{MemoryStore, StateStoreExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let store = Timeout::new(MemoryStore::new(), Duration::from_secs(1));
/// store.create(&"user-42/cart".parse()?, "one apple").await?;
/// # Ok(()) }
/// ```
///
/// A store on a network should have a time-out of its own for each request, below this one: it knows whether the request ever left, and
/// can replace the connection. This one is for a call as a whole, whatever it waits for.
///
/// [`get_many`](StateStore::get_many) has the time for each begun 100 keys. [`sweep`](StateStore::sweep), which may go through
/// the whole store, and [`close`](StateStore::close), which finishes what is under way, are not limited.
#[derive(Clone, Debug)]
pub struct Timeout<S> {
    store: S,
    limit: Duration,
}

impl<S: StateStore> Timeout<S> {
    /// `store`, with this long for each call.
    #[must_use]
    pub fn new(store: S, limit: Duration) -> Self {
        Self { store, limit }
    }

    /// The store inside.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.store
    }

    async fn read<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.limited(call, Applied::No).await
    }

    async fn write<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.limited(call, Applied::Maybe).await
    }

    async fn limited<T>(&self, call: impl Future<Output = Result<T>>, applied: Applied) -> Result<T> {
        let answer = tokio::time::timeout(self.limit, call).await;
        answer.unwrap_or_else(|_| Err(timed_out(self.limit, applied)))
    }
}

pub(super) fn timed_out(after: Duration, applied: Applied) -> Error {
    Error::Timeout {
        after,
        applied,
        source: None,
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: StateStore> StateStore for Timeout<S> {
    fn capabilities(&self) -> &Capabilities {
        self.store.capabilities()
    }

    async fn ready(&self) -> Result<()> {
        self.read(self.store.ready()).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.read(self.store.get(key, options)).await
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let limit = for_keys(self.limit, keys.len());
        let answers = tokio::time::timeout(limit, self.store.get_many(keys, options)).await;
        answers.unwrap_or_else(|_| keys.iter().map(|_| Err(timed_out(limit, Applied::No))).collect())
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        self.write(self.store.put(key, value, options)).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.write(self.store.delete(key, options)).await
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        self.write(self.store.touch(key, ttl, options)).await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        self.read(self.store.resolve(key, id, precondition)).await
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.read(self.store.list_page(partition, options)).await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.read(self.store.scan_page(options)).await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        self.write(self.store.transact(ops, options)).await
    }

    async fn sweep(&self) -> Result<u64> {
        self.store.sweep().await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
