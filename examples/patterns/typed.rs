use std::sync::Arc;

use serde::{Deserialize, Serialize};
use statestore::{Result, StateStore, Typed};

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
}

/// However many do this at once, no item is lost.
pub(crate) async fn add(store: Arc<dyn StateStore>, item: &str) -> Result<()> {
    let carts = Typed::<Cart>::new(store);
    carts
        .update(&"user-42/cart".parse()?, |cart| {
            cart.get_or_insert_default().items.push(item.to_owned());
            Ok(())
        })
        .await
}

/// The cart of the next release: an item and how many of it.
#[derive(Serialize, Deserialize)]
struct CountedCart {
    items: Vec<(String, u32)>,
}

pub(crate) async fn read(store: Arc<dyn StateStore>) -> Result<Vec<(String, u32)>> {
    let carts = Typed::<CountedCart>::new(store).with_schema(2, |old| {
        let cart: Cart = old.decode()?; // what the last release has written
        let items = cart.items.into_iter().map(|item| (item, 1)).collect();
        Ok(CountedCart { items })
    });
    let cart = carts.get(&"user-42/cart".parse()?).await?;
    Ok(cart.map(|cart| cart.value.items).unwrap_or_default())
}
