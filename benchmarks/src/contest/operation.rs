//! What is compared.

use std::fmt;

/// How many entries a page or a batch has, unless they are large.
const MANY: usize = 100;
const MANY_LARGE: usize = 5;

/// How many puts a transaction has.
pub(crate) const TRANSACTION: usize = 10;

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Get,
    Put,
    Create,
    CompareAndSet,
    /// All tasks change one entry: read, decide, write, again when another was faster.
    Update,
    Page,
    GetMany,
    Transact,
}

impl Operation {
    pub(crate) const ALL: [Self; 8] = [
        Self::Get,
        Self::Put,
        Self::Create,
        Self::CompareAndSet,
        Self::Update,
        Self::Page,
        Self::GetMany,
        Self::Transact,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Create => "create",
            Self::CompareAndSet => "compare-and-set",
            Self::Update => "contended update",
            Self::Page => "list page",
            Self::GetMany => "get_many",
            Self::Transact => "transaction",
        }
    }

    /// Whether one call is about many entries.
    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Self::Page | Self::GetMany | Self::Transact)
    }

    /// How many entries one call is about.
    pub(crate) fn entries(self, size: usize) -> usize {
        match self {
            Self::Page | Self::GetMany if size > 10_000 => MANY_LARGE,
            Self::Page | Self::GetMany => MANY,
            Self::Transact => TRANSACTION,
            _ => 1,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How much of an operation: its tasks at once, how often each does it, and the value's size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) size: usize,
    pub(crate) tasks: usize,
    pub(crate) times: u64,
}

impl Load {
    pub(crate) fn operations(self) -> u64 {
        self.tasks as u64 * self.times
    }
}

/// `100 B`, `1 KB`.
pub(crate) fn size_name(size: usize) -> String {
    match size {
        ..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{} KB", size / 1024),
        _ => format!("{} MB", size / 1_048_576),
    }
}
