//! Expiry as epoch milliseconds, the form every backend stores.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Ttl;
use crate::error::{Error, Result};

/// The latest expiry: the end of the year 9999, in epoch milliseconds. Every service can keep it.
pub const MAX_MS: u64 = 253_402_300_799_999;

/// `time` in epoch milliseconds, rounded down; 0 before the epoch.
#[must_use]
pub fn to_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time of these epoch milliseconds.
#[must_use]
pub fn from_ms(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

/// Whether an entry that expires at `expires_at` is still there at `now`, both in epoch milliseconds.
#[must_use]
pub fn is_live(expires_at: Option<u64>, now: u64) -> bool {
    expires_at.is_none_or(|at| now < at)
}

/// What a TTL asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// This expiry, in epoch milliseconds, or none.
    Set(Option<u64>),
    /// That of the entry that is there and has not expired.
    Keep,
}

impl Expiry {
    /// What `ttl` asks for at `now`, in epoch milliseconds. Fractions of a millisecond are rounded up.
    ///
    /// # Errors
    /// [`Error::InvalidTtl`] when that is not in the future, or behind [`MAX_MS`].
    pub fn new(ttl: Ttl, now: u64) -> Result<Self> {
        let at = match ttl {
            Ttl::None => return Ok(Self::Set(None)),
            Ttl::Keep => return Ok(Self::Keep),
            Ttl::After(after) if after.is_zero() => {
                return Err(Error::InvalidTtl { reason: "is zero" });
            }
            Ttl::After(after) => u128::from(now) + after.as_nanos().div_ceil(1_000_000),
            Ttl::At(time) => time
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos().div_ceil(1_000_000)),
        };
        match u64::try_from(at) {
            Ok(at) if at <= now => Err(Error::InvalidTtl {
                reason: "is in the past",
            }),
            Ok(at) if at <= MAX_MS => Ok(Self::Set(Some(at))),
            _ => Err(Error::InvalidTtl {
                reason: "is too far in the future",
            }),
        }
    }

    /// The expiry to store, where `current` is that of the live entry that is there.
    #[must_use]
    pub fn over(self, current: Option<u64>) -> Option<u64> {
        match self {
            Self::Set(at) => at,
            Self::Keep => current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_round_up_to_a_millisecond() {
        let expiry = Expiry::new(Ttl::After(Duration::from_nanos(1)), 1000).unwrap();
        assert_eq!(expiry, Expiry::Set(Some(1001)));
        let at = UNIX_EPOCH + Duration::from_nanos(1_500_000_001);
        assert_eq!(Expiry::new(Ttl::At(at), 1000).unwrap(), Expiry::Set(Some(1501)));
    }

    #[test]
    fn zero_the_past_and_an_overflow_are_refused() {
        let refused = [
            Ttl::After(Duration::ZERO),
            Ttl::After(Duration::MAX),
            Ttl::After(Duration::from_millis(MAX_MS)),
            Ttl::At(UNIX_EPOCH),
            Ttl::At(from_ms(1000)),
            Ttl::At(UNIX_EPOCH - Duration::from_secs(1)),
            Ttl::At(from_ms(MAX_MS + 1)),
        ];
        for ttl in refused {
            assert!(
                matches!(Expiry::new(ttl, 1000), Err(Error::InvalidTtl { .. })),
                "{ttl:?}"
            );
        }
        assert_eq!(
            Expiry::new(Ttl::At(from_ms(MAX_MS)), 1000).unwrap(),
            Expiry::Set(Some(MAX_MS))
        );
    }

    #[test]
    fn an_entry_is_gone_in_the_millisecond_it_expires() {
        assert!(is_live(Some(1000), 999) && !is_live(Some(1000), 1000) && is_live(None, u64::MAX));
    }
}
