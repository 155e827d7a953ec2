use std::sync::Arc;
use std::time::Duration;

use statestore::StateStore;
use statestore::patterns::{RateLimit, Verdict};

/// Bursts of 5, and then one a minute.
pub(crate) async fn log_in(store: Arc<dyn StateStore>, times: u32) -> statestore::Result<Verdict> {
    let logins = RateLimit::token_bucket(store, 5, Duration::from_secs(60))?;
    let key = "login/203.0.113.7".parse()?;
    for _ in 1..times {
        if let Verdict::Limited { retry_after } = logins.take(&key, 1).await? {
            println!("429, Retry-After: {}", retry_after.as_secs());
        }
    }
    logins.take(&key, 1).await
}
