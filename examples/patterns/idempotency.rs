use std::sync::Arc;

use statestore::patterns::{Idempotency, IdempotencyError};
use statestore::{BoxError, StateStore};

/// Of an order that is paid again, the receipt is shown again, and the bank not called.
pub(crate) async fn pay(
    store: Arc<dyn StateStore>,
    order: &str,
    amount: u32,
) -> Result<String, IdempotencyError<BoxError>> {
    let payments = Idempotency::new(store, "payments");
    payments.run(order, &amount, async || call_the_bank(amount)).await
}

fn call_the_bank(amount: u32) -> Result<String, BoxError> {
    println!("calling the bank");
    Ok(format!("paid {amount}"))
}
