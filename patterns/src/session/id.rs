use std::fmt;
use std::str::FromStr;

use statestore_api::{Error, WriteId};

/// What a visitor shows to be known again: 128 random bits, for a cookie. It is a secret: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(String);

impl SessionId {
    pub(super) fn new() -> Self {
        // From the operating system's random source.
        Self(WriteId::new().to_string())
    }

    /// Its text, of 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = Error;

    /// # Errors
    /// [`InvalidOptions`](Error::InvalidOptions) when it is not the text of one.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::InvalidOptions {
            reason: "a session id is 32 hexadecimal digits",
        })
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}
