//! Who a session belongs to.

use statestore::WriteId;
use tower_sessions::Session;
use tower_sessions::session::Error;

const CUSTOMER: &str = "customer";

/// The customer's number, which is the partition of what belongs to it; `None` for who has done nothing yet.
pub(crate) async fn customer(session: &Session) -> Result<Option<String>, Error> {
    session.get(CUSTOMER).await
}

/// The same, where a new visitor becomes a customer.
pub(crate) async fn customer_or_new(session: &Session) -> Result<String, Error> {
    if let Some(known) = customer(session).await? {
        return Ok(known);
    }
    // 128 random bits. Not the session's id: that is a secret, which changes.
    let new = format!("customer-{}", WriteId::new());
    session.insert(CUSTOMER, &new).await?;
    Ok(new)
}
