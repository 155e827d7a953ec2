//! What has to be in the store, by the file of events alone, and what is.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::TryStreamExt;
use statestore::{BoxError, Entry, ListOptions, Projection, Result, StateStore, StateStoreExt, Version};

use crate::events::{Event, Kind};
use crate::handler::Cart;
use crate::story::{bill, euros};

/// What is stored of one user.
pub(crate) struct Found {
    cart: Option<Cart>,
    /// By their numbers.
    orders: BTreeMap<String, (Version, Cart)>,
    markers: usize,
}

impl Found {
    /// How many events have had their effect on the cart.
    fn changes(&self) -> u32 {
        let carts = self.orders.values().map(|(_, cart)| cart).chain(&self.cart);
        carts.map(|cart| cart.changes).sum()
    }
}

/// What is stored of each user that `events` are of.
pub(crate) async fn look(
    store: &dyn StateStore,
    events: &[Event],
) -> Result<BTreeMap<String, Found>, BoxError> {
    let decode = |entry: &Entry| serde_json::from_slice::<Cart>(&entry.value);
    let mut users = BTreeMap::new();
    for event in events {
        if users.contains_key(&event.user) {
            continue;
        }
        let cart = event.key("cart")?;
        let markers = ListOptions::default()
            .with_prefix("events/")
            .with_projection(Projection::Keys);
        let markers: Vec<_> = store.list(cart.partition(), markers).try_collect().await?;
        let mut orders = BTreeMap::new();
        let mut stored = store.list(cart.partition(), ListOptions::default().with_prefix("orders/"));
        while let Some(item) = stored.try_next().await? {
            if let (Some(number), Some(entry)) = (item.key.id().strip_prefix("orders/"), item.entry) {
                orders.insert(number.to_owned(), (entry.version.clone(), decode(&entry)?));
            }
        }
        let found = Found {
            cart: store
                .get(&cart, Default::default())
                .await?
                .map(|entry| decode(&entry))
                .transpose()?,
            orders,
            markers: markers.len(),
        };
        users.insert(event.user.clone(), found);
    }
    Ok(users)
}

/// How many events an earlier run has handled; an error when it was so long ago that their markers have expired.
pub(crate) fn handled_before(before: &BTreeMap<String, Found>) -> Result<usize, BoxError> {
    for (user, found) in before {
        if found.markers < found.changes() as usize {
            return Err(format!(
                "the store knows {user}'s cart from a run of more than a week ago, and the markers of its events have \
                 expired: start with an empty store"
            )
            .into());
        }
    }
    Ok(before.values().map(|found| found.markers).sum())
}

/// Prints what is stored, and returns all that is wrong with it.
pub(crate) fn check(
    events: &[Event],
    before: &BTreeMap<String, Found>,
    after: &BTreeMap<String, Found>,
    placed: &HashMap<String, u32>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (user, found) in after {
        let expected = Expected::of(user, events);
        if let Some(cart) = &found.cart {
            bill(&format!("{user} has not ordered yet. In the cart:"), cart);
        }
        let carts = found.orders.values().map(|(_, order)| order).chain(&found.cart);
        let Some(cart) = carts.into_iter().next() else {
            problems.push(format!("{user}'s cart is lost"));
            continue;
        };
        for sku in cart
            .lines
            .keys()
            .map(String::as_str)
            .chain(expected.quantities.keys().copied())
        {
            let found = cart.lines.get(sku).map_or(0, |line| line.quantity);
            let right = expected.quantities.get(sku).copied().unwrap_or_default();
            if found != right {
                problems.push(format!("{user} has {found} × {sku} instead of {right}"));
            }
        }
        if cart.changes != expected.changes {
            let (found, right) = (cart.changes, expected.changes);
            problems.push(format!(
                "{found} events have changed {user}'s cart instead of {right}"
            ));
        }
        match (expected.order, found.orders.len()) {
            (None, 0) => {}
            (None, _) => problems.push(format!("{user} has not ordered, and there is an order")),
            (Some((number, cents)), 1) if found.orders.contains_key(number) => {
                let (version, order) = &found.orders[number];
                let earlier = before[user].orders.get(number).map(|(version, _)| version);
                let when = if earlier.is_some() {
                    "by an earlier run"
                } else {
                    "in this run"
                };
                bill(&format!("Order {number} of {user}, placed {when}:"), order);
                if order.cents() != cents {
                    let (sum, seen) = (euros(order.cents()), euros(cents));
                    problems.push(format!("order {number} costs {sum}, and {user} saw {seen}"));
                }
                let times = placed.get(number).copied().unwrap_or_default() + u32::from(earlier.is_some());
                if times > 1 || earlier.is_some_and(|earlier| earlier != version) {
                    problems.push(format!("order {number} was placed {times} times"));
                }
                if found.cart.is_some() {
                    problems.push(format!("{user}'s cart is not empty after order {number}"));
                }
            }
            (Some((number, _)), count) => {
                problems.push(format!("{user} has {count} orders instead of {number} alone"));
            }
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

/// What the events of one user come to, each counted once.
#[derive(Default)]
struct Expected<'a> {
    quantities: BTreeMap<&'a str, i64>,
    changes: u32,
    /// Its number, and the sum that the customer saw.
    order: Option<(&'a str, i64)>,
}

impl<'a> Expected<'a> {
    fn of(user: &str, events: &'a [Event]) -> Self {
        let mut expected = Self::default();
        let mut seen = HashSet::new();
        for event in events.iter().filter(|event| event.user == user) {
            if !seen.insert(&event.id) {
                continue;
            }
            let (item, sign) = match &event.kind {
                Kind::Add(item) => (item, 1),
                Kind::Remove(item) => (item, -1),
                Kind::Checkout { order, cents, .. } => {
                    expected.order = Some((order, *cents));
                    continue;
                }
            };
            *expected.quantities.entry(&item.sku).or_default() += sign * item.quantity;
            expected.changes += 1;
        }
        expected.quantities.retain(|_, quantity| *quantity != 0);
        expected
    }
}
