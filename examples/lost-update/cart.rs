//! Adds an item to a cart, and loses none.

use statestore::patterns::Typed;
use statestore::{BoxError, Config, Key};

async fn handler(event: Event, carts: &Typed<Vec<String>>) -> Result<Vec<String>, BoxError> {
    let key = Key::new(event.user, "cart")?;
    let add = |cart: &mut Option<Vec<String>>| {
        let items = cart.get_or_insert_default();
        items.push(event.item.clone());
        Ok(items.clone()) // written if nobody has written since it was read; else it is read again
    };
    Ok(carts.update(&key, add).await?)
}

#[derive(serde::Deserialize)]
struct Event {
    user: String,
    item: String,
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "its answer")]
async fn main() -> Result<(), BoxError> {
    let carts = Typed::new(Config::from_env()?.open().await?);
    let event = std::env::args().nth(1).ok_or("it takes an event")?;
    let answer = handler(serde_json::from_str(&event)?, &carts).await?;
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}
