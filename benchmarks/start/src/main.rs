//! Opens the store of its URL, puts and gets one entry, and says so.

use statestore::{Result, StateStore};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).expect("a URL");
    let store = statestore::open(&url).await?;
    let key = "user-42/cart".parse()?;
    store.put(&key, "one apple".into(), Default::default()).await?;
    let entry = store.get(&key, Default::default()).await?;
    assert!(entry.is_some_and(|entry| entry.value == "one apple"));
    println!("done");
    Ok(())
}
