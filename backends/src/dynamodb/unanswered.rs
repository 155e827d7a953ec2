//! Transactions that were sent and not answered yet.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use statestore_api::WriteId;
use statestore_api::backend::Stamp;

/// How long a retry is sent as the very request of the first attempt. DynamoDB knows a token for 10 minutes; but the
/// request judges expiry by the time of the first attempt, so it should not be old.
const WINDOW: Duration = Duration::from_secs(60);

/// How many are remembered at most, of those whose caller never comes back.
const MOST: usize = 1024;

/// What differs between two attempts of one transaction, unless it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) nonce: u64,
    /// By the clock that judges expiry, in epoch milliseconds.
    pub(super) now: u64,
}

/// DynamoDB answers a repeated transaction from its token's memory, without applying it again, if every byte of the request is
/// the same. So the nonce and the time of an attempt whose answer is not there are kept for the next.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<HashMap<WriteId, (Sent, Instant)>>);

impl Unanswered {
    /// What an attempt of `id` at `now` is sent with.
    pub(super) fn begin(&self, id: WriteId, now: u64) -> Sent {
        self.begin_at(id, now, Instant::now())
    }

    fn begin_at(&self, id: WriteId, now: u64, instant: Instant) -> Sent {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |since: Instant| instant.duration_since(since) < WINDOW;
        if let Some((known, since)) = sent.get(&id)
            && recent(*since)
        {
            return *known;
        }
        if sent.len() >= MOST {
            sent.retain(|_, (_, since)| recent(*since));
        }
        if sent.len() >= MOST {
            sent.clear();
        }
        let fresh = Sent {
            nonce: Stamp::new_nonce(),
            now,
        };
        sent.insert(id, (fresh, instant));
        fresh
    }

    /// An answer came: the next attempt of `id` is a request of its own.
    pub(super) fn end(&self, id: WriteId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_the_same_request_until_it_was_answered_or_is_old() {
        let (unanswered, id, start) = (Unanswered::default(), WriteId::new(), Instant::now());
        let first = unanswered.begin_at(id, 1_000, start);
        assert_eq!(unanswered.begin_at(id, 2_000, start), first);
        let old = unanswered.begin_at(id, 3_000, start + WINDOW);
        assert_ne!(old.nonce, first.nonce);
        assert_eq!(old.now, 3_000);
        unanswered.end(id);
        assert_ne!(unanswered.begin_at(id, 3_000, start + WINDOW), old);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let (unanswered, start) = (Unanswered::default(), Instant::now());
        for _ in 0..3 * MOST {
            unanswered.begin_at(WriteId::new(), 0, start);
        }
        assert!(unanswered.0.lock().unwrap().len() <= MOST);
    }
}
