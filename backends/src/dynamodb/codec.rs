//! Key and entry ↔ item. Pure: no request is made here.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use statestore_api::backend::{Stamp, Stored, expiry};
use statestore_api::{Entry, Error, Key, Result, Version, WriteId};

use crate::text;

pub(super) const PARTITION: &str = "pk";
pub(super) const ID: &str = "sk";
pub(super) const VALUE: &str = "v";
/// The version, and behind it those that it replaced, as far as the writer knew them. Its name says the format: another one
/// would have another, and code that knows only this one would neither read nor write such an item.
pub(super) const VERSION: &str = "ver1";
/// What [`VERSION`] held before, one such text in each, the newest first: an update can move a text, and not join two.
const BEFORE: [&str; 4] = ["p0", "p1", "p2", "p3"];
/// How many of the versions that were replaced are remembered at least, and at most looked at.
pub(super) const REMEMBERED: usize = BEFORE.len();
pub(super) const EXPIRES_MS: &str = "x";
/// What the table's own TTL looks at: whole seconds, rounded up, so that it never fires early.
pub(super) const TTL: &str = "ttl";

/// The longest partition and id that DynamoDB takes, in bytes.
pub(super) const MAX_PARTITION: usize = 2048;
pub(super) const MAX_ID: usize = 1024;

/// What the attributes of an item have at most beside its key and value, in bytes.
const OVERHEAD: usize = 512;

/// DynamoDB takes 400 KB an item, names included. The longest key has 3,072 bytes.
pub(super) const MAX_VALUE: usize = 396 * 1024;

/// DynamoDB takes 4 MB a transaction. Room is left for each operation's attributes beside its key and value.
pub(super) const MAX_TRANSACTION: usize = 4 * 1024 * 1024 - 100 * OVERHEAD;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The key attributes of `key`.
pub(super) fn key_item(key: &Key) -> Item {
    place(key.partition(), key.id())
}

/// The key attributes of this place in the table's order, which need not be that of an item.
pub(super) fn place(partition: &str, id: &str) -> Item {
    HashMap::from([
        (PARTITION.to_owned(), AttributeValue::S(partition.to_owned())),
        (ID.to_owned(), AttributeValue::S(id.to_owned())),
    ])
}

/// The key of an item.
pub(super) fn key_of(item: &Item) -> Result<Key> {
    match (item.get(PARTITION), item.get(ID)) {
        (Some(AttributeValue::S(partition)), Some(AttributeValue::S(id))) => Key::new(partition, id),
        _ => Err(Error::Corrupt {
            what: "an item".to_owned(),
            reason: "`pk` and `sk` are no text".to_owned(),
            source: None,
        }),
    }
}

/// A value: as text if it is that, so that the console shows JSON as JSON.
///
/// UTF-8 with control characters is no text to look at, and would take six bytes each on the way.
pub(super) fn value(bytes: &Bytes) -> AttributeValue {
    match text::shown(bytes) {
        Some(text) => AttributeValue::S(text.to_owned()),
        None => AttributeValue::B(Blob::new(bytes.to_vec())),
    }
}

/// How long the text of a stamp is.
const STAMP_LEN: usize = 32;

pub(super) fn stamp(stamp: Stamp) -> AttributeValue {
    stamps([&stamp])
}

/// One behind the other.
fn stamps<'a>(stamps: impl IntoIterator<Item = &'a Stamp>) -> AttributeValue {
    let mut text = String::with_capacity((1 + REMEMBERED) * STAMP_LEN);
    for stamp in stamps {
        URL_SAFE_NO_PAD.encode_string(stamp.to_bytes(), &mut text);
    }
    AttributeValue::S(text)
}

/// What the text of each stamp of this write begins with, and no other's: 126 bits of its id.
pub(super) fn written_by(id: WriteId) -> AttributeValue {
    let mut text = URL_SAFE_NO_PAD.encode(id.to_bytes());
    text.truncate(16 * 8 / 6);
    AttributeValue::S(text)
}

/// The stamps in a text, one behind the other; `None` where it is no such text.
fn read_stamps(text: &str) -> Option<Vec<Stamp>> {
    let (texts, []) = text.as_bytes().as_chunks::<STAMP_LEN>() else {
        return None;
    };
    let read = |text: &[u8; STAMP_LEN]| {
        let mut bytes = [0; Stamp::LEN];
        URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        Some(Stamp::from_bytes(bytes))
    };
    texts.iter().map(read).collect()
}

