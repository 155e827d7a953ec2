//! An entry as bytes, and back. Pure.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format of this entry, [`FORMAT`] |
//! | 1 | how many replaced stamps follow, `n` |
//! | 8 | hash of the key, of all that follows in the head, and of the two bytes before |
//! | 8 | hash of the value |
//! | 8 | expiry in epoch milliseconds; 0: never |
//! | 24 | the stamp |
//! | 24 `n` | the stamps it replaced, the newest first |
//! | the rest | the value |
//!
//! Numbers are big-endian. redb checks its pages when it opens a file, not when it reads one: the two hashes are what
//! notices damage in between. They are apart so that a condition need not read the whole value.

use statestore_api::backend::{Stamp, Stored, expiry, stable_hash};

/// The format of an entry. Another one is never guessed at.
const FORMAT: u8 = 1;

/// How many replaced stamps an entry remembers.
pub(super) const REMEMBERED: usize = 4;

/// The head without the replaced stamps.
const FIXED: usize = 2 + 8 + 8 + 8 + Stamp::LEN;

/// Where the bytes begin that the head's hash covers, besides the first two.
const HASHED: usize = 10;

/// What is wrong with the bytes under a key. The entry cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Written by a later version, perhaps.
    Format(u8),
    /// Too short, or changed since it was written.
    Changed,
}

/// All of an entry but its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) stamp: Stamp,
    pub(super) expires_at: Option<u64>,
    replaced: [Stamp; REMEMBERED],
    /// How many of `replaced` are there, from the front.
    remembered: usize,
    value_hash: u64,
}

impl Head {
    /// The head of the entry that `stamp` writes over `before`, live or expired.
    pub(super) fn over(before: Option<&Self>, stamp: Stamp, expires_at: Option<u64>, value: &[u8]) -> Self {
        let mut head = Self {
            stamp,
            expires_at,
            replaced: [stamp; REMEMBERED],
            remembered: 0,
            value_hash: stable_hash([value]),
        };
        if let Some(before) = before {
            head.replaced[0] = before.stamp;
            head.replaced[1..].copy_from_slice(&before.replaced[..REMEMBERED - 1]);
            head.remembered = REMEMBERED.min(before.remembered + 1);
        }
        head
    }

    /// What a condition looks at.
    pub(super) fn stored(&self, now: u64) -> Stored<'_> {
        Stored {
            stamp: self.stamp,
            replaced: &self.replaced[..self.remembered],
            live: self.is_live(now),
        }
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        expiry::is_live(self.expires_at, now)
    }

    /// Its size in bytes, which is where the value begins.
    pub(super) fn len(&self) -> usize {
        FIXED + self.remembered * Stamp::LEN
    }

    /// Fills `out`, which has the size of head and value.
    pub(super) fn encode(&self, key: (&[u8], &[u8]), value: &[u8], out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(self.len());
        rest.copy_from_slice(value);
        head[0] = FORMAT;
        #[allow(clippy::cast_possible_truncation, reason = "at most 4")]
        let remembered = self.remembered as u8;
        head[1] = remembered;
        head[10..18].copy_from_slice(&self.value_hash.to_be_bytes());
        head[18..26].copy_from_slice(&self.expires_at.unwrap_or(0).to_be_bytes());
        let stamps = std::iter::once(&self.stamp).chain(&self.replaced[..self.remembered]);
        for (place, stamp) in head[26..].chunks_exact_mut(Stamp::LEN).zip(stamps) {
            place.copy_from_slice(&stamp.to_bytes());
        }
        let hash = head_hash(key, head);
        head[2..HASHED].copy_from_slice(&hash);
    }

    /// # Errors
    /// When it is no head, or another key's. Whatever the bytes are, it does not panic.
    pub(super) fn decode(key: (&[u8], &[u8]), entry: &[u8]) -> Result<Self, Damage> {
        let [format, count, ..] = *entry else {
            return Err(Damage::Changed);
        };
        if format != FORMAT {
            return Err(Damage::Format(format));
        }
        let remembered = usize::from(count);
        let head = match entry.get(..FIXED + remembered * Stamp::LEN) {
            Some(head) if remembered <= REMEMBERED && head_hash(key, head) == head[2..HASHED] => head,
            _ => return Err(Damage::Changed),
        };
        let (numbers, stamps) = head[HASHED..].split_at(16);
        let (&[value_hash, expires_at], _) = numbers.as_chunks() else {
            return Err(Damage::Changed);
        };
        let mut stamps = stamps.as_chunks().0.iter().copied().map(Stamp::from_bytes);
        let stamp = stamps.next().ok_or(Damage::Changed)?;
        let mut replaced = [stamp; REMEMBERED];
        for (place, stamp) in replaced.iter_mut().zip(stamps) {
            *place = stamp;
        }
        Ok(Self {
            stamp,
            expires_at: Some(u64::from_be_bytes(expires_at)).filter(|at| *at != 0),
            replaced,
            remembered,
            value_hash: u64::from_be_bytes(value_hash),
        })
    }

    /// The value of the entry whose head this is.
    ///
    /// # Errors
    /// When it is not the one that was written.
    pub(super) fn value<'a>(&self, entry: &'a [u8]) -> Result<&'a [u8], Damage> {
        entry
            .get(self.len()..)
            .filter(|value| stable_hash([*value]) == self.value_hash)
            .ok_or(Damage::Changed)
    }
}

