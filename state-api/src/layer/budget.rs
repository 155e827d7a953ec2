use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What a retry costs, in the unit that is counted here.
const RETRY: u64 = 10;
/// What a call gives back that was answered at its first attempt.
const ANSWER: u64 = 1;
/// How long it takes for one unit to come by itself.
const TRICKLE: Duration = Duration::from_millis(100);

/// A token bucket that retries are paid from. In an outage it runs dry, and calls are sent once, until they are answered again.
#[derive(Debug)]
pub(super) struct Budget {
    capacity: u64,
    /// Spares calls that are answered at once the lock, as long as there is nothing to give back to.
    full: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    units: u64,
    trickled: Instant,
}

impl Budget {
    pub(super) fn new(retries: u32) -> Self {
        let capacity = u64::from(retries) * RETRY;
        Self {
            capacity,
            full: AtomicBool::new(true),
            state: Mutex::new(State {
                units: capacity,
                trickled: Instant::now(),
            }),
        }
    }

    /// Pays for a retry, or says that it cannot be paid.
    pub(super) fn take(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now.saturating_duration_since(state.trickled).as_millis() / TRICKLE.as_millis();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if state.units.saturating_add(passed.into()) >= self.capacity {
            state.units = self.capacity;
            state.trickled = now;
        } else {
            state.units += u64::from(passed);
            state.trickled += TRICKLE * passed;
        }
        let paid = state.units >= RETRY;
        if paid {
            state.units -= RETRY;
            self.full.store(false, Ordering::Relaxed);
        }
        paid
    }

    /// A call was answered: a retry that was worth its cost gets it back.
    pub(super) fn answered(&self, after_a_retry: bool) {
        if self.full.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let given = if after_a_retry { RETRY } else { ANSWER };
        state.units = self.capacity.min(state.units + given);
        self.full.store(state.units == self.capacity, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries_left(budget: &Budget) -> usize {
        std::iter::from_fn(|| budget.take().then_some(())).count()
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_dry() {
        let budget = Budget::new(7);
        assert_eq!(retries_left(&budget), 7);
        assert!(!Budget::new(0).take());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_fill_it_up_to_its_capacity() {
        let budget = Budget::new(3);
        assert_eq!(retries_left(&budget), 3);
        for _ in 0..19 {
            budget.answered(false);
        }
        assert_eq!(retries_left(&budget), 1, "ten answers are a retry");
        budget.answered(true);
        assert_eq!(
            retries_left(&budget),
            1,
            "a retry that was answered costs nothing"
        );
        for _ in 0..1_000 {
            budget.answered(true);
        }
        assert_eq!(retries_left(&budget), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn time_fills_it_however_often_it_is_asked() {
        let budget = Budget::new(3);
        assert_eq!(retries_left(&budget), 3);
        for _ in 0..40 {
            tokio::time::advance(Duration::from_millis(24)).await;
            assert!(!budget.take());
        }
        tokio::time::advance(Duration::from_millis(40)).await;
        assert_eq!(retries_left(&budget), 1, "a second is a retry");
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(retries_left(&budget), 3);
    }
}
