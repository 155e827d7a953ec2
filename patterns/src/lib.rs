//! What programs build on state, on any [`StateStore`](statestore_api::StateStore), in terms of that trait alone.
//!
//! - [`Typed`]: values of a Rust type, with a [codec] and schemas that are upgraded as they are read.
//!
//! Programs get this as `statestore::patterns`, with the feature `patterns`.

pub mod codec;
mod typed;

pub use typed::{Old, State, Typed};
