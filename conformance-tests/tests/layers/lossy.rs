use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use statestore_api::{
    Action, Applied, Attempt, Bytes, Capabilities, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions,
    MemoryStore, Page, Precondition, PutOptions, Resolution, Result, ScanOptions, StateStore, TouchOptions,
    TransactOp, TransactOptions, Ttl, Version, WriteId,
};
use tokio::time::Instant;

/// How long others wait for the retry of a lost write, which may never come: its caller may be gone.
const PATIENCE: Duration = Duration::from_millis(200);

/// A memory store that refuses a fifth of all requests, and loses the reply of a fifth of those writes that it has applied.
///
/// It is still to pass all cases, so it loses no reply whose loss the contract lets be told: that of a delete or a conflict. And
/// while a lost write was not repeated, it lets through no more writes to its partition than an entry remembers, and no deletes.
#[derive(Clone, Debug)]
pub(crate) struct Lossy {
    store: MemoryStore,
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: fastrand::Rng,
    /// By partition: the write, since when it is lost, and how many others may still go by.
    lost: HashMap<String, (WriteId, Instant, usize)>,
}

impl Lossy {
    pub(crate) fn new(store: MemoryStore) -> Self {
        let random = fastrand::Rng::with_seed(7);
        let lost = HashMap::new();
        Self {
            store,
            turn: Arc::default(),
            state: Arc::new(Mutex::new(State { random, lost })),
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn refused(&self) -> Result<()> {
        match self.with(|state| state.random.u8(..10)) {
            0 => Err(Error::Throttled {
                retry_after: None,
                source: None,
            }),
            1 => Err(unavailable(Applied::No)),
            _ => Ok(()),
        }
    }

    async fn read<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        self.refused()?;
        run.await
    }

    /// A write to `partition`; `loses` says whether its reply may be lost.
    async fn write<T>(
        &self,
        partition: &str,
        attempt: Option<Attempt>,
        loses: bool,
        run: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let attempt = attempt.expect("the layer makes one");
        self.refused()?;
        // One after the other, so that nothing comes between the look at what is lost and the write.
        let turn = loop {
            let turn = self.turn.lock().await;
            if self.with(|state| state.lets_through(partition, attempt.id, loses)) {
                break turn;
            }
            drop(turn);
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let answer = run.await?;
        let others = self.store.capabilities().remembered_writes;
        let lost =
            loses && !attempt.is_retry() && self.with(|state| state.loses(partition, attempt.id, others));
        drop(turn);
        if lost {
            Err(unavailable(Applied::Maybe))
        } else {
            Ok(answer)
        }
    }
}

impl State {
    /// Whether the write `id` does not hide a lost one from its retry; `remembered` if it can be told to have come after it.
    fn lets_through(&mut self, partition: &str, id: WriteId, remembered: bool) -> bool {
        let Some((lost, since, others)) = self.lost.get_mut(partition) else {
            return true;
        };
        if *lost == id || since.elapsed() > PATIENCE {
            self.lost.remove(partition);
            return true;
        }
        let lets = remembered && *others > 0;
        *others -= usize::from(lets);
        lets
    }

    fn loses(&mut self, partition: &str, id: WriteId, others: usize) -> bool {
        let loses = !self.lost.contains_key(partition) && self.random.u8(..5) == 0;
        if loses {
            let lost = (id, Instant::now(), others);
            self.lost.insert(partition.to_owned(), lost);
        }
        loses
    }
}

fn unavailable(applied: Applied) -> Error {
    Error::Unavailable {
        applied,
        reason: "the test says so".to_owned(),
        source: None,
    }
}

#[async_trait]
impl StateStore for Lossy {
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
        let answers = self.store.get_many(keys, options).await;
        answers
            .into_iter()
            .map(|answer| self.refused().and(answer))
            .collect()
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let attempt = options.attempt;
        self.write(
            key.partition(),
            attempt,
            true,
            self.store.put(key, value, options),
        )
        .await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let attempt = options.attempt;
        self.write(key.partition(), attempt, false, self.store.delete(key, options))
            .await
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        let attempt = options.attempt;
        self.write(
            key.partition(),
            attempt,
            true,
            self.store.touch(key, ttl, options),
        )
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
        let attempt = options.attempt;
        let partition = ops.first().map_or("", |op| op.key.partition()).to_owned();
        let puts = |op: &TransactOp| matches!(op.action, Action::Put { .. });
        let loses = ops.iter().any(puts) && ops.iter().all(|op| !matches!(op.action, Action::Delete));
        self.write(&partition, attempt, loses, self.store.transact(ops, options))
            .await
    }

    async fn sweep(&self) -> Result<u64> {
        self.read(self.store.sweep()).await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
