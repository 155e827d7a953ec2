/// How many words of a long part are hashed at once: a processor does several of the steps that do not wait for each other.
const LANES: usize = 4;

/// From this many bytes on a part is long.
const LONG: usize = 16 * LANES;

/// A hash of length-prefixed parts that is the same on every machine and in every release, so that it may be stored.
///
/// Parts that differ in one 8-byte word always differ in their hash. Not for keys of an attacker's choice.
pub fn stable_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    parts.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| {
        let mut hash = step(hash, part.len() as u64);
        let mut rest = part;
        if part.len() >= LONG {
            let mut lanes = [0, 1, 2, 3].map(|lane| step(hash, lane));
            let (rows, tail) = part.as_chunks::<{ 8 * LANES }>();
            for row in rows {
                for (lane, word) in lanes.iter_mut().zip(row.as_chunks().0) {
                    *lane = step(*lane, u64::from_le_bytes(*word));
                }
            }
            hash = lanes.into_iter().fold(hash, step);
            rest = tail;
        }
        rest.chunks(8).fold(hash, |hash, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            step(hash, u64::from_le_bytes(word))
        })
    })
}

/// A bijection of the word, and of the hash so far.
fn step(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
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
        let long: Vec<u8> = (0..=255).collect();
        for (bytes, hash) in [
            (63, 0xac01_b578_da7a_1d92),
            (64, 0x61f8_e714_5bd7_8882),
            (95, 0x283f_49f2_1b3e_23bc),
            (256, 0xe16c_0450_7cfd_1c9c),
        ] {
            assert_eq!(stable_hash([&long[..bytes]]), hash, "{bytes} bytes");
        }
    }

    #[test]
    fn each_changed_bit_is_noticed() {
        for bytes in [1, 8, 63, 64, 95, 96, 200] {
            let mut part = vec![7; bytes];
            let hash = stable_hash([&part[..]]);
            for bit in 0..8 * bytes {
                part[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(stable_hash([&part[..]]), hash, "bit {bit} of {bytes} bytes");
                part[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn words_in_another_order_are_another_part() {
        let words: Vec<u8> = (0..32_u64).flat_map(u64::to_le_bytes).collect();
        let hash = stable_hash([&words[..]]);
        for (a, b) in [(0, 1), (0, 4), (1, 6), (30, 31)] {
            let mut other: Vec<[u8; 8]> = words.as_chunks().0.to_vec();
            other.swap(a, b);
            assert_ne!(stable_hash([&other.concat()[..]]), hash, "words {a} and {b}");
        }
    }
}
