//! Key, entry and version ↔ document. Pure: no request is made here.

use std::collections::HashMap;
use std::fmt;
use std::slice;

use bytes::Bytes;
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{Document, Value};
use firestore::gcloud_sdk::prost_types::Timestamp;
use statestore_api::backend::{Stamp, Stored, expiry, stable_hash};
use statestore_api::{Entry, Error, Key, Precondition, Result, Version};

use crate::text;

pub(super) const VALUE: &str = "v";
/// A byte that says the format, the write, and the one that it replaced where that is known. No condition looks into it, and a
/// field less is less to write, for us and for Firestore.
pub(super) const WRITE: &str = "w";
pub(super) const EXPIRES: &str = "x";

/// Every field.
pub(super) const FIELDS: [&str; 3] = [VALUE, WRITE, EXPIRES];

/// All but the value.
pub(super) const WITHOUT_VALUE: [&str; 2] = [WRITE, EXPIRES];

/// The format that this code writes, and the only one that it reads.
const FORMAT: u8 = 1;

/// Firestore takes 1 MiB a document, with its name and the names and values of its fields. The longest name has less than
/// 5 KiB, the other fields less than 256 bytes.
pub(super) const MAX_VALUE: usize = 1024 * 1024 - 6 * 1024;

/// What Firestore's documentation once gave as the most writes in one commit.
pub(super) const MAX_OPS: usize = 500;

/// Firestore takes 10 MiB a request, in which each write has up to 2 KiB beside its key and value.
pub(super) const MAX_TRANSACTION: usize = 10 * 1024 * 1024 - MAX_OPS * 2 * 1024;

/// How long `w` is where it tells of its write alone, and where it also tells of the one that was replaced.
const ALONE: usize = 1 + Written::LEN;
const OVER_ANOTHER: usize = ALONE + Identity::LEN;

/// How many writes that it replaced an entry remembers.
pub(super) const REMEMBERED: usize = 1;

type Fields = HashMap<String, Value>;

/// When Firestore says a document was written, in epoch nanoseconds: what a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UpdateTime(u64);

impl UpdateTime {
    /// `None` for a time that is no service's.
    pub(super) fn new(time: Timestamp) -> Option<Self> {
        let seconds = u64::try_from(time.seconds).ok()?.checked_mul(1_000_000_000)?;
        seconds.checked_add(u64::try_from(time.nanos).ok()?).map(Self)
    }

    pub(super) fn timestamp(self) -> Timestamp {
        timestamp(self.0, 1_000_000_000)
    }
}

/// The time that is `count` parts of a second after the epoch, `second` to the second.
fn timestamp(count: u64, second: u64) -> Timestamp {
    let nanos = count % second * (1_000_000_000 / second);
    Timestamp {
        seconds: i64::try_from(count / second).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// A write as its document tells of it, but for the time at which Firestore applied it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) stamp: Stamp,
    /// The writer's clock, in epoch milliseconds: from it a TTL was counted.
    pub(super) at: u64,
}

impl Written {
    const LEN: usize = Stamp::LEN + 8;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (stamp, at) = bytes.split_at_mut(Stamp::LEN);
        stamp.copy_from_slice(&self.stamp.to_bytes());
        at.copy_from_slice(&self.at.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (stamp, at) = bytes.split_first_chunk()?;
        Some(Self {
            stamp: Stamp::from_bytes(*stamp),
            at: u64::from_be_bytes(at.try_into().ok()?),
        })
    }
}

/// All that is known of one write to one key: what a version is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) update_time: UpdateTime,
    pub(super) written: Written,
    /// When the entry that it left expires, in epoch milliseconds.
    pub(super) expires_ms: Option<u64>,
}

