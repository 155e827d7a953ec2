use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::backend::Stamp;
use crate::error::{Error, Result};

/// Which write of a key is meant: what a compare-and-set compares.
///
/// Opaque, printable (up to [`Version::MAX_LEN`] characters of `A-Z a-z 0-9 - _ . ~`), and the same after a way
/// through a string, so that it can be sent to a browser and back:
///
/// ```
/// # use statestore_api::{MemoryStore, StateStore, StateStoreExt, Version};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let store = MemoryStore::new();
/// let key = "user-42/cart".parse()?;
/// let version = store.create(&key, "one apple").await?;
///
/// let etag = version.to_string(); // to the browser …
/// let version: Version = etag.parse()?; // … and back
/// store.compare_and_set(&key, Some(&version), "two apples").await?;
/// # Ok(()) }
/// ```
///
/// A version is good for the key it came from; with another key it never matches. It is never reused: not after a
/// delete and a new create, not after an expiry, not after a restart. Versions have no order.
#[derive(Clone)]
pub struct Version {
    repr: Repr,
    /// What the store that made it knows beside. It is not what the version says, so it has no part in equality and text.
    hint: Option<Arc<[u8]>>,
}

/// Most stores make their versions themselves: those are kept as they are, so that a read allocates nothing, and no store's become text
/// before somebody asks for it. A text that is the base64 of bytes is always kept as those, and one of a stamp's as `Stamp`, which is why
/// equality may be derived.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Stamp(Stamp),
    Bytes(Arc<[u8]>),
    Text(Arc<str>),
}

/// How many bytes the longest text says.
const MAX_BYTES: usize = Version::MAX_LEN / 4 * 3;

impl Version {
    /// The longest text of a version, in characters.
    pub const MAX_LEN: usize = 1024;

    /// The version that says `bytes`, 1 to 768 of them, for a store whose versions say more than a stamp: its text is their
    /// base64, without padding and safe in a URL.
    ///
    /// # Errors
    /// [`Error::InvalidVersion`] when there are none or too many.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match bytes.len() {
            1..=MAX_BYTES => Ok(Self::of_bytes(bytes)),
            len => Err(Error::InvalidVersion {
                version: format!("{len} bytes"),
            }),
        }
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        match bytes.try_into() {
            Ok(stamp) => Stamp::from_bytes(stamp).into(),
            Err(_) => Repr::Bytes(bytes.into()).into(),
        }
    }

    /// The bytes that it says: those of [`from_bytes`](Self::from_bytes), or of a stamp.
    ///
    /// # Errors
    /// [`Error::InvalidVersion`] when its text is no base64.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match &self.repr {
            Repr::Stamp(stamp) => Ok(stamp.to_bytes().to_vec().into()),
            Repr::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Repr::Text(text) => Err(invalid(text)),
        }
    }

    /// The stamp this version is, for a store whose versions are stamps.
    ///
    /// # Errors
    /// [`Error::InvalidVersion`] when it is none.
    pub fn stamp(&self) -> Result<Stamp> {
        match &self.repr {
            Repr::Stamp(stamp) => Ok(*stamp),
            Repr::Bytes(_) | Repr::Text(_) => Err(invalid(&self.to_string())),
        }
    }

    /// The same with a hint for its store: what else the store knew when it made this version, to spare it work when it
    /// gets it back. It stays in this process: a way through text or serde loses it, so a store has to do without.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Arc<[u8]>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What [`with_hint`](Self::with_hint) was given.
    #[must_use]
    pub fn hint(&self) -> Option<&[u8]> {
        self.hint.as_deref()
    }
}

impl From<Stamp> for Version {
    fn from(stamp: Stamp) -> Self {
        Repr::Stamp(stamp).into()
    }
}

impl From<Repr> for Version {
    fn from(repr: Repr) -> Self {
        Self { repr, hint: None }
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.repr == other.repr
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.repr.hash(state);
    }
}

impl FromStr for Version {
    type Err = Error;

    /// # Errors
    /// [`Error::InvalidVersion`] when no store could have made it. A store refuses another store's form when it is used.
    fn from_str(text: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(allowed) {
            return Err(invalid(text));
        }
        let mut bytes = [0; MAX_BYTES];
        Ok(match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(len) => Self::of_bytes(&bytes[..len]),
            Err(_) => Repr::Text(text.into()).into(),
        })
    }
}

