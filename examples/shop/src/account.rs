//! What belongs to a customer, and what can be done with it. Here is no store and no HTTP.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many different items a cart holds, how many of each, and how many orders are shown: what is stored stays small.
const ITEMS: usize = 50;
const OF_EACH: u32 = 99;
const ORDERS: usize = 20;

/// Items, and how many of each.
pub(crate) type Items = BTreeMap<String, u32>;

/// A customer's cart and orders: one entry, since they change together.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) cart: Items,
    pub(crate) orders: Vec<Order>,
    /// How many orders were ever placed.
    placed: u64,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: u64,
    pub(crate) items: Items,
}

/// What a request is answered with; kept with its `Idempotency-Key`, so that a repeated one is answered the same.
#[derive(Serialize, Deserialize)]
pub(crate) enum Outcome {
    Cart(Items),
    Placed(Order),
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    TooMuch,
    NothingToOrder,
    /// What is in the cart is not what the visitor saw.
    Changed,
}

/// What follows from a change.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum OrderEvent {
    Placed(Order),
}

impl Account {
    pub(crate) fn add(&mut self, item: &str, quantity: u32) -> Outcome {
        let there = self.cart.get(item).copied().unwrap_or(0);
        let sum = there.saturating_add(quantity);
        if sum > OF_EACH || there == 0 && self.cart.len() == ITEMS {
            return Outcome::Refused(Refusal::TooMuch);
        }
        self.cart.insert(item.to_owned(), sum);
        Outcome::Cart(self.cart.clone())
    }

    pub(crate) fn remove(&mut self, item: &str) -> Outcome {
        self.cart.remove(item);
        Outcome::Cart(self.cart.clone())
    }

    /// Orders what is in the cart, if it is what the visitor has `seen` there.
    pub(crate) fn order(&mut self, seen: Option<&Items>, events: &mut Vec<OrderEvent>) -> Outcome {
        if self.cart.is_empty() {
            return Outcome::Refused(Refusal::NothingToOrder);
        }
        if seen.is_some_and(|seen| *seen != self.cart) {
            return Outcome::Refused(Refusal::Changed);
        }
        self.placed += 1;
        let order = Order {
            number: self.placed,
            items: std::mem::take(&mut self.cart),
        };
        if self.orders.len() == ORDERS {
            self.orders.remove(0);
        }
        self.orders.push(order.clone());
        events.push(OrderEvent::Placed(order.clone()));
        Outcome::Placed(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cart_has_bounds() {
        let mut account = Account::default();
        for item in 0..ITEMS {
            assert!(matches!(account.add(&item.to_string(), 1), Outcome::Cart(_)));
        }
        for (item, quantity) in [("another", 1), ("0", 99), ("0", u32::MAX)] {
            assert!(matches!(
                account.add(item, quantity),
                Outcome::Refused(Refusal::TooMuch)
            ));
        }
        assert!(matches!(account.add("0", 98), Outcome::Cart(_)));
        assert_eq!((account.cart.len(), account.cart["0"]), (ITEMS, 99));
    }

    #[test]
    fn an_order_empties_the_cart_and_the_oldest_is_dropped() {
        let mut account = Account::default();
        let mut events = Vec::new();
        for _ in 0..=ORDERS {
            account.add("lamp", 1);
            assert!(matches!(account.order(None, &mut events), Outcome::Placed(_)));
            assert!(matches!(
                account.order(None, &mut events),
                Outcome::Refused(Refusal::NothingToOrder)
            ));
        }
        assert_eq!((account.orders.len(), account.orders[0].number), (ORDERS, 2));
        assert_eq!(events.len(), ORDERS + 1);
    }

    #[test]
    fn what_the_visitor_has_not_seen_is_not_ordered() {
        let mut account = Account::default();
        let mut events = Vec::new();
        account.add("lamp", 1);
        let seen = account.cart.clone();
        account.add("rug", 1);
        assert!(matches!(
            account.order(Some(&seen), &mut events),
            Outcome::Refused(Refusal::Changed)
        ));
        assert_eq!(
            (account.cart.len(), account.orders.len(), events.len()),
            (2, 0, 0)
        );
        let seen = account.cart.clone();
        assert!(matches!(
            account.order(Some(&seen), &mut events),
            Outcome::Placed(_)
        ));
    }
}
