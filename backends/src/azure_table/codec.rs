//! Entry ↔ entity, as the JSON of the service. Pure: no request is made here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use statestore_api::backend::{Stamp, Stored, expiry};
use statestore_api::{Entry, Error, Key, Result, Version};

use super::key;
use super::version::{Tag, Token};
use crate::text;

pub(super) const PARTITION: &str = "PartitionKey";
pub(super) const ROW: &str = "RowKey";
/// When the entity was written: the service's. Its ETag is made of it.
pub(super) const TIMESTAMP: &str = "Timestamp";
const FORMAT: &str = "f";
const STAMP: &str = "w";
/// The version that was replaced; empty or not there: none that is remembered.
const REPLACED: &str = "p";
/// What the entry's version has in place of the entity's ETag, see [`Given`].
const GIVEN: &str = "e";
/// In epoch milliseconds; 0 or not there: never. A merge cannot remove a property.
pub(super) const EXPIRES_MS: &str = "x";
/// The value's parts are `v`, `v1`, `v2`, … as text, `b`, `b1`, `b2`, … as binary.
const TEXT: &str = "v";
const BINARY: &str = "b";

/// The format that this code writes, and the only one that it reads.
pub(super) const FORMAT_NUMBER: u64 = 1;

/// All but the value.
pub(super) const WITHOUT_VALUE: &str = "f,w,p,e,x";
/// What a listing of keys needs.
pub(super) const KEYS_AND_EXPIRY: &str = "PartitionKey,RowKey,x";

/// The largest value: an entity may have 1 MiB, names and keys included, and a property 64 KiB.
pub(super) const MAX_VALUE: usize = 960 * 1024;

/// The same on Azurite, which counts the JSON of an update, in which binary takes a third more.
pub(super) const MAX_VALUE_ON_AZURITE: usize = 720 * 1024;

/// A transaction's request may have 4 MiB. Text of quotes alone doubles in JSON, and each operation has up to 4 KiB beside its value.
pub(super) const MAX_TRANSACTION: usize = (4 * 1024 * 1024 - 100 * 4096) / 2;

/// UTF-16 takes two bytes even of ASCII: longer text is stored as binary.
const MAX_TEXT_UNITS: usize = MAX_VALUE / 2;
/// Longer text is stored as binary if it is not ASCII: nobody looks at it in the portal, and Azurite needs it [in ASCII](in_ascii).
const MAX_WIDE_TEXT: usize = 64 * 1024;
/// Somewhat less than the 32 Ki that a property may have.
const MAX_PART_UNITS: usize = 32_000;
const MAX_PART_BYTES: usize = 64 * 1024;

/// What stands in an entry's version for the entity's ETag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The ETag that it has.
    Own,
    /// The ETag that the entry was written with: since then only checks gave it another.
    Earlier(String),
    /// Nothing, as a transaction wrote it.
    Nothing,
}

impl Given {
    const NOTHING: &str = "-";

    fn text(&self) -> &str {
        match self {
            Self::Own => "",
            Self::Earlier(etag) => etag,
            Self::Nothing => Self::NOTHING,
        }
    }

    fn of(text: &str) -> Self {
        match text {
            "" => Self::Own,
            Self::NOTHING => Self::Nothing,
            etag => Self::Earlier(etag.to_owned()),
        }
    }
}

/// What is written of an entry.
#[derive(Clone, Debug)]
pub(super) struct Written<'a> {
    pub(super) key: &'a Key,
    pub(super) stamp: Stamp,
    pub(super) replaced: Option<&'a Version>,
    pub(super) given: Given,
    pub(super) expires_ms: Option<u64>,
}

impl Written<'_> {
    /// The whole entity, with this value.
    pub(super) fn entity(&self, value: &Bytes) -> Vec<u8> {
        let mut json = Json::new(self.key, value.len());
        json.number(FORMAT, FORMAT_NUMBER);
        json.text(STAMP, &Version::from(self.stamp).to_string());
        if let Some(replaced) = self.replaced {
            json.text(REPLACED, &replaced.to_string());
        }
        if self.given != Given::Own {
            json.text(GIVEN, self.given.text());
        }
        if let Some(ms) = self.expires_ms {
            json.int64(EXPIRES_MS, ms);
        }
        json.value(value);
        json.end()
    }

    /// What changes in an entity whose value stays.
    pub(super) fn changes(&self) -> Vec<u8> {
        let mut json = Json::new(self.key, 0);
        json.text(STAMP, &Version::from(self.stamp).to_string());
        json.text(
            REPLACED,
            &self.replaced.map(Version::to_string).unwrap_or_default(),
        );
        json.text(GIVEN, self.given.text());
        json.int64(EXPIRES_MS, self.expires_ms.unwrap_or(0));
        json.end()
    }
}

