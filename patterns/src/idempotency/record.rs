use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use statestore_api::{Capabilities, Error, Key, Result, WriteId};

use crate::hash::hex;

/// What is stored of a request. Its entry's expiry is the deadline while it is in progress, and how long the result is kept later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Who runs it or ran it: a number made for each run, by which one's own record is known although the reply to its write was lost.
    pub(super) owner: WriteId,
    /// The hash of the payload.
    pub(super) payload: String,
    pub(super) done: bool,
    /// What the handler returned, as JSON; none also for `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Box<RawValue>>,
}

impl Record {
    pub(super) fn in_progress(payload: String) -> Self {
        Self {
            owner: WriteId::new(),
            payload,
            done: false,
            result: None,
        }
    }

    /// The same, done with this result.
    pub(super) fn done<T: Serialize>(&self, result: &T) -> Result<Self> {
        let result = serde_json::value::to_raw_value(result).map_err(|error| codec("encoded", &error))?;
        Ok(Self {
            done: true,
            result: Some(result),
            ..self.clone()
        })
    }

    /// Whether it is of the same run.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.owner == other.owner
    }

    pub(super) fn result<T: DeserializeOwned>(&self) -> Result<T> {
        let text = self.result.as_ref().map_or("null", |result| result.get());
        serde_json::from_str(text).map_err(|error| codec("decoded", &error))
    }
}

/// `serde`'s messages quote the value.
fn codec(action: &'static str, error: &serde_json::Error) -> Error {
    let place = format!(
        "the kept result, line {}, column {}",
        error.line(),
        error.column()
    );
    Error::Codec {
        action,
        source: Some(place.into()),
    }
}

/// The hash of a payload, whatever order its maps are in.
pub(super) fn hash<P: Serialize + ?Sized>(payload: &P) -> Result<String> {
    // A `Value` has its maps sorted.
    let value = serde_json::to_value(payload).map_err(|error| codec("encoded", &error))?;
    Ok(hex(value.to_string().as_bytes()))
}

/// The key of the request `id`: a partition of its own, so that they spread.
pub(super) fn key(scope: &str, id: &str) -> Result<Key> {
    // The first character tells an id from a hash.
    let partition = if id.len() < Capabilities::PORTABLE_KEY_BYTES {
        format!(":{id}")
    } else {
        format!("#{}", hex(id.as_bytes()))
    };
    Key::new(partition, format!("idempotency/{scope}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_order_of_a_map_makes_no_other_payload() {
        let a: HashMap<_, _> = (0..50).map(|n| (format!("k{n}"), n)).collect();
        let b: HashMap<_, _> = (0..50).rev().map(|n| (format!("k{n}"), n)).collect();
        assert_eq!(hash(&a).unwrap(), hash(&b).unwrap());
        assert_ne!(hash(&"1").unwrap(), hash(&1).unwrap());
    }

    #[test]
    fn long_ids_fit_and_none_meet() {
        let long = "x".repeat(1000);
        let hashed = key("orders", &long).unwrap();
        assert!(hashed.partition().len() <= Capabilities::PORTABLE_KEY_BYTES);
        let imitated = hashed.partition().to_owned();
        assert_ne!(key("orders", &imitated).unwrap(), hashed);
        assert_ne!(key("orders", &imitated[1..]).unwrap(), hashed);
        assert_ne!(key("orders", "1").unwrap(), key("carts", "1").unwrap());
        assert_ne!(key("orders", &"x".repeat(1001)).unwrap(), hashed);
    }
}
