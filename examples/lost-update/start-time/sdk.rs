//! What `cart.py` does, by the SDK alone: the least that a program in Rust can do.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

#[derive(serde::Deserialize)]
struct Event {
    user: String,
    item: String,
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "its answer")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let table = std::env::var("TABLE")?;
    let event = std::env::args().nth(1).ok_or("it takes an event")?;
    let event: Event = serde_json::from_str(&event)?;
    let (user, sort) = (
        AttributeValue::S(event.user),
        AttributeValue::S("cart".to_owned()),
    );
    let read = client
        .get_item()
        .table_name(&table)
        .key("pk", user.clone())
        .key("sk", sort.clone())
        .consistent_read(true)
        .send()
        .await?;
    let mut items: Vec<String> = match read.item().and_then(|item| item.get("v")) {
        Some(AttributeValue::S(items)) => serde_json::from_str(items)?,
        _ => Vec::new(),
    };
    items.push(event.item);
    let items = serde_json::to_string(&items)?;
    client
        .put_item()
        .table_name(&table)
        .item("pk", user)
        .item("sk", sort)
        .item("v", AttributeValue::S(items.clone()))
        .send()
        .await?;
    println!("{items}");
    Ok(())
}
