use std::fmt;
use std::sync::Arc;

use statestore_api::{Error, Precondition, TransactOp, Version};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Lease, LeaseError, Record};
use crate::typed::State;

/// A [`Lease`] that was acquired. It is renewed in the background until this is dropped or released, or it is lost.
///
/// Dropped without [`release`](Self::release), it stays with a holder that does nothing until others have waited its length.
#[must_use = "the lease is held only as long as this"]
pub struct LeaseGuard {
    held: Arc<Held>,
    renewal: JoinHandle<()>,
}

/// What the holder and the renewal in the background share.
struct Held {
    lease: Lease,
    record: Record,
    /// Locked during each write of the record, so that none overtakes another.
    written: Mutex<Written>,
    status: watch::Sender<Status>,
}

struct Written {
    version: Version,
    /// When the first write was sent whose outcome is not known.
    unknown_since: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Status {
    /// Until when it is held for certain.
    until: Instant,
    lost: bool,
}

impl LeaseGuard {
    /// `sent` is when the write was sent that acquired it.
    pub(super) fn start(lease: Lease, record: Record, version: Version, sent: Instant) -> Self {
        let until = sent + lease.length();
        let held = Arc::new(Held {
            lease,
            record,
            written: Mutex::new(Written {
                version,
                unknown_since: None,
            }),
            status: watch::Sender::new(Status { until, lost: false }),
        });
        let renewal = tokio::spawn(Arc::clone(&held).renew());
        Self { held, renewal }
    }

    /// The fencing token: higher than that of every holder before.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.held.record.token
    }

    /// Whether it is held for certain, by this machine's clock. A process may be paused right after it asked: a write that must not happen then has
    /// to be fenced.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let status = *self.held.status.borrow();
        !status.lost && Instant::now() < status.until
    }

    /// Waits until it is lost: another has taken over, or it could not be renewed in time. For a `select!` beside the work.
    pub async fn lost(&self) {
        let mut changes = self.held.status.subscribe();
        loop {
            let status = *changes.borrow_and_update();
            if status.lost || Instant::now() >= status.until {
                return;
            }
            let _ = tokio::time::timeout_at(status.until, changes.changed()).await;
        }
    }

    /// Applies puts, deletes and checks in the lease's partition, each under its precondition, if the lease is still held: all or nothing. It is
    /// the store that checks it, in the same step, so that a write that was held up anywhere on its way comes too late. It also renews the
    /// lease. Returns the new version for each put, in the order of the operations.
    ///
    /// # Errors
    /// [`Lost`](LeaseError::Lost), and nothing was applied; else as for [`StateStore::transact`](statestore_api::StateStore::transact).
    pub async fn transact(&self, ops: Vec<TransactOp>) -> Result<Vec<Option<Version>>, LeaseError> {
        let key = &self.held.lease.key;
        let elsewhere = |op: &TransactOp| op.key.partition() != key.partition() || op.key == *key;
        if let Some(op) = ops.iter().position(elsewhere) {
            return Err(LeaseError::Store(Error::InvalidTransaction {
                op,
                reason: "has to be of another key in the partition of the lease",
            }));
        }
        self.held.transact(ops).await
    }

    /// Gives it up, so that another can have it at once.
    ///
    /// # Errors
    /// [`Lost`](LeaseError::Lost) when another has it already; else the store's, and it may stay until others have waited its length.
    pub async fn release(self) -> Result<(), LeaseError> {
        self.renewal.abort();
        self.held.release().await
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl fmt::Debug for LeaseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseGuard")
            .field("key", &self.held.lease.key)
            .field("token", &self.token())
            .field("held", &self.is_held())
            .finish_non_exhaustive()
    }
}

impl Held {
    /// Renews it until it is lost.
    async fn renew(self: Arc<Self>) {
        let pause = self.lease.length() / 3;
        loop {
            tokio::time::sleep(pause).await;
            // An attempt that fails is repeated, as long as there is time.
            loop {
                let until = self.status.borrow().until;
                let renewed = match tokio::time::timeout_at(until, self.renew_once()).await {
                    Ok(renewed) => renewed,
                    Err(_) => Err(self.lose()),
                };
                match renewed {
                    Ok(()) => break,
                    Err(LeaseError::Store(error)) => {
                        tracing::debug!(key = %self.lease.key, %error, "a renewal failed");
                        tokio::time::sleep(pause / 4).await;
                    }
                    Err(_) => return,
                }
            }
        }
    }

