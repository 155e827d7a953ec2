use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::backend::expiry;

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

/// A clock for tests, which stands still until it is set. Clones share their time.
///
/// ```
/// use std::time::Duration;
/// use statestore_api::{Clock, ManualClock, MemoryStore, PutOptions, StateStore, Ttl};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let clock = ManualClock::new();
/// let store = MemoryStore::with_clock(clock.clone());
/// let key = "user-42/session".parse()?;
/// let hour = Duration::from_secs(3600);
/// store.put(&key, "signed in".into(), PutOptions::expiring(Ttl::After(hour))).await?;
///
/// clock.set(clock.now() + hour);
/// assert_eq!(store.get(&key, Default::default()).await?, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    ms: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows the time of this call.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ms: Arc::new(AtomicU64::new(expiry::to_ms(SystemTime::now()))),
        }
    }

    /// Sets it, forward or back, to the millisecond.
    pub fn set(&self, time: SystemTime) {
        self.ms.store(expiry::to_ms(time), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        expiry::from_ms(self.ms.load(Ordering::SeqCst))
    }
}
