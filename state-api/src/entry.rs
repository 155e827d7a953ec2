use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;

use crate::{Key, PageToken, Version};

/// What is stored under a key. `Debug` shows the value's size, not the value.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The value. A clone shares its bytes.
    pub value: Bytes,
    /// Its version, to be given to a later [`Precondition::Matches`](crate::Precondition::Matches).
    pub version: Version,
    /// When it expires, to the millisecond.
    pub expires_at: Option<SystemTime>,
}

impl Entry {
    /// An entry that does not expire.
    #[must_use]
    pub fn new(value: Bytes, version: Version) -> Self {
        Self {
            value,
            version,
            expires_at: None,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("value", &format_args!("<{} bytes>", self.value.len()))
            .field("version", &self.version)
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// The key.
    pub key: Key,
    /// What is stored under it; `None` when only keys were asked for.
    pub entry: Option<Entry>,
}

impl Item {
    /// A line of a listing.
    #[must_use]
    pub fn new(key: Key, entry: Option<Entry>) -> Self {
        Self { key, entry }
    }
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// At most as many as asked for; fewer, even none, before the last page too.
    pub items: Vec<Item>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<PageToken>,
}

impl Page {
    /// A page.
    #[must_use]
    pub fn new(items: Vec<Item>, next: Option<PageToken>) -> Self {
        Self { items, next }
    }
}
