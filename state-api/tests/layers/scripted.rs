use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use statestore_api::{
    Applied, Attempt, Bytes, Capabilities, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions,
    MemoryStore, Page, Precondition, PutOptions, Resolution, Result, ScanOptions, StateStore, TouchOptions,
    TransactOp, TransactOptions, Ttl, Version, WriteId,
};
use tokio::time::Instant;

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// It is answered.
    Pass,
    /// It does not reach the store.
    Refuse(fn() -> Error),
    /// It is applied, and its answer is lost.
    Lose(fn() -> Error),
    /// Of a batch, these keys are refused.
    RefuseIds(&'static [&'static str], fn() -> Error),
    /// It takes this long.
    Slow(Duration),
    /// It takes for ever.
    Hang,
    /// It is a put that is given up and arrives when the test says so.
    Late,
}

/// A request as it was made.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) operation: &'static str,
    pub(crate) attempt: Option<Attempt>,
    pub(crate) keys: Vec<Key>,
    pub(crate) at: Instant,
}

/// A memory store whose requests end as the test says, in its order; those after that are answered. Clones are one store.
#[derive(Clone, Debug)]
pub(crate) struct Scripted {
    store: MemoryStore,
    script: Arc<Script>,
}

#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    requests: Mutex<Vec<Request>>,
    late: Mutex<Vec<BoxFuture<'static, Result<Version>>>>,
    dropped: Mutex<u32>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

/// Counts a request that is dropped before its end.
struct Dropped<'a>(&'a Script, bool);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        *self.0.dropped.lock().unwrap() += u32::from(!self.1);
    }
}

impl Scripted {
    pub(crate) fn new(steps: &[Step]) -> Self {
        Self::over(MemoryStore::new(), steps)
    }

    pub(crate) fn over(store: MemoryStore, steps: &[Step]) -> Self {
        let scripted = Self {
            store,
            script: Arc::default(),
        };
        scripted.then(steps);
        scripted
    }

    /// What happens to the next requests.
    pub(crate) fn then(&self, steps: &[Step]) {
        self.script.steps.lock().unwrap().extend(steps);
    }

    /// The store behind it, for others.
    pub(crate) fn behind(&self) -> &MemoryStore {
        &self.store
    }

    /// The requests since the last time.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.script.requests.lock().unwrap())
    }

    /// The numbers of the attempts since the last time, which all have to be of one write.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let attempts: Vec<Attempt> = self
            .requests()
            .iter()
            .filter_map(|request| request.attempt)
            .collect();
        assert!(
            attempts.windows(2).all(|pair| pair[0].id == pair[1].id),
            "{attempts:?}"
        );
        attempts.iter().map(|attempt| attempt.number).collect()
    }

    pub(crate) fn dropped(&self) -> u32 {
        *self.script.dropped.lock().unwrap()
    }

    /// What was late arrives now.
    pub(crate) async fn deliver(&self) -> Vec<Result<Version>> {
        let late = std::mem::take(&mut *self.script.late.lock().unwrap());
        futures::future::join_all(late).await
    }

    fn begin(&self, operation: &'static str, attempt: Option<Attempt>, keys: &[&Key]) -> Step {
        self.script.requests.lock().unwrap().push(Request {
            operation,
            attempt,
            keys: keys.iter().map(|key| (*key).clone()).collect(),
            at: Instant::now(),
        });
        self.script
            .steps
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Step::Pass)
    }

    async fn run<T>(&self, step: Step, run: impl Future<Output = Result<T>>) -> Result<T> {
        let mut ended = Dropped(&self.script, false);
        let answer = match step {
            Step::Pass => run.await,
            Step::Refuse(error) => Err(error()),
            Step::Lose(error) => run.await.and_then(|_| Err(error())),
            Step::Slow(time) => {
                tokio::time::sleep(time).await;
                run.await
            }
            Step::Hang => std::future::pending().await,
            Step::RefuseIds(..) | Step::Late => panic!("{step:?} is not for this"),
        };
        ended.1 = true;
        answer
    }
}

#[async_trait]
impl StateStore for Scripted {
    fn capabilities(&self) -> &Capabilities {
        self.store.capabilities()
    }

    async fn ready(&self) -> Result<()> {
        self.run(self.begin("ready", None, &[]), self.store.ready()).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.run(self.begin("get", None, &[key]), self.store.get(key, options))
            .await
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let step = self.begin("get_many", None, &keys.iter().collect::<Vec<_>>());
        let answers = self.store.get_many(keys, options).await;
        match step {
            Step::RefuseIds(ids, error) => answers
                .into_iter()
                .zip(keys)
                .map(|(answer, key)| {
                    if ids.contains(&key.id()) {
                        Err(error())
                    } else {
                        answer
                    }
                })
                .collect(),
            step => self
                .run(step, async { Ok(answers) })
                .await
                .expect("it waits at most"),
        }
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let step = self.begin("put", options.attempt, &[key]);
        if matches!(step, Step::Late) {
            let (store, key) = (self.store.clone(), key.clone());
            let late = Box::pin(async move { store.put(&key, value, options).await });
            self.script.late.lock().unwrap().push(late);
            return Err(unanswered());
        }
        self.run(step, self.store.put(key, value, options)).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let step = self.begin("delete", options.attempt, &[key]);
        self.run(step, self.store.delete(key, options)).await
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        let step = self.begin("touch", options.attempt, &[key]);
        self.run(step, self.store.touch(key, ttl, options)).await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        let step = self.begin("resolve", None, &[key]);
        self.run(step, self.store.resolve(key, id, precondition)).await
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        let step = self.begin("list_page", None, &[]);
        self.run(step, self.store.list_page(partition, options)).await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.run(self.begin("scan_page", None, &[]), self.store.scan_page(options))
            .await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        let step = self.begin("transact", options.attempt, &[]);
        self.run(step, self.store.transact(ops, options)).await
    }

    async fn sweep(&self) -> Result<u64> {
        self.run(self.begin("sweep", None, &[]), self.store.sweep()).await
    }

    async fn close(&self) -> Result<()> {
        self.run(self.begin("close", None, &[]), self.store.close()).await
    }
}

/// The service could not be reached.
pub(crate) fn unreachable() -> Error {
    unavailable(Applied::No)
}

/// The answer did not come.
pub(crate) fn unanswered() -> Error {
    unavailable(Applied::Maybe)
}

fn unavailable(applied: Applied) -> Error {
    Error::Unavailable {
        applied,
        reason: "the test says so".to_owned(),
        source: None,
    }
}

/// The service asks for a slower pace.
pub(crate) fn throttled() -> Error {
    Error::Throttled {
        retry_after: None,
        source: None,
    }
}

/// The service asks to wait for 3 seconds.
pub(crate) fn throttled_for_3s() -> Error {
    Error::Throttled {
        retry_after: Some(Duration::from_secs(3)),
        source: None,
    }
}

/// The credentials are not good any more.
pub(crate) fn unauthorized() -> Error {
    Error::Unauthorized {
        todo: "renew them".to_owned(),
        source: None,
    }
}
