use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statestore_api::{
    Change, Clock, Error, Key, Result, StateStore, StateStoreExt, SystemClock, Ttl, UpdateOptions,
};

use crate::Typed;

/// How often something may be done, counted across all instances: calls of a customer, log-ins from an address.
///
/// ```
/// use std::time::Duration;
/// use statestore_api::MemoryStore;
/// use statestore_patterns::{RateLimit, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// // Bursts of 3, and in the long run one a second.
/// let logins = RateLimit::token_bucket(MemoryStore::new(), 3, Duration::from_secs(1))?;
/// let key = "login/203.0.113.7".parse()?;
/// for remaining in [2, 1, 0] {
///     assert_eq!(logins.take(&key, 1).await?, Verdict::Allowed { remaining });
/// }
/// let Verdict::Limited { retry_after } = logins.take(&key, 1).await? else { panic!("that was the fourth") };
/// assert!(retry_after <= Duration::from_secs(1));
/// # Ok(()) }
/// ```
///
/// Of several at once, no more than the limit allows are let through. A call that is allowed is a read and a conditional write of the key; one that is not
/// is a read. When too many fight over one key, it is [`Contended`](Error::Contended): whether to let a call through then is the program's to
/// decide.
#[derive(Clone, Debug)]
pub struct RateLimit {
    store: Arc<dyn StateStore>,
    rule: Rule,
    clock: Arc<dyn Clock>,
    options: UpdateOptions,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    /// The key holds how many were taken; it expires with the window.
    Window { limit: u32, window: Duration },
    /// The key holds when the bucket is full again, in nanoseconds since 1970.
    Bucket { burst: u32, interval: u64 },
}

/// Whether it may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the limit is kept only if a refused call is not done"]
pub enum Verdict {
    /// It may.
    Allowed {
        /// How many more may be done at once.
        remaining: u32,
    },
    /// It may not, and nothing was taken.
    Limited {
        /// When it is worth trying again, if nobody else takes in between.
        retry_after: Duration,
    },
}

impl Verdict {
    /// Whether it may be done.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

impl RateLimit {
    /// `limit` in each window, which begins with the first that is taken. At the border of two windows, up to twice the limit can pass in a short time.
    ///
    /// The window is an expiry, which the store judges: no clock of this machine is compared with another's.
    ///
    /// # Errors
    /// [`InvalidOptions`](Error::InvalidOptions) when either is 0.
    pub fn fixed_window(store: impl StateStore + 'static, limit: u32, window: Duration) -> Result<Self> {
        if limit == 0 || window < Duration::from_millis(1) {
            return Err(Error::InvalidOptions {
                reason: "a rate limit allows at least 1 in a window of at least a millisecond",
            });
        }
        Ok(Self::new(store, Rule::Window { limit, window }))
    }

    /// A bucket of `burst` tokens, into which one is put back every `interval`.
    ///
    /// It is filled by the clocks of the machines that take from it. One that is S ahead of the others lets them refill S too early, or wait up to S longer, at
    /// most as long as an empty bucket takes to fill.
    ///
    /// # Errors
    /// [`InvalidOptions`](Error::InvalidOptions) when either is 0, or the bucket takes over a hundred years to fill.
    pub fn token_bucket(store: impl StateStore + 'static, burst: u32, interval: Duration) -> Result<Self> {
        const CENTURY: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let fill = nanos.saturating_mul(burst.into());
        if fill == 0 || fill > CENTURY {
            return Err(Error::InvalidOptions {
                reason: "a bucket holds at least 1 token, and fills in a nanosecond to a hundred years",
            });
        }
        Ok(Self::new(
            store,
            Rule::Bucket {
                burst,
                interval: nanos,
            },
        ))
    }

    fn new(store: impl StateStore + 'static, rule: Rule) -> Self {
        Self {
            store: Arc::new(store),
            rule,
            clock: Arc::new(SystemClock),
            options: UpdateOptions::default(),
        }
    }

