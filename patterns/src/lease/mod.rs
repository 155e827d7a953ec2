mod acquire;
mod error;
mod fenced;
mod guard;

pub use acquire::Lease;
pub use error::LeaseError;
pub use fenced::Fenced;
pub use guard::LeaseGuard;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statestore_api::WriteId;

/// What is stored under a lease's key. It never expires and is never deleted, since it keeps the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    token: u64,
    /// Who holds it: a number made for each acquisition; nobody after a release.
    owner: Option<WriteId>,
    /// The owner's name, for people.
    holder: String,
    /// How long the owner holds it from each write on, in milliseconds.
    length_ms: u64,
}

impl Record {
    fn length(&self) -> Duration {
        Duration::from_millis(self.length_ms)
    }

    /// Whether it is the same acquisition.
    fn is_of(&self, other: &Self) -> bool {
        self.owner.is_some() && (self.owner, self.token) == (other.owner, other.token)
    }
}
