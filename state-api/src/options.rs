use crate::{Attempt, PageToken, Precondition, Ttl, Version, WriteId};

/// How fresh a read has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read began.
    #[default]
    Strong,
    /// May miss the last writes, where the service has such reads and they cost less.
    Eventual,
}

/// How to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetOptions {
    /// How fresh the answer has to be.
    pub consistency: Consistency,
}

impl From<Consistency> for GetOptions {
    fn from(consistency: Consistency) -> Self {
        Self { consistency }
    }
}

/// How to write a value.
///
/// ```
/// use std::time::Duration;
/// use statestore_api::{Precondition, PutOptions, Ttl};
///
/// let always = PutOptions::default();
/// let create = PutOptions::from(Precondition::Absent);
/// let create_for_an_hour = create.with_ttl(Ttl::After(Duration::from_secs(3600)));
/// # let _ = (always, create_for_an_hour);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOptions {
    /// What has to hold.
    pub precondition: Precondition,
    /// When the value expires.
    pub ttl: Ttl,
    /// Which write this is an attempt of; `None`: the first of a new one.
    pub attempt: Option<Attempt>,
}

impl PutOptions {
    /// An unconditional put that expires.
    #[must_use]
    pub fn expiring(ttl: Ttl) -> Self {
        Self {
            ttl,
            ..Self::default()
        }
    }

    /// The same with this expiry.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// What has to hold.
    pub precondition: Precondition,
    /// Which write this is an attempt of; `None`: the first of a new one.
    pub attempt: Option<Attempt>,
}

/// How to move an expiry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TouchOptions {
    /// What has to hold. The key has to be there in any case.
    pub precondition: Precondition,
    /// Which write this is an attempt of; `None`: the first of a new one.
    pub attempt: Option<Attempt>,
}

/// How to apply a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactOptions {
    /// Which write the whole transaction is an attempt of; `None`: the first of a new one.
    pub attempt: Option<Attempt>,
}

/// The constructors that each mutation's options share.
macro_rules! mutation_options {
    ($($name:ident { $($precondition:ident)? }),+) => {$(
        impl $name {
            /// The same as this attempt of a write.
            #[must_use]
            pub fn with_attempt(mut self, attempt: Attempt) -> Self {
                self.attempt = Some(attempt);
                self
            }

            /// The same as the first attempt of this write.
            #[must_use]
            pub fn with_write_id(self, id: WriteId) -> Self {
                self.with_attempt(Attempt::first(id))
            }
        }

        $(
            impl From<Precondition> for $name {
                fn from($precondition: Precondition) -> Self {
                    Self { $precondition, ..Self::default() }
                }
            }

            impl From<Version> for $name {
                /// Only where the key has this version.
                fn from(version: Version) -> Self {
                    Precondition::Matches(version).into()
                }
            }
        )?
    )+};
}

mutation_options!(
    PutOptions { precondition },
    DeleteOptions { precondition },
    TouchOptions { precondition },
    TransactOptions {}
);

/// What a listing returns of each entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Projection {
    /// Key, value, version and expiry.
    #[default]
    Entries,
    /// The key alone, which is cheaper.
    Keys,
}

/// Which part of a partition to list, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions {
    /// Only ids that start with this. Empty: all.
    pub prefix: String,
    /// Only ids behind this one, in byte order; it need not be there. Empty: from the first.
    pub start_after: String,
    /// At most this many items a page, 1 to [`ListOptions::MAX_PAGE_SIZE`].
    pub page_size: usize,
    /// What to return.
    pub projection: Projection,
    /// How fresh the answer has to be.
    pub consistency: Consistency,
    /// The [`next`](crate::Page::next) of the page before, from a query with the same partition, prefix and start.
    pub page_token: Option<PageToken>,
}

impl ListOptions {
    /// The largest page there is, in items.
    pub const MAX_PAGE_SIZE: usize = 1000;

    /// The same, only for ids that start with `prefix`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The same, only for ids behind `id` in byte order.
    #[must_use]
    pub fn with_start_after(mut self, id: impl Into<String>) -> Self {
        self.start_after = id.into();
        self
    }
}

impl Default for ListOptions {
    /// All entries, 100 a page, strongly consistent.
    fn default() -> Self {
        Self {
            prefix: String::new(),
            start_after: String::new(),
            page_size: 100,
            projection: Projection::default(),
            consistency: Consistency::default(),
            page_token: None,
        }
    }
}

/// How to walk the whole store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanOptions {
    /// At most this many items a page, 1 to [`ListOptions::MAX_PAGE_SIZE`].
    pub page_size: usize,
    /// What to return.
    pub projection: Projection,
    /// How fresh the answer has to be.
    pub consistency: Consistency,
    /// The [`next`](crate::Page::next) of the page before.
    pub page_token: Option<PageToken>,
}

impl Default for ScanOptions {
    /// All entries, 100 a page, strongly consistent.
    fn default() -> Self {
        Self {
            page_size: 100,
            projection: Projection::default(),
            consistency: Consistency::default(),
            page_token: None,
        }
    }
}

/// The setters that each listing's options share.
macro_rules! listing_options {
    ($($name:ident),+) => {$(
        impl $name {
            /// The same with at most this many items a page.
            #[must_use]
            pub fn with_page_size(mut self, page_size: usize) -> Self {
                self.page_size = page_size;
                self
            }

            /// The same, returning this of each entry.
            #[must_use]
            pub fn with_projection(mut self, projection: Projection) -> Self {
                self.projection = projection;
                self
            }

            /// The same from where the page before ended.
            #[must_use]
            pub fn with_page_token(mut self, token: PageToken) -> Self {
                self.page_token = Some(token);
                self
            }
        }
    )+};
}

listing_options!(ListOptions, ScanOptions);
