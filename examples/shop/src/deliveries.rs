//! What a schedule calls: it sees to the events of instances that died before they had delivered them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use statestore::Key;
use statestore::patterns::{RateLimit, Verdict};
use tokio::task::JoinSet;

use crate::answers::Failure;
use crate::orders::{Accounts, LEASE};
use crate::warehouse;

/// To look for events is to walk all keys, and anybody may ask for it.
const INTERVAL: Duration = Duration::from_secs(30);

/// How many customers are seen to at once, and when no further one is begun with, so that all is done before the function's time is over.
const AT_ONCE: usize = 8;
const LONGEST: Duration = Duration::from_secs(5);

pub(crate) async fn deliver(State(accounts): State<Accounts>) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    let limit = RateLimit::fixed_window(Arc::clone(accounts.states().store()), 1, INTERVAL)?;
    if let Verdict::Limited { retry_after } = limit.take(&Key::new("shop", "deliveries")?, 1).await? {
        return Err(Failure::TooOften(retry_after));
    }
    // Long enough to take over from an instance that died while it was delivering: its lease is watched for as long as it lasts.
    let accounts = accounts.with_lease(LEASE, LEASE + Duration::from_secs(2));
    let mut customers = accounts.waiting().await?.into_iter();
    let (mut handled, mut failed) = (0, 0);
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE && began.elapsed() < LONGEST {
            let Some(customer) = customers.next() else { break };
            let accounts = accounts.clone();
            running.spawn(async move {
                let store = accounts.states().store();
                accounts
                    .deliver(&customer, |event| warehouse::take(store, event))
                    .await
            });
        }
        match running.join_next().await {
            Some(Ok(Ok(delivered))) => handled += delivered.handled,
            Some(Ok(Err(error))) => {
                tracing::warn!(%error, "a customer's events wait for the next delivery");
                failed += 1;
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a delivery broke off");
                failed += 1;
            }
            None => break,
        }
    }
    let left = customers.count();
    Ok(Json(
        json!({ "handled": handled, "failed": failed, "left": left }),
    ))
}
