use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The clock that judges expiry, for a store that judges it by a clock of this machine.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock for tests, which stands still until it is moved. Clones share their time.
///
/// ```
/// use std::time::Duration;
/// use statestore_api::{ManualClock, MemoryStore, PutOptions, StateStore, Ttl};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let clock = ManualClock::new();
/// let store = MemoryStore::with_clock(clock.clone());
/// let key = "user-42/session".parse()?;
/// let hour = Duration::from_secs(3600);
/// store.put(&key, "signed in".into(), PutOptions::expiring(Ttl::After(hour))).await?;
///
/// clock.advance(hour);
/// assert_eq!(store.get(&key, Default::default()).await?, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: SystemTime,
    passed_ms: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows the time of this call.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: SystemTime::now(),
            passed_ms: Arc::default(),
        }
    }

    /// Moves it on, by whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.passed_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.start + Duration::from_millis(self.passed_ms.load(Ordering::SeqCst))
    }
}
