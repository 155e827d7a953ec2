//! A part of a key ↔ an id of Firestore's. Pure.
//!
//! An id of Firestore's has up to 1,500 bytes, no `/`, is not `.` or `..`, and does not begin and end with `__`. Ids sort by
//! the bytes of their UTF-8, and so have to do the encoded ones. So most text stays as it is, and of the rest
//! each character becomes one that sorts where it did:
//!
//! | What | becomes | because |
//! |---|---|---|
//! | `/` | `.~` | it sorts right behind `.`, so it is `.` and what comes behind all that may follow a `.` |
//! | a character from `}` on, behind a `.` | `}` and itself | so that none of them comes behind `~` |
//! | `.` or `_` as the first character | `.-`, `_-` | so that the whole is neither `.` nor `..` nor `__…__` |

use std::borrow::Cow;

/// The most bytes that an id of Firestore's has.
const MOST: usize = 1500;

/// The most bytes that a part of a key may have, whatever they are: `/` takes two, and the first character one more.
pub(super) const MAX_PART: usize = (MOST - 1) / 2;

/// The id that stands for `part`. The empty text stands for itself, which is no id, but marks a place in the order.
pub(super) fn encode(part: &str) -> Cow<'_, str> {
    if is_plain(part) {
        return Cow::Borrowed(part);
    }
    let mut id = String::with_capacity(part.len() + 8);
    let mut behind_dot = false;
    for (place, c) in part.char_indices() {
        match c {
            '/' => id.push_str(".~"),
            '.' | '_' if place == 0 => {
                id.push(c);
                id.push('-');
            }
            '}'.. if behind_dot => {
                id.push('}');
                id.push(c);
            }
            c => id.push(c),
        }
        behind_dot = c == '.' && place > 0;
    }
    Cow::Owned(id)
}

/// Whether it stands for itself in both directions, as most text does.
fn is_plain(text: &str) -> bool {
    // To the end whatever is found, which is many bytes at once.
    let special = text
        .bytes()
        .fold(false, |found, byte| found | matches!(byte, b'.' | b'/'));
    !special && !text.starts_with('_')
}

/// The part of a key that `id` stands for; `None` when it stands for none.
pub(super) fn decode(id: &str) -> Option<Cow<'_, str>> {
    if is_plain(id) {
        return (!id.is_empty()).then_some(Cow::Borrowed(id));
    }
    let mut part = String::with_capacity(id.len());
    let mut chars = id.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('.', Some('~')) => {
                chars.next();
                part.push('/');
            }
            ('.' | '_', next) if part.is_empty() => {
                next.filter(|next| **next == '-')?;
                chars.next();
                part.push(c);
            }
            ('.', Some('}')) => {
                chars.next();
                part.push('.');
                part.push(chars.next().filter(|next| *next >= '}')?);
            }
            ('.', Some('~'..)) | ('/', _) => return None,
            _ => part.push(c),
        }
    }
    (!part.is_empty()).then_some(Cow::Owned(part))
}

/// The first text behind all that begin with `prefix`; `None` when there is none behind.
pub(super) fn behind(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text of the characters that matter here, mostly.
    fn text() -> impl Strategy<Value = String> {
        let special = prop::sample::select(vec![
            '.',
            '/',
            '_',
            '-',
            '0',
            '}',
            '|',
            '~',
            '\u{7f}',
            '\0',
            'a',
            'é',
            '\u{10ffff}',
        ]);
        let c = prop_oneof![4 => special, 1 => any::<char>()];
        prop::collection::vec(c, 1..8).prop_map(String::from_iter)
    }

    fn assert_allowed(id: &str) {
        let reserved = id.starts_with("__") && id.ends_with("__");
        assert!(
            !id.is_empty() && !id.contains('/') && id != "." && id != ".." && !reserved,
            "{id}"
        );
    }

    #[test]
    fn common_keys_are_what_they_are() {
        for part in [
            "user-42",
            "2026-11-23T10:00:00Z",
            "a@b.c",
            "order 7",
            "Käse",
            "v1.2.3",
            "a__",
            "1..2",
        ] {
            assert_eq!(encode(part), part);
        }
        for (part, id) in [
            ("orders/7", "orders.~7"),
            (".env", ".-env"),
            ("..", ".-."),
            ("_id", "_-id"),
            ("__x__", "_-_x__"),
            ("a./b", "a..~b"),
            ("a.~", "a.}~"),
            ("./", ".-.~"),
            ("é.é", "é.}é"),
        ] {
            assert_eq!(encode(part), id);
        }
    }

    #[test]
    fn what_stands_for_nothing_is_refused() {
        for id in ["", ".", ".a", "_", "__a", "a.é", "a.}b", "a.}", "a/b", "a.\u{7f}"] {
            assert_eq!(decode(id), None, "{id}");
        }
    }

    #[test]
    fn the_longest_part_fits_whatever_it_is() {
        for part in [
            "/".repeat(MAX_PART),
            "é".repeat(MAX_PART / 2),
            ".é".repeat(MAX_PART / 3),
        ] {
            assert!(encode(&part).len() <= MOST);
        }
        const { assert!(MAX_PART >= statestore_api::Capabilities::PORTABLE_KEY_BYTES) };
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn an_id_tells_its_part(part in text()) {
            let id = encode(&part);
            assert_allowed(&id);
            prop_assert!(id.len() <= 2 * part.len() + 1);
            prop_assert_eq!(decode(&id).map(Cow::into_owned), Some(part));
        }

        #[test]
        fn ids_sort_as_their_parts(a in text(), b in text()) {
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
        }

        #[test]
        fn only_what_was_encoded_is_decoded(id in text()) {
            if let Some(part) = decode(&id) {
                prop_assert_eq!(encode(&part), id.as_str());
            }
        }

        #[test]
        fn what_begins_with_a_prefix_is_from_it_to_behind_it(prefix in text(), other in text(), tail in text()) {
            for text in [format!("{prefix}{tail}"), other] {
                let inside = text >= prefix && behind(&prefix).is_none_or(|end| text < end);
                prop_assert_eq!(inside, text.starts_with(&prefix), "{:?} {:?}", prefix, text);
            }
        }
    }
}
