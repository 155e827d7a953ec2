//! Reads, each on a snapshot of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use statestore_api::{Applied, Key, Result};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::EmbeddedStore;
use super::error::{Failure, Stop};
use super::tables::{Found, Snapshot};
use super::writer::{Job, State};

/// The largest entry that is read at once, in bytes.
const AT_ONCE: usize = 256 << 10;

impl EmbeddedStore {
    /// Reads one key and lets `work` say what of it is wanted: at once where that is quick, on a blocking thread else.
    pub(super) async fn read_one<T: Send + 'static>(
        &self,
        key: &Key,
        work: impl Fn(Option<Found<'_>>, &Key, u64) -> Result<T, Stop> + Send + Sync + 'static,
    ) -> Result<T> {
        if !self.core.options.blocking_reads {
            // Nothing is waited for here: a task that only reads would never let another one run.
            tokio::task::coop::consume_budget().await;
            if let Some(answer) = self.read_at_once(key, &work) {
                return answer;
            }
        }
        let key = key.clone();
        self.read(move |snapshot| work(snapshot.find(&key)?, &key, snapshot.now()))
            .await
    }

    /// What `work` wants of `key`, unless that would take long, or fails: then it is for a blocking thread.
    fn read_at_once<T>(
        &self,
        key: &Key,
        work: impl Fn(Option<Found<'_>>, &Key, u64) -> Result<T, Stop>,
    ) -> Option<Result<T>> {
        let state = self.core.state.try_read().ok()?;
        let State::Open(opened, _) = &*state else {
            return None;
        };
        // redb may panic on a page that is damaged.
        let read = catch_unwind(AssertUnwindSafe(|| {
            let snapshot = Snapshot::of(&opened.database, self.core.now())?;
            Ok(match snapshot.find(key)? {
                Some((_, bytes)) if bytes.value().len() > AT_ONCE => None,
                found => Some(work(found, key, snapshot.now())?),
            })
        }));
        let failure = match read {
            Ok(Ok(done)) => return done.map(Ok),
            Ok(Err(Stop::Refused(error))) => return Some(Err(error)),
            Ok(Err(Stop::Failed(failure))) => failure,
            Err(_) => Failure::Panicked,
        };
        // The next read only hears that one has failed.
        let path = self.core.place.path.display();
        tracing::warn!(%path, ?failure, "reading a key failed; it is tried once more");
        None
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&Snapshot) -> Result<T, Stop> + Send + Sync + 'static,
    ) -> Result<T> {
        let read = self.try_read(move |snapshot| match work(snapshot) {
            Ok(done) => Ok(Ok(done)),
            Err(Stop::Refused(error)) => Ok(Err(error)),
            Err(Stop::Failed(failure)) => Err(failure),
        });
        match read.await {
            Ok(answer) => answer,
            Err(failure) => Err(self.error(&failure, Applied::No)),
        }
    }

    /// Runs `work` on a snapshot of its own, on a blocking thread. If the file fails it is opened again, once.
    pub(super) async fn try_read<T: Send + 'static>(
        &self,
        work: impl Fn(&Snapshot) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, Failure> {
        let work = Arc::new(work);
        let mut again = true;
        loop {
            let state = Arc::clone(&self.core.state).read_owned().await;
            let time = match &*state {
                State::Open(_, time) => *time,
                State::Broken(_) => 0,
                State::Closed => return Err(Failure::Closed),
            };
            let (now, work) = (self.core.now(), Arc::clone(&work));
            // It holds the lock until it is done, even when nobody waits for it any more.
            let reading = spawn_blocking(move || match &*state {
                State::Open(opened, _) => work(&Snapshot::of(&opened.database, now)?),
                State::Broken(_) | State::Closed => Err(Failure::Closed),
            });
            let failure = match reading.await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
                // redb may panic on a page that is damaged.
                Err(error) if error.is_panic() => Failure::Panicked,
                Err(_) => return Err(Failure::Closed),
            };
            if !again {
                return Err(failure);
            }
            again = false;
            if time != 0 {
                let path = self.core.place.path.display();
                tracing::warn!(%path, ?failure, "reading failed; the file is opened again");
            }
            let (reply, answer) = oneshot::channel();
            let sent = self.jobs.send(Job::Reopen(time, reply)).await;
            sent.map_err(|_| Failure::Closed)?;
            answer.await.map_err(|_| Failure::NoWriter)??;
        }
    }
}
