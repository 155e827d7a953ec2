//! What a version of this store says. Pure.
//!
//! Azure Table makes the ETag, so it is in the version: `Matches` is one request under it. Beside it are the stamp of the write, which
//! exactly-once is judged by, and the expiry, since the service would match an expired entry. What is there can then be stored in the
//! entity that replaces it, although the request never saw it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use statestore_api::backend::{Stamp, expiry, stable_hash};
use statestore_api::{Error, Key, Result, Version};

/// What versions begin with: nothing that is the text of a stamp has a dot.
const OF_ETAG: &str = "e.";
const OF_TRANSACTION: &str = "t.";

/// Longer ones do not fit into a version. Azure Table's have 42 characters.
const MAX_ETAG: usize = 512;

/// A version, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Of the key, and of all that the version says: another key's, or one that was tampered with, never matches.
    hash: u64,
    pub(super) stamp: Stamp,
    pub(super) tag: Tag,
}

/// What of an entity a version knows beside its stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Its ETag, and when it expires, in epoch milliseconds.
    Of { etag: String, expires_ms: Option<u64> },
    /// Nothing, as a transaction wrote it: its retry has to give the same version from one of its entities alone, which does not
    /// know the ETags of the others.
    Transaction,
}

impl Token {
    pub(super) fn new(key: &Key, stamp: Stamp, tag: Tag) -> Self {
        Self {
            hash: hash(key, stamp, &tag),
            stamp,
            tag,
        }
    }

    /// # Errors
    /// [`Error::InvalidVersion`] when it is none of this store's.
    pub(super) fn of(version: &Version) -> Result<Self> {
        let text = version.to_string();
        let invalid = || Error::InvalidVersion {
            version: text.chars().take(48).collect(),
        };
        let token = Self::parse(&text).ok_or_else(invalid)?;
        (token.to_string() == text).then_some(token).ok_or_else(invalid)
    }

    fn parse(text: &str) -> Option<Self> {
        let (transaction, coded) = match text.strip_prefix(OF_TRANSACTION) {
            Some(coded) => (true, coded),
            None => (false, text.strip_prefix(OF_ETAG)?),
        };
        let bytes = URL_SAFE_NO_PAD.decode(coded).ok()?;
        let (hash, rest) = bytes.split_first_chunk()?;
        let (stamp, rest) = rest.split_first_chunk()?;
        let tag = if transaction {
            rest.is_empty().then_some(Tag::Transaction)?
        } else {
            let (expires_ms, etag) = rest.split_first_chunk()?;
            let expires_ms = u64::from_be_bytes(*expires_ms);
            Tag::Of {
                etag: unpack(etag)?,
                expires_ms: (expires_ms != 0)
                    .then_some(expires_ms)
                    .filter(|ms| *ms <= expiry::MAX_MS),
            }
        };
        Some(Self {
            hash: u64::from_be_bytes(*hash),
            stamp: Stamp::from_bytes(*stamp),
            tag,
        })
    }

    /// Whether it is a version of `key`'s.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.hash == hash(key, self.stamp, &self.tag)
    }

    /// The version that this is.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the service's ETag is longer than a version takes.
    pub(super) fn version(&self) -> Result<Version> {
        let too_long = |source| Error::Corrupt {
            what: "an ETag of the service's".to_owned(),
            reason: "it is longer than a version may be".to_owned(),
            source,
        };
        match &self.tag {
            Tag::Of { etag, .. } if etag.len() > MAX_ETAG => Err(too_long(None)),
            _ => self
                .to_string()
                .parse()
                .map_err(|error: Error| too_long(Some(error.into()))),
        }
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = self.hash.to_be_bytes().to_vec();
        bytes.extend(self.stamp.to_bytes());
        let prefix = match &self.tag {
            Tag::Transaction => OF_TRANSACTION,
            Tag::Of { .. } => OF_ETAG,
        };
        bytes.extend(tag_bytes(&self.tag));
        write!(f, "{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

fn tag_bytes(tag: &Tag) -> Vec<u8> {
    match tag {
        Tag::Transaction => Vec::new(),
        Tag::Of { etag, expires_ms } => {
            let mut bytes = expires_ms.unwrap_or(0).to_be_bytes().to_vec();
            bytes.extend(pack(etag));
            bytes
        }
    }
}

fn hash(key: &Key, stamp: Stamp, tag: &Tag) -> u64 {
    let tag = tag_bytes(tag);
    stable_hash([
        key.partition().as_bytes(),
        key.id().as_bytes(),
        &stamp.to_bytes(),
        &tag,
    ])
}

/// The form of Azure Table's ETags, with `0` for digits. Behind it follow digits of a fraction and the end.
const TIMESTAMP: &str = "W/\"datetime'0000-00-00T00%3A00%3A00.";
const END: &str = "Z'\"";

/// First byte of what [`pack`] makes of other ETags.
const TEXT: u8 = 0xff;

/// A timestamp's digits as how many follow the point, and a number; all else as text.
fn pack(etag: &str) -> Vec<u8> {
    pack_timestamp(etag).unwrap_or_else(|| {
        let mut bytes = vec![TEXT];
        bytes.extend(etag.as_bytes());
        bytes
    })
}

fn pack_timestamp(etag: &str) -> Option<Vec<u8>> {
    let (start, fraction) = etag.split_at_checked(TIMESTAMP.len())?;
    let fraction = fraction.strip_suffix(END)?;
    let fits = start
        .bytes()
        .zip(TIMESTAMP.bytes())
        .all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        });
    let places = u8::try_from(fraction.len()).ok().filter(|places| *places <= 7)?;
    if !fits || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // `%3A` has a digit of its own.
    let digits = start
        .bytes()
        .zip(TIMESTAMP.bytes())
        .filter(|(_, form)| *form == b'0');
    let number: u128 = digits
        .map(|(byte, _)| byte)
        .chain(fraction.bytes())
        .fold(0, |number, digit| number * 10 + u128::from(digit - b'0'));
    let mut bytes = vec![places];
    bytes.extend(&number.to_be_bytes()[16 - PACKED..]);
    Some(bytes)
}

