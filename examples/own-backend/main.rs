//! The store of one's own in use: `cargo run --example own-backend`. Its tests are in `tests.rs` beside it.

#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use statestore::{Change, StateStore, StateStoreExt};
use statestore_examples::MapStore;

#[tokio::main]
async fn main() -> statestore::Result<()> {
    let store = MapStore::new();
    let visits = "page/visits".parse()?;
    for _ in 0..3 {
        store
            .update(&visits, Default::default(), |entry| {
                let before = entry.map_or(Ok(0), |entry| {
                    std::str::from_utf8(&entry.value)?
                        .parse::<u64>()
                        .map_err(Into::into)
                });
                before.map(|count: u64| Change::put((count + 1).to_string()))
            })
            .await?;
    }
    let entry = store
        .get(&visits, Default::default())
        .await?
        .expect("it was just written");
    println!(
        "{} visits, version {}",
        String::from_utf8_lossy(&entry.value),
        entry.version
    );
    Ok(())
}