impl Identity {
    const LEN: usize = 8 + Written::LEN + 8;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (update_time, rest) = bytes.split_at_mut(8);
        let (written, expires) = rest.split_at_mut(Written::LEN);
        update_time.copy_from_slice(&self.update_time.0.to_be_bytes());
        written.copy_from_slice(&self.written.to_bytes());
        expires.copy_from_slice(&self.expires_ms.unwrap_or(0).to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (update_time, rest) = bytes.split_first_chunk()?;
        let (rest, expires) = rest.split_last_chunk()?;
        let expires = u64::from_be_bytes(*expires);
        Some(Self {
            update_time: UpdateTime(u64::from_be_bytes(*update_time)),
            written: Written::from_bytes(rest)?,
            expires_ms: (expires != 0).then_some(expires),
        })
    }

    /// The version of this write to `key`.
    ///
    /// The expiry is in it, so that a condition on a version which has expired fails although Firestore could not tell; and a
    /// hash of the key, since all documents of a commit have the same update time.
    pub(super) fn version(self, key: &Key) -> Result<Version> {
        let mut bytes = [0; Self::LEN + 8];
        let (identity, of_key) = bytes.split_at_mut(Self::LEN);
        identity.copy_from_slice(&self.to_bytes());
        of_key.copy_from_slice(&hash(key).to_be_bytes());
        Version::from_bytes(&bytes)
    }

    /// The entry that this write to `key` left.
    ///
    /// # Errors
    /// None that can happen: a version of ours is one.
    #[inline]
    fn entry(self, key: &Key, value: Bytes) -> Result<Entry> {
        let mut entry = Entry::new(value, self.version(key)?);
        entry.expires_at = self.expires_ms.map(expiry::from_ms);
        Ok(entry)
    }
}

fn hash(key: &Key) -> u64 {
    stable_hash([key.partition().as_bytes(), key.id().as_bytes()])
}

/// A version as it was handed in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) identity: Identity,
    hash: u64,
}

impl Token {
    /// # Errors
    /// [`Error::InvalidVersion`] when it is no version of this store.
    pub(super) fn read(version: &Version) -> Result<Self> {
        let read = || {
            let bytes = version.bytes().ok()?;
            let (identity, hash) = bytes.split_last_chunk()?;
            Some(Self {
                identity: Identity::from_bytes(identity)?,
                hash: u64::from_be_bytes(*hash),
            })
        };
        read().ok_or_else(|| Error::InvalidVersion {
            version: version.to_string(),
        })
    }

    /// Whether an entry of `key` with this version may be there at `now`: it is of this key and has not expired.
    pub(super) fn may_match(&self, key: &Key, now: u64) -> bool {
        self.hash == hash(key) && expiry::is_live(self.identity.expires_ms, now)
    }
}

/// The precondition with the stamp in place of the whole version, for those who judge by stamps.
///
/// # Errors
/// Those of [`Token::read`].
pub(super) fn by_stamp(precondition: &Precondition) -> Result<Precondition> {
    Ok(match precondition {
        Precondition::Matches(version) => {
            Precondition::Matches(Token::read(version)?.identity.written.stamp.into())
        }
        other => other.clone(),
    })
}

/// The fields of an entry, all or those that a touch changes.
pub(super) fn fields(
    new_value: Option<&Bytes>,
    by: Written,
    replaced: Option<Identity>,
    expires_ms: Option<u64>,
) -> Fields {
    let mut fields = HashMap::with_capacity(FIELDS.len());
    let mut set = |name: &str, value| {
        let value = Value {
            value_type: Some(value),
        };
        fields.insert(name.to_owned(), value);
    };
    let mut bytes = Vec::with_capacity(OVER_ANOTHER);
    bytes.push(FORMAT);
    bytes.extend(by.to_bytes());
    if let Some(replaced) = replaced {
        bytes.extend(replaced.to_bytes());
    }
    set(WRITE, ValueType::BytesValue(bytes));
    if let Some(ms) = expires_ms {
        set(EXPIRES, ValueType::TimestampValue(timestamp(ms, 1_000)));
    }
    if let Some(bytes) = new_value {
        set(VALUE, value(bytes));
    }
    fields
}

/// A value: as text if it is that, so that the console shows JSON as JSON.
fn value(bytes: &Bytes) -> ValueType {
    match text::shown(bytes) {
        Some(text) => ValueType::StringValue(text.to_owned()),
        None => ValueType::BytesValue(bytes.to_vec()),
    }
}

