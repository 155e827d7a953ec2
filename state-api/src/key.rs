use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, KeyPart, KeyProblem, Result};

/// The name of an entry: a **partition** and an **id**, both non-empty UTF-8 of any content.
///
/// A partition is the unit of ordering and of atomicity: [`list_page`](crate::StateStore::list_page) and
/// [`transact`](crate::StateStore::transact) work inside one. Put together what has to change together (a user's
/// cart and orders), and apart what only shares a type.
///
/// Two different keys never meet, on any backend, whatever they contain. Up to 170 bytes in each part are
/// accepted by every backend; each one's own limits are in its [`Capabilities`](crate::Capabilities) and are checked when the key is
/// used.
///
/// Text is split at its first `/`; text without one is its own partition, with the id equal to it:
///
/// ```
/// use statestore_api::Key;
///
/// let key: Key = "user-42/cart".parse()?;
/// assert_eq!((key.partition(), key.id()), ("user-42", "cart"));
///
/// let key: Key = "settings".parse()?;
/// assert_eq!((key.partition(), key.id()), ("settings", "settings"));
///
/// // Any text goes into both parts, `/` included.
/// let key = Key::new("tenant/7", "orders/2026-11-23#1")?;
/// assert_eq!(key.partition(), "tenant/7");
///
/// assert!(Key::new("", "cart").is_err());
/// # Ok::<(), statestore_api::Error>(())
/// ```
///
/// Keys order by partition, then by id, each in the byte order of its UTF-8. A clone shares its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The partition and, right behind it, the id.
    text: Arc<str>,
    split: usize,
}

impl Key {
    /// The key of `id` in `partition`.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] when either is empty.
    pub fn new(partition: impl AsRef<str>, id: impl AsRef<str>) -> Result<Self> {
        let (partition, id) = (partition.as_ref(), id.as_ref());
        for (part, text) in [(KeyPart::Partition, partition), (KeyPart::Id, id)] {
            if text.is_empty() {
                return Err(Error::InvalidKey {
                    part,
                    problem: KeyProblem::Empty,
                });
            }
        }
        Ok(Self::bound(partition, id))
    }

    /// A key with a part that may be empty, to mark a place in an order; never handed to a caller.
    pub(crate) fn bound(partition: &str, id: &str) -> Self {
        let split = partition.len();
        // A short one is joined on the stack: a listing makes many, and each would be allocated twice.
        let mut short = [0; 128];
        let joined = short.get_mut(..split + id.len()).and_then(|place| {
            place[..split].copy_from_slice(partition.as_bytes());
            place[split..].copy_from_slice(id.as_bytes());
            str::from_utf8(place).ok()
        });
        Self {
            text: joined.map_or_else(|| [partition, id].concat().into(), Arc::from),
            split,
        }
    }

    /// The partition: the unit of ordering and of atomicity.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.text[..self.split]
    }

    /// The id, unique in its partition.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[self.split..]
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The split is hashed too, so that `a|bc` and `ab|c` differ.
        state.write_usize(self.split);
        state.write(self.text.as_bytes());
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.partition()
            .cmp(other.partition())
            .then_with(|| self.id().cmp(other.id()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('/') {
            Some((partition, id)) => Self::new(partition, id),
            None => Self::new(text, text),
        }
    }
}

/// `partition/id` for people. Control characters are escaped, so that a hostile key cannot forge a log line; two
/// keys that differ in where the partition ends may look the same here.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in [self.partition(), self.id()].into_iter().enumerate() {
            if place > 0 {
                f.write_str("/")?;
            }
            for c in part.chars() {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    fmt::Write::write_char(f, c)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("partition", &self.partition())
            .field("id", &self.id())
            .finish()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Key", deny_unknown_fields)]
struct Parts<T> {
    partition: T,
    id: T,
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Parts {
            partition: self.partition(),
            id: self.id(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = Parts::<String>::deserialize(deserializer)?;
        Self::new(parts.partition, parts.id).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_join_to_the_same_text_differ() {
        let (a, b) = (Key::new("a", "bc").unwrap(), Key::new("ab", "c").unwrap());
        assert_ne!(a, b);
        assert_ne!(a.cmp(&b), std::cmp::Ordering::Equal);
    }

    #[test]
    fn keys_of_any_length_have_their_parts() {
        for length in [1, 63, 64, 65, 127, 128, 2_000] {
            let (partition, id) = ("é".repeat(length), "i".repeat(length));
            let key = Key::new(&partition, &id).unwrap();
            assert_eq!((key.partition(), key.id()), (&*partition, &*id));
        }
    }

    #[test]
    fn keys_order_by_partition_first() {
        let mut keys = ["b/a", "a/b", "a/a", "a!/0"].map(|text| text.parse::<Key>().unwrap());
        keys.sort();
        assert_eq!(keys.map(|key| key.to_string()), ["a/a", "a/b", "a!/0", "b/a"]);
    }

    #[test]
    fn display_escapes_control_characters() {
        let key = Key::new("a\nb", "c\u{1b}[31m").unwrap();
        assert_eq!(key.to_string(), "a\\nb/c\\u{1b}[31m");
    }

    #[test]
    fn a_key_survives_serde_and_a_bad_one_is_refused() {
        let key = Key::new("tenant/7", "a b").unwrap();
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
        assert!(serde_json::from_str::<Key>(r#"{"partition":"","id":"x"}"#).is_err());
    }
}
