use std::sync::Arc;

use serde::{Deserialize, Serialize};
use statestore::patterns::{Outbox, OutboxError};
use statestore::{BoxError, StateStore};

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum OrderEvent {
    Placed { item: String },
}

/// The event that places the order may come again: it is applied once.
pub(crate) async fn place(store: Arc<dyn StateStore>, event: &str, item: &str) -> Result<(), OutboxError> {
    let orders = Outbox::<Order, OrderEvent>::new(store);
    orders
        .update_once(&"user-42/order-7".parse()?, event, |order, events| {
            let item = item.to_owned();
            *order = Some(Order { item: item.clone() });
            events.push(OrderEvent::Placed { item });
            Ok(())
        })
        .await
}

pub(crate) async fn deliver(store: Arc<dyn StateStore>) -> Result<u64, OutboxError> {
    let orders = Outbox::<Order, OrderEvent>::new(store);
    let delivered = orders
        .deliver("user-42", async |event| {
            println!("to the warehouse: {} {:?}", event.id, event.event);
            Ok::<_, BoxError>(())
        })
        .await?;
    Ok(delivered.handled)
}
