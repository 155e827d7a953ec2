//! The layers that [`open`](crate::open()) puts around a store on a network, and the options that are the same for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use statestore_api::layer::{Retry, RetryPolicy, Timeout};
use statestore_api::{Result, StateStore};

use crate::open::{bad, duration, switch};

/// How long the answer to a request may take, unless the options say so.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long connecting may take, unless the options say so.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What to put around a store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Layers {
    Retry(RetryPolicy),
    /// Nothing is retried, and a call may take this long.
    Timeout(Duration),
}

impl Layers {
    /// The names of the options that are for the layers alone.
    pub(crate) const OPTIONS: [&'static str; 4] =
        ["retry", "retry_attempts", "retry_budget", "retry_deadline"];

    /// Takes the layers' options out of `options`, which are then the backend's, and gives it the time-outs that fit.
    pub(crate) fn take(options: &mut BTreeMap<String, String>) -> Result<Self> {
        let on = switch("retry", options.remove("retry").as_deref())?.unwrap_or(true);
        if let Some(name) = Self::OPTIONS
            .iter()
            .find(|name| !on && options.contains_key(**name))
        {
            return Err(bad(format!("`retry` is off: leave out `{name}`")));
        }
        let attempts = number("retry_attempts", options.remove("retry_attempts"))?;
        let budget = number("retry_budget", options.remove("retry_budget"))?;
        let deadline = options.remove("retry_deadline");
        let deadline = deadline.map(|text| time("retry_deadline", &text)).transpose()?;

        // A backend's own time-outs come first: it knows whether a request ever left, and can replace the connection. And within
        // the deadline there is to be time for a second attempt.
        let mut own = |name: &str, default: Duration| {
            if let Some(text) = options.get(name) {
                return time(name, text);
            }
            let chosen = deadline.map_or(default, |deadline| default.min(deadline / 2));
            options.insert(name.to_owned(), format!("{}ms", chosen.as_millis().max(1)));
            Ok(chosen)
        };
        let timeout = own("timeout", TIMEOUT)?;
        let connect_timeout = own("connect_timeout", CONNECT_TIMEOUT)?;
        if deadline.is_some_and(|deadline| deadline < timeout.max(connect_timeout)) {
            return Err(bad(
                "`retry_deadline` is for a whole call, so it has to be at least `timeout` and `connect_timeout`".to_owned(),
            ));
        }
        // Some calls are two requests.
        let attempt = connect_timeout.saturating_add(timeout.saturating_mul(2));
        if !on {
            return Ok(Self::Timeout(attempt));
        }
        let policy = RetryPolicy::default();
        let policy = policy
            .with_max_attempts(attempts.unwrap_or(policy.max_attempts))
            .with_budget(budget.unwrap_or(policy.budget))
            .with_deadline(deadline.unwrap_or(policy.deadline.max(attempt)))
            .with_attempt_timeout(attempt);
        Ok(Self::Retry(policy))
    }

    pub(crate) fn around(self, store: Arc<dyn StateStore>) -> Arc<dyn StateStore> {
        match self {
            Self::Retry(policy) => Arc::new(Retry::new(store, policy)),
            Self::Timeout(limit) => Arc::new(Timeout::new(store, limit)),
        }
    }
}

fn number(name: &str, text: Option<String>) -> Result<Option<u32>> {
    let number = text.map(|text| text.parse().ok().filter(|number| *number > 0).ok_or(()));
    number
        .transpose()
        .map_err(|()| bad(format!("the option `{name}` is a whole number from 1")))
}

fn time(name: &str, text: &str) -> Result<Duration> {
    match duration(text) {
        Some(time) if !time.is_zero() => Ok(time),
        Some(_) => Err(bad(format!(
            "the option `{name}` is zero: a time-out of zero would let nothing through"
        ))),
        None => Err(bad(format!(
            "the option `{name}` is a time such as `5s` or `500ms`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layers, and the time-outs that are left for the backend.
    fn layers(query: &str) -> Result<(Layers, [String; 2])> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut options = pairs
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let layers = Layers::take(&mut options)?;
        let own = ["timeout", "connect_timeout"].map(|name| options.remove(name).unwrap());
        assert!(options.is_empty(), "{options:?}");
        Ok((layers, own))
    }

    #[test]
    fn retries_are_on_unless_they_are_switched_off() {
        let (found, own) = layers("").unwrap();
        assert_eq!(own, ["5000ms", "2000ms"]);
        let seconds = Duration::from_secs;
        let expected = Layers::Retry(RetryPolicy::default().with_attempt_timeout(seconds(12)));
        assert_eq!(found, expected);
        assert_eq!(layers("retry=on").unwrap().0, expected);

        let (off, own) = layers("retry=off&timeout=1s").unwrap();
        assert_eq!(own, ["1s", "2000ms"]);
        assert_eq!(off, Layers::Timeout(seconds(4)));
    }

    #[test]
    fn each_option_is_read() {
        let query = "retry_attempts=3&retry_budget=7&retry_deadline=9s&timeout=4s&connect_timeout=500ms";
        let (found, own) = layers(query).unwrap();
        assert_eq!(own, ["4s", "500ms"]);
        let policy = RetryPolicy::default()
            .with_max_attempts(3)
            .with_budget(7)
            .with_deadline(Duration::from_secs(9))
            .with_attempt_timeout(Duration::from_millis(8_500));
        assert_eq!(found, Layers::Retry(policy));
    }

    #[test]
    fn what_is_not_given_fits_what_is() {
        let deadline = |layers| match layers {
            Layers::Retry(policy) => policy.deadline,
            Layers::Timeout(_) => panic!("retries are on"),
        };
        // Within a short deadline there is time for a second attempt.
        let (found, own) = layers("retry_deadline=3s").unwrap();
        assert_eq!(own, ["1500ms", "1500ms"]);
        assert_eq!(deadline(found), Duration::from_secs(3));
        // A long time-out is not cut short by the deadline.
        let (found, own) = layers("timeout=30s").unwrap();
        assert_eq!(own, ["30s", "2000ms"]);
        assert_eq!(deadline(found), Duration::from_secs(62));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (query, expected) in [
            ("retry=no", "`retry` is `on` or `off`"),
            (
                "retry=off&retry_attempts=2",
                "`retry` is off: leave out `retry_attempts`",
            ),
            ("retry_attempts=0", "`retry_attempts` is a whole number from 1"),
            ("retry_budget=many", "`retry_budget` is a whole number from 1"),
            ("retry_deadline=5", "`retry_deadline` is a time such as `5s`"),
            ("retry_deadline=0s", "`retry_deadline` is zero"),
            ("timeout=0ms", "`timeout` is zero"),
            ("retry_deadline=3s&timeout=4s", "it has to be at least `timeout`"),
        ] {
            let message = layers(query).unwrap_err().to_string();
            assert!(message.contains(expected), "{query}: {message}");
        }
    }
}
