use crate::error::{Error, Result};
use crate::{Entry, Page, Resolution, Version};

/// What a store answers, as far as it is told about.
pub(super) trait Answer: Send {
    /// Why it failed; of a batch, the first failure.
    fn error(&self) -> Option<&Error>;

    /// What it holds, where it can hold entries.
    fn entries(&self) -> Option<Entries>;
}

/// How many entries there are, and how many bytes their values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Entries {
    fn add(mut self, value: usize) -> Self {
        self.count += 1;
        self.bytes += value;
        self
    }
}

/// What a call returns that did not fail.
pub(super) trait Returned: Send {
    fn entries(&self) -> Option<Entries> {
        None
    }
}

impl Returned for () {}
impl Returned for u64 {}
impl Returned for Version {}
impl Returned for Resolution {}
impl Returned for Vec<Option<Version>> {}

impl Returned for Option<Entry> {
    fn entries(&self) -> Option<Entries> {
        let values = self.iter().map(|entry| entry.value.len());
        Some(values.fold(Entries::default(), Entries::add))
    }
}

impl Returned for Page {
    fn entries(&self) -> Option<Entries> {
        // Of a listing of keys alone, the keys.
        let values = self
            .items
            .iter()
            .map(|item| item.entry.as_ref().map_or(0, |entry| entry.value.len()));
        Some(values.fold(Entries::default(), Entries::add))
    }
}

impl<T: Returned> Answer for Result<T> {
    fn error(&self) -> Option<&Error> {
        self.as_ref().err()
    }

    fn entries(&self) -> Option<Entries> {
        self.as_ref().ok().and_then(Returned::entries)
    }
}

impl Answer for Vec<Result<Option<Entry>>> {
    fn error(&self) -> Option<&Error> {
        self.iter().find_map(|result| result.as_ref().err())
    }

    fn entries(&self) -> Option<Entries> {
        let found = self.iter().filter_map(|result| result.as_ref().ok()?.as_ref());
        let values = found.map(|entry| entry.value.len());
        Some(values.fold(Entries::default(), Entries::add))
    }
}
