//! The warehouse: it may be told of an order twice, and sends it once.

use std::sync::Arc;

use statestore::patterns::Event;
use statestore::{BoxError, Error, Key, StateStore, StateStoreExt};

use crate::account::OrderEvent;

/// Takes an order. The event's number makes the shipment's key, and what is there already is not created.
pub(crate) async fn take(store: &Arc<dyn StateStore>, event: Event<OrderEvent>) -> Result<(), BoxError> {
    let OrderEvent::Placed(order) = event.event;
    let shipment = Key::new(event.partition, format!("shipments/{}", event.number))?;
    match store.create(&shipment, serde_json::to_vec(&order)?).await {
        Ok(_) => {
            let (event, attempts, order) = (event.id, event.attempts, order.number);
            tracing::info!(event, attempts, order, "order handed over");
            Ok(())
        }
        Err(Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
