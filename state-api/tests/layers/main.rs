//! The layers over a store whose requests fail as the test says, by a clock that stands still while anything can go on.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod logs;
#[cfg(feature = "opentelemetry")]
mod metrics;
mod observe;
mod observe_errors;
mod outages;
mod reads;
mod recorder;
mod scripted;
mod timeout;
mod writes;

use std::error::Error as _;

use statestore_api::{Error, ErrorKind, Key, WriteId};

fn key(id: &str) -> Key {
    Key::new("p", id).unwrap()
}

/// The write id and the source's kind of an outcome that cannot be told.
fn indeterminate(error: &Error) -> (WriteId, Option<ErrorKind>) {
    let Error::Indeterminate { write_id, .. } = error else {
        panic!("should be indeterminate: {error}");
    };
    let source = error
        .source()
        .map(|source| source.downcast_ref::<Error>().unwrap());
    (*write_id, source.map(Error::kind))
}
