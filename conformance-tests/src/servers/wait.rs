use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ServerError;

/// How often a condition outside this process is looked at, which nothing announces.
const INTERVAL: Duration = Duration::from_millis(10);

/// Looks at a condition again and again until it holds, and returns what it gave.
///
/// An attempt's error is why the condition does not hold yet. An attempt must be bounded in time itself; the one
/// that runs when the limit is reached is still waited for.
///
/// # Errors
/// [`ServerError::Late`] with the last attempt's reason.
pub async fn wait_for<T, E, F>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> Result<T, ServerError>
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= deadline => {
                return Err(ServerError::Late {
                    what: what.to_owned(),
                    limit,
                    last: reason.to_string(),
                });
            }
            Err(_) => sleep(INTERVAL).await,
        }
    }
}
