use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statestore_api::{Current, Error, Key, Precondition, StateStore, Version, WriteId};
use tokio::time::Instant;

use super::{LeaseError, LeaseGuard, Record};
use crate::Typed;
use crate::typed::State;

/// The right of one at a time to do something: to run a job, to own a queue.
///
/// ```
/// use std::time::Duration;
/// use statestore_api::{MemoryStore, TransactOp};
/// use statestore_patterns::{Lease, LeaseError};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), LeaseError> {
/// let store = MemoryStore::new();
/// let lease = Lease::new(store.clone(), "reports/lease".parse()?, Duration::from_secs(10));
///
/// let guard = lease.acquire(Duration::from_secs(30)).await?; // renewed in the background from here on
/// assert!(matches!(lease.try_acquire().await, Err(LeaseError::Held { .. })));
///
/// // Refused if the lease was lost, however late this arrives.
/// let ops = vec![TransactOp::put("reports/today".parse()?, "done")];
/// guard.transact(ops).await?;
/// guard.release().await?;
/// # Ok(()) }
/// ```
///
/// # What it promises, and what it cannot
/// - No clock of one machine is compared with another's. A holder holds the lease for its length from the moment it *sent* a
///   renewal that was applied. Another takes over only after it has seen the same record, unchanged, for that length by its own
///   monotonic clock, and so never before the holder's time is up, if both clocks go at the same speed.
/// - A process that is paused (a garbage collector, a frozen function) does not know that its time is up, and no lease helps against that. What
///   helps is the **fencing token**: it grows with each acquisition, and a write can be made conditional on it:
///   [`LeaseGuard::transact`] in the partition of the lease, [`Fenced`](super::Fenced) elsewhere in a store. Send it along
///   to a system that can refuse a lower one.
/// - The record stays after a release, without an expiry, since it keeps the token. If it is deleted all the same, the next token is the
///   time in milliseconds since 1970 (as is the first), which is higher than any before as long as clocks are about right.
///
/// A clone contends as the same participant, and shares what it has seen: a program that tries now and then, with
/// [`try_acquire`](Self::try_acquire), should keep its `Lease`.
#[derive(Clone, Debug)]
pub struct Lease {
    pub(super) records: Typed<Record>,
    pub(super) key: Key,
    length: Duration,
    holder: String,
    seen: Arc<Mutex<Option<Seen>>>,
}

/// Another's record, and since when it has not changed.
#[derive(Debug)]
struct Seen {
    version: Version,
    since: Instant,
}

impl Lease {
    /// The lease that is stored under `key`. It is free again at the latest this long after its holder died, as soon as another has watched
    /// it for as long; it is renewed three times in that time. Seconds are usual; at least 10 ms, and at most a day.
    pub fn new(store: impl StateStore + 'static, key: Key, length: Duration) -> Self {
        Self {
            records: Typed::new(store),
            key,
            length: length.clamp(Duration::from_millis(10), Duration::from_secs(24 * 3600)),
            holder: "unnamed".to_owned(),
            seen: Arc::default(),
        }
    }

    /// The same under a name that others see while they wait: a host, a function's request id. It decides nothing.
    #[must_use]
    pub fn with_holder(mut self, name: impl Into<String>) -> Self {
        self.holder = name.into();
        self
    }

    /// Acquires it, and waits up to `patience` for others.
    ///
    /// # Errors
    /// [`Held`](LeaseError::Held) when another still holds it then; else the store's.
    pub async fn acquire(&self, patience: Duration) -> Result<LeaseGuard, LeaseError> {
        let began = Instant::now();
        loop {
            let held = match self.try_acquire().await {
                Err(error @ LeaseError::Held { .. }) => error,
                done => return done,
            };
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(held);
            }
            let LeaseError::Held { retry_after, .. } = held else {
                return Err(held);
            };
            tokio::time::sleep(self.pause().min(retry_after).min(left)).await;
        }
    }

    /// Acquires it if it is free, or if its record has not changed for as long as its holder holds it, since this `Lease` or a clone first saw it.
    ///
    /// # Errors
    /// [`Held`](LeaseError::Held) when it is not; else the store's.
    pub async fn try_acquire(&self) -> Result<LeaseGuard, LeaseError> {
        let found = self.records.get(&self.key).await?;
        let Some(found) = found else {
            return self.take(None, first_token()).await;
        };
        if found.value.owner.is_some() {
            let left = self.left(&found);
            if !left.is_zero() {
                return Err(held(found.value, left));
            }
        }
        let token = found.value.token.saturating_add(1);
        self.take(Some(&found.version), token).await
    }

    /// How long to wait for another's record, by this clock alone.
    fn left(&self, found: &State<Record>) -> Duration {
        // Behind the read: the record was written before this moment.
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match &*seen {
            Some(seen) if seen.version == found.version => seen.since,
            _ => {
                *seen = Some(Seen {
                    version: found.version.clone(),
                    since: now,
                });
                now
            }
        };
        found.value.length().saturating_sub(now.duration_since(since))
    }

    async fn take(&self, expected: Option<&Version>, token: u64) -> Result<LeaseGuard, LeaseError> {
        let record = Record {
            token,
            owner: Some(WriteId::new()),
            holder: self.holder.clone(),
            length_ms: u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX),
        };
        let sent = Instant::now();
        let written = self.records.compare_and_set(&self.key, expected, &record).await;
        let (version, found) = match written {
            Ok(version) => (Some(version), None),
            Err(error) => match self.found(error).await? {
                Some(found) if found.value.is_of(&record) => (Some(found.version), None),
                found => (None, found),
            },
        };
        match (version, found) {
            (Some(version), _) => Ok(LeaseGuard::start(self.clone(), record, version, sent)),
            (None, Some(found)) if found.value.owner.is_some() => {
                let left = self.left(&found);
                Err(held(found.value, left))
            }
            // It was taken and released again in between: free, but not ours yet.
            (None, found) => Err(held(found.map_or(record, |found| found.value), self.pause())),
        }
    }

    /// What is there after a write that failed, which may be that very write: its reply may have been lost.
    pub(super) async fn found(&self, error: Error) -> Result<Option<State<Record>>, LeaseError> {
        match error {
            Error::Conflict(conflict) => match conflict.current {
                Current::Entry(entry) => Ok(Some(self.records.state(&self.key, entry)?)),
                Current::Absent => Ok(None),
                Current::Unknown => Ok(self.records.get(&self.key).await?),
            },
            Error::Indeterminate { .. } => Ok(self.records.get(&self.key).await?),
            error if error.may_have_applied() => match self.records.get(&self.key).await {
                // Not ours, but it may yet arrive: nothing is known.
                Ok(found) => found.map(Some).ok_or(error.into()),
                Err(_) => Err(error.into()),
            },
            error => Err(error.into()),
        }
    }

    /// The conditions of a write over the record of this version.
    pub(super) async fn write(&self, version: &Version, record: &Record) -> Result<Version, Error> {
        let condition = Precondition::Matches(version.clone());
        self.records.put(&self.key, record, condition.into()).await
    }

    /// How long a contender waits before it looks again: random, so that they do not all come at once.
    fn pause(&self) -> Duration {
        let most = (self.length / 8).clamp(Duration::from_millis(5), Duration::from_secs(2));
        most.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }
}

fn held(record: Record, retry_after: Duration) -> LeaseError {
    LeaseError::Held {
        holder: record.holder,
        token: record.token,
        retry_after,
    }
}

fn first_token() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(1).max(1)
}
