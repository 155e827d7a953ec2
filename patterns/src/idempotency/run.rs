use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statestore_api::{
    Current, DeleteOptions, Error, Key, Precondition, PutOptions, Result, StateStore, Ttl, Version,
};
use tokio::time::Instant;

use super::IdempotencyError;
use super::record::{Record, hash, key};
use crate::Typed;
use crate::typed::State;

/// How often a result is tried to be kept.
const KEEPING_ATTEMPTS: u32 = 3;

/// Runs a handler once for each request, however often that is delivered, and gives the repeated ones the result of the first.
///
/// ```
/// use statestore_api::{BoxError, MemoryStore};
/// use statestore_patterns::{Idempotency, IdempotencyError};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), IdempotencyError<BoxError>> {
/// let payments = Idempotency::new(MemoryStore::new(), "payments");
/// let pay = async |amount: u32| {
///     let call_the_bank = async || Ok::<_, BoxError>(format!("paid {amount}"));
///     payments.run("order-7", &amount, call_the_bank).await
/// };
/// assert_eq!(pay(100).await?, "paid 100");
/// assert_eq!(pay(100).await?, "paid 100"); // the bank was not called again
/// assert!(matches!(pay(999).await, Err(IdempotencyError::PayloadMismatch { .. })));
/// # Ok(()) }
/// ```
///
/// # What happens when
/// - **It is being run already**: [`InProgress`](IdempotencyError::InProgress), or the call waits for the result, [as asked](OnDuplicate).
/// - **The handler fails or panics**: its record is removed, and the request can be tried again.
/// - **The handler takes too long**: it is dropped at the deadline, before another may run. (What it has spawned or blocks a thread is not.)
/// - **The process dies**, or drops the future: the record stays in progress until the deadline; then the request can be tried again.
/// - **A reply of the store is lost**: the record says whose it is, so that one's own is not taken for another's.
/// - **A record in progress has no deadline** (somebody took its expiry away): it is never taken for an orphan.
///
/// So a handler is run *at least* once, and once if no process dies in it. Where the effect is state in the same store, use
/// [`Outbox::update_once`](crate::Outbox::update_once), which does it exactly once.
///
/// The deadline is the record's expiry, which the store's clock judges, and the handler's time, by this machine's. There is a tenth of it in between.
#[derive(Clone, Debug)]
pub struct Idempotency {
    records: Typed<Record>,
    scope: String,
    deadline: Duration,
    retention: Duration,
    on_duplicate: OnDuplicate,
}

/// What a call does that finds its request in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// It fails with [`InProgress`](IdempotencyError::InProgress).
    #[default]
    Fail,
    /// It waits this long for the result, and fails then. If the other fails, it runs the handler itself.
    Wait(Duration),
}

/// Where a request stands.
enum Stand {
    /// It is this run's, at this version.
    Ours(Version),
    Done(Record),
    InProgress(Option<SystemTime>),
    /// What was in the way has gone.
    Free,
}

impl Idempotency {
    /// The requests of this kind; the scope is part of their keys. By default a handler has a minute, and results are kept for a day.
    pub fn new(store: impl StateStore + 'static, scope: impl Into<String>) -> Self {
        Self {
            records: Typed::new(store),
            scope: scope.into(),
            deadline: Duration::from_secs(60),
            retention: Duration::from_secs(24 * 3600),
            on_duplicate: OnDuplicate::default(),
        }
    }

