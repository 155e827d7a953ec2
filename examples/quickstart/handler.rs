//! The part to copy: a function that handles every event exactly once, though queues deliver some of them twice, several
//! instances change one cart at the same time, and any of them may die at any point.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statestore::Precondition::Absent;
use statestore::{BoxError, Error, Key, Precondition, Result, StateStore, StateStoreExt, TransactOp, Ttl};

use crate::events::{Event, Item, Kind};

/// How long a handled event is remembered: longer than the queue keeps trying to deliver one.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How often an event is tried against others on the same cart.
const MAX_ATTEMPTS: u32 = 20;

/// Handles one event. Its effect and the marker that it is done are written together or not at all, so that whoever
/// gets the event again, here or in another instance, finds the marker and leaves the cart alone.
///
/// When no answer comes, the layer around the store sends the same write again: [`open`](statestore::open()) puts
/// [`Retry`](statestore::layer::Retry) around every store on a network.
pub(crate) async fn handle(store: &dyn StateStore, event: &Event) -> Result<Outcome, BoxError> {
    let cart_key = event.key("cart")?;
    let marker_key = event.key(&format!("events/{}", event.id))?;

    for conflicts in 0..MAX_ATTEMPTS {
        let cart = store.get(&cart_key, Default::default());
        let (cart, is_done) = tokio::try_join!(cart, store.exists(&marker_key))?;
        if is_done {
            return Ok(Outcome::DoneBefore);
        }
        let unchanged = Precondition::from(cart.as_ref());
        let mut cart: Cart =
            cart.map_or(Ok(Cart::default()), |entry| serde_json::from_slice(&entry.value))?;

        let mut ops = match &event.kind {
            Kind::Add(item) | Kind::Remove(item) => {
                cart.change(item, matches!(event.kind, Kind::Add(_)));
                vec![TransactOp::put(cart_key.clone(), serde_json::to_vec(&cart)?).when(unchanged)]
            }
            Kind::Checkout { order, changes, .. } => {
                let order_key = event.key(&format!("orders/{order}"))?;
                if store.exists(&order_key).await? {
                    return Ok(Outcome::DoneBefore); // by another click on the same button
                }
                if cart.changes < *changes {
                    return Ok(Outcome::TooEarly);
                }
                vec![
                    TransactOp::put(order_key, serde_json::to_vec(&cart)?).when(Absent),
                    TransactOp::delete(cart_key.clone()).when(unchanged),
                ]
            }
        };
        ops.push(TransactOp::put_expiring(marker_key.clone(), "", Ttl::After(REMEMBERED)).when(Absent));

        match store.transact(ops, Default::default()).await {
            Ok(_) => return Ok(Outcome::Done { conflicts }),
            // Somebody changed the cart, or handled this event, perhaps ourselves: the marker tells.
            Err(Error::Conflict(_) | Error::Indeterminate { .. }) => pause(conflicts).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(format!("others changed the cart of {} all the time", event.user).into())
}

/// Waits a random time, so that those who collided do not collide again; up to 5 ms at first, up to 640 ms in the end.
async fn pause(attempts: u32) {
    let longest = Duration::from_millis(5 << attempts.min(7));
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has its effect now.
    Done {
        /// How often others were faster.
        conflicts: u32,
    },
    /// It had its effect already.
    DoneBefore,
    /// A checkout that has overtaken events of its cart: the queue shall deliver it again.
    TooEarly,
}

/// A cart, and what it becomes when it is ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cart {
    /// By the article's number.
    pub(crate) lines: BTreeMap<String, Line>,
    /// How many events have changed it.
    pub(crate) changes: u32,
}

/// One article in a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) title: String,
    /// Below 0 when a removal has overtaken its addition.
    pub(crate) quantity: i64,
    /// The price of one.
    pub(crate) cents: i64,
}

impl Cart {
    /// Adds or removes. The order of events does not matter, for queues do not keep it.
    fn change(&mut self, item: &Item, add: bool) {
        let line = self.lines.entry(item.sku.clone()).or_insert_with(|| Line {
            title: item.title.clone(),
            quantity: 0,
            cents: item.cents,
        });
        line.quantity += if add { item.quantity } else { -item.quantity };
        if line.quantity == 0 {
            self.lines.remove(&item.sku);
        }
        self.changes += 1;
    }

    pub(crate) fn cents(&self) -> i64 {
        self.lines.values().map(|line| line.quantity * line.cents).sum()
    }
}

impl Event {
    /// All that changes together with the user's cart is in one partition, the unit of transactions.
    pub(crate) fn key(&self, id: &str) -> Result<Key> {
        Key::new(format!("user-{}", self.user), id)
    }
}