/// What a check changes in the entity of `key`: nothing but what its version is to have for the ETag, which changes with any write.
pub(super) fn check(key: &Key, given: &Given) -> Vec<u8> {
    let mut json = Json::new(key, 0);
    json.text(GIVEN, given.text());
    json.end()
}

/// An entity that has always been expired: it is nothing to every read and condition, until it is swept.
pub(super) fn tombstone(key: &Key, stamp: Stamp) -> Vec<u8> {
    let written = Written {
        key,
        stamp,
        replaced: None,
        given: Given::Nothing,
        expires_ms: Some(1),
    };
    written.entity(&Bytes::new())
}

/// An object of JSON that is being written.
struct Json(Vec<u8>);

impl Json {
    fn new(key: &Key, value: usize) -> Self {
        let mut json = Self(Vec::with_capacity(512 + value + value / 2));
        json.text(PARTITION, &key::encode(key.partition().as_bytes()));
        json.text(ROW, &key::encode(key.id().as_bytes()));
        json
    }

    /// Names are ASCII, without quotes.
    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.0.push(b'"');
        self.0.extend(name.as_bytes());
        self.0.extend(b"\":");
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        self.0.extend(number.to_string().as_bytes());
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        // A string is written into memory: there is nothing to fail.
        let _ = serde_json::to_writer(&mut self.0, text);
    }

    fn int64(&mut self, name: &str, number: u64) {
        self.text(name, &number.to_string());
        self.text(&format!("{name}@odata.type"), "Edm.Int64");
    }

    fn value(&mut self, value: &Bytes) {
        if let Some(text) = as_text(value) {
            for (place, part) in text_parts(text).enumerate() {
                self.text(&part_name(TEXT, place), part);
            }
            return;
        }
        for (place, part) in value.chunks(MAX_PART_BYTES).enumerate() {
            let name = part_name(BINARY, place);
            self.text(&name, &STANDARD.encode(part));
            self.text(&format!("{name}@odata.type"), "Edm.Binary");
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

fn part_name(kind: &str, place: usize) -> String {
    match place {
        0 => kind.to_owned(),
        place => format!("{kind}{place}"),
    }
}

/// The text that a value is, if it is text to look at and fits as such.
fn as_text(value: &[u8]) -> Option<&str> {
    let text = text::shown(value)?;
    let hidden = |c| {
        matches!(
            c,
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}'
        )
    };
    let fits = if text.is_ascii() {
        text.len() <= MAX_TEXT_UNITS && !value.contains(&0x7f)
    } else {
        text.len() <= MAX_WIDE_TEXT && !text.contains(hidden)
    };
    fits.then_some(text)
}

/// The same JSON in ASCII. Azurite puts the body of a request together from its packets as text, and so breaks a character that
/// lies over two of them.
pub(super) fn in_ascii(json: Vec<u8>) -> Vec<u8> {
    let text = match std::str::from_utf8(&json) {
        Ok(text) if !text.is_ascii() => text,
        _ => return json,
    };
    let mut ascii = Vec::with_capacity(2 * json.len());
    for c in text.chars() {
        if c.is_ascii() {
            ascii.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.extend(format!("\\u{unit:04x}").as_bytes());
            }
        }
    }
    ascii
}

/// `text` in parts that fit into a property each; one empty part of none.
fn text_parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let mut units = 0;
        let end = if text.is_ascii() {
            (text.len() > MAX_PART_UNITS).then_some(MAX_PART_UNITS)
        } else {
            text.char_indices().find_map(|(place, c)| {
                units += c.len_utf16();
                (units > MAX_PART_UNITS).then_some(place)
            })
        };
        let (part, tail) = text.split_at(end.unwrap_or(text.len()));
        rest = end.map(|_| tail);
        Some(part)
    })
}

