//! The events, as the queue delivers them.

use serde::Deserialize;

/// Some of them twice or more, as queues do.
const DELIVERIES: &str = include_str!("../data/cart-events.jsonl");

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) user: String,
    #[serde(flatten)]
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Kind {
    Add(Item),
    Remove(Item),
    Checkout {
        /// The number that the customer's page gave the order.
        order: String,
        /// How many events of this cart went before.
        changes: u32,
        /// The sum that the customer saw.
        cents: i64,
    },
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) sku: String,
    pub(crate) title: String,
    pub(crate) quantity: i64,
    /// The price of one.
    pub(crate) cents: i64,
}

/// All deliveries, in the order of the file.
pub(crate) fn deliveries() -> Result<Vec<Event>, serde_json::Error> {
    DELIVERIES.lines().map(serde_json::from_str).collect()
}