    async fn renew_once(&self) -> Result<(), LeaseError> {
        let mut written = self.written.lock().await;
        let sent = Instant::now();
        match self.lease.write(&written.version, &self.record).await {
            Ok(version) => {
                self.confirm(&mut written, version, sent);
                Ok(())
            }
            Err(error) => self.settle(&mut written, error, sent).await,
        }
    }

    async fn transact(&self, ops: Vec<TransactOp>) -> Result<Vec<Option<Version>>, LeaseError> {
        let own = ops.len();
        let mut written = self.written.lock().await;
        loop {
            if self.status.borrow().lost {
                return Err(self.lost());
            }
            let (lease, version) = (&self.lease, written.version.clone());
            let value = lease.records.encode(&lease.key, &self.record)?;
            let renewal = TransactOp::put(lease.key.clone(), value).when(Precondition::Matches(version));
            let all = ops.iter().cloned().chain([renewal]).collect();
            let sent = Instant::now();
            let error = match lease.records.store().transact(all, Default::default()).await {
                Ok(mut versions) => {
                    if let Some(version) = versions.pop().flatten() {
                        self.confirm(&mut written, version, sent);
                    }
                    return Ok(versions);
                }
                Err(error) => error,
            };
            let of_lease = match &error {
                Error::Conflict(conflict) => conflict.op.is_none_or(|op| op == own),
                _ => {
                    written.unknown_since.get_or_insert(sent);
                    false
                }
            };
            if !of_lease {
                return Err(error.into());
            }
            // A renewal whose reply was lost has changed the version: then it is tried again, as nothing was applied.
            let before = written.version.clone();
            let found = self.lease.records.get(&self.lease.key).await?;
            self.adopt(&mut written, found, sent)?;
            if written.version == before {
                return Err(error.into());
            }
        }
    }

    async fn release(&self) -> Result<(), LeaseError> {
        let mut written = self.written.lock().await;
        let free = Record {
            owner: None,
            ..self.record.clone()
        };
        loop {
            let before = written.version.clone();
            let sent = Instant::now();
            let Err(error) = self.lease.write(&before, &free).await else {
                self.lose();
                return Ok(());
            };
            let found = self.lease.found(error).await?;
            if found.as_ref().is_some_and(|found| found.value == free) {
                self.lose();
                return Ok(());
            }
            self.adopt(&mut written, found, sent)?;
        }
    }

    /// It was applied at this version by a write that was sent then.
    fn confirm(&self, written: &mut Written, version: Version, sent: Instant) {
        written.version = version;
        written.unknown_since = None;
        self.status
            .send_modify(|status| status.until = status.until.max(sent + self.lease.length()));
    }

    /// Finds out what a write that failed has left.
    async fn settle(&self, written: &mut Written, error: Error, sent: Instant) -> Result<(), LeaseError> {
        if !matches!(error, Error::Conflict(_)) {
            written.unknown_since.get_or_insert(sent);
        }
        let found = self.lease.found(error).await?;
        self.adopt(written, found, sent)
    }

    /// Takes what is there for what was written, if it is of this holder.
    fn adopt(
        &self,
        written: &mut Written,
        found: Option<State<Record>>,
        sent: Instant,
    ) -> Result<(), LeaseError> {
        match found {
            Some(found) if found.value.is_of(&self.record) => {
                if found.version != written.version {
                    // Which of the writes it was is not known: the first of them.
                    let sent = written.unknown_since.unwrap_or(sent);
                    self.confirm(written, found.version, sent);
                }
                Ok(())
            }
            _ => Err(self.lose()),
        }
    }

    fn lose(&self) -> LeaseError {
        self.status.send_modify(|status| status.lost = true);
        self.lost()
    }

    fn lost(&self) -> LeaseError {
        LeaseError::Lost {
            token: self.record.token,
        }
    }
}