/// An entity of ours, expired or not.
#[derive(Clone)]
pub(super) struct Found {
    /// What the service matches.
    pub(super) etag: String,
    pub(super) version: Version,
    pub(super) given: Given,
    stamp: Stamp,
    replaced: Vec<(Stamp, Version)>,
    replaced_stamps: Vec<Stamp>,
    pub(super) expires_ms: Option<u64>,
    value: Bytes,
}

impl Found {
    /// Reads the entity of `key`, which the service says has this ETag.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is damaged, of another format or not ours.
    pub(super) fn decode(key: &Key, etag: &str, mut entity: Map<String, Value>) -> Result<Self> {
        let value = value_of(key, &mut entity)?;
        Self::decode_with(key, etag, &entity, value)
    }

    /// [`decode`](Self::decode), of an entity that was asked for [without its value](WITHOUT_VALUE).
    ///
    /// # Errors
    /// As there.
    pub(super) fn decode_without_value(key: &Key, etag: &str, entity: &Map<String, Value>) -> Result<Self> {
        Self::decode_with(key, etag, entity, Bytes::new())
    }

    fn decode_with(key: &Key, etag: &str, entity: &Map<String, Value>, value: Bytes) -> Result<Self> {
        let corrupt = |reason: &str| corrupt(key, reason);
        match entity.get(FORMAT).map(Value::as_u64) {
            Some(Some(FORMAT_NUMBER)) => {}
            Some(Some(_)) => {
                return Err(corrupt(
                    "its format `f` is not 1: a newer release may have written it",
                ));
            }
            _ => return Err(corrupt("it has no format `f`, so it is not this store's")),
        }
        let stamp = text_of(entity, STAMP)
            .and_then(|text| text.parse::<Version>().ok()?.stamp().ok())
            .ok_or_else(|| corrupt("its write `w` is not that of a write of this store's"))?;
        let mut replaced = Vec::new();
        if let Some(text) = text_of(entity, REPLACED).filter(|text| !text.is_empty()) {
            let version: Option<Version> = text.parse().ok();
            let known = version.and_then(|version| Some((Token::of(&version).ok()?.stamp, version)));
            replaced.push(
                known.ok_or_else(|| corrupt("the version that it replaced, `p`, is none of this store's"))?,
            );
        }
        let expires_ms = expiry_of(entity).ok_or_else(|| corrupt("its expiry `x` is no time"))?;
        let given = Given::of(text_of(entity, GIVEN).unwrap_or_default());
        let tag = match &given {
            Given::Own => Some(etag),
            Given::Earlier(earlier) => Some(earlier.as_str()),
            Given::Nothing => None,
        };
        let tag = tag.map_or(Tag::Transaction, |etag| Tag::Of {
            etag: etag.to_owned(),
            expires_ms,
        });
        Ok(Self {
            etag: etag.to_owned(),
            version: Token::new(key, stamp, tag).version()?,
            given,
            stamp,
            replaced_stamps: replaced.iter().map(|(stamp, _)| *stamp).collect(),
            replaced,
            expires_ms,
            value,
        })
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        expiry::is_live(self.expires_ms, now)
    }

    pub(super) fn stored(&self, now: u64) -> Stored<'_> {
        Stored {
            stamp: self.stamp,
            replaced: &self.replaced_stamps,
            live: self.is_live(now),
        }
    }

    /// The version of a stamp that is in [`stored`](Self::stored).
    pub(super) fn version_of(&self, stamp: Stamp) -> &Version {
        let replaced = self.replaced.iter().find(|(known, _)| *known == stamp);
        replaced.map_or(&self.version, |(_, version)| version)
    }

    /// What a check that finds this writes of its ETag.
    pub(super) fn given_by_check(&self) -> Given {
        match &self.given {
            Given::Own => Given::Earlier(self.etag.clone()),
            given => given.clone(),
        }
    }

    /// The entry, if it has not expired at `now`.
    pub(super) fn into_entry(self, now: u64) -> Option<Entry> {
        self.is_live(now).then(|| {
            let mut entry = Entry::new(self.value, self.version);
            entry.expires_at = self.expires_ms.map(expiry::from_ms);
            entry
        })
    }
}

