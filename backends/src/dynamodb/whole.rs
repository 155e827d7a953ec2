//! Puts that know all of the item they leave. Pure.
//!
//! An item that is written as a whole costs DynamoDB less than an expression which moves the replaced versions within it. That
//! is so over nothing, and over an item whose version has come with what else the item says.

use std::collections::HashMap;

use bytes::Bytes;
use statestore_api::backend::Stamp;
use statestore_api::backend::expiry::{Expiry, is_live};
use statestore_api::{Key, Precondition, Version};

use super::codec::{self, Item, Known};
use super::expression;

/// An item, and the condition under which it is written.
pub(super) struct Whole {
    pub(super) item: Item,
    pub(super) condition: &'static str,
    pub(super) values: Item,
    /// The version it leaves.
    pub(super) version: Version,
}

impl Whole {
    /// What puts `value` under `key` as `stamp`; `None` where the caller does not know enough.
    pub(super) fn new(
        key: &Key,
        value: &Bytes,
        expiry: Expiry,
        precondition: &Precondition,
        stamp: Stamp,
        now: u64,
    ) -> Option<Self> {
        let (known, condition, values) = match precondition {
            // A key that was gone has no past: what an expired item remembers ends with it.
            Precondition::Absent => {
                let known = Known {
                    expires_ms: expiry.over(None),
                    replaced: Vec::new(),
                };
                (known, expression::GONE, expression::gone(stamp.write_id(), now))
            }
            // That the item has not expired and is not of this very write need not be asked: a version stands for one state.
            Precondition::Matches(version) => {
                let (known, expected) = (Known::of(version)?, version.stamp().ok()?);
                let written = |other: &Stamp| other.write_id() == stamp.write_id();
                let is_ours = written(&expected) || known.replaced.iter().any(written);
                if is_ours || !is_live(known.expires_ms, now) {
                    return None;
                }
                let expires_ms = expiry.over(known.expires_ms);
                let values = HashMap::from([(":is".to_owned(), codec::stamp(expected))]);
                (
                    known.replacing(expected, expires_ms),
                    expression::VERSION_IS,
                    values,
                )
            }
            Precondition::None | Precondition::Exists => return None,
        };
        Some(Self {
            item: known.item(key, value, stamp),
            condition,
            values,
            version: known.version(stamp),
        })
    }
}
