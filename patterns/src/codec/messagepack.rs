use rmp_serde::decode::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statestore_api::BoxError;

use super::{Codec, Format, without_values};

/// MessagePack: smaller and quicker than JSON. Fields go by name, so that one can be added, with `#[serde(default)]`, or taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessagePack;

impl Format for MessagePack {
    fn name(&self) -> &'static str {
        "messagepack"
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for MessagePack {
    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        Ok(rmp_serde::to_vec_named(value)?)
    }

    fn decode(&self, payload: &[u8]) -> Result<T, BoxError> {
        let mut left = payload;
        let value = rmp_serde::from_read(&mut left).map_err(|error| match error {
            Error::Syntax(message) => without_values(&message).to_owned(),
            _ => "it is not MessagePack of that type".to_owned(),
        })?;
        if !left.is_empty() {
            return Err(format!("{} bytes follow the value", left.len()).into());
        }
        Ok(value)
    }
}
