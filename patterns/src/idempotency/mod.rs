mod error;
#[cfg(feature = "tower")]
mod http;
mod record;
mod run;

pub use error::IdempotencyError;
#[cfg(feature = "tower")]
pub use http::{IdempotencyLayer, IdempotencyService};
pub use run::{Idempotency, OnDuplicate};