    /// The same by this clock, for tests. A window's end is judged by the store's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The same where a call goes on for this long while others take from the same key.
    #[must_use]
    pub fn with_update_options(mut self, options: UpdateOptions) -> Self {
        self.options = options;
        self
    }

    /// Takes `tokens` of `key`'s, all or none.
    ///
    /// # Errors
    /// [`InvalidOptions`](Error::InvalidOptions) for none, or more than there can ever be; else as for [`Typed::update`].
    pub async fn take(&self, key: &Key, tokens: u32) -> Result<Verdict> {
        let most = match self.rule {
            Rule::Window { limit, .. } => limit,
            Rule::Bucket { burst, .. } => burst,
        };
        if !(1..=most).contains(&tokens) {
            return Err(Error::InvalidOptions {
                reason: "a rate limit gives at least 1 token at a time, and at most as many as it ever has",
            });
        }
        match self.rule {
            Rule::Window { limit, window } => self.of_window(key, tokens, limit, window).await,
            Rule::Bucket { burst, interval } => self.of_bucket(key, tokens, burst, interval).await,
        }
    }

    async fn of_window(&self, key: &Key, tokens: u32, limit: u32, window: Duration) -> Result<Verdict> {
        let numbers = Typed::<u32>::new(Arc::clone(&self.store));
        let mut verdict = Verdict::Limited { retry_after: window };
        self.store
            .update(key, self.options, |entry| {
                // One without an expiry would stay for ever: it is none of ours.
                let current = entry.and_then(|entry| Some((entry, entry.expires_at?)));
                let (taken, ttl) = match current {
                    Some((entry, _)) => (numbers.decode(key, &entry.value)?, Ttl::Keep),
                    None => (0, Ttl::After(window)),
                };
                let Some(remaining) = limit.checked_sub(taken.saturating_add(tokens)) else {
                    let ends = current.map_or(self.clock.now(), |(_, ends)| ends);
                    let left = ends.duration_since(self.clock.now()).unwrap_or_default();
                    verdict = Verdict::Limited {
                        retry_after: left.min(window),
                    };
                    return Ok(Change::Leave);
                };
                verdict = Verdict::Allowed { remaining };
                let value = numbers.encode(key, &(limit - remaining))?;
                Ok(Change::Put { value, ttl })
            })
            .await?;
        Ok(verdict)
    }

    async fn of_bucket(&self, key: &Key, tokens: u32, burst: u32, interval: u64) -> Result<Verdict> {
        let numbers = Typed::<u64>::new(Arc::clone(&self.store));
        let fill = interval * u64::from(burst);
        let mut verdict = Verdict::Limited {
            retry_after: Duration::ZERO,
        };
        self.store
            .update(key, self.options, |entry| {
                let full_at = entry.map(|entry| numbers.decode(key, &entry.value)).transpose()?;
                let now = nanos(self.clock.now());
                // A bucket is never emptier than empty: more is a clock that was ahead.
                let lacks = full_at.unwrap_or(0).saturating_sub(now).min(fill);
                let lacks_then = lacks + interval * u64::from(tokens);
                if lacks_then > fill {
                    verdict = Verdict::Limited {
                        retry_after: Duration::from_nanos(lacks_then - fill),
                    };
                    return Ok(Change::Leave);
                }
                verdict = Verdict::Allowed {
                    remaining: u32::try_from((fill - lacks_then) / interval).unwrap_or(burst),
                };
                Ok(Change::Put {
                    value: numbers.encode(key, &(now + lacks_then))?,
                    // A full bucket need not be stored; a second more for a store whose clock is ahead.
                    ttl: Ttl::After(Duration::from_nanos(lacks_then) + Duration::from_secs(1)),
                })
            })
            .await?;
        Ok(verdict)
    }
}

/// Nanoseconds since 1970; the range of `u64` ends in 2554.
fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
}
