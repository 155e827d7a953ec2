use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use statestore::{
    Applied, Attempt, Capabilities, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions, Page,
    Precondition, PutOptions, Resolution, Result, ScanOptions, StateStore, TouchOptions, TransactOp,
    TransactOptions, Ttl, Version, WriteId,
};

/// A store behind a bad network, by a seed: of ten requests two never arrive, and two lose their reply.
/// Each is sent again, as its next attempt, until an answer arrives.
#[derive(Debug)]
pub(crate) struct Lossy {
    store: Arc<dyn StateStore>,
    dice: Mutex<fastrand::Rng>,
    lost: AtomicU32,
}

impl Lossy {
    pub(crate) fn new(store: &Arc<dyn StateStore>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            dice: Mutex::new(fastrand::Rng::with_seed(seed)),
            lost: AtomicU32::new(0),
        })
    }

    /// How many requests and replies were lost.
    pub(crate) fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }

    async fn deliver<'a, T>(
        &self,
        attempt: Option<Attempt>,
        send: impl Fn(Attempt) -> BoxFuture<'a, Result<T>>,
    ) -> Result<T> {
        let mut attempt = attempt.unwrap_or_else(|| Attempt::first(WriteId::new()));
        loop {
            let dice = self.dice.lock().unwrap().u8(..10);
            let error = match dice {
                0 | 1 => unanswered(),
                2 | 3 => {
                    let _ = send(attempt).await;
                    unanswered()
                }
                _ => match send(attempt).await {
                    Err(error) if error.is_retryable() || may_be_repeated(&error) => error,
                    done => return done,
                },
            };
            assert!(attempt.number < 50, "{error}");
            self.lost.fetch_add(1, Ordering::SeqCst);
            attempt = attempt.next();
        }
    }
}

fn unanswered() -> Error {
    Error::Unavailable {
        applied: Applied::Maybe,
        reason: "the test lost the request or its reply".to_owned(),
        source: None,
    }
}

fn may_be_repeated(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Timeout { .. })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateStore for Lossy {
    fn capabilities(&self) -> &Capabilities {
        self.store.capabilities()
    }

    async fn ready(&self) -> Result<()> {
        self.store.ready().await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.store.get(key, options).await
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        self.store.get_many(keys, options).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        self.deliver(options.attempt, |attempt| {
            let options = options.clone().with_attempt(attempt);
            self.store.put(key, value.clone(), options)
        })
        .await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.deliver(options.attempt, |attempt| {
            self.store.delete(key, options.clone().with_attempt(attempt))
        })
        .await
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        self.deliver(options.attempt, |attempt| {
            self.store.touch(key, ttl, options.clone().with_attempt(attempt))
        })
        .await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        self.store.resolve(key, id, precondition).await
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.store.list_page(partition, options).await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.store.scan_page(options).await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        self.deliver(options.attempt, |attempt| {
            self.store
                .transact(ops.clone(), options.clone().with_attempt(attempt))
        })
        .await
    }

    async fn sweep(&self) -> Result<u64> {
        self.store.sweep().await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
