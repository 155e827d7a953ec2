use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Version;
use crate::error::{Error, Result};

/// One logical write, across all its retries: its idempotency key. 128 random bits.
///
/// A store makes one for each mutation that brings none. Bring your own to be able to tell, after a crash, whether
/// the write was applied: store the id first, then write, and ask [`resolve`](crate::StateStore::resolve) if the answer never came.
///
/// One id is for one logical write: a second, different put with the same id on the same key is taken for a retry of the first and is not
/// written.
///
/// Printable as 32 hexadecimal digits, and the same after a way through that text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WriteId([u8; 16]);

impl WriteId {
    /// A new one, from the operating system's random source. (Not from a generator of ours: one that is copied with a
    /// function's memory snapshot would hand out the same ids twice.)
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "each call gives another value, which is no default"
    )]
    pub fn new() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
        Self(bytes)
    }

    /// The id of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteId({self})")
    }
}

impl FromStr for WriteId {
    type Err = Error;

    /// # Errors
    /// [`Error::InvalidOptions`] when the text is not 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(bits) if digits => Ok(Self(bits.to_be_bytes())),
            _ => Err(Error::InvalidOptions {
                reason: "a write id is 32 hexadecimal digits",
            }),
        }
    }
}

impl Serialize for WriteId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WriteId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// One attempt of a logical write.
///
/// The number matters for honesty: on a first attempt (0) a precondition that does not hold is a conflict. On a later
/// one an earlier attempt may have been applied and then covered by others; where the store cannot rule that out it
/// answers [`Error::Indeterminate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The logical write.
    pub id: WriteId,
    /// How many attempts of it went before.
    pub number: u32,
}

impl Attempt {
    /// The first attempt of `id`: no earlier one can have reached the store.
    #[must_use]
    pub const fn first(id: WriteId) -> Self {
        Self { id, number: 0 }
    }

    /// The attempt after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self {
            id: self.id,
            number: self.number.saturating_add(1),
        }
    }

    /// Whether an earlier attempt may have reached the store.
    #[must_use]
    pub const fn is_retry(self) -> bool {
        self.number > 0
    }
}

/// What became of a write, as [`resolve`](crate::StateStore::resolve) finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It was applied, and gave the key this version. The version may have been replaced since.
    Applied(Version),
    /// It was not applied. A request of it that is still under way may yet be: to make sure, send the same write
    /// again with its id and the next attempt.
    NotApplied,
    /// It cannot be told: the entry is gone, or was overwritten more often than it remembers.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_id_survives_text_and_serde() {
        let id = WriteId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse::<WriteId>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<WriteId>(&json).unwrap(), id);
    }

    #[test]
    fn other_text_is_no_write_id() {
        for text in [
            "",
            "0",
            "+00102030405060708090a0b0c0d0eff",
            "g00102030405060708090a0b0c0d0eff",
        ] {
            assert!(text.parse::<WriteId>().is_err(), "{text}");
        }
    }

    #[test]
    fn write_ids_differ() {
        assert_ne!(WriteId::new(), WriteId::new());
    }
}
