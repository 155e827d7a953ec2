//! A part of a key ↔ PartitionKey or RowKey. Pure.
//!
//! Azure Table orders keys by their UTF-16, takes no `/ \ # ?` and no control characters, and quotes them with `'` in its filters. So
//! a key is stored in ASCII that has none of these, byte by byte, in the order of its UTF-8:
//!
//! | Bytes | Stored as |
//! |---|---|
//! | most ASCII: letters, digits, ``+ , - . : ; < = > @ [ ] ^ _ ` {`` | themselves |
//! | controls, space, `! " #` | `!` and two hexadecimal digits |
//! | `$ % & ' ( ) *` | `$` and two hexadecimal digits |
//! | `/`, `?`, `\` | `.~`, `>~`, `[~` |
//! | <code>&#124; } ~</code>, DEL and all that is not ASCII | <code>&#124;</code> and two hexadecimal digits |
//!
//! The order is kept because nothing begins with `~`, the last printable character: what `.` stands before is below `.~`, and so on. And
//! no byte takes more than three characters, so that 170 bytes of whatever content fit into the 512 that a key may have.

use statestore_api::{Error, Key, Result};

/// The longest part of a key, in bytes: three characters each fit into the 1 KiB of UTF-16 that Azure Table takes.
pub(super) const MAX_BYTES: usize = 170;

/// The first and last byte of each run that is written as the first character of its row and two digits.
const RUNS: [(u8, u8, u8); 3] = [(b'!', 0x00, b'#'), (b'$', b'$', b'*'), (b'|', b'|', 0xff)];

/// What is written as the character before it and a `~`.
const SUCCESSORS: [(u8, u8); 3] = [(b'.', b'/'), (b'>', b'?'), (b'[', b'\\')];

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Part of a key as it is stored. Any bytes, so that the end of a range can be encoded too.
pub(super) fn encode(part: &[u8]) -> String {
    let mut text = String::with_capacity(part.len() + 8);
    for &byte in part {
        if let Some((escape, ..)) = RUNS
            .iter()
            .find(|(_, first, last)| (*first..=*last).contains(&byte))
        {
            text.push(char::from(*escape));
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        } else if let Some((before, _)) = SUCCESSORS.iter().find(|(_, escaped)| *escaped == byte) {
            text.push(char::from(*before));
            text.push('~');
        } else {
            text.push(char::from(byte));
        }
    }
    text
}

/// Where the ids that begin with `prefix` end: the first place behind them. `None`: at the end of the partition.
pub(super) fn end_of(prefix: &str) -> Option<String> {
    // The last byte of UTF-8 is never 0xff.
    let mut bytes = prefix.as_bytes().to_vec();
    *bytes.last_mut()? += 1;
    Some(encode(&bytes))
}

/// The part that is stored as `text`; `None` when this store would never have written it.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if RUNS.iter().any(|(escape, ..)| escape == first) {
            let [high, low, tail @ ..] = tail else { return None };
            let digit = |digit: &u8| DIGITS.iter().position(|known| known == digit);
            bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
            rest = tail;
            continue;
        }
        match (tail, SUCCESSORS.iter().find(|(before, _)| before == first)) {
            ([b'~', tail @ ..], Some((_, escaped))) => {
                bytes.push(*escaped);
                rest = tail;
            }
            _ => bytes.push(*first),
        }
    }
    let part = String::from_utf8(bytes).ok()?;
    (encode(part.as_bytes()) == text).then_some(part)
}

