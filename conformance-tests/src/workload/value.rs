//! What is written: a number that is written nowhere else, and bytes that follow from it, so that a value that is
//! torn, or mixed from two, is noticed.

use statestore_api::{Bytes, Entry};

use crate::history::Seen;

/// The value of a write: its number, then filler of up to `most` bytes.
pub(super) fn filled(number: u64, most: usize) -> Bytes {
    let mut value = format!("{number} ").into_bytes();
    let length = usize::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).unwrap_or(0) % (most + 1);
    let alphabet = (b'a'..=b'z')
        .cycle()
        .skip(usize::try_from(number % 26).unwrap_or(0));
    value.extend(alphabet.take(length));
    value.into()
}

/// The value of an account: the number of the write, then the balance.
pub(super) fn account(number: u64, balance: u64) -> Bytes {
    format!("{number} {balance}").into()
}

/// The number of an entry's write, with its version, and what comes behind the number.
pub(super) fn read(entry: &Entry) -> Result<(Seen, &str), String> {
    let text = std::str::from_utf8(&entry.value).ok();
    let parts = text.and_then(|text| text.split_once(' '));
    let Some((Ok(value), rest)) = parts.map(|(number, rest)| (number.parse(), rest)) else {
        return Err("a value is there that nobody wrote".to_owned());
    };
    let version = entry.version.clone();
    Ok((Seen { value, version }, rest))
}

/// The same for a value that has to be [`filled`].
pub(super) fn read_filled(entry: &Entry, most: usize) -> Result<Seen, String> {
    let (seen, _) = read(entry)?;
    if entry.value != filled(seen.value, most) {
        return Err(format!("value {} is not as it was written", seen.value));
    }
    Ok(seen)
}
