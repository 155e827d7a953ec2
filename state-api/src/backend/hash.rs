/// A hash of length-prefixed parts that is the same on every machine and in every release, so that it may be stored.
///
/// Parts that differ in one 8-byte word always differ in their hash. Not for keys of an attacker's choice.
pub fn stable_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    // Each step is a bijection of the word, and of the hash so far.
    let step = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    };
    parts.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| {
        part.chunks(8).fold(step(hash, part.len() as u64), |hash, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            step(hash, u64::from_le_bytes(word))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(stable_hash([&b"a"[..], b"bc"]), stable_hash([&b"ab"[..], b"c"]));
        assert_ne!(stable_hash([&b"a"[..]]), stable_hash([&b"a"[..], b""]));
    }

    #[test]
    fn it_stays_the_same_in_every_release() {
        assert_eq!(stable_hash([&b"partition"[..], b"id"]), 0x8afe_4ecf_8d9d_2fb7);
    }
}