/// The size of a document's value in bytes, as far as it came.
pub(super) fn value_len(document: &Document) -> usize {
    let value = document
        .fields
        .get(VALUE)
        .and_then(|value| value.value_type.as_ref());
    match value {
        Some(ValueType::StringValue(text)) => text.len(),
        Some(ValueType::BytesValue(bytes)) => bytes.len(),
        _ => 0,
    }
}

/// Whether the document of an entry, of which only `x` need be there, has not expired at `now`.
///
/// # Errors
/// [`Error::Corrupt`] when its expiry is no time.
pub(super) fn is_live(key: &Key, document: &Document, now: u64) -> Result<bool> {
    let expires = read_expiry(document.fields.get(EXPIRES)).map_err(|reason| corrupt(key, reason))?;
    Ok(expiry::is_live(expires, now))
}

fn read_expiry(field: Option<&Value>) -> Result<Option<u64>, &'static str> {
    let Some(value) = field else { return Ok(None) };
    let Some(ValueType::TimestampValue(time)) = &value.value_type else {
        return Err("its expiry `x` is no timestamp");
    };
    let ms = || {
        let whole = time.nanos % 1_000_000 == 0;
        let (seconds, part) = (
            u64::try_from(time.seconds).ok()?,
            u64::try_from(time.nanos).ok()? / 1_000_000,
        );
        let ms = seconds.checked_mul(1_000)?.checked_add(part)?;
        (whole && ms <= expiry::MAX_MS).then_some(ms)
    };
    match ms() {
        Some(ms) => Ok(Some(ms)),
        None => Err("its expiry `x` is no time in milliseconds"),
    }
}

fn corrupt(key: &Key, reason: &str) -> Error {
    Error::Corrupt {
        what: format!("the document of `{key}`"),
        reason: reason.to_owned(),
        source: None,
    }
}

/// The fields of a document of ours.
struct Read {
    identity: Identity,
    /// All of `w`.
    write: Vec<u8>,
    value: Option<ValueType>,
}

impl Read {
    /// # Errors
    /// What is wrong with it.
    #[inline]
    fn of(document: Document) -> Result<Self, &'static str> {
        let update_time = document.update_time.and_then(UpdateTime::new);
        let update_time = update_time.ok_or("it came without its update time")?;
        let (mut value, mut write, mut expires) = (None, None, None);
        for (name, field) in document.fields {
            match name.as_str() {
                VALUE => value = field.value_type,
                WRITE => write = field.value_type,
                EXPIRES => expires = Some(field),
                _ => {}
            }
        }
        let expires_ms = read_expiry(expires.as_ref())?;
        let Some(ValueType::BytesValue(write)) = write else {
            return Err("it has no bytes `w`, so it is not this store's");
        };
        if write.first() != Some(&FORMAT) {
            return Err("the format in `w` is not 1: a newer release may have written it");
        }
        let written = match write.len() {
            ALONE | OVER_ANOTHER => Written::from_bytes(&write[1..ALONE]),
            _ => None,
        };
        Ok(Self {
            identity: Identity {
                update_time,
                written: written.ok_or("what wrote it, `w`, is not 33 or 81 bytes")?,
                expires_ms,
            },
            write,
            value,
        })
    }

    /// The write that it replaced.
    fn replaced(&self) -> Option<Identity> {
        Identity::from_bytes(&self.write[ALONE..])
    }
}

/// What is in `v`.
fn bytes_of(value: Option<ValueType>) -> Result<Bytes, &'static str> {
    match value {
        Some(ValueType::StringValue(text)) => Ok(text.into()),
        Some(ValueType::BytesValue(bytes)) => Ok(bytes.into()),
        _ => Err("its value `v` is neither text nor bytes"),
    }
}

/// The entry of `key` in its document, if it has not expired when `now` is asked.
///
/// # Errors
/// Those of [`Found::decode`].
#[inline]
pub(super) fn entry(key: &Key, document: Document, now: impl Fn() -> u64) -> Result<Option<Entry>> {
    let read = Read::of(document).map_err(|reason| corrupt(key, reason))?;
    let expires = read.identity.expires_ms;
    if expires.is_some() && !expiry::is_live(expires, now()) {
        return Ok(None);
    }
    let value = bytes_of(read.value).map_err(|reason| corrupt(key, reason))?;
    read.identity.entry(key, value).map(Some)
}