/// Bytes of the number: 21 digits at most.
const PACKED: usize = 9;

fn unpack(bytes: &[u8]) -> Option<String> {
    match bytes {
        [TEXT, text @ ..] => {
            let etag = String::from_utf8(text.to_vec()).ok()?;
            pack_timestamp(&etag).is_none().then_some(etag)
        }
        [places @ 0..=7, number @ ..] => {
            let number: [u8; PACKED] = number.try_into().ok()?;
            let mut wide = [0; 16];
            wide[16 - PACKED..].copy_from_slice(&number);
            let places = usize::from(*places);
            let digits = format!("{:0width$}", u128::from_be_bytes(wide), width = 14 + places);
            let (whole, fraction) = digits
                .split_at_checked(14)
                .filter(|(_, rest)| rest.len() == places)?;
            let mut whole = whole.chars();
            let start: Option<String> = TIMESTAMP
                .chars()
                .map(|form| if form == '0' { whole.next() } else { Some(form) })
                .collect();
            Some(format!("{}{fraction}{END}", start?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use statestore_api::WriteId;

    use super::*;

    const ETAG: &str = "W/\"datetime'2026-11-24T23%3A24%3A07.0123456Z'\"";

    fn key() -> Key {
        "p/k".parse().unwrap()
    }

    fn token(etag: &str, expires_ms: Option<u64>) -> Token {
        let stamp = Stamp::new(WriteId::new(), 7, &key());
        let etag = etag.to_owned();
        Token::new(&key(), stamp, Tag::Of { etag, expires_ms })
    }

    #[test]
    fn a_version_survives_text() {
        let transaction = Token::new(&key(), Stamp::from_bytes([9; Stamp::LEN]), Tag::Transaction);
        let tokens = [
            token(ETAG, None),
            token(ETAG, Some(1)),
            token(ETAG, Some(expiry::MAX_MS)),
            token("W/\"datetime'2026-11-24T23%3A24%3A07.Z'\"", None),
            token("W/\"datetime'0000-00-00T00%3A00%3A00.1Z'\"", None),
            token("W/\"0x5B2A\"", Some(5)),
            token("", None),
            token(&"é".repeat(256), None),
            transaction,
        ];
        for token in tokens {
            let version = token.version().unwrap();
            assert!(version.stamp().is_err(), "{version} has the form of a stamp");
            assert_eq!(Token::of(&version).unwrap(), token);
            assert!(token.is_of(&key()));
            assert!(!token.is_of(&"p/other".parse().unwrap()));
        }
        assert_eq!(token(ETAG, None).to_string().len(), 69);
        token(&"x".repeat(513), None).version().unwrap_err();
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let good = token(ETAG, None).to_string();
        let stamp = Version::from(Stamp::from_bytes([1; Stamp::LEN])).to_string();
        let cut = &good[..good.len() - 4];
        for text in [
            "0",
            "e.",
            "t.",
            "e.AAAA",
            "t.AAAA",
            cut,
            &stamp,
            &good.replace("e.", "t."),
            &good[2..],
        ] {
            let Ok(version) = text.parse::<Version>() else {
                continue;
            };
            assert!(
                matches!(Token::of(&version), Err(Error::InvalidVersion { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn what_was_tampered_with_is_of_no_key() {
        let good = token(ETAG, Some(77)).to_string();
        for place in 2..good.len() {
            for other in ["A", "B", "_"] {
                let mut changed = good.clone();
                changed.replace_range(place..=place, other);
                let token = Token::of(&changed.parse().unwrap());
                assert!(
                    changed == good || token.is_err() || !token.unwrap().is_of(&key()),
                    "{changed}"
                );
            }
        }
    }
}
