use std::fmt;

use super::stable_hash;
use crate::{Key, WriteId};

/// A version that a backend makes itself: the write it came from, and a nonce.
///
/// The nonce is new for each attempt that is applied, so that a retried create which finds its first entry deleted
/// makes a version that never was. It is mixed with the key, so that one write id on two keys (a transaction) gives
/// two stamps; from one of them [`nonce`](Stamp::nonce) finds the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    write_id: WriteId,
    mixed: u64,
}

impl Stamp {
    /// How many bytes a stamp has.
    pub const LEN: usize = 24;

    /// The stamp of a write to `key`. Take `nonce` from [`new_nonce`](Self::new_nonce), once per attempt.
    #[must_use]
    pub fn new(write_id: WriteId, nonce: u64, key: &Key) -> Self {
        Self {
            write_id,
            mixed: nonce ^ hash(key),
        }
    }

    /// A nonce from the operating system's random source.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn new_nonce() -> u64 {
        getrandom::u64().expect("the operating system gives random numbers")
    }

    /// The write it came from.
    #[must_use]
    pub const fn write_id(self) -> WriteId {
        self.write_id
    }

    /// The nonce it was made with, for the key it was made for.
    #[must_use]
    pub fn nonce(self, key: &Key) -> u64 {
        self.mixed ^ hash(key)
    }

    /// The stamp of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let mut id = [0; 16];
        let mut mixed = [0; 8];
        id.copy_from_slice(&bytes[..16]);
        mixed.copy_from_slice(&bytes[16..]);
        Self {
            write_id: WriteId::from_bytes(id),
            mixed: u64::from_be_bytes(mixed),
        }
    }

    /// Its bytes: the write id, then the nonce.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(&self.write_id.to_bytes());
        bytes[16..].copy_from_slice(&self.mixed.to_be_bytes());
        bytes
    }
}

fn hash(key: &Key) -> u64 {
    stable_hash([key.partition().as_bytes(), key.id().as_bytes()])
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stamp({}-{:016x})", self.write_id, self.mixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_has_another_stamp_on_each_key_and_one_tells_the_nonce_of_all() {
        let (a, b): (Key, Key) = ("p/a".parse().unwrap(), "p/b".parse().unwrap());
        let (id, nonce) = (WriteId::new(), Stamp::new_nonce());
        let (on_a, on_b) = (Stamp::new(id, nonce, &a), Stamp::new(id, nonce, &b));
        assert_ne!(on_a, on_b);
        assert_eq!(Stamp::new(id, on_a.nonce(&a), &b), on_b);
        assert_eq!(Stamp::from_bytes(on_a.to_bytes()), on_a);
    }
}