fn invalid(text: &str) -> Error {
    let mut version: String = text.chars().take(48).flat_map(char::escape_default).collect();
    if text.chars().nth(48).is_some() {
        version.push('…');
    }
    Error::InvalidVersion { version }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut base64 = |bytes: &[u8]| Base64Display::new(bytes, &URL_SAFE_NO_PAD).fmt(f);
        match &self.repr {
            Repr::Stamp(stamp) => base64(&stamp.to_bytes()),
            Repr::Bytes(bytes) => base64(bytes),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_text_and_serde() {
        let version = Version::from(Stamp::from_bytes([7; Stamp::LEN]));
        let text = version.to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(text.parse::<Version>().unwrap(), version);
        let json = serde_json::to_string(&version).unwrap();
        assert_eq!(serde_json::from_str::<Version>(&json).unwrap(), version);
    }

    #[test]
    fn bytes_are_their_base64() {
        for len in [1, 23, 25, 61, 62, 63, 255, 256, 768] {
            let bytes: Vec<u8> = (1..=len).map(|byte| (byte % 251) as u8).collect();
            let version = Version::from_bytes(&bytes).unwrap();
            assert_eq!(version.bytes().unwrap(), bytes, "{len} bytes");
            let read: Version = version.to_string().parse().unwrap();
            assert_eq!(read, version, "{len} bytes");
            let other = Version::from_bytes(&[&bytes[..], &[0]].concat());
            assert!(other.is_err() || other.unwrap() != version, "{len} bytes");
        }
        let version = Version::from_bytes(&[0xfb, 0xff, 0]).unwrap();
        assert_eq!(version.to_string(), "-_8A");
        assert_eq!("-_8A".parse::<Version>().unwrap(), version);
        assert_eq!(version.bytes().unwrap(), &[0xfb, 0xff, 0][..]);
        let stamp = Stamp::from_bytes([7; Stamp::LEN]);
        assert_eq!(Version::from(stamp).bytes().unwrap(), &[7; Stamp::LEN][..]);
        assert_eq!(Version::from_bytes(&[7; Stamp::LEN]).unwrap(), stamp.into());
        assert_eq!(
            Version::from_bytes(&[7; 768]).unwrap().to_string().len(),
            Version::MAX_LEN
        );
        for bytes in [0, 769] {
            let refused = Version::from_bytes(&vec![7; bytes]);
            assert!(
                matches!(refused, Err(Error::InvalidVersion { .. })),
                "{bytes} bytes"
            );
        }
    }

    #[test]
    fn a_hint_is_no_part_of_what_a_version_says() {
        let plain = Version::from(Stamp::from_bytes([7; Stamp::LEN]));
        let hinted = plain.clone().with_hint(*b"all that is known");
        assert_eq!(hinted, plain);
        assert_eq!(
            std::collections::HashSet::from([hinted.clone(), plain.clone()]).len(),
            1
        );
        assert_eq!(
            (hinted.to_string(), format!("{hinted:?}")),
            (plain.to_string(), format!("{plain:?}"))
        );
        assert_eq!(hinted.hint(), Some(&b"all that is known"[..]));
        let read: Version = hinted.to_string().parse().unwrap();
        assert_eq!(
            (read.hint(), read.stamp().unwrap()),
            (None, plain.stamp().unwrap())
        );
    }

    #[test]
    fn text_of_another_form_is_kept_and_is_no_stamp() {
        let version: Version = "W.2026-11-23T10~00".parse().unwrap();
        assert_eq!(version.to_string(), "W.2026-11-23T10~00");
        assert!(matches!(version.stamp(), Err(Error::InvalidVersion { .. })));
        assert!(matches!(version.bytes(), Err(Error::InvalidVersion { .. })));
    }

    /// Whatever is no base64 of anything, in its last character or in its length, is kept as it is.
    #[test]
    fn no_two_texts_are_one_version() {
        for (a, b) in [("-_8", "-_9"), ("AA", "AB"), ("A", "AA"), ("AAAAA", "AAAA")] {
            let (version, other): (Version, Version) = (a.parse().unwrap(), b.parse().unwrap());
            assert_ne!(version, other, "{a} and {b}");
            assert_eq!(
                (version.to_string(), other.to_string()),
                (a.to_owned(), b.to_owned())
            );
        }
    }

    #[test]
    fn what_no_store_makes_is_refused_and_quoted_safely() {
        for text in ["", "a b", "a/b", "ä", "\n", &"x".repeat(1025)] {
            let error = text.parse::<Version>().unwrap_err();
            assert!(
                matches!(&error, Error::InvalidVersion { version } if version.len() <= 400),
                "{text:?}"
            );
            assert!(!error.to_string().contains('\n'));
        }
    }
}
