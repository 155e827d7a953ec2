//! What takes part in a comparison.

use std::future::Future;

use bytes::Bytes;

use super::Operation;

/// What a contestant does for an operation, for the reader of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// This work.
    Work(&'static str),
    /// This work, which is just what ours does: the same requests.
    Same(&'static str),
    /// This work, which stores just what ours does, by requests of the client's own.
    Alike(&'static str),
    /// This work, and what of ours it leaves out.
    Less(&'static str, &'static str),
    /// It cannot, and why.
    Cannot(&'static str),
}

impl Does {
    /// The work in words, or why it cannot.
    pub(crate) fn work(self) -> Result<String, &'static str> {
        match self {
            Self::Work(work) | Self::Alike(work) => Ok(work.to_owned()),
            Self::Same(work) => Ok(format!("*the same work*, {work}")),
            Self::Less(work, leaves_out) => Ok(format!("{work} (*less work*, without {leaves_out})")),
            Self::Cannot(why) => Err(why),
        }
    }

    /// Whether the ratio to it is what the crate costs, and nothing else.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Same(_) | Self::Alike(_))
    }
}

/// A store, or a client used directly: each method is one operation, written as one would who knows the client well.
///
/// A value is what it read: a method that is answered with anything but success panics, since a comparison of failures tells
/// nothing. Those of operations that it [cannot](Does::Cannot) do are never called.
pub(crate) trait Contestant: Clone + Send + Sync + 'static {
    /// An entry's place, made outside of what is measured.
    type Key: Clone + Send + Sync + 'static;
    /// What a compare-and-set compares.
    type Version: Send + 'static;

    fn name(&self) -> &str;

    fn does(&self, operation: Operation) -> Does;

    /// The largest value it takes, in bytes.
    fn max_value(&self) -> usize {
        usize::MAX
    }

    fn key(&self, partition: &str, id: &str) -> Self::Key;

    fn get(&self, key: &Self::Key) -> impl Future<Output = Option<Bytes>> + Send;

    fn put(&self, key: &Self::Key, value: Bytes) -> impl Future<Output = ()> + Send;

    /// Removes what may be there: between measurements, never within one.
    fn delete(&self, key: &Self::Key) -> impl Future<Output = ()> + Send;

    fn create(&self, _key: &Self::Key, _value: Bytes) -> impl Future<Output = Self::Version> + Send {
        async { unreachable!("`{}` says that it cannot create", self.name()) }
    }

    fn compare_and_set(
        &self,
        _key: &Self::Key,
        _expected: Self::Version,
        _value: Bytes,
    ) -> impl Future<Output = Self::Version> + Send {
        async { unreachable!("`{}` says that it cannot compare", self.name()) }
    }

    /// Writes the [next](super::next) value, whoever else does so at the time.
    fn update(&self, _key: &Self::Key) -> impl Future<Output = ()> + Send {
        async { unreachable!("`{}` says that it cannot update", self.name()) }
    }

    /// Reads the first entries of a partition, in order of their ids, and says how many there were.
    fn page(&self, _partition: &str, _limit: usize) -> impl Future<Output = usize> + Send {
        async { unreachable!("`{}` says that it cannot list", self.name()) }
    }

    /// Reads entries of one partition, and says how many there were.
    fn get_many(&self, _keys: &[Self::Key]) -> impl Future<Output = usize> + Send {
        async { unreachable!("`{}` says that it cannot get many", self.name()) }
    }

    /// Puts all or none, in one partition.
    fn transact(&self, _keys: &[Self::Key], _value: Bytes) -> impl Future<Output = ()> + Send {
        async { unreachable!("`{}` says that it cannot transact", self.name()) }
    }
}