/// A document of ours, expired or not.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) identity: Identity,
    replaced: Option<Identity>,
    /// `None` when it was not asked for.
    value: Option<Bytes>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Found {
    /// Reads the document of `key`, with its value or without.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is damaged, of another format or not ours.
    pub(super) fn decode(key: &Key, document: Document, with_value: bool) -> Result<Self> {
        let corrupt = |reason: &str| corrupt(key, reason);
        let read = Read::of(document).map_err(corrupt)?;
        Ok(Self {
            identity: read.identity,
            replaced: read.replaced(),
            value: match with_value {
                true => Some(bytes_of(read.value).map_err(corrupt)?),
                false => None,
            },
        })
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        expiry::is_live(self.identity.expires_ms, now)
    }

    pub(super) fn stored(&self, now: u64) -> Stored<'_> {
        Stored {
            stamp: self.identity.written.stamp,
            replaced: match &self.replaced {
                Some(replaced) => slice::from_ref(&replaced.written.stamp),
                None => &[],
            },
            live: self.is_live(now),
        }
    }

    /// The write of this stamp, if it is the one that is there or the one that it replaced.
    pub(super) fn write_of(&self, stamp: Stamp) -> Option<Identity> {
        [Some(self.identity), self.replaced]
            .into_iter()
            .flatten()
            .find(|identity| identity.written.stamp == stamp)
    }

    /// The entry, if it has not expired at `now`, and its value was asked for.
    ///
    /// # Errors
    /// None that can happen: a version of ours is one.
    pub(super) fn into_entry(self, key: &Key, now: u64) -> Result<Option<Entry>> {
        let is_live = self.is_live(now);
        match self.value {
            Some(value) if is_live => self.identity.entry(key, value).map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use statestore_api::WriteId;

    use super::*;

    fn key() -> Key {
        Key::new("p/1", "id").unwrap()
    }

    fn identity(expires_ms: Option<u64>) -> Identity {
        Identity {
            update_time: UpdateTime(1_700_000_000_123_456_000),
            written: Written {
                stamp: Stamp::new(WriteId::new(), Stamp::new_nonce(), &key()),
                at: 1_000,
            },
            expires_ms,
        }
    }

    /// The document that `identity` left, over `replaced`.
    fn document(bytes: &'static [u8], identity: Identity, replaced: Option<Identity>) -> Document {
        Document {
            fields: fields(
                Some(&Bytes::from_static(bytes)),
                identity.written,
                replaced,
                identity.expires_ms,
            ),
            update_time: Some(identity.update_time.timestamp()),
            ..Default::default()
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was_stored() {
        for bytes in [&b""[..], b"text", "ä\0\u{10ffff}".as_bytes(), b"\xff\xfe"] {
            let (own, old) = (identity(Some(1_501)), identity(None));
            let found = Found::decode(&key(), document(bytes, own, Some(old)), true).unwrap();
            assert_eq!(found.stored(0).replaced, [old.written.stamp]);
            assert_eq!(
                [own, old].map(|write| found.write_of(write.written.stamp)),
                [Some(own), Some(old)]
            );
            assert_eq!(found.write_of(identity(None).written.stamp), None);
            let entry = found.clone().into_entry(&key(), 1_500).unwrap().unwrap();
            assert_eq!(
                (&entry.value[..], entry.version),
                (bytes, own.version(&key()).unwrap())
            );
            assert_eq!(entry.expires_at, Some(UNIX_EPOCH + Duration::from_millis(1_501)));
            assert!(!found.stored(1_501).live && found.into_entry(&key(), 1_501).unwrap().is_none());
        }
    }

    #[test]
    fn without_its_value_a_document_is_no_entry() {
        let mut document = document(b"x", identity(None), None);
        document.fields.remove(VALUE);
        let found = Found::decode(&key(), document, false).unwrap();
        assert!(found.stored(0).live);
        assert_eq!(found.into_entry(&key(), 0).unwrap(), None);
    }

    #[test]
    fn a_version_says_which_write_of_which_key_and_until_when() {
        let write = identity(Some(1_501));
        let version = write.version(&key()).unwrap();
        let text = version.to_string();
        assert_eq!(text.len(), 75);
        assert!(
            version.stamp().is_err(),
            "another store would take it for its own"
        );
        let token = Token::read(&text.parse().unwrap()).unwrap();
        assert_eq!(token.identity, write);
        assert!(token.may_match(&key(), 1_500) && !token.may_match(&key(), 1_501));
        assert!(!token.may_match(&Key::new("p", "1id").unwrap(), 0));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let version = identity(None).version(&key()).unwrap().to_string();
        for text in [
            &version[1..],
            &version[..74],
            "x",
            &"A".repeat(32),
            &format!("{version}AAA"),
            &"~".repeat(75),
        ] {
            let version: Version = text.parse().unwrap();
            assert!(
                matches!(Token::read(&version), Err(Error::InvalidVersion { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn only_text_is_stored_as_text() {
        let is_text =
            |bytes: &'static [u8]| matches!(value(&Bytes::from_static(bytes)), ValueType::StringValue(_));
        assert!(is_text(b"{\"a\":1}") && is_text(b"") && is_text("line\r\n\tä".as_bytes()));
        assert!(!is_text(b"\xc3\x28") && !is_text(b"a\0b"));
    }

    #[test]
    fn the_furthest_expiry_is_kept() {
        let furthest = identity(Some(expiry::MAX_MS));
        let found = Found::decode(&key(), document(b"x", furthest, None), true).unwrap();
        assert_eq!(found.identity, furthest);
        assert_eq!(timestamp(expiry::MAX_MS, 1_000).seconds, 253_402_300_799);
    }

    #[test]
    fn what_is_damaged_is_said_without_the_value() {
        let text = |text: &str| Some(ValueType::StringValue(text.to_owned()));
        let of_write = |bytes: &[u8]| Some(ValueType::BytesValue(bytes.to_vec()));
        let time = |seconds, nanos| Some(ValueType::TimestampValue(Timestamp { seconds, nanos }));
        let damages = [
            (WRITE, None),
            (WRITE, text("1")),
            (WRITE, of_write(&[])),
            (WRITE, of_write(&[2; 33])),
            (VALUE, None),
            (VALUE, Some(ValueType::IntegerValue(31_337))),
            (WRITE, of_write(&[FORMAT; 32])),
            (WRITE, of_write(&[FORMAT; 80])),
            (WRITE, of_write(&[FORMAT; 82])),
            (EXPIRES, Some(ValueType::IntegerValue(1))),
            (EXPIRES, time(-1, 0)),
            (EXPIRES, time(1, 1)),
            (EXPIRES, time(253_402_300_800, 0)),
        ];
        for (name, damage) in damages {
            let mut document = document(b"hunter2", identity(None), None);
            document.fields.remove(name);
            if let Some(value) = damage {
                let value = Value {
                    value_type: Some(value),
                };
                document.fields.insert(name.to_owned(), value);
            }
            let error = Found::decode(&key(), document, true).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{name}: {error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("31337"), "{shown}");
        }
    }

    #[test]
    fn the_largest_document_fits_into_1_mib() {
        // <https://firebase.google.com/docs/firestore/storage-size>: each text has a byte more, a name 16, a document 32.
        let name = 16 + 3 * (100 + "-items".len() + 1) + 2 * (1500 + 1);
        let names = FIELDS.iter().map(|name| name.len() + 1).sum::<usize>();
        let others = (1 + Written::LEN + Identity::LEN) + 8;
        let overhead = 32 + name + names + others + 1;
        assert!(overhead + MAX_VALUE <= 1024 * 1024, "{overhead}");
        const { assert!(MAX_VALUE >= statestore_api::Capabilities::PORTABLE_VALUE_BYTES) };
    }
}