/// The expiry of an entity: `None` when it is no time, `Some(None)` when there is none.
pub(super) fn expiry_of(entity: &Map<String, Value>) -> Option<Option<u64>> {
    let ms = match entity.get(EXPIRES_MS) {
        None | Some(Value::Null) => 0,
        Some(Value::String(text)) => text.parse().ok()?,
        Some(number) => number.as_u64()?,
    };
    (ms <= expiry::MAX_MS).then_some((ms != 0).then_some(ms))
}

pub(super) fn text_of<'a>(entity: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    entity.get(name).and_then(Value::as_str)
}

fn value_of(key: &Key, entity: &mut Map<String, Value>) -> Result<Bytes> {
    let damaged = || corrupt(key, "its value, `v` or `b`, is neither text nor binary");
    let mut take = |kind: &str, place| match entity.remove(&part_name(kind, place)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(damaged()),
    };
    if let Some(mut text) = take(TEXT, 0)? {
        let mut place = 1;
        while let Some(part) = take(TEXT, place)? {
            text.push_str(&part);
            place += 1;
        }
        return Ok(text.into());
    }
    let (mut bytes, mut place) = (Vec::new(), 0);
    while let Some(part) = take(BINARY, place)? {
        STANDARD.decode_vec(part, &mut bytes).map_err(|_| damaged())?;
        place += 1;
    }
    if place == 0 {
        return Err(damaged());
    }
    Ok(bytes.into())
}

