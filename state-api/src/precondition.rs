use crate::{Entry, Version};

/// What has to hold of a key for a mutation to be applied. Checking and writing are one atomic step.
///
/// An expired key counts as missing in every one of them, however late the service sweeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Always holds.
    #[default]
    None,
    /// The key is missing or expired.
    Absent,
    /// The key is there and not expired.
    Exists,
    /// The key is there, not expired, and its version is this one.
    Matches(Version),
}

impl From<Option<&Version>> for Precondition {
    /// What a compare-and-set expects: this version, or nothing.
    fn from(expected: Option<&Version>) -> Self {
        expected.map_or(Self::Absent, |version| Self::Matches(version.clone()))
    }
}

impl From<Option<&Entry>> for Precondition {
    /// That the key is as it was read: this entry, or nothing.
    fn from(read: Option<&Entry>) -> Self {
        read.map(|entry| &entry.version).into()
    }
}
