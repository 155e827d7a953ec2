//! Keys and entries as Redis stores them. Pure; the scripts read and write the same form.

use std::borrow::Cow;

use bytes::Bytes;
use statestore_api::backend::{Stamp, Stored, expiry};
use statestore_api::{Entry, Key};

/// How many replaced versions an entry remembers. The script has the same number.
pub(super) const REMEMBERED: usize = 4;

const MAGIC: &[u8] = b"ST1";
/// The magic with the format number, the count of replaced stamps, the expiry.
const FIXED: usize = MAGIC.len() + 1 + 15;
/// The longest header there is.
pub(super) const MAX_HEAD: usize = FIXED + Stamp::LEN * (1 + REMEMBERED);

/// The slots that a cluster shares out among its nodes.
pub(super) const SLOTS: u16 = 16384;

/// The slot of a hash tag: CRC16 (XMODEM) of it.
pub(super) fn slot(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, byte| {
        let [high, low] = crc.to_be_bytes();
        CRC_OF_BYTE[usize::from(high ^ byte)] ^ (u16::from(low) << 8)
    });
    crc % SLOTS
}

const CRC_OF_BYTE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// Where a partition lies.
///
/// Its name is the hash tag of all its keys. Redis takes what is between the first `{` and the first `}` behind it, so that
/// `}` is written `%7D` and `%` is written `%25`; the prefix has neither brace. The rest of a data key is the id as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `prefix{partition}`.
    base: Vec<u8>,
    pub(super) slot: u16,
}

impl Place {
    pub(super) fn new(prefix: &str, partition: &str) -> Self {
        let tag = escape(partition);
        let mut base = Vec::with_capacity(prefix.len() + tag.len() + 2);
        base.extend(prefix.as_bytes());
        base.push(b'{');
        base.extend(tag.as_bytes());
        base.push(b'}');
        Self {
            base,
            slot: slot(tag.as_bytes()),
        }
    }

    /// The key of an entry.
    pub(super) fn data(&self, id: &str) -> Vec<u8> {
        [&self.base, &b"/"[..], id.as_bytes()].concat()
    }

    /// The sorted set of all ids, by name.
    pub(super) fn ids(&self) -> Vec<u8> {
        [&self.base, &b"#ids"[..]].concat()
    }

    /// The sorted set of the ids that expire, by expiry.
    pub(super) fn expiries(&self) -> Vec<u8> {
        [&self.base, &b"#ttl"[..]].concat()
    }
}

fn escape(partition: &str) -> Cow<'_, str> {
    if partition.contains(['%', '}']) {
        Cow::Owned(partition.replace('%', "%25").replace('}', "%7D"))
    } else {
        Cow::Borrowed(partition)
    }
}

/// The key that a data key stands for; `None` for any other key in the database.
pub(super) fn key(prefix: &str, data: &[u8]) -> Option<Key> {
    let text = std::str::from_utf8(data).ok()?;
    let (tag, id) = text.strip_prefix(prefix)?.strip_prefix('{')?.split_once("}/")?;
    if tag.contains('}') {
        return None;
    }
    let partition = tag.replace("%7D", "}").replace("%25", "%");
    // Only what `escape` makes: another spelling is no key of ours.
    (escape(&partition) == tag).then_some(())?;
    Key::new(partition, id).ok()
}

/// The pattern of `SCAN` that all data keys match, and next to nothing else.
pub(super) fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 5);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "{*}/*"
}

/// The header of a stored entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    stamp: Stamp,
    replaced: [Stamp; REMEMBERED],
    count: usize,
    expires_at: Option<u64>,
}

impl Head {
    /// The header that `bytes` begin with, and its length; `None` when that is not of this format.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (count, rest) = bytes.strip_prefix(MAGIC)?.split_first()?;
        let count = usize::from(count.checked_sub(b'0')?);
        if count > REMEMBERED {
            return None;
        }
        let (digits, rest) = rest.split_first_chunk::<15>()?;
        let expires_at = digits.iter().try_fold(0_u64, |ms, digit| {
            let value = char::from(*digit).to_digit(10)?;
            Some(ms * 10 + u64::from(value))
        })?;
        let (stamp, mut rest) = stamp(rest)?;
        let mut replaced = [stamp; REMEMBERED];
        for slot in &mut replaced[..count] {
            (*slot, rest) = self::stamp(rest)?;
        }
        let head = Self {
            stamp,
            replaced,
            count,
            expires_at: (expires_at > 0).then_some(expires_at),
        };
        Some((head, FIXED + Stamp::LEN * (1 + count)))
    }

    /// As far as a condition looks at it. Redis shows no entry that has expired.
    pub(super) fn stored(&self) -> Stored<'_> {
        Stored {
            stamp: self.stamp,
            replaced: &self.replaced[..self.count],
            live: true,
        }
    }
}

fn stamp(bytes: &[u8]) -> Option<(Stamp, &[u8])> {
    let (bytes, rest) = bytes.split_first_chunk()?;
    Some((Stamp::from_bytes(*bytes), rest))
}

