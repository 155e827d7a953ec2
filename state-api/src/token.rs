use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::Key;
use crate::backend::stable_hash;
use crate::error::{Error, Result};

/// Where a listing goes on. Opaque, printable (`A-Z a-z 0-9 - _`), bound to the query it came from.
///
/// It holds the id that the page before ended with, encoded but not encrypted.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageToken(String);

const FORMAT: u8 = 1;

impl PageToken {
    /// The token of `position` in the query that `query`'s parts describe. For backends.
    #[must_use]
    pub fn seal(query: &[&str], position: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(9 + position.len());
        bytes.push(FORMAT);
        bytes.extend(seal(query, position));
        bytes.extend(position);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The position in the query that `query`'s parts describe. For backends.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] when the token is damaged or was sealed for another query.
    pub fn open(&self, query: &[&str]) -> Result<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| Error::InvalidToken)?;
        match bytes.split_first_chunk::<9>() {
            Some(([FORMAT, hash @ ..], position)) if *hash == seal(query, position) => Ok(position.to_vec()),
            _ => Err(Error::InvalidToken),
        }
    }

    /// [`seal`](Self::seal), for the position behind `key`.
    #[must_use]
    pub fn seal_key(query: &[&str], key: &Key) -> Self {
        let split = key.partition().len() as u64;
        let position = [
            &split.to_be_bytes(),
            key.partition().as_bytes(),
            key.id().as_bytes(),
        ]
        .concat();
        Self::seal(query, &position)
    }

    /// [`open`](Self::open), for the position behind a key.
    ///
    /// # Errors
    /// [`Error::InvalidToken`], as there.
    pub fn open_key(&self, query: &[&str]) -> Result<Key> {
        let position = self.open(query)?;
        let (split, text) = position.split_first_chunk().ok_or(Error::InvalidToken)?;
        let split = usize::try_from(u64::from_be_bytes(*split)).map_err(|_| Error::InvalidToken)?;
        let text = std::str::from_utf8(text).map_err(|_| Error::InvalidToken)?;
        let (partition, id) = text.split_at_checked(split).ok_or(Error::InvalidToken)?;
        Key::new(partition, id).map_err(|_| Error::InvalidToken)
    }

    /// [`open`](Self::open), for a position that is text.
    ///
    /// # Errors
    /// [`Error::InvalidToken`], as there.
    pub fn open_text(&self, query: &[&str]) -> Result<String> {
        String::from_utf8(self.open(query)?).map_err(|_| Error::InvalidToken)
    }
}

fn seal(query: &[&str], position: &[u8]) -> [u8; 8] {
    let parts = query.iter().map(|part| part.as_bytes()).chain([position]);
    stable_hash(parts).to_be_bytes()
}

impl FromStr for PageToken {
    type Err = Error;

    /// Takes any text; whether it is a token of the query shows when it is used.
    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageToken({})", self.0.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_own_query_alone() {
        let token = PageToken::seal(&["list", "p", ""], b"id-7");
        assert_eq!(token.open(&["list", "p", ""]).unwrap(), b"id-7");
        for query in [
            &["list", "p", "x"][..],
            &["list", "", "p"],
            &["list", "p"],
            &["scan", "p", ""],
        ] {
            assert!(matches!(token.open(query), Err(Error::InvalidToken)), "{query:?}");
        }
    }

    #[test]
    fn a_key_survives_as_a_position() {
        let key = Key::new("a/\u{e9}", "b\0c").unwrap();
        let token = PageToken::seal_key(&["scan"], &key);
        assert_eq!(token.open_key(&["scan"]).unwrap(), key);
        for position in [&b""[..], b"short", &[0; 8], &[0xff; 20]] {
            let token = PageToken::seal(&["scan"], position);
            assert!(
                matches!(token.open_key(&["scan"]), Err(Error::InvalidToken)),
                "{position:?}"
            );
        }
    }

    #[test]
    fn each_changed_character_is_noticed() {
        let text = PageToken::seal(&["list", "p", ""], b"id-7").to_string();
        for place in 0..text.len() {
            for other in ["A", "b", "-", "!"] {
                let mut changed = text.clone();
                changed.replace_range(place..=place, other);
                let opened = changed.parse::<PageToken>().unwrap().open(&["list", "p", ""]);
                assert!(
                    changed == text || matches!(opened, Err(Error::InvalidToken)),
                    "{changed}"
                );
            }
        }
    }
}
