use std::fmt;

use statestore_api::Key;

use super::Operation;

/// How much a check may do for each key, in states of the search.
///
/// A history of 1,000 operations of 8 clients takes some thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound(pub usize);

impl Default for Bound {
    fn default() -> Self {
        Self(200_000)
    }
}

/// What a check found.
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict {
    /// There is an order in which a store that keeps the contract could have done it.
    Linearizable,
    /// There is none.
    Violation(Violation),
    /// It was not found out within the bound. To be taken for a failure: a history that cannot be checked shows nothing.
    Unknown {
        /// Of which key.
        key: Key,
        /// How many operations it has.
        operations: usize,
        /// The bound.
        bound: Bound,
    },
}

impl Verdict {
    /// What is wrong, if it is known to be wrong.
    #[must_use]
    pub fn violation(self) -> Option<Violation> {
        match self {
            Self::Violation(violation) => Some(violation),
            _ => None,
        }
    }

    /// Panics unless the history is linearizable, with the part that cannot be.
    ///
    /// # Panics
    /// As it says.
    pub fn assert_linearizable(self) {
        match self {
            Self::Linearizable => {}
            Self::Violation(violation) => panic!("{violation}"),
            Self::Unknown {
                key,
                operations,
                bound: Bound(bound),
            } => panic!(
                "whether the {operations} operations of `{key}` are linearizable was not found out in {bound} states"
            ),
        }
    }
}

/// A part of a history that no store that keeps the contract could have made.
///
/// `Display` lists its operations, one a line, with the client, the times of invocation and completion, the call and
/// its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The key.
    pub key: Key,
    /// What is violated.
    pub rule: String,
    /// The operations that show it, in the order of their invocation. Before them the key may have had any state.
    pub part: Vec<Operation>,
}

impl Violation {
    pub(super) fn new(key: Key, rule: String, mut part: Vec<Operation>) -> Self {
        part.sort_by_key(|operation| operation.invoked);
        Self { key, rule, part }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the history of `{}` is not linearizable: {}",
            self.key, self.rule
        )?;
        for operation in &self.part {
            write!(f, "\n  {operation}")?;
        }
        Ok(())
    }
}
