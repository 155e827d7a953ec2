//! The values that are stored: JSON text, as state mostly is, that begins with a counter.

use bytes::Bytes;

/// The counter's digits.
const DIGITS: usize = 20;

/// A value of this size whose counter is 0. It does not compress to nothing.
pub(crate) fn value(size: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(size as u64);
    let mut text = format!("{:0DIGITS$}", 0);
    while text.len() < size {
        let sku: u64 = random.u64(..);
        text.push_str(&format!(
            r#",{{"sku":"{sku:016x}","count":{}}}"#,
            random.u8(1..99)
        ));
    }
    text.truncate(size.max(DIGITS));
    text.into()
}

/// The same value with the next count: what an update does.
pub(crate) fn next(value: &[u8]) -> Bytes {
    let mut next = value.to_vec();
    for digit in next[..DIGITS].iter_mut().rev() {
        if *digit == b'9' {
            *digit = b'0';
        } else {
            *digit += 1;
            break;
        }
    }
    next.into()
}

/// The count of a value.
pub(crate) fn count(value: &[u8]) -> u64 {
    let digits = std::str::from_utf8(&value[..DIGITS]).expect("digits");
    digits.parse().expect("a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_size_and_counts() {
        for size in [100, 1024, 100 * 1024] {
            assert_eq!(value(size).len(), size);
        }
        let mut value = value(100);
        for n in 0..120 {
            assert_eq!(count(&value), n);
            value = next(&value);
        }
    }
}
