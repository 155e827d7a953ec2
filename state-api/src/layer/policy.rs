use std::time::Duration;

use crate::backoff::full_jitter;

/// How long and how often [`Retry`](super::Retry) tries.
///
/// ```
/// use std::time::Duration;
/// use statestore_api::layer::RetryPolicy;
///
/// // A function that has to answer within 3 seconds, and has other work to do.
/// let policy = RetryPolicy::default().with_deadline(Duration::from_secs(2)).with_max_attempts(5);
/// # let _ = policy;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often a call is tried, at least once.
    pub max_attempts: u32,
    /// How long a call may take, all attempts and waits together; an attempt that is still under way then is dropped. For
    /// [`get_many`](crate::StateStore::get_many): for each begun 100 keys. [`sweep`](crate::StateStore::sweep) is not dropped,
    /// only not begun again.
    pub deadline: Duration,
    /// How long one attempt may take, after which it is dropped as by a [`Timeout`](super::Timeout), for less: both times together
    /// are one timer. `None`, the default: as long as the deadline leaves it.
    pub attempt_timeout: Option<Duration>,
    /// The upper bound of the first wait; it doubles with each attempt. Each wait is random, from none to its bound. Where the
    /// service asks for a time to wait, that comes before.
    pub base_delay: Duration,
    /// The upper bound of every wait, less what the service asks for.
    pub max_delay: Duration,
    /// How many retries may be made while nothing is answered, by all clones of a store together. Each call that is answered at
    /// its first attempt gives a tenth of a retry back, one that needed retries gives its last one back, and one a second comes by itself. So
    /// an outage is met with the calls that there are and hardly more, and single failures are all retried.
    pub budget: u32,
}

impl RetryPolicy {
    /// The same with this many attempts, the first included.
    #[must_use]
    pub fn with_max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// The same with this time for the whole call.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same with this time for each attempt.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// The same with this upper bound of the first wait.
    #[must_use]
    pub fn with_base_delay(mut self, base_delay: Duration) -> Self {
        self.base_delay = base_delay;
        self
    }

    /// The same with this upper bound of every wait.
    #[must_use]
    pub fn with_max_delay(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }

    /// The same with this budget, in retries.
    #[must_use]
    pub fn with_budget(mut self, budget: u32) -> Self {
        self.budget = budget;
        self
    }

    /// How long to wait after this many attempts.
    pub(super) fn delay(&self, attempts: u32) -> Duration {
        full_jitter(self.base_delay, self.max_delay, attempts.saturating_sub(1))
    }
}

impl Default for RetryPolicy {
    /// 20 attempts within 20 seconds, waits from 20 ms to 2 s, a budget of 100 retries: enough for the failover of a server.
    fn default() -> Self {
        Self {
            max_attempts: 20,
            deadline: Duration::from_secs(20),
            attempt_timeout: None,
            base_delay: Duration::from_millis(20),
            max_delay: Duration::from_secs(2),
            budget: 100,
        }
    }
}