/// The key that is stored as these.
///
/// # Errors
/// [`Error::Corrupt`] when they are not this store's.
pub(super) fn key_of(partition: &str, row: &str) -> Result<Key> {
    let corrupt = || Error::Corrupt {
        what: "an entity's key".to_owned(),
        reason: "PartitionKey and RowKey are not in this store's encoding, so another program wrote them: \
                 use a table of its own"
            .to_owned(),
        source: None,
    };
    let (partition, id) = decode(partition).zip(decode(row)).ok_or_else(corrupt)?;
    Key::new(partition, id).map_err(|_| corrupt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The order of Azure Table.
    fn utf16(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn allowed(text: &str) -> bool {
        let forbidden = |c: char| "/\\#?'".contains(c) || c.is_control();
        !text.chars().any(forbidden) && text.is_ascii()
    }

    /// Text in which what is special is frequent.
    fn text() -> impl Strategy<Value = String> {
        let special = proptest::sample::select(
            "\0\u{1f} !\"#$%&'()*+,-./0:;<=>?@AZ[\\]^_`az{|}~\u{7f}\u{80}é\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}"
                .chars()
                .collect::<Vec<_>>(),
        );
        proptest::collection::vec(prop_oneof![3 => special, 1 => any::<char>()], 0..8)
            .prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn it_is_reversible_and_takes_what_azure_takes(part in text()) {
            let encoded = encode(part.as_bytes());
            prop_assert!(allowed(&encoded), "{encoded}");
            prop_assert!(encoded.len() <= 3 * part.len());
            prop_assert_eq!(decode(&encoded), Some(part));
        }

        #[test]
        fn it_keeps_the_order_of_utf8(a in text(), b in text(), common in text()) {
            let (a, b) = (format!("{common}{a}"), format!("{common}{b}"));
            let (stored_a, stored_b) = (encode(a.as_bytes()), encode(b.as_bytes()));
            prop_assert_eq!(a.as_bytes().cmp(b.as_bytes()), utf16(&stored_a).cmp(&utf16(&stored_b)));
        }

        #[test]
        fn a_prefix_is_a_range(prefix in text(), rest in text(), other in text()) {
            let id = format!("{prefix}{rest}");
            for (id, belongs) in [(&id, true), (&other, other.starts_with(&prefix))] {
                let stored = encode(id.as_bytes());
                let in_range = stored >= encode(prefix.as_bytes()) && end_of(&prefix).is_none_or(|end| stored < end);
                prop_assert_eq!(in_range, belongs);
            }
        }

        #[test]
        fn what_it_never_writes_is_not_read(stored in "[ -~]{0,6}") {
            if let Some(part) = decode(&stored) {
                prop_assert_eq!(encode(part.as_bytes()), stored);
            }
        }
    }

    #[test]
    fn all_pairs_of_bytes_keep_their_order() {
        let texts: Vec<Vec<u8>> = (0..=255)
            .flat_map(|a| [vec![a], vec![a, 0], vec![a, b'/'], vec![a, b'~'], vec![a, 255]])
            .collect();
        for a in &texts {
            for b in &texts {
                assert_eq!(a.cmp(b), encode(a).cmp(&encode(b)), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn common_keys_stay_readable() {
        for text in [
            "user-42",
            "2026-11-23T10:00:00Z",
            "a@b.c",
            "v1.2_x+y=z",
            "[1]{2",
            "AAAA==",
        ] {
            assert_eq!(encode(text.as_bytes()), text);
        }
        assert_eq!(encode(b"orders/7?"), "orders.~7>~");
        assert_eq!(encode("O'Neil é".as_bytes()), "O$27Neil!20|C3|A9");
    }

    #[test]
    fn the_longest_key_fits() {
        assert!(encode("\u{10ffff}".repeat(42).as_bytes()).len() + 6 <= 512);
        const { assert!(3 * MAX_BYTES <= 512) };
        const { assert!(MAX_BYTES >= statestore_api::Capabilities::PORTABLE_KEY_BYTES) };
    }

    #[test]
    fn another_programs_keys_are_corrupt() {
        for (partition, row) in [
            ("a b", "x"),
            ("a", "!4"),
            ("a", "|41"),
            ("", "x"),
            ("é", "x"),
            ("a", "|FF"),
        ] {
            let error = key_of(partition, row).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{partition} {row}");
        }
        assert_eq!(key_of("a.~b", "c").unwrap(), Key::new("a/b", "c").unwrap());
    }
}
