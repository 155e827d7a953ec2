use std::fmt;

use crate::{Action, Key, TransactOp};

/// How many keys of a batch are shown, where keys are.
const KEYS_SHOWN: usize = 10;

/// What is told about a call when it begins.
pub(super) struct Call<'a> {
    /// The method's name.
    pub(super) operation: &'static str,
    pub(super) about: About<'a>,
    /// How many keys or operations a batch has.
    pub(super) batch: Option<usize>,
    /// How many bytes the values are that it brings, where it can bring any.
    pub(super) written: Option<usize>,
}

/// What a call is about: told only where keys are asked for.
pub(super) enum About<'a> {
    Store,
    Partition(&'a str),
    Key(&'a Key),
    Keys(&'a [Key]),
    /// Those of operations that the call takes for itself.
    Taken(Vec<Key>),
}

impl<'a> Call<'a> {
    pub(super) fn new(operation: &'static str, about: About<'a>) -> Self {
        Self {
            operation,
            about,
            batch: None,
            written: None,
        }
    }

    pub(super) fn get_many(keys: &'a [Key]) -> Self {
        Self {
            batch: Some(keys.len()),
            ..Self::new("get_many", About::Keys(keys))
        }
    }

    pub(super) fn put(key: &'a Key, value: usize) -> Self {
        Self {
            written: Some(value),
            ..Self::new("put", About::Key(key))
        }
    }

    pub(super) fn transact(ops: &[TransactOp], keys: bool) -> Self {
        let written = ops.iter().map(|op| match &op.action {
            Action::Put { value, .. } => value.len(),
            Action::Delete | Action::Check => 0,
        });
        let about = if keys {
            About::Taken(ops.iter().map(|op| op.key.clone()).collect())
        } else {
            About::Store
        };
        Self {
            batch: Some(ops.len()),
            written: Some(written.sum()),
            ..Self::new("transact", about)
        }
    }
}

impl About<'_> {
    pub(super) fn partition(&self) -> Option<&str> {
        match self {
            Self::Partition(partition) => Some(partition),
            _ => None,
        }
    }

    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Self::Key(key) => Some(key),
            _ => None,
        }
    }

    /// The keys of a batch, to be shown.
    pub(super) fn batch(&self) -> Option<impl fmt::Display> {
        match self {
            Self::Keys(_) | Self::Taken(_) => Some(Shown(self.keys())),
            _ => None,
        }
    }

    pub(super) fn keys(&self) -> &[Key] {
        match self {
            Self::Store | Self::Partition(_) => &[],
            Self::Key(key) => std::slice::from_ref(key),
            Self::Keys(keys) => keys,
            Self::Taken(keys) => keys,
        }
    }
}

/// The first keys of a batch, and how many are left out.
struct Shown<'a>(&'a [Key]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, key) in self.0.iter().take(KEYS_SHOWN).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{key}")?;
        }
        match self.0.len().saturating_sub(KEYS_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