pub(super) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// What the TTL attribute says for an expiry in epoch milliseconds.
pub(super) fn ttl_seconds(expires_ms: u64) -> u64 {
    expires_ms.div_ceil(1000)
}

/// What an item says beside its value and version: all that the item which replaces it has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) expires_ms: Option<u64>,
    /// The versions that it replaced, the newest first.
    pub(super) replaced: Vec<Stamp>,
}

impl Known {
    /// What the item knows that replaces the one with this version.
    pub(super) fn replacing(self, expected: Stamp, expires_ms: Option<u64>) -> Self {
        let mut replaced = vec![expected];
        replaced.extend(self.replaced);
        replaced.truncate(REMEMBERED);
        Self { expires_ms, replaced }
    }

    /// The version of the item that knows this: it comes back with a compare-and-set.
    pub(super) fn version(&self, stamp: Stamp) -> Version {
        let mut hint = Vec::with_capacity(8 + self.replaced.len() * Stamp::LEN);
        hint.extend(self.expires_ms.unwrap_or(u64::MAX).to_be_bytes());
        for stamp in &self.replaced {
            hint.extend(stamp.to_bytes());
        }
        Version::from(stamp).with_hint(hint)
    }

    /// What was known when this version was made; `None` where it has come by way of text, or from another store.
    pub(super) fn of(version: &Version) -> Option<Self> {
        let (expires, stamps) = version.hint()?.split_first_chunk()?;
        let expires = u64::from_be_bytes(*expires);
        let (stamps, []) = stamps.as_chunks() else {
            return None;
        };
        Some(Self {
            expires_ms: (expires != u64::MAX).then_some(expires),
            replaced: stamps.iter().copied().map(Stamp::from_bytes).collect(),
        })
    }

    /// The item of `key` that knows this.
    pub(super) fn item(&self, key: &Key, bytes: &Bytes, own: Stamp) -> Item {
        let mut item = Item::with_capacity(6);
        let mut set = |name: &str, value| drop(item.insert(name.to_owned(), value));
        set(PARTITION, AttributeValue::S(key.partition().to_owned()));
        set(ID, AttributeValue::S(key.id().to_owned()));
        set(VALUE, value(bytes));
        set(VERSION, stamps([own].iter().chain(&self.replaced)));
        if let Some(at) = self.expires_ms {
            set(EXPIRES_MS, number(at));
            set(TTL, number(ttl_seconds(at)));
        }
        item
    }
}

/// An item of ours, expired or not.
pub(super) struct Found {
    pub(super) stamp: Stamp,
    value: Bytes,
    known: Known,
}

impl Found {
    /// Reads the item of `key`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is damaged, of another format or not ours.
    pub(super) fn decode(key: &Key, mut item: Item) -> Result<Self> {
        let corrupt = |reason: &str| Error::Corrupt {
            what: format!("the item of `{key}`"),
            reason: reason.to_owned(),
            source: None,
        };
        let Some(versions) = item.remove(VERSION) else {
            return Err(corrupt(
                "it has no version `ver1`: it is not this store's, or a newer release has written it in another format",
            ));
        };
        let value = match item.remove(VALUE) {
            Some(AttributeValue::S(text)) => Bytes::from(text),
            Some(AttributeValue::B(blob)) => Bytes::from(blob.into_inner()),
            _ => return Err(corrupt("its value `v` is neither text nor binary")),
        };
        let stamps = |attribute: AttributeValue| attribute.as_s().ok().and_then(|text| read_stamps(text));
        let versions = stamps(versions).filter(|versions| !versions.is_empty());
        let mut versions = versions.ok_or_else(|| corrupt("its version `ver1` is not the text of any"))?;
        for before in BEFORE.into_iter().filter_map(|name| item.remove(name)) {
            let before = stamps(before);
            versions
                .extend(before.ok_or_else(|| corrupt("the versions it replaced are not the text of any"))?);
        }
        versions.truncate(1 + REMEMBERED);
        let stamp = versions.remove(0);
        let expires_ms = match item.remove(EXPIRES_MS) {
            None => None,
            Some(AttributeValue::N(number)) => match number.parse::<u64>() {
                Ok(ms) if ms <= expiry::MAX_MS => Some(ms),
                _ => return Err(corrupt("its expiry `x` is no time")),
            },
            Some(_) => return Err(corrupt("its expiry `x` is no number")),
        };
        Ok(Self {
            stamp,
            value,
            known: Known {
                expires_ms,
                replaced: versions,
            },
        })
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        expiry::is_live(self.known.expires_ms, now)
    }

