use std::ops::Bound;

use super::check;
use crate::error::Result;
use crate::{Capabilities, ListOptions, PageToken};

/// A checked [`list_page`](crate::StateStore::list_page): where the page starts, what belongs to it, and the token of the next.
#[derive(Clone, Debug)]
pub struct ListQuery<'a> {
    partition: &'a str,
    options: &'a ListOptions,
    /// The id behind which the page starts; empty: before the first.
    after: String,
}

impl<'a> ListQuery<'a> {
    /// The query for this page.
    ///
    /// # Errors
    /// [`InvalidKey`](crate::Error::InvalidKey) for the partition, or for a prefix or start that is longer than an id may be; [`InvalidOptions`](crate::Error::InvalidOptions) for the page size,
    /// [`InvalidToken`](crate::Error::InvalidToken) for another query's token.
    pub fn new(capabilities: &Capabilities, partition: &'a str, options: &'a ListOptions) -> Result<Self> {
        check::partition(capabilities, partition)?;
        check::id(capabilities, &options.prefix)?;
        check::id(capabilities, &options.start_after)?;
        check::page_size(options.page_size)?;
        let mut query = Self {
            partition,
            options,
            after: options.start_after.clone(),
        };
        if let Some(token) = &options.page_token {
            query.after = token.open_text(&query.parts())?;
        }
        Ok(query)
    }

    fn parts(&self) -> [&str; 4] {
        [
            "list",
            self.partition,
            &self.options.prefix,
            &self.options.start_after,
        ]
    }

    /// Where the page starts, as an id in byte order.
    #[must_use]
    pub fn start(&self) -> Bound<&str> {
        if self.after < self.options.prefix {
            Bound::Included(&self.options.prefix)
        } else if self.after.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(&self.after)
        }
    }

    /// Whether `id` is listed. From [`start`](Self::start) on, the first that is not is the end.
    #[must_use]
    pub fn belongs(&self, id: &str) -> bool {
        id.starts_with(&self.options.prefix)
    }

    /// The token of the page behind `last`.
    #[must_use]
    pub fn next(&self, last: &str) -> PageToken {
        PageToken::seal(&self.parts(), last.as_bytes())
    }
}