/// The entry in a stored string; `None` when it is not of this format.
pub(super) fn entry(stored: Vec<u8>) -> Option<Entry> {
    let (head, length) = Head::parse(&stored)?;
    // Shares the string's memory: nothing is copied.
    let mut entry = Entry::new(Bytes::from(stored).slice(length..), head.stamp.into());
    entry.expires_at = head.expires_at.map(expiry::from_ms);
    Some(entry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statestore_api::WriteId;

    use super::*;

    /// What Redis takes for the hash tag, after its own specification.
    fn hash_tag(key: &[u8]) -> &[u8] {
        let open = key.iter().position(|byte| *byte == b'{').unwrap();
        let rest = &key[open + 1..];
        &rest[..rest.iter().position(|byte| *byte == b'}').unwrap()]
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b""), 0);
    }

    #[test]
    fn layout() {
        let place = Place::new("ss:", "user-42");
        assert_eq!(place.data("cart"), b"ss:{user-42}/cart");
        assert_eq!(place.ids(), b"ss:{user-42}#ids");
        assert_eq!(place.expiries(), b"ss:{user-42}#ttl");
        assert_eq!(Place::new("", "a}b%").data("}"), b"{a%7Db%25}/}");
    }

    #[test]
    fn other_keys_are_not_taken_for_ours() {
        for other in [
            "x",
            "ss:x",
            "ss:{p}#ids",
            "ss:{p}#ttl",
            "ss:{p}",
            "ss:{p}/",
            "ss:{}/id",
            "ss:{a%7d}/id",
            "ss:{a%}/id",
            "{p}/id",
        ] {
            assert_eq!(key("ss:", other.as_bytes()), None, "{other}");
        }
        assert_eq!(key("ss:", b"ss:{\xff}/id"), None);
    }

    #[test]
    fn a_prefix_is_taken_literally() {
        assert_eq!(pattern("a*[b]?\\c:"), "a\\*\\[b\\]\\?\\\\c:{*}/*");
    }

    fn write(count: usize, expires_at: u64, value: &[u8]) -> (Vec<u8>, Vec<Stamp>) {
        let key = "p/k".parse().unwrap();
        let stamps: Vec<_> = (0..=count)
            .map(|_| Stamp::new(WriteId::new(), Stamp::new_nonce(), &key))
            .collect();
        let mut bytes = format!("ST1{count}{expires_at:015}").into_bytes();
        for stamp in &stamps {
            bytes.extend(stamp.to_bytes());
        }
        bytes.extend(value);
        (bytes, stamps)
    }

    #[test]
    fn entries_of_every_length_are_read() {
        for count in 0..=REMEMBERED {
            let (bytes, stamps) = write(count, 253_402_300_799_999, b"ST1 value");
            let (head, length) = Head::parse(&bytes).unwrap();
            assert!(length <= MAX_HEAD);
            assert_eq!(head.stored().stamp, stamps[0]);
            assert_eq!(head.stored().replaced, &stamps[1..]);
            let entry = entry(bytes).unwrap();
            assert_eq!(
                (entry.value.as_ref(), entry.version),
                (&b"ST1 value"[..], stamps[0].into())
            );
            assert_eq!(entry.expires_at, Some(expiry::from_ms(253_402_300_799_999)));
        }
        let (bytes, _) = write(0, 0, b"");
        assert_eq!(entry(bytes).unwrap().expires_at, None);
    }

    #[test]
    fn what_is_damaged_or_foreign_is_no_entry() {
        let (bytes, _) = write(2, 0, b"");
        for end in 0..bytes.len() {
            assert_eq!(entry(bytes[..end].to_vec()), None, "cut at {end}");
        }
        for (place, byte) in [(0, b'x'), (2, b'2'), (3, b'5'), (3, b'/'), (10, b'x')] {
            let mut damaged = bytes.clone();
            damaged[place] = byte;
            assert_eq!(entry(damaged), None, "byte {place}");
        }
    }

    proptest! {
        #[test]
        fn keys_come_back_and_never_meet(
            a in ("[a-c%}{/#7D]{1,6}", "[a-c%}{/#7D]{1,6}"),
            b in ("[a-c%}{/#7D]{1,6}", "[a-c%}{/#7D]{1,6}"),
        ) {
            let [one, two] = [&a, &b].map(|(partition, id)| Place::new("p:", partition).data(id));
            prop_assert_eq!(one == two, a == b);
            let decoded = key("p:", &one).unwrap();
            prop_assert_eq!((decoded.partition(), decoded.id()), (a.0.as_str(), a.1.as_str()));
        }

        #[test]
        fn all_of_a_partition_is_in_its_slot(partition in "\\PC{1,12}", id in "\\PC{1,12}") {
            let place = Place::new("p:", &partition);
            let tag = escape(&partition).into_owned();
            prop_assert!(!tag.is_empty());
            for key in [place.data(&id), place.ids(), place.expiries()] {
                prop_assert_eq!(hash_tag(&key), tag.as_bytes());
            }
            prop_assert_eq!(key("p:", &place.ids()), None);
        }

        #[test]
        fn any_string_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = entry(bytes);
        }
    }
}