    pub(super) fn stored(&self, now: u64) -> Stored<'_> {
        Stored {
            stamp: self.stamp,
            replaced: &self.known.replaced,
            live: self.is_live(now),
        }
    }

    /// The entry, if it has not expired at `now`.
    pub(super) fn into_entry(self, now: u64) -> Option<Entry> {
        self.is_live(now).then(|| {
            let mut entry = Entry::new(self.value, self.known.version(self.stamp));
            entry.expires_at = self.known.expires_ms.map(expiry::from_ms);
            entry
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key() -> Key {
        Key::new("p/1", "id").unwrap()
    }

    fn item(bytes: &'static [u8], expires_ms: Option<u64>) -> (Stamp, Item) {
        let own = Stamp::new(WriteId::new(), 7, &key());
        let mut item = key_item(&key());
        item.insert(VALUE.to_owned(), value(&Bytes::from_static(bytes)));
        item.insert(VERSION.to_owned(), stamp(own));
        item.insert("p0".to_owned(), stamp(Stamp::from_bytes([1; Stamp::LEN])));
        for name in &BEFORE[1..] {
            item.insert((*name).to_owned(), AttributeValue::S(String::new()));
        }
        if let Some(ms) = expires_ms {
            item.insert(EXPIRES_MS.to_owned(), number(ms));
            item.insert(TTL.to_owned(), number(ttl_seconds(ms)));
        }
        (own, item)
    }

    #[test]
    fn an_entry_comes_back_as_it_was_stored() {
        for bytes in [&b""[..], b"text", "ä\0\u{10ffff}".as_bytes(), b"\xff\xfe"] {
            let (own, item) = item(bytes, Some(1_500));
            let found = Found::decode(&key(), item).unwrap();
            assert_eq!(found.stored(0).replaced, [Stamp::from_bytes([1; Stamp::LEN])]);
            let entry = found.into_entry(1_499).unwrap();
            assert_eq!((&entry.value[..], entry.version), (bytes, own.into()));
            assert_eq!(
                entry.expires_at,
                Some(std::time::UNIX_EPOCH + Duration::from_millis(1_500))
            );
        }
    }

    #[test]
    fn a_version_brings_back_what_its_item_says() {
        for expires_ms in [None, Some(0), Some(expiry::MAX_MS)] {
            let (own, item) = item(b"text", expires_ms);
            let found = Found::decode(&key(), item).unwrap();
            let known = Known::of(&found.known.version(own)).unwrap();
            assert_eq!(known, found.known);
            // All of it is in the item that is written from it.
            let again = known.item(&key(), &Bytes::from_static(b"text"), own);
            assert_eq!(Found::decode(&key(), again).unwrap().known, known);
            let next = known.replacing(own, Some(7));
            assert_eq!((next.replaced[0], next.expires_ms), (own, Some(7)));
        }
        let many = Known {
            expires_ms: None,
            replaced: vec![Stamp::from_bytes([1; Stamp::LEN]); REMEMBERED],
        };
        assert_eq!(
            many.clone()
                .replacing(Stamp::from_bytes([2; Stamp::LEN]), None)
                .replaced
                .len(),
            REMEMBERED
        );
        let strange = [&b""[..], b"short", &[0; 9], &[0; 8 + Stamp::LEN + 1]];
        for hint in strange {
            assert_eq!(
                Known::of(&Version::from(Stamp::from_bytes([1; Stamp::LEN])).with_hint(hint)),
                None
            );
        }
        assert_eq!(Known::of(&Stamp::from_bytes([1; Stamp::LEN]).into()), None);
    }

    #[test]
    fn replaced_versions_move_up_whether_they_stand_alone_or_together() {
        let stamps: Vec<Stamp> = (0..6)
            .map(|_| Stamp::new(WriteId::new(), Stamp::new_nonce(), &key()))
            .collect();
        let text = |range: std::ops::Range<usize>| {
            let texts = stamps[range]
                .iter()
                .map(|stamp| Version::from(*stamp).to_string());
            AttributeValue::S(texts.collect())
        };
        let (_, mut item) = item(b"text", None);
        for (name, value) in BEFORE
            .into_iter()
            .zip([text(0..1), text(1..2), text(2..6), text(0..0)])
        {
            item.insert(name.to_owned(), value);
        }
        let found = Found::decode(&key(), item).unwrap();
        assert_eq!(found.known.replaced, stamps[..4]);
    }

    #[test]
    fn a_write_is_known_by_the_text_of_its_stamps() {
        let (id, other) = (WriteId::from_bytes([0xff; 16]), WriteId::from_bytes([0xfe; 16]));
        for nonce in [0, u64::MAX] {
            let [own, others] = [id, other].map(|id| stamp(Stamp::new(id, nonce, &key())));
            let prefix = written_by(id);
            assert!(own.as_s().unwrap().starts_with(prefix.as_s().unwrap()));
            assert!(!others.as_s().unwrap().contains(prefix.as_s().unwrap().as_str()));
        }
    }

    #[test]
    fn only_text_is_stored_as_text() {
        assert!(value(&Bytes::from_static(b"{\"a\":1}")).is_s());
        assert!(value(&Bytes::new()).is_s());
        assert!(value(&Bytes::from_static("line\r\n\tä".as_bytes())).is_s());
        assert!(value(&Bytes::from_static(b"\xc3\x28")).is_b());
        assert!(value(&Bytes::from_static(b"a\0b")).is_b());
    }

    #[test]
    fn an_expired_entry_is_none() {
        let (_, item) = item(b"x", Some(1_500));
        let found = Found::decode(&key(), item).unwrap();
        assert!(!found.stored(1_500).live);
        assert!(found.into_entry(1_500).is_none());
    }

    #[test]
    fn the_service_sweeps_after_the_expiry_and_never_before() {
        assert_eq!([1_000, 1_001, 1_999, 2_000].map(ttl_seconds), [1, 2, 2, 2]);
    }

    #[test]
    fn what_is_damaged_is_said_without_the_value() {
        type Damage = (&'static str, Option<AttributeValue>);
        let damages: [Damage; 9] = [
            (VALUE, None),
            (VALUE, Some(AttributeValue::N("31337".to_owned()))),
            (VERSION, None),
            (VERSION, Some(AttributeValue::B(Blob::new([0; 24])))),
            (VERSION, Some(AttributeValue::S(String::new()))),
            (VERSION, Some(AttributeValue::S("A".repeat(STAMP_LEN + 1)))),
            ("p0", Some(AttributeValue::S("hunter2".to_owned()))),
            (EXPIRES_MS, Some(AttributeValue::N("-1".to_owned()))),
            (EXPIRES_MS, Some(AttributeValue::S("1".to_owned()))),
        ];
        for (name, damage) in damages {
            let (_, mut item) = item(b"hunter2", None);
            item.remove(name);
            if let Some(damage) = damage {
                item.insert(name.to_owned(), damage);
            }
            let Err(error) = Found::decode(&key(), item) else {
                panic!("{name} was taken");
            };
            assert!(matches!(error, Error::Corrupt { .. }), "{name}: {error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("31337"), "{shown}");
        }
    }

    #[test]
    fn the_largest_item_fits_into_400_kb() {
        // Names and values of all attributes; a number takes at most half its digits and two bytes more.
        let names = [PARTITION, ID, VALUE, VERSION, EXPIRES_MS, TTL]
            .iter()
            .chain(&BEFORE)
            .map(|name| name.len())
            .sum::<usize>();
        // One in each text but the last, which has as many as a write puts there that knows what it replaces.
        let stamps = (BEFORE.len() + 1 + REMEMBERED) * STAMP_LEN;
        let numbers = 2 * (8 + 2);
        let overhead = names + stamps + numbers;
        assert!(overhead < OVERHEAD, "{overhead}");
        assert!(MAX_PARTITION + MAX_ID + MAX_VALUE + overhead <= 400 * 1024);
        const { assert!(MAX_VALUE >= statestore_api::Capabilities::PORTABLE_VALUE_BYTES) };
    }
}
