use std::sync::Arc;
use std::time::Duration;

use statestore::patterns::Sessions;
use statestore::{Result, StateStore};

pub(crate) async fn visit(store: Arc<dyn StateStore>) -> Result<Option<Vec<String>>> {
    let half_an_hour = Duration::from_secs(1800); // without a click
    let sessions = Sessions::<Vec<String>>::new(store, half_an_hour);
    let id = sessions.start(&vec![]).await?; // `id.as_str()` goes into a cookie
    sessions
        .update(&id, |cart| {
            cart.push("lamp".to_owned());
            Ok(())
        })
        .await?;
    sessions.get(&id).await // None when it was ended or has expired
}