fn head_hash(key: (&[u8], &[u8]), head: &[u8]) -> [u8; 8] {
    stable_hash([key.0, key.1, &head[..2], &head[HASHED..]]).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statestore_api::WriteId;

    use super::*;

    const KEY: (&[u8], &[u8]) = (b"p", b"id");

    fn stamp(n: u8) -> Stamp {
        Stamp::from_bytes([n; Stamp::LEN])
    }

    fn encoded(head: &Head, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; head.len() + value.len()];
        head.encode(KEY, value, &mut bytes);
        bytes
    }

    /// The head after `n` writes.
    fn written(n: u8, value: &[u8]) -> Head {
        let first = Head::over(None, stamp(1), Some(7), value);
        (2..=n).fold(first, |head, n| {
            Head::over(Some(&head), stamp(n), (n % 2 == 0).then_some(1000), value)
        })
    }

    #[test]
    fn an_entry_survives_bytes() {
        for n in 1..=7 {
            for value in [&b""[..], b"x", &[0xff; 5000]] {
                let head = written(n, value);
                let bytes = encoded(&head, value);
                assert_eq!(bytes.len(), head.len() + value.len());
                let decoded = Head::decode(KEY, &bytes).unwrap();
                assert_eq!(decoded.stored(0).replaced, head.stored(0).replaced);
                assert_eq!((decoded.stamp, decoded.expires_at), (head.stamp, head.expires_at));
                assert_eq!(decoded.value(&bytes), Ok(value));
            }
        }
    }

    #[test]
    fn it_remembers_the_last_four_it_replaced() {
        let head = written(7, b"");
        assert_eq!(head.stored(0).replaced, [stamp(6), stamp(5), stamp(4), stamp(3)]);
        assert_eq!(written(2, b"").stored(0).replaced, [stamp(1)]);
    }

    #[test]
    fn it_stays_the_same_in_every_release() {
        let id = WriteId::from_bytes([9; 16]);
        let mut bytes = [0; Stamp::LEN];
        bytes[..16].copy_from_slice(&id.to_bytes());
        let head = Head::over(None, Stamp::from_bytes(bytes), Some(0x0102), b"value");
        let bytes: String = encoded(&head, b"value")
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            bytes,
            "0100107cf3af00668cb00f028b267d72b58a0000000000000102\
             09090909090909090909090909090909000000000000000076616c7565"
        );
    }

    #[test]
    fn an_unknown_format_is_damage() {
        let mut bytes = encoded(&written(2, b"value"), b"value");
        for format in [0, 2, 255] {
            bytes[0] = format;
            assert_eq!(Head::decode(KEY, &bytes), Err(Damage::Format(format)));
        }
    }

    #[test]
    fn a_truncated_entry_is_damage() {
        let bytes = encoded(&written(3, b"value"), b"value");
        for len in 0..bytes.len() {
            let read = Head::decode(KEY, &bytes[..len]).and_then(|head| head.value(&bytes[..len]));
            assert_eq!(read, Err(Damage::Changed), "{len}");
        }
    }

    #[test]
    fn each_changed_bit_is_noticed() {
        let bytes = encoded(&written(2, b"value"), b"value");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let read = Head::decode(KEY, &changed).and_then(|head| head.value(&changed));
            assert!(read.is_err(), "{bit}");
        }
    }

    #[test]
    fn another_keys_entry_is_damage() {
        let bytes = encoded(&written(2, b"value"), b"value");
        assert_eq!(Head::decode((b"pi", b"d"), &bytes), Err(Damage::Changed));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), sign: bool) {
            // Half of the time under a head that is plausible, so that more than the first check is reached.
            if sign && bytes.len() >= 2 {
                bytes[0] = FORMAT;
                bytes[1] %= 6;
                let end = (FIXED + usize::from(bytes[1]) * Stamp::LEN).min(bytes.len());
                if end > HASHED {
                    let hash = head_hash(KEY, &bytes[..end]);
                    bytes[2..HASHED].copy_from_slice(&hash);
                }
            }
            if let Ok(head) = Head::decode(KEY, &bytes) {
                let _ = head.value(&bytes);
                prop_assert!(head.len() <= bytes.len());
            }
        }

        #[test]
        fn any_value_survives(value in proptest::collection::vec(any::<u8>(), 0..2000), n in 1..8_u8) {
            let head = written(n, &value);
            let bytes = encoded(&head, &value);
            prop_assert_eq!(Head::decode(KEY, &bytes).unwrap().value(&bytes), Ok(&value[..]));
        }
    }
}
