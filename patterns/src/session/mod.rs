mod id;
#[cfg(feature = "tower-sessions")]
mod merge;
mod sessions;
#[cfg(feature = "tower-sessions")]
mod tower;

pub use id::SessionId;
pub use sessions::Sessions;
#[cfg(feature = "tower-sessions")]
pub use tower::TowerSessions;

use statestore_api::{Key, Result};

/// The key of a session: a partition of its own, of the id's hash. Who reads keys, in the store, an error or a log, can do nothing with that.
fn key(id: &str, scope: &str) -> Result<Key> {
    Key::new(crate::hash::hex(id.as_bytes()), scope)
}
