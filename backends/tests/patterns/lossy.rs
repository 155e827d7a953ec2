use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statestore::StateStore;
use statestore::layer::{Retry, RetryPolicy};
use statestore_conformance::{Fate, Tapped};

/// A store behind a bad network, by a seed: of ten requests two never arrive, and two lose their reply. The layer that
/// sends them again is the one that programs use.
pub(crate) struct Lossy {
    store: Arc<dyn StateStore>,
    lost: Arc<AtomicU32>,
}

impl Lossy {
    pub(crate) fn new(store: &Arc<dyn StateStore>, seed: u64) -> Self {
        let dice = Mutex::new(fastrand::Rng::with_seed(seed));
        let lost = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&lost);
        let network = Tapped::new(Arc::clone(store), move |_| {
            let fate = match dice.lock().unwrap().u8(..10) {
                0 | 1 => Fate::LoseRequest,
                2 | 3 => Fate::LoseReply,
                _ => Fate::Deliver,
            };
            count.fetch_add(u32::from(fate != Fate::Deliver), Ordering::SeqCst);
            async move { fate }
        });
        let policy = RetryPolicy::default()
            .with_max_attempts(50)
            .with_deadline(Duration::from_secs(60))
            .with_base_delay(Duration::from_millis(1))
            .with_max_delay(Duration::from_millis(5))
            .with_budget(u32::MAX);
        Self {
            store: Arc::new(Retry::new(network, policy)),
            lost,
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn StateStore> {
        Arc::clone(&self.store)
    }

    /// How many requests and replies were lost.
    pub(crate) fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }
}
