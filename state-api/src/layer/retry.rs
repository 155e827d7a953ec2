use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::RetryPolicy;
use super::budget::Budget;
use super::call::{Call, is_transient, retry_after};
use super::timeout::timed_out;
use crate::error::{Applied, Result};
use crate::{
    Action, Capabilities, DeleteOptions, Entry, GetOptions, Key, ListOptions, Page, Precondition, PutOptions,
    Resolution, ScanOptions, StateStore, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

/// Tries again what may be answered another time, under one write id, so that a write is still applied once.
///
/// ```
/// use statestore_api::layer::{Retry, RetryPolicy};
/// use statestore_api::{MemoryStore, StateStoreExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let store = Retry::new(MemoryStore::new(), RetryPolicy::default());
/// store.create(&"user-42/cart".parse()?, "one apple").await?;
/// # Ok(()) }
/// ```
///
/// # What is tried again
/// After [`Throttled`](crate::Error::Throttled), [`Unavailable`](crate::Error::Unavailable) and [`Timeout`](crate::Error::Timeout), as
/// long as the [`RetryPolicy`] allows: reads, and writes too, whether or not they may have been applied. Of a
/// [`get_many`](StateStore::get_many) only the keys that failed are asked for again. Every other error is returned at once, and
/// [`close`](StateStore::close) is not repeated.
///
/// # What a write's answer says
/// All attempts of a write carry one [`WriteId`], the caller's or one made for the call, and an [`Attempt`](crate::Attempt) that
/// counts those that may have reached the store. So
/// - success, also when the first reply was lost, is the version that the write made;
/// - a [`Conflict`](crate::Error::Conflict) is somebody else's doing, never that of an earlier attempt;
/// - [`Indeterminate`](crate::Error::Indeterminate) is what could not be told: by the store, or because no answer came in time. In the
///   second case its source is the last error. It has the write id: ask [`resolve`](StateStore::resolve) later, or send the
///   same write again as the [next attempt](crate::Attempt::next) of that id;
/// - any other error says that no attempt of this call was or will be applied.
///
/// `Matches` is applied exactly once that way, `Absent` too unless somebody deletes the new key in between. **Writes without a condition,
/// and with `Exists`, are applied at least once**: if others have deleted the entry between two attempts, or have overwritten it more often
/// than it [remembers](Capabilities::remembered_writes) (or once, where [blind puts forget](Capabilities::blind_puts_forget)), a put brings its value back, and a delete also removes what was created
/// between two attempts. Where that matters, use a condition.
///
/// # Outages
/// Waits grow and are random; a service that asks for a time to wait gets it, and where that would end behind the deadline, the error is
/// returned at once. A [budget](RetryPolicy::budget), which all clones share, bounds how many retries are made while nothing is answered.
///
/// # Logs
/// Each retry is a `tracing` event at `DEBUG`, and giving up one at `WARN`, with the operation, the write id, the error's kind, and how often it
/// was tried. Keys and values are in none.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    store: S,
    policy: RetryPolicy,
    budget: Arc<Budget>,
}

impl<S: StateStore> Retry<S> {
    /// `store`, with retries under this policy.
    #[must_use]
    pub fn new(store: S, policy: RetryPolicy) -> Self {
        Self {
            store,
            budget: Arc::new(Budget::new(policy.budget)),
            policy,
        }
    }

    /// The store inside.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.store
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        Call::new(operation, &self.policy, &self.budget, 1)
    }

    /// The answers of one attempt.
    async fn ask(
        &self,
        call: &mut Call<'_>,
        keys: &[Key],
        options: GetOptions,
    ) -> Vec<Result<Option<Entry>>> {
        let late = |after| keys.iter().map(|_| Err(timed_out(after, Applied::No))).collect();
        let answers = call.attempt(self.store.get_many(keys, options)).await;
        answers.unwrap_or_else(late)
    }

    /// The version that the write `id` gave `key`, if that can be told.
    async fn applied(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Option<Version>> {
        Ok(match self.store.resolve(key, id, precondition).await? {
            Resolution::Applied(version) => Some(version),
            Resolution::NotApplied | Resolution::Unknown => None,
        })
    }

    /// The versions that the transaction `id` gave the keys of its puts, if all can be told.
    async fn all_applied(&self, ops: &[TransactOp], id: WriteId) -> Result<Option<Vec<Option<Version>>>> {
        let mut versions = Vec::with_capacity(ops.len());
        for op in ops {
            versions.push(match op.action {
                Action::Put { .. } => match self.applied(&op.key, id, &op.precondition).await? {
                    Some(version) => Some(version),
                    None => return Ok(None),
                },
                Action::Delete | Action::Check => None,
            });
        }
        Ok(Some(versions))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: StateStore> StateStore for Retry<S> {
    fn capabilities(&self) -> &Capabilities {
        self.store.capabilities()
    }

    async fn ready(&self) -> Result<()> {
        self.call("ready").read(|| self.store.ready()).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.call("get").read(|| self.store.get(key, options)).await
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let mut call = Call::new("get_many", &self.policy, &self.budget, keys.len());
        let mut results = self.ask(&mut call, keys, options).await;
        loop {
            let failed: Vec<usize> = (0..results.len())
                .filter(|place| results[*place].as_ref().is_err_and(is_transient))
                .collect();
            let errors = failed.iter().filter_map(|place| results[*place].as_ref().err());
            let Some(slowest) = errors.max_by_key(|error| retry_after(error)) else {
                call.answered();
                return results;
            };
            if call.again(slowest).await.is_err() {
                return results;
            }
            let again: Vec<Key> = failed.iter().map(|place| keys[*place].clone()).collect();
            let answers = self.ask(&mut call, &again, options).await;
            for (place, answer) in failed.into_iter().zip(answers) {
                results[place] = answer;
            }
        }
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let run = |attempt| {
            let options = options.clone().with_attempt(attempt);
            self.store.put(key, value.clone(), options)
        };
        let applied = |id| self.applied(key, id, &options.precondition);
        self.call("put").write(options.attempt, run, applied).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let run = |attempt| self.store.delete(key, options.clone().with_attempt(attempt));
        self.call("delete")
            .write(options.attempt, run, |_| ready(Ok(None)))
            .await
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        let run = |attempt| self.store.touch(key, ttl, options.clone().with_attempt(attempt));
        let applied = |id| self.applied(key, id, &options.precondition);
        self.call("touch").write(options.attempt, run, applied).await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        self.call("resolve")
            .read(|| self.store.resolve(key, id, precondition))
            .await
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.call("list_page")
            .read(|| self.store.list_page(partition, options.clone()))
            .await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.call("scan_page")
            .read(|| self.store.scan_page(options.clone()))
            .await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        let run = |attempt| {
            let options = options.clone().with_attempt(attempt);
            self.store.transact(ops.clone(), options)
        };
        let applied = |id| self.all_applied(&ops, id);
        self.call("transact").write(options.attempt, run, applied).await
    }

    async fn sweep(&self) -> Result<u64> {
        self.call("sweep").uncut().read(|| self.store.sweep()).await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