fn corrupt(key: &Key, reason: &str) -> Error {
    Error::Corrupt {
        what: format!("the entity of `{key}`"),
        reason: reason.to_owned(),
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use statestore_api::WriteId;

    use super::*;

    const ETAG: &str = "W/\"datetime'2026-11-24T23%3A24%3A07.0123456Z'\"";

    fn key() -> Key {
        Key::new("p/1", "id").unwrap()
    }

    fn written(key: &Key, expires_ms: Option<u64>) -> Written<'_> {
        Written {
            key,
            stamp: Stamp::new(WriteId::new(), 7, key),
            replaced: None,
            given: Given::Own,
            expires_ms,
        }
    }

    fn parsed(json: &[u8]) -> Map<String, Value> {
        serde_json::from_slice(json).unwrap()
    }

    fn entity(value: &[u8]) -> Map<String, Value> {
        parsed(&written(&key(), Some(1_500)).entity(&Bytes::copy_from_slice(value)))
    }

    #[test]
    fn an_entry_comes_back_as_it_was_stored() {
        let long_text = "aé\u{10000}\"".repeat(20_000);
        let binary: Vec<u8> = (0..200_000)
            .map(|place: u32| place.to_be_bytes()[3] ^ place.to_be_bytes()[2])
            .collect();
        for value in [
            &b""[..],
            b"text",
            "ä\0\u{10ffff}".as_bytes(),
            b"\xff\xfe",
            long_text.as_bytes(),
            &binary,
        ] {
            let found = Found::decode(&key(), ETAG, entity(value)).unwrap();
            let (version, etag) = (found.version.clone(), found.etag.clone());
            let entry = found.into_entry(1_499).unwrap();
            assert_eq!(
                (&entry.value[..], &entry.version, etag.as_str()),
                (value, &version, ETAG)
            );
            assert_eq!(entry.expires_at, Some(expiry::from_ms(1_500)));
            assert!(Token::of(&version).unwrap().is_of(&key()));
        }
    }

    #[test]
    fn no_property_is_larger_than_the_service_takes() {
        let largest = vec![0xff; MAX_VALUE];
        let text = "é\u{10000}\u{4e2d}a".repeat(MAX_WIDE_TEXT / 10);
        let ascii = "x".repeat(MAX_VALUE);
        for value in [&largest[..], text.as_bytes(), ascii.as_bytes()] {
            let entity = entity(value);
            let mut size = 0;
            for (name, property) in &entity {
                let text = property.as_str().unwrap_or_default();
                let bytes = match entity.get(&format!("{name}@odata.type")).and_then(Value::as_str) {
                    Some("Edm.Binary") => STANDARD.decode(text).unwrap().len(),
                    Some(_) => 8,
                    None => 2 * text.encode_utf16().count(),
                };
                assert!(bytes <= 64 * 1024, "{name} has {bytes} bytes");
                if !name.contains('@') {
                    size += bytes + 2 * name.len();
                }
            }
            assert!(size <= 1024 * 1024 - 8 * 1024, "the entity has {size} bytes");
            assert!(entity.len() < 252);
        }
        const { assert!(MAX_VALUE_ON_AZURITE >= statestore_api::Capabilities::PORTABLE_VALUE_BYTES) };
    }

    #[test]
    fn text_is_stored_as_text_and_nothing_else_is() {
        for text in ["{\"a\":1}", "", "line\r\n\tä"] {
            assert_eq!(text_of(&entity(text.as_bytes()), TEXT), Some(text));
        }
        for value in [
            &b"\xc3\x28"[..],
            b"a\0b",
            "a\u{85}".as_bytes(),
            "a\u{2028}".as_bytes(),
            "\u{ffff}".as_bytes(),
        ] {
            assert!(text_of(&entity(value), TEXT).is_none() && text_of(&entity(value), BINARY).is_some());
        }
    }

    #[test]
    fn json_in_ascii_says_the_same() {
        for value in ["plain \"quoted\"", "aé\u{4e2d}\u{10ffff}\n"] {
            let json = written(&key(), None).entity(&Bytes::from_static(value.as_bytes()));
            let ascii = in_ascii(json.clone());
            assert!(ascii.is_ascii());
            assert_eq!(parsed(&ascii), parsed(&json));
        }
    }

    #[test]
    fn a_touch_changes_all_but_the_value() {
        let mut entity = entity(b"kept");
        let key = key();
        let mut touch = written(&key, None);
        let replaced = Found::decode(&key, ETAG, entity.clone()).unwrap().version;
        touch.replaced = Some(&replaced);
        entity.extend(parsed(&touch.changes()));
        let found = Found::decode(&key, "W/\"2\"", entity).unwrap();
        assert_eq!(found.stored(0).stamp, touch.stamp);
        assert_eq!(found.version_of(found.stored(0).replaced[0]), &replaced);
        let entry = found.into_entry(u64::MAX).unwrap();
        assert_eq!((&entry.value[..], entry.expires_at), (&b"kept"[..], None));
    }

    #[test]
    fn a_check_changes_the_etag_and_not_the_version() {
        let key = key();
        let mut entity = entity(b"kept");
        let before = Found::decode(&key, ETAG, entity.clone()).unwrap();
        let mut given = before.given_by_check();
        for etag in ["W/\"2\"", "W/\"3\""] {
            entity.extend(parsed(&check(&key, &given)));
            let after = Found::decode(&key, etag, entity.clone()).unwrap();
            assert_eq!((&after.version, after.etag.as_str()), (&before.version, etag));
            given = after.given_by_check();
        }
    }

    #[test]
    fn a_tombstone_is_never_there() {
        let stamp = Stamp::from_bytes([3; Stamp::LEN]);
        let found = Found::decode(&key(), ETAG, parsed(&tombstone(&key(), stamp))).unwrap();
        assert_eq!(found.stored(u64::MAX).stamp, stamp);
        assert!(found.into_entry(1).is_none());
    }

    #[test]
    fn what_is_damaged_is_said_without_the_value() {
        let damages = [
            (FORMAT, None),
            (FORMAT, Some(Value::from(2))),
            (FORMAT, Some(Value::from("1"))),
            (TEXT, None),
            (TEXT, Some(Value::from(31_337))),
            (STAMP, None),
            (STAMP, Some(Value::from("hunter2"))),
            (REPLACED, Some(Value::from("hunter2"))),
            (EXPIRES_MS, Some(Value::from("-1"))),
            (EXPIRES_MS, Some(Value::from(u64::MAX))),
        ];
        for (name, damage) in damages {
            let mut entity = entity(b"hunter2");
            entity.remove(name);
            if let Some(damage) = damage {
                entity.insert(name.to_owned(), damage);
            }
            let Err(error) = Found::decode(&key(), ETAG, entity) else {
                panic!("{name} was taken");
            };
            assert!(matches!(error, Error::Corrupt { .. }), "{name}: {error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("31337"), "{shown}");
        }
    }
}
