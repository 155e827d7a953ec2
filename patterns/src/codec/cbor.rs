use ciborium::de::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statestore_api::BoxError;

use super::{Codec, Format, without_values};

/// CBOR (RFC 8949): smaller than JSON, and with byte strings. Fields go by name, so that one can be added, with `#[serde(default)]`, or
/// taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cbor;

impl Format for Cbor {
    fn name(&self) -> &'static str {
        "cbor"
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Cbor {
    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        let mut payload = Vec::new();
        ciborium::into_writer(value, &mut payload)?;
        Ok(payload)
    }

    fn decode(&self, payload: &[u8]) -> Result<T, BoxError> {
        let mut left = payload;
        let value = ciborium::from_reader(&mut left).map_err(|error| match error {
            Error::Semantic(_, message) => without_values(&message).to_owned(),
            Error::Syntax(offset) => format!("it is not CBOR (byte {offset})"),
            Error::Io(_) => "it is cut off".to_owned(),
            Error::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
        })?;
        if !left.is_empty() {
            return Err(format!("{} bytes follow the value", left.len()).into());
        }
        Ok(value)
    }
}
