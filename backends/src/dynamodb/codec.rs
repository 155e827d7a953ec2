//! Key and entry ↔ item. Pure: no request is made here.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use statestore_api::backend::{Stamp, Stored, expiry};
use statestore_api::{Entry, Error, Key, Result};

pub(super) const PARTITION: &str = "pk";
pub(super) const ID: &str = "sk";
pub(super) const VALUE: &str = "v";
pub(super) const VERSION: &str = "ver";
/// The versions that were replaced, the newest first.
pub(super) const REPLACED: [&str; 4] = ["p0", "p1", "p2", "p3"];
pub(super) const EXPIRES_MS: &str = "x";
/// What the table's own TTL looks at: whole seconds, rounded up, so that it never fires early.
pub(super) const TTL: &str = "ttl";
pub(super) const FORMAT: &str = "f";
/// The format that this code writes, and the only one that it reads.
pub(super) const FORMAT_NUMBER: &str = "1";

/// The longest partition and id that DynamoDB takes, in bytes.
pub(super) const MAX_PARTITION: usize = 2048;
pub(super) const MAX_ID: usize = 1024;

/// DynamoDB takes 400 KB an item, names included. The longest key has 3,072 bytes, the other attributes less than 256.
pub(super) const MAX_VALUE: usize = 396 * 1024;

/// DynamoDB takes 4 MB a transaction. Room is left for each operation's attributes beside its key and value.
pub(super) const MAX_TRANSACTION: usize = 4 * 1024 * 1024 - 100 * 256;

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
    let shows = |byte: &u8| *byte >= b' ' || b"\t\n\r".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(shows) => AttributeValue::S(text.to_owned()),
        _ => AttributeValue::B(Blob::new(bytes.to_vec())),
    }
}

pub(super) fn stamp(stamp: Stamp) -> AttributeValue {
    AttributeValue::B(Blob::new(stamp.to_bytes()))
}

pub(super) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// What the TTL attribute says for an expiry in epoch milliseconds.
pub(super) fn ttl_seconds(expires_ms: u64) -> u64 {
    expires_ms.div_ceil(1000)
}

/// An item of ours, expired or not.
pub(super) struct Found {
    pub(super) stamp: Stamp,
    replaced: Vec<Stamp>,
    value: Bytes,
    expires_ms: Option<u64>,
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
        match item.remove(FORMAT) {
            Some(AttributeValue::N(format)) if format == FORMAT_NUMBER => {}
            Some(AttributeValue::N(_)) => {
                return Err(corrupt(
                    "its format `f` is not 1: a newer release may have written it",
                ));
            }
            _ => return Err(corrupt("it has no format `f`, so it is not this store's")),
        }
        let value = match item.remove(VALUE) {
            Some(AttributeValue::S(text)) => Bytes::from(text),
            Some(AttributeValue::B(blob)) => Bytes::from(blob.into_inner()),
            _ => return Err(corrupt("its value `v` is neither text nor binary")),
        };
        let read_stamp = |attribute: Option<AttributeValue>| match attribute {
            Some(AttributeValue::B(blob)) => <[u8; Stamp::LEN]>::try_from(blob.as_ref())
                .ok()
                .map(Stamp::from_bytes),
            _ => None,
        };
        let stamp = read_stamp(item.remove(VERSION))
            .ok_or_else(|| corrupt("its version `ver` is not 24 bytes of binary"))?;
        let mut replaced = Vec::new();
        for name in REPLACED {
            match item.remove(name) {
                None => break,
                Some(AttributeValue::B(blob)) if blob.as_ref().is_empty() => break,
                other => replaced.push(
                    read_stamp(other)
                        .ok_or_else(|| corrupt("a version it replaced is not 24 bytes of binary"))?,
                ),
            }
        }
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
            replaced,
            value,
            expires_ms,
        })
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        expiry::is_live(self.expires_ms, now)
    }

    pub(super) fn stored(&self, now: u64) -> Stored<'_> {
        Stored {
            stamp: self.stamp,
            replaced: &self.replaced,
            live: self.is_live(now),
        }
    }

    /// The entry, if it has not expired at `now`.
    pub(super) fn into_entry(self, now: u64) -> Option<Entry> {
        self.is_live(now).then(|| {
            let mut entry = Entry::new(self.value, self.stamp.into());
            entry.expires_at = self.expires_ms.map(expiry::from_ms);
            entry
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use statestore_api::WriteId;

    use super::*;

    fn key() -> Key {
        Key::new("p/1", "id").unwrap()
    }

    fn item(bytes: &'static [u8], expires_ms: Option<u64>) -> (Stamp, Item) {
        let own = Stamp::new(WriteId::new(), 7, &key());
        let mut item = key_item(&key());
        item.insert(FORMAT.to_owned(), AttributeValue::N(FORMAT_NUMBER.to_owned()));
        item.insert(VALUE.to_owned(), value(&Bytes::from_static(bytes)));
        item.insert(VERSION.to_owned(), stamp(own));
        item.insert("p0".to_owned(), stamp(Stamp::from_bytes([1; Stamp::LEN])));
        for name in &REPLACED[1..] {
            item.insert((*name).to_owned(), AttributeValue::B(Blob::new(Vec::new())));
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
        let damages: [Damage; 10] = [
            (FORMAT, None),
            (FORMAT, Some(AttributeValue::N("2".to_owned()))),
            (FORMAT, Some(AttributeValue::S("1".to_owned()))),
            (VALUE, None),
            (VALUE, Some(AttributeValue::N("31337".to_owned()))),
            (VERSION, None),
            (VERSION, Some(AttributeValue::B(Blob::new([0; 23])))),
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
        let names = [PARTITION, ID, VALUE, VERSION, EXPIRES_MS, TTL, FORMAT]
            .iter()
            .chain(&REPLACED)
            .map(|name| name.len())
            .sum::<usize>();
        let stamps = (1 + REPLACED.len()) * Stamp::LEN;
        let numbers = 3 * (8 + 2);
        let overhead = names + stamps + numbers;
        assert!(overhead < 256, "{overhead}");
        assert!(MAX_PARTITION + MAX_ID + MAX_VALUE + overhead <= 400 * 1024);
        const { assert!(MAX_VALUE >= statestore_api::Capabilities::PORTABLE_VALUE_BYTES) };
    }
}
