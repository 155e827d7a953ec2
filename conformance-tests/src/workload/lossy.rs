use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use statestore_api::{
    Applied, Bytes, Capabilities, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions, Page,
    Precondition, PutOptions, Resolution, Result, ScanOptions, StateStore, TouchOptions, TransactOp,
    TransactOptions, Ttl, Version, WriteId,
};

/// The network between a client and the store inside, in the process: it loses requests and replies, and delivers
/// requests late. Put a [`Retry`](statestore_api::layer::Retry) around it.
#[derive(Debug)]
pub struct Lossy<S> {
    store: S,
    /// How many of a hundred calls meet a fault.
    percent: u8,
    rng: Mutex<Rng>,
    faults: AtomicU64,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is not sent, and that is known.
    Refused,
    /// It is not sent, and that is not known.
    RequestLost,
    /// It is applied, and that is not known.
    ReplyLost,
    /// It arrives when the client has given up.
    Late(Duration),
}

/// How long a client waits before it gives up a late call.
const PATIENCE: Duration = Duration::from_millis(1);

impl<S: StateStore + Clone + 'static> Lossy<S> {
    /// `store` behind a network that disturbs so many of a hundred calls, which `seed` chooses.
    #[must_use]
    pub fn new(store: S, percent: u8, seed: u64) -> Self {
        Self {
            store,
            percent,
            rng: Mutex::new(Rng::with_seed(seed)),
            faults: AtomicU64::new(0),
        }
    }

    /// How many calls have met a fault.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::SeqCst)
    }

    async fn fault(&self) -> Option<Fault> {
        // As a round trip does, it lets others run.
        tokio::task::yield_now().await;
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        if rng.u8(..100) >= self.percent {
            return None;
        }
        self.faults.fetch_add(1, Ordering::SeqCst);
        Some(match rng.u8(..8) {
            0 => Fault::Refused,
            1 | 2 => Fault::RequestLost,
            3..6 => Fault::ReplyLost,
            _ => Fault::Late(Duration::from_micros(rng.u64(..20_000))),
        })
    }

    /// A write, which runs in a task of its own when it is late.
    async fn write<T, F>(&self, call: impl FnOnce(S) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let call = call(self.store.clone());
        match self.fault().await {
            None => call.await,
            Some(Fault::Refused) => Err(unavailable(Applied::No)),
            Some(Fault::RequestLost) => Err(unavailable(Applied::Maybe)),
            Some(Fault::ReplyLost) => {
                drop(call.await);
                Err(unavailable(Applied::Maybe))
            }
            Some(Fault::Late(delay)) => {
                tokio::spawn(async move {
                    tokio::time::sleep(PATIENCE + delay).await;
                    drop(call.await);
                });
                tokio::time::sleep(PATIENCE).await;
                Err(Error::Timeout {
                    after: PATIENCE,
                    applied: Applied::Maybe,
                    source: None,
                })
            }
        }
    }

    async fn read<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.fault().await {
            None => call.await,
            Some(_) => Err(unavailable(Applied::No)),
        }
    }
}

fn unavailable(applied: Applied) -> Error {
    Error::Unavailable {
        applied,
        reason: "the connection was closed".to_owned(),
        source: None,
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: StateStore + Clone + 'static> StateStore for Lossy<S> {
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
        let results = self.store.get_many(keys, options).await;
        match self.fault().await {
            None => results,
            Some(_) => results
                .into_iter()
                .map(|_| Err(unavailable(Applied::No)))
                .collect(),
        }
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let key = key.clone();
        self.write(|store| async move { store.put(&key, value, options).await })
            .await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let key = key.clone();
        self.write(|store| async move { store.delete(&key, options).await })
            .await
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        let key = key.clone();
        self.write(|store| async move { store.touch(&key, ttl, options).await })
            .await
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
        self.write(|store| async move { store.transact(ops, options).await })
            .await
    }

    async fn sweep(&self) -> Result<u64> {
        self.store.sweep().await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
