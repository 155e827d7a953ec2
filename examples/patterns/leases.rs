use std::sync::Arc;
use std::time::Duration;

use statestore::patterns::{Lease, LeaseError};
use statestore::{StateStore, TransactOp};

pub(crate) async fn report(store: Arc<dyn StateStore>) -> Result<u64, LeaseError> {
    let lease = Lease::new(store, "reports/lease".parse()?, Duration::from_secs(10));
    let guard = lease.acquire(Duration::from_secs(60)).await?; // and renewed from here on
    tokio::select! {
        () = guard.lost() => return Err(LeaseError::Lost { token: guard.token() }),
        () = work() => {}
    }
    // Refused if the lease was lost, however late it arrives.
    let done = vec![TransactOp::put("reports/today".parse()?, "done")];
    guard.transact(done).await?;
    let token = guard.token();
    guard.release().await?;
    Ok(token)
}

async fn work() {
    println!("writing the report");
}