    /// The same where a handler has this long: a function's time-out. At least 10 ms.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.max(Duration::from_millis(10));
        self
    }

    /// The same where results are kept this long: longer than any event is repeated. At least 10 ms.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = retention.max(Duration::from_millis(10));
        self
    }

    /// The same where a request that is in progress is treated so.
    #[must_use]
    pub fn on_duplicate(mut self, on_duplicate: OnDuplicate) -> Self {
        self.on_duplicate = on_duplicate;
        self
    }

    /// Runs `handler`, unless the request `id` was run before: then its result is returned. An id of any length; `payload` is what
    /// must be the same under the same id, compared by a hash of its JSON.
    ///
    /// # Errors
    /// Those of [`IdempotencyError`].
    pub async fn run<P, T, E, F, R>(
        &self,
        id: &str,
        payload: &P,
        handler: F,
    ) -> Result<T, IdempotencyError<E>>
    where
        P: Serialize + ?Sized,
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> R,
        R: Future<Output = Result<T, E>>,
    {
        let key = key(&self.scope, id)?;
        let record = Record::in_progress(hash(payload)?);
        let began = Instant::now();
        let mut waited = 0;
        let (version, sent) = loop {
            let sent = Instant::now();
            let expires_at = match self.begin(&key, &record, id).await? {
                Stand::Ours(version) => break (version, sent),
                Stand::Done(done) => return Ok(done.result()?),
                Stand::Free => continue,
                Stand::InProgress(expires_at) => expires_at,
            };
            let left = match self.on_duplicate {
                OnDuplicate::Fail => Duration::ZERO,
                OnDuplicate::Wait(most) => most.saturating_sub(began.elapsed()),
            };
            if left.is_zero() {
                return Err(IdempotencyError::InProgress {
                    id: id.to_owned(),
                    retry_after: expires_at
                        .map(|time| time.duration_since(SystemTime::now()).unwrap_or_default()),
                });
            }
            tokio::time::sleep(pause(waited).min(left)).await;
            waited += 1;
        };

        let handled = AssertUnwindSafe(async { handler().await }).catch_unwind();
        match tokio::time::timeout_at(sent + self.deadline, handled).await {
            Ok(Ok(Ok(result))) => {
                let kept = match record.done(&result) {
                    Ok(done) => self.keep(&key, &version, &done).await,
                    Err(error) => Err(error),
                };
                kept.map_err(|source| IdempotencyError::NotRecorded {
                    id: id.to_owned(),
                    source,
                })?;
                Ok(result)
            }
            Ok(Ok(Err(error))) => {
                self.remove(&key, version).await;
                Err(IdempotencyError::Handler(error))
            }
            Ok(Err(panic)) => {
                self.remove(&key, version).await;
                resume_unwind(panic)
            }
            Err(_) => Err(IdempotencyError::DeadlineExceeded {
                id: id.to_owned(),
                deadline: self.deadline,
            }),
        }
    }

    /// Makes of `handler` one that runs once for each event, whose id `id` tells, for functions that get events: no crate of the runtime is needed, and an
    /// event that is `Serialize`.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use statestore_api::{BoxError, MemoryStore};
    /// # use statestore_patterns::Idempotency;
    /// #[derive(Serialize, Deserialize)]
    /// struct OrderPlaced {
    ///     order: String,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
    /// let handler = Idempotency::new(MemoryStore::new(), "orders").handler(
    ///     |event: &OrderPlaced| event.order.clone(),
    ///     async |event: OrderPlaced| Ok::<_, BoxError>(format!("shipped {}", event.order)),
    /// );
    /// // With the crate lambda_runtime:
    /// //     run(service_fn(|event: LambdaEvent<OrderPlaced>| handler(event.payload))).await
    /// let event = || OrderPlaced { order: "order-7".to_owned() };
    /// assert_eq!(handler(event()).await?, "shipped order-7");
    /// assert_eq!(handler(event()).await?, "shipped order-7"); // and it was shipped once
    /// # Ok(()) }
    /// ```
    pub fn handler<V, T, E, I, F, R>(
        self,
        id: I,
        handler: F,
    ) -> impl Fn(V) -> BoxFuture<'static, Result<T, IdempotencyError<E>>> + Clone
    where
        V: Serialize + Send + 'static,
        T: Serialize + DeserializeOwned + Send,
        E: Send,
        I: Fn(&V) -> String + Clone,
        F: Fn(V) -> R + Clone + Send + 'static,
        R: Future<Output = Result<T, E>> + Send,
    {
        move |event| {
            let (idempotency, handler, id) = (self.clone(), handler.clone(), id(&event));
            // Hashed before, since the handler takes the event.
            let payload = hash(&event);
            Box::pin(async move { idempotency.run(&id, &payload?, move || handler(event)).await })
        }
    }

    /// Writes that it is in progress, unless it is or was.
    async fn begin<E>(&self, key: &Key, record: &Record, id: &str) -> Result<Stand, IdempotencyError<E>> {
        // Time to keep the result, after the handler's.
        let deadline = self.deadline + (self.deadline / 10).max(Duration::from_secs(1));
        let options = PutOptions::from(Precondition::Absent).with_ttl(Ttl::After(deadline));
        let error = match self.records.put(key, record, options).await {
            Ok(version) => return Ok(Stand::Ours(version)),
            Err(error) => error,
        };
        let Some(found) = self.found(key, error).await? else {
            return Ok(Stand::Free);
        };
        if found.value.is_of(record) {
            return Ok(Stand::Ours(found.version));
        }
        if found.value.payload != record.payload {
            return Err(IdempotencyError::PayloadMismatch { id: id.to_owned() });
        }
        Ok(match found.value.done {
            true => Stand::Done(found.value),
            false => Stand::InProgress(found.expires_at),
        })
    }

    async fn keep(&self, key: &Key, version: &Version, done: &Record) -> Result<()> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let options = PutOptions::from(version.clone()).with_ttl(Ttl::After(self.retention));
            let Err(error) = self.records.put(key, done, options).await else {
                return Ok(());
            };
            let lost_reply = !matches!(error, Error::Conflict(_));
            let text = error.to_string();
            match self.found(key, error).await? {
                Some(found) if found.value.is_of(done) && found.value.done => return Ok(()),
                // The request was lost, not its reply.
                Some(found) if found.version == *version && lost_reply && attempts < KEEPING_ATTEMPTS => {
                    tokio::time::sleep(pause(attempts)).await;
                }
                _ => {
                    return Err(Error::Aborted {
                        source: format!("its record is not its own any more: {text}").into(),
                    });
                }
            }
        }
    }

    /// Makes the request free again. If that fails, it is when its deadline has passed.
    async fn remove(&self, key: &Key, version: Version) {
        if let Err(error) = self.records.delete(key, DeleteOptions::from(version)).await {
            tracing::warn!(%error, "a failed handler's record stays until its deadline");
        }
    }

    /// What is there after a write that failed.
    async fn found(&self, key: &Key, error: Error) -> Result<Option<State<Record>>> {
        match error {
            Error::Conflict(conflict) => match conflict.current {
                Current::Entry(entry) => self.records.state(key, entry).map(Some),
                Current::Absent => Ok(None),
                Current::Unknown => self.records.get(key).await,
            },
            error if error.may_have_applied() => match self.records.get(key).await {
                // It may yet arrive: nothing is known.
                Ok(None) | Err(_) => Err(error),
                found => found,
            },
            error => Err(error),
        }
    }
}

/// The wait before looking again: from some 20 ms to a second.
fn pause(waited: u32) -> Duration {
    let most = Duration::from_millis(25 << waited.min(6)).min(Duration::from_secs(1));
    most.mul_f64(0.5 + fastrand::f64() / 2.0)
}
