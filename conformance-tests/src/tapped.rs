use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use statestore_api::{
    Applied, Capabilities, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions, Page, Precondition,
    PutOptions, Resolution, Result, ScanOptions, StateStore, TouchOptions, TransactOp, TransactOptions, Ttl,
    Version, WriteId,
};

/// A store whose calls a test counts, holds up or loses.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use statestore_api::{MemoryStore, StateStoreExt};
/// use statestore_conformance::{Fate, Tapped};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let puts = Arc::new(AtomicU32::new(0));
/// let count = puts.clone();
/// let store = Tapped::new(MemoryStore::new(), move |call| {
///     count.fetch_add(u32::from(call == "put"), Ordering::SeqCst);
///     async { Fate::Deliver }
/// });
/// store.create(&"user-42/cart".parse()?, "one apple").await?;
/// assert_eq!(puts.load(Ordering::SeqCst), 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tapped {
    store: Arc<dyn StateStore>,
    tap: Arc<Tap>,
}

type Tap = dyn Fn(&'static str) -> BoxFuture<'static, Fate> + Send + Sync;

/// What becomes of a call to a [`Tapped`] store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reaches the store, and the answer the caller.
    Deliver,
    /// It never reaches the store, and the caller cannot know.
    LoseRequest,
    /// The store does it, and the answer is lost.
    LoseReply,
    /// The store does it, and the answer is this long on its way.
    DelayReply(Duration),
}

impl Tapped {
    /// The store, where `tap` is asked before each call. It gets the name of the method, and may take its time.
    pub fn new<F, R>(store: impl StateStore + 'static, tap: F) -> Self
    where
        F: Fn(&'static str) -> R + Send + Sync + 'static,
        R: Future<Output = Fate> + Send + 'static,
    {
        Self {
            store: Arc::new(store),
            tap: Arc::new(move |call| Box::pin(tap(call))),
        }
    }

    async fn call<T>(&self, name: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        match (self.tap)(name).await {
            Fate::Deliver => call.await,
            Fate::LoseRequest => Err(lost()),
            Fate::LoseReply => call.await.and(Err(lost())),
            Fate::DelayReply(time) => {
                let answer = call.await;
                tokio::time::sleep(time).await;
                answer
            }
        }
    }
}

fn lost() -> Error {
    Error::Unavailable {
        applied: Applied::Maybe,
        reason: "the test lost the request or its reply".to_owned(),
        source: None,
    }
}

impl fmt::Debug for Tapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tapped").field(&self.store).finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateStore for Tapped {
    fn capabilities(&self) -> &Capabilities {
        self.store.capabilities()
    }

    async fn ready(&self) -> Result<()> {
        self.call("ready", self.store.ready()).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.call("get", self.store.get(key, options)).await
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let call = async { Ok(self.store.get_many(keys, options).await) };
        match self.call("get_many", call).await {
            Ok(entries) => entries,
            Err(_) => keys.iter().map(|_| Err(lost())).collect(),
        }
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        self.call("put", self.store.put(key, value, options)).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.call("delete", self.store.delete(key, options)).await
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        self.call("touch", self.store.touch(key, ttl, options)).await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        self.call("resolve", self.store.resolve(key, id, precondition))
            .await
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.call("list_page", self.store.list_page(partition, options))
            .await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.call("scan_page", self.store.scan_page(options)).await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        self.call("transact", self.store.transact(ops, options)).await
    }

    async fn sweep(&self) -> Result<u64> {
        self.call("sweep", self.store.sweep()).await
    }

    async fn close(&self) -> Result<()> {
        self.call("close", self.store.close()).await
    }
}
