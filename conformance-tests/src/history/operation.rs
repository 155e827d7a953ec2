use std::collections::BTreeMap;
use std::fmt;

use statestore_api::{Key, Version};

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A read.
    Get,
    /// A conditional write: a compare-and-set, or for `None` a create.
    Put {
        /// What is written. No other write of the key writes the same.
        value: u64,
        /// The version that has to be there: one that an operation of the history has seen.
        expected: Option<Version>,
    },
    /// A conditional delete.
    Delete {
        /// The version that has to be there: one that an operation of the history has seen.
        expected: Version,
    },
}

impl Call {
    /// Whether it can change something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Get)
    }

    /// What a write expects: a version, or absence. A read expects nothing.
    pub(super) fn expected(&self) -> Option<Option<&Version>> {
        match self {
            Self::Get => None,
            Self::Put { expected, .. } => Some(expected.as_ref()),
            Self::Delete { expected } => Some(Some(expected)),
        }
    }
}

/// A value with the version it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The value.
    pub value: u64,
    /// Its version.
    pub version: Version,
}

/// How an operation was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The read found this.
    Read(Option<Seen>),
    /// The put was applied and made this version.
    Written(Version),
    /// The delete was applied.
    Deleted,
    /// The precondition did not hold. `Some`: and the answer showed what was there.
    Refused(Option<Option<Seen>>),
    /// No answer, or one that leaves open whether it was applied, or may still be.
    Unknown,
}

impl Outcome {
    /// What the answer shows to be there.
    pub(super) fn seen(&self) -> Option<&Seen> {
        match self {
            Self::Read(seen) | Self::Refused(Some(seen)) => seen.as_ref(),
            _ => None,
        }
    }
}

/// One operation of one client on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which client.
    pub client: usize,
    /// When it was invoked: a number that grows with real time, across all clients and keys.
    pub invoked: u64,
    /// When it was completed. `None` if and only if the outcome is [`Outcome::Unknown`].
    pub completed: Option<u64>,
    /// What was asked for.
    pub call: Call,
    /// What came of it.
    pub outcome: Outcome,
}

impl Operation {
    /// When it was over, if ever.
    pub(super) fn end(&self) -> u64 {
        self.completed.unwrap_or(u64::MAX)
    }

    /// Whether it is known to have been applied.
    pub(super) fn is_acknowledged(&self) -> bool {
        matches!(self.outcome, Outcome::Written(_) | Outcome::Deleted)
    }
}

/// Versions are long; their first characters tell them apart.
fn short(version: &Version) -> String {
    version.to_string().chars().take(10).collect()
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self
            .completed
            .map_or_else(|| "…".to_owned(), |completed| completed.to_string());
        write!(f, "client {:<2} [{:>6} – {end:>6}]  ", self.client, self.invoked)?;
        match &self.call {
            Call::Get => write!(f, "get")?,
            Call::Put {
                value,
                expected: None,
            } => write!(f, "create {value}")?,
            Call::Put {
                value,
                expected: Some(version),
            } => write!(f, "compare_and_set {} to {value}", short(version))?,
            Call::Delete { expected } => write!(f, "delete {}", short(expected))?,
        }
        let show = |seen: &Option<Seen>| match seen {
            Some(seen) => format!("{} of version {}", seen.value, short(&seen.version)),
            None => "nothing".to_owned(),
        };
        match &self.outcome {
            Outcome::Read(seen) => write!(f, ": {}", show(seen)),
            Outcome::Written(version) => write!(f, ": ok, version {}", short(version)),
            Outcome::Deleted => write!(f, ": ok"),
            Outcome::Refused(None) => write!(f, ": conflict"),
            Outcome::Refused(Some(seen)) => write!(f, ": conflict with {}", show(seen)),
            Outcome::Unknown => write!(f, ": unknown"),
        }
    }
}

/// The operations of a run, by key, each in the order of their invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    by_key: BTreeMap<Key, Vec<Operation>>,
}

impl History {
    /// Adds an operation.
    pub fn push(&mut self, key: &Key, operation: Operation) {
        let operations = self.by_key.entry(key.clone()).or_default();
        let place = operations.partition_point(|before| before.invoked <= operation.invoked);
        operations.insert(place, operation);
    }

    /// The operations of each key.
    pub fn keys(&self) -> impl Iterator<Item = (&Key, &[Operation])> {
        self.by_key
            .iter()
            .map(|(key, operations)| (key, operations.as_slice()))
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many operations are of unknown outcome.
    #[must_use]
    pub fn unknown(&self) -> usize {
        let all = self.by_key.values().flatten();
        all.filter(|operation| operation.outcome == Outcome::Unknown)
            .count()
    }
}
