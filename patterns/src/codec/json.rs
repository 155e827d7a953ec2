use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::value::RawValue;
use statestore_api::BoxError;

use super::{Codec, Format, without_values};

/// JSON, the default. The first schema is stored bare, so that a cloud's console and programs in other languages read
/// and write it; a later one as `{"schema_version":2,"state":…}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

/// How a state of a later schema is stored.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    schema_version: u32,
    #[serde(borrow)]
    state: &'a RawValue,
}

impl<'a> Envelope<'a> {
    fn open(stored: &'a [u8]) -> Option<Self> {
        // Most states are none: they are not parsed twice.
        let name = b"\"schema_version\"";
        let may_be = stored.trim_ascii_start().first() == Some(&b'{')
            && stored.windows(name.len()).any(|window| window == name);
        may_be.then(|| serde_json::from_slice(stored).ok()).flatten()
    }
}

impl Format for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn frame(&self, schema: u32, payload: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        // A state that looks like an envelope gets one around it, so that it is never taken for one.
        if schema == 1 && Envelope::open(&payload).is_none() {
            return Ok(payload);
        }
        let state = serde_json::from_slice(&payload).map_err(problem)?;
        Ok(serde_json::to_vec(&Envelope {
            schema_version: schema,
            state,
        })?)
    }

    fn unframe<'a>(&self, stored: &'a [u8]) -> Result<(u32, &'a [u8]), BoxError> {
        Ok(Envelope::open(stored).map_or((1, stored), |envelope| {
            (envelope.schema_version, envelope.state.get().as_bytes())
        }))
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        Ok(serde_json::to_vec(value)?)
    }

    fn decode(&self, payload: &[u8]) -> Result<T, BoxError> {
        serde_json::from_slice(payload).map_err(problem)
    }
}

fn problem(error: serde_json::Error) -> BoxError {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => {
            let message = error.to_string();
            // The library adds the place itself.
            let message = message.split(" at line ").next().unwrap_or_default();
            format!("{} ({place})", without_values(message)).into()
        }
        Category::Eof | Category::Syntax | Category::Io => format!("it is not JSON ({place})").into(),
    }
}
