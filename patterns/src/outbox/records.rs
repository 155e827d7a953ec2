//! What is kept in a partition beside the states.

use serde::{Deserialize, Serialize};
use statestore_api::{Capabilities, Key, Result};

use crate::hash::hex;

/// The ids of the events that wait begin with this.
pub(super) const EVENTS: &str = "~outbox/event/";

/// An event that waits.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Waiting<E> {
    pub(super) event: E,
    /// How often it was tried.
    pub(super) attempts: u32,
}

/// The key of the number that the next event gets.
pub(super) fn next(partition: &str) -> Result<Key> {
    Key::new(partition, "~outbox/next")
}

pub(super) fn lease(partition: &str) -> Result<Key> {
    Key::new(partition, "~outbox/lease")
}

/// The key of an event: in the order of the numbers.
pub(super) fn event(partition: &str, number: u64) -> Result<Key> {
    Key::new(partition, format!("{EVENTS}{number:020}"))
}

/// The number in an event's key.
pub(super) fn number(key: &Key) -> Option<u64> {
    key.id().strip_prefix(EVENTS)?.parse().ok()
}

/// The key of the mark that an event has come in.
pub(super) fn mark(partition: &str, id: &str) -> Result<Key> {
    let plain = format!("~outbox/done/:{id}");
    if plain.len() <= Capabilities::PORTABLE_KEY_BYTES {
        return Key::new(partition, plain);
    }
    Key::new(partition, format!("~outbox/done/#{}", hex(id.as_bytes())))
}
