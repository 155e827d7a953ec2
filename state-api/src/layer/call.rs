use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::budget::Budget;
use super::timeout::timed_out;
use super::{RetryPolicy, for_keys, retries};
use crate::error::{Applied, Error, Result};
use crate::{Attempt, WriteId};

/// One call: how often it was tried, and how long it may be.
pub(super) struct Call<'a> {
    operation: &'static str,
    write_id: Option<WriteId>,
    policy: &'a RetryPolicy,
    budget: &'a Budget,
    /// How long it may take.
    limit: Duration,
    /// When that is over; `None` for a time that is never reached.
    deadline: Option<Instant>,
    /// How long one attempt may take.
    attempt_timeout: Option<Duration>,
    /// Whether an attempt that is under way then is dropped.
    cut: bool,
    attempts: u32,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        operation: &'static str,
        policy: &'a RetryPolicy,
        budget: &'a Budget,
        keys: usize,
    ) -> Self {
        let limit = for_keys(policy.deadline, keys);
        Self {
            operation,
            write_id: None,
            policy,
            budget,
            limit,
            deadline: Instant::now().checked_add(limit),
            attempt_timeout: policy.attempt_timeout.map(|timeout| for_keys(timeout, keys)),
            cut: true,
            attempts: 0,
        }
    }

    /// The same, letting an attempt that was begun come to its end.
    pub(super) fn uncut(mut self) -> Self {
        self.cut = false;
        self
    }

    /// Repeats what changes nothing, or changes nothing more when it is repeated.
    pub(super) async fn read<T, F>(mut self, run: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.read_on(run).await
    }

    async fn read_on<T, F>(&mut self, run: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        loop {
            let error = match self.attempt(run()).await {
                Ok(Err(error)) if is_transient(&error) => error,
                Ok(answer) => {
                    self.answered();
                    return answer;
                }
                Err(after) => timed_out(after, Applied::No),
            };
            if self.again(&error).await.is_err() {
                return Err(error);
            }
        }
    }

    /// Repeats a write until its outcome is known. `applied` looks for what it returned, should its own time have passed.
    pub(super) async fn write<T, F, A>(
        mut self,
        brought: Option<Attempt>,
        run: impl Fn(Attempt) -> F,
        applied: impl Fn(WriteId) -> A,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
        A: Future<Output = Result<Option<T>>>,
    {
        let mut attempt = brought.unwrap_or_else(|| Attempt::first(WriteId::new()));
        let id = attempt.id;
        self.write_id = Some(id);
        // Whether an attempt of this call may have been applied, or may still be.
        let mut open = false;
        loop {
            let answer = self.attempt(run(attempt)).await;
            let answer = answer.unwrap_or_else(|after| Err(timed_out(after, Applied::Maybe)));
            let (error, gave_up) = match answer {
                Err(error) if is_transient(&error) => {
                    // An attempt that surely did nothing is not counted: a precondition that fails on the next one is then known
                    // to be a conflict.
                    if error.may_have_applied() {
                        open = true;
                        attempt = attempt.next();
                    }
                    match self.again(&error).await {
                        Ok(()) => continue,
                        Err(gave_up) => (error, gave_up),
                    }
                }
                Err(error @ Error::InvalidTtl { .. }) if attempt.is_retry() => {
                    return self.expired(id, error, applied).await;
                }
                Err(error) if open && !is_judgement(&error) => (error, GaveUp::Refused),
                answer => {
                    self.answered();
                    return answer;
                }
            };
            return Err(if open {
                Error::Indeterminate {
                    write_id: id,
                    reason: format!("an attempt was not answered, and {gave_up}"),
                    source: Some(error.into()),
                }
            } else {
                error
            });
        }
    }

    /// The expiry of a write has passed meanwhile, so that it is refused; but an earlier attempt may have been applied.
    async fn expired<T, A>(&mut self, id: WriteId, error: Error, applied: impl Fn(WriteId) -> A) -> Result<T>
    where
        A: Future<Output = Result<Option<T>>>,
    {
        // For a transaction these are several calls, each with the time of an attempt.
        self.attempt_timeout = None;
        let source = match self.read_on(|| applied(id)).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => error,
            Err(error) => error,
        };
        Err(Error::Indeterminate {
            write_id: id,
            reason: "an attempt was not answered, and the time that it was to expire at has passed"
                .to_owned(),
            source: Some(source.into()),
        })
    }

    /// Makes an attempt, unless its time is over first, or that of the call: the error is how long that was.
    pub(super) async fn attempt<F: Future>(&mut self, attempt: F) -> Result<F::Output, Duration> {
        self.attempts += 1;
        if !self.cut {
            return Ok(attempt.await);
        }
        let own = self
            .attempt_timeout
            .and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout)));
        let call = self.deadline.map(|deadline| (deadline, self.limit));
        // Both at once is the call's.
        match call.into_iter().chain(own).min_by_key(|(end, _)| *end) {
            Some((end, after)) => tokio::time::timeout_at(end, attempt).await.map_err(|_| after),
            None => Ok(attempt.await),
        }
    }

    /// The store answered.
    pub(super) fn answered(&self) {
        self.budget.answered(self.attempts > 1);
    }

    /// Waits for the next attempt, if there is to be one after this error.
    pub(super) async fn again(&mut self, error: &Error) -> Result<(), GaveUp> {
        let wait = retry_after(error).saturating_add(self.policy.delay(self.attempts));
        let now = Instant::now();
        let in_time = |wait| match (self.deadline, now.checked_add(wait)) {
            (Some(deadline), Some(next)) => next < deadline,
            (Some(_), None) => false,
            (None, _) => true,
        };
        // Then that is the reason, also for the last attempt.
        let was_cut_off = self.cut && !in_time(Duration::ZERO);
        let gave_up = if self.attempts >= self.policy.max_attempts && !was_cut_off {
            GaveUp::Attempts(self.attempts)
        } else if !in_time(wait) {
            GaveUp::Deadline(self.limit)
        } else if !self.budget.take() {
            GaveUp::Budget
        } else {
            debug!(
                operation = self.operation,
                write_id = self.write_id.map(tracing::field::display),
                kind = ?error.kind(),
                attempt = self.attempts,
                wait = ?wait,
                "a store's call failed and is tried again"
            );
            retries::add();
            tokio::time::sleep(wait).await;
            return Ok(());
        };
        self.give_up(error, gave_up);
        Err(gave_up)
    }

    fn give_up(&self, error: &Error, gave_up: GaveUp) {
        warn!(
            operation = self.operation,
            write_id = self.write_id.map(tracing::field::display),
            kind = ?error.kind(),
            attempts = self.attempts,
            "a store's call failed and is not tried again: {gave_up}"
        );
    }
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum GaveUp {
    Attempts(u32),
    Deadline(Duration),
    Budget,
    Refused,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempts(attempts) => write!(f, "all {attempts} attempts are used up"),
            Self::Deadline(limit) => write!(f, "{limit:?} leave no time for another attempt"),
            Self::Budget => f.write_str("the retry budget is used up, as too little is answered"),
            Self::Refused => f.write_str("a later one failed"),
        }
    }
}

/// Whether the same call may be answered another time.
pub(super) fn is_transient(error: &Error) -> bool {
    matches!(
        error,
        Error::Throttled { .. } | Error::Unavailable { .. } | Error::Timeout { .. }
    )
}

/// Whether the store has judged the write, earlier attempts included, or would have refused each of them.
fn is_judgement(error: &Error) -> bool {
    matches!(
        error,
        Error::Conflict(_)
            | Error::Indeterminate { .. }
            | Error::InvalidKey { .. }
            | Error::InvalidVersion { .. }
            | Error::InvalidOptions { .. }
            | Error::InvalidTransaction { .. }
            | Error::ValueTooLarge { .. }
            | Error::TooManyOps { .. }
            | Error::TransactionTooLarge { .. }
            | Error::Unsupported { .. }
    )
}

/// How long the service asks to wait.
pub(super) fn retry_after(error: &Error) -> Duration {
    match error {
        Error::Throttled {
            retry_after: Some(wait),
            ..
        } => *wait,
        _ => Duration::ZERO,
    }
}
