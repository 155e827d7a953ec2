use std::sync::Arc;

use statestore::StateStore;
use statestore::patterns::{Counter, CounterError, ShardedCounter};

pub(crate) async fn sell(store: Arc<dyn StateStore>) -> Result<(), CounterError> {
    let seats = Counter::new(store, "concert-7/seats".parse()?).with_range(0..=500);
    seats.add(2).await?;
    seats.add(-2).await?; // CounterError::OutOfRange when there are not enough
    Ok(())
}

pub(crate) async fn click(store: Arc<dyn StateStore>) -> statestore::Result<i64> {
    let clicks = ShardedCounter::new(store, "page/clicks".parse()?, 16)?;
    clicks.add(1).await?;
    clicks.get().await
}
