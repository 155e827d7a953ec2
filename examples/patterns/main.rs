//! What people build on state, each in the fewest lines that are useful: `docs/patterns.md` walks through it.
#![allow(clippy::print_stdout, reason = "it is a program")]

mod counters;
mod http;
mod idempotency;
mod leases;
mod orders;
mod rate_limits;
mod sessions;
mod typed;

use statestore::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::var("STATESTORE_URL").unwrap_or_else(|_| "memory:".to_owned());
    let store = statestore::open(&url).await?;

    typed::add(store.clone(), "lamp").await?;
    println!("in the cart: {:?}", typed::read(store.clone()).await?);
    counters::sell(store.clone()).await?;
    println!("{} clicks", counters::click(store.clone()).await?);
    println!(
        "a sixth log-in: {:?}",
        rate_limits::log_in(store.clone(), 6).await?
    );
    println!("fencing token {}", leases::report(store.clone()).await?);
    for _delivery in 0..2 {
        println!("{}", idempotency::pay(store.clone(), "order-7", 100).await?);
    }
    println!("in the session: {:?}", sessions::visit(store.clone()).await?);
    for _delivery in 0..2 {
        orders::place(store.clone(), "event-1", "lamp").await?;
        println!("{} events delivered", orders::deliver(store.clone()).await?);
    }
    let _served_by_axum = http::app(store);
    Ok(())
}
