use std::fmt;
use std::time::Duration;

use crate::{Entry, Key, WriteId};

/// The result of a store's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, as a source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong. [`kind`](Error::kind) says which case it is; each kind's line says what to do next.
///
/// `Display` says one level, [`source`](std::error::Error::source) gives the next. No stored value and no
/// credential appears in either, or in `Debug`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The precondition did not hold, and nothing changed.
    #[error(transparent)]
    Conflict(Box<Conflict>),

    /// A key's part is empty or longer than the store takes. Nothing was sent.
    #[error("the key's {part} {problem}")]
    InvalidKey {
        /// Which part of the key.
        part: KeyPart,
        /// What is wrong with it.
        problem: KeyProblem,
    },

    /// A string that is no version of this store. Nothing was sent.
    #[error("`{version}` is not a version of this store: pass one that this store returned, unchanged")]
    InvalidVersion {
        /// The string, shortened and escaped.
        version: String,
    },

    /// An expiry that is not in the future, or too far in it. Nothing was sent; of a retry, an earlier attempt may have been applied.
    #[error("the expiry {reason}: give one from a millisecond from now up to the end of the year 9999")]
    InvalidTtl {
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A page token that is damaged or belongs to another query. Nothing was sent.
    #[error("the page token is damaged or belongs to another query: start again without a token")]
    InvalidToken,

    /// Options that cannot be meant, such as pages of no entries. Nothing was sent.
    #[error("invalid options: {reason}")]
    InvalidOptions {
        /// What is wrong, and what would be right.
        reason: &'static str,
    },

    /// A transaction over two partitions, or with a key twice. Nothing was sent.
    #[error("operation {op} of the transaction {reason}")]
    InvalidTransaction {
        /// The place of the first operation that is wrong, from 0.
        op: usize,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A value over [`max_value_bytes`](crate::Capabilities::max_value_bytes). Nothing was sent.
    #[error("the value has {size} bytes, more than the {limit} that this store takes")]
    ValueTooLarge {
        /// The value's size in bytes.
        size: usize,
        /// The store's limit in bytes.
        limit: usize,
    },

    /// More operations than [`max_transaction_ops`](crate::Capabilities::max_transaction_ops). Nothing was sent.
    #[error("the transaction has {count} operations, more than the {limit} that this store takes")]
    TooManyOps {
        /// How many there are.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },

    /// A transaction over [`max_transaction_bytes`](crate::Capabilities::max_transaction_bytes). Nothing was sent.
    #[error("the transaction has {size} bytes, more than the {limit} that this store takes")]
    TransactionTooLarge {
        /// Its size in bytes, keys and values.
        size: usize,
        /// The store's limit in bytes.
        limit: usize,
    },

    /// This store does not do that; its [`Capabilities`](crate::Capabilities) say so. Nothing was sent.
    #[error("{backend} does not support {what}")]
    Unsupported {
        /// The store's kind, as in [`Capabilities::backend`](crate::Capabilities::backend).
        backend: &'static str,
        /// What was asked for.
        what: &'static str,
    },

    /// The table, database or file is not there.
    #[error("{store} does not exist: {todo}")]
    StoreNotFound {
        /// What was looked for.
        store: String,
        /// How to make it.
        todo: String,
    },

    /// The file is held by another process or another store of this one.
    #[error("{store} is in use: {todo}")]
    InUse {
        /// What is in use.
        store: String,
        /// What to do.
        todo: String,
    },

    /// This store was [closed](crate::StateStore::close), by whichever clone. Nothing was applied.
    #[error("{store} was closed: {todo}")]
    Closed {
        /// What was closed.
        store: String,
        /// What to do.
        todo: String,
    },

    /// The service knows us not, or does not let us.
    #[error("not authorized: {todo}")]
    Unauthorized {
        /// Which right is missing, and where to give it.
        todo: String,
        /// The service's own error.
        #[source]
        source: Option<BoxError>,
    },

    /// The service asks for a slower pace. Nothing was applied.
    #[error("throttled by the service{}", After(*retry_after))]
    Throttled {
        /// How long the service asks to wait.
        retry_after: Option<Duration>,
        /// The service's own error.
        #[source]
        source: Option<BoxError>,
    },

    /// No room is left at the store. Nothing was applied.
    #[error("the store is full: {todo}")]
    StorageFull {
        /// How to make room.
        todo: String,
        /// The store's own error.
        #[source]
        source: Option<BoxError>,
    },

    /// The service could not be reached or could not serve.
    #[error("the store is unavailable{}: {reason}", MayBe(*applied))]
    Unavailable {
        /// Whether a write may have been applied all the same.
        applied: Applied,
        /// What is known of the reason.
        reason: String,
        /// The underlying error.
        #[source]
        source: Option<BoxError>,
    },

    /// No answer in time.
    #[error("no answer within {after:?}{}", MayBe(*applied))]
    Timeout {
        /// How long was waited.
        after: Duration,
        /// Whether a write may have been applied all the same.
        applied: Applied,
        /// The underlying error.
        #[source]
        source: Option<BoxError>,
    },

    /// Whether the write was applied cannot be told.
    #[error(
        "whether write {write_id} was applied cannot be told: {reason}; read the key to see what is there now"
    )]
    Indeterminate {
        /// The write in question.
        write_id: WriteId,
        /// Why it cannot be told.
        reason: String,
        /// The underlying error.
        #[source]
        source: Option<BoxError>,
    },

    /// What is stored is damaged, or not ours. It was left as it is.
    #[error("{what} is not readable: {reason}; it was left as it is")]
    Corrupt {
        /// What was read.
        what: String,
        /// What is wrong with it.
        reason: String,
        /// The underlying error.
        #[source]
        source: Option<BoxError>,
    },

    /// A value could not be encoded or decoded. It was left as it is.
    #[error("the value could not be {action}")]
    Codec {
        /// `encoded` or `decoded`.
        action: &'static str,
        /// The codec's error.
        #[source]
        source: Option<BoxError>,
    },

    /// A configuration that cannot be used: an unknown scheme or option, or one with a bad value.
    #[error("bad configuration: {reason}")]
    Config {
        /// What is wrong, and what is possible.
        reason: String,
        /// The underlying error.
        #[source]
        source: Option<BoxError>,
    },

    /// [`update`](crate::StateStoreExt::update) lost the race each time it tried. Nothing was applied.
    #[error("gave up after {attempts} attempts: others changed `{key}` each time")]
    Contended {
        /// The key that was fought over.
        key: Key,
        /// How often it was tried.
        attempts: u32,
        /// The last conflict.
        #[source]
        source: Option<BoxError>,
    },

    /// The caller's own function, given to [`update`](crate::StateStoreExt::update), refused. Nothing was applied.
    #[error("the update was aborted by its function")]
    Aborted {
        /// What the function returned.
        #[source]
        source: BoxError,
    },
}

/// The case an [`Error`] is, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Somebody else was first: decide again on what is there now.
    Conflict,
    /// Use a shorter, non-empty key.
    InvalidKey,
    /// Read the key and use the version it has.
    InvalidVersion,
    /// Give an expiry in the future.
    InvalidTtl,
    /// Start the listing again without a token.
    InvalidToken,
    /// Correct the options.
    InvalidOptions,
    /// Name each key once, and keep to one partition.
    InvalidTransaction,
    /// Store a smaller value.
    ValueTooLarge,
    /// Split the transaction.
    TooManyOps,
    /// Split the transaction.
    TransactionTooLarge,
    /// Use another store, or do without.
    Unsupported,
    /// Create the table, as the message says, or correct its name.
    StoreNotFound,
    /// Close the other user of the file, or use another file.
    InUse,
    /// Open it again; to repeat the call on this store is of no use.
    Closed,
    /// Correct the credentials or the rights.
    Unauthorized,
    /// Try again later, not before the time asked for.
    Throttled,
    /// Make room, then try again.
    StorageFull,
    /// Try again with the same write id.
    Unavailable,
    /// Try again with the same write id.
    Timeout,
    /// Read what is there and decide on that; do not assume either.
    Indeterminate,
    /// Look at what is stored; nothing was changed.
    Corrupt,
    /// Look at the value or at the type it is decoded into.
    Codec,
    /// Correct the configuration.
    Config,
    /// Try later, or spread the writes over more keys.
    Contended,
    /// The caller's own function said no.
    Aborted,
}

/// Whether a write that failed may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It was not, and will not be: it never left, or the service refused it.
    No,
    /// It may have been, or may still be.
    Maybe,
}

impl Error {
    /// A store's answer to a retry of the write `id` when what is there does not tell whether an earlier attempt was applied.
    #[must_use]
    pub fn indeterminate(id: WriteId) -> Self {
        Self::Indeterminate {
            write_id: id,
            reason: "an earlier attempt may have been applied and then overwritten, deleted or expired"
                .to_owned(),
            source: None,
        }
    }

    /// Which case this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::InvalidKey { .. } => ErrorKind::InvalidKey,
            Self::InvalidVersion { .. } => ErrorKind::InvalidVersion,
            Self::InvalidTtl { .. } => ErrorKind::InvalidTtl,
            Self::InvalidToken => ErrorKind::InvalidToken,
            Self::InvalidOptions { .. } => ErrorKind::InvalidOptions,
            Self::InvalidTransaction { .. } => ErrorKind::InvalidTransaction,
            Self::ValueTooLarge { .. } => ErrorKind::ValueTooLarge,
            Self::TooManyOps { .. } => ErrorKind::TooManyOps,
            Self::TransactionTooLarge { .. } => ErrorKind::TransactionTooLarge,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::StoreNotFound { .. } => ErrorKind::StoreNotFound,
            Self::InUse { .. } => ErrorKind::InUse,
            Self::Closed { .. } => ErrorKind::Closed,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Throttled { .. } => ErrorKind::Throttled,
            Self::StorageFull { .. } => ErrorKind::StorageFull,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Indeterminate { .. } => ErrorKind::Indeterminate,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Codec { .. } => ErrorKind::Codec,
            Self::Config { .. } => ErrorKind::Config,
            Self::Contended { .. } => ErrorKind::Contended,
            Self::Aborted { .. } => ErrorKind::Aborted,
        }
    }

    /// Whether nothing was applied and trying the same again may work.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. }
                | Self::Unavailable {
                    applied: Applied::No,
                    ..
                }
                | Self::Timeout {
                    applied: Applied::No,
                    ..
                }
        )
    }

    /// Whether the write may have been applied, or may still be, although this is an error.
    ///
    /// After a [`Timeout`](Self::Timeout) or [`Unavailable`](Self::Unavailable), repeat the same write with the same
    /// [`WriteId`] and the next [`Attempt`](crate::Attempt) until the answer is definite.
    /// [`Indeterminate`](Self::Indeterminate) is such an answer: repeating it tells no more. Only that of a
    /// [`Retry`](crate::layer::Retry) which ran out of time may have been given too early:
    /// [`resolve`](crate::StateStore::resolve) can tell later.
    #[must_use]
    pub fn may_have_applied(&self) -> bool {
        matches!(
            self,
            Self::Indeterminate { .. }
                | Self::Unavailable {
                    applied: Applied::Maybe,
                    ..
                }
                | Self::Timeout {
                    applied: Applied::Maybe,
                    ..
                }
        )
    }

    /// What is there instead, when this is a conflict.
    ///
    /// ```
    /// use statestore_api::{Current, MemoryStore, StateStoreExt};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
    /// let store = MemoryStore::new();
    /// let key = "user-42/cart".parse()?;
    /// store.create(&key, "one apple").await?;
    ///
    /// let error = store.create(&key, "one pear").await.unwrap_err();
    /// let Some(conflict) = error.conflict() else { return Err(error) };
    /// let Current::Entry(entry) = &conflict.current else { panic!("the memory store always says") };
    /// assert_eq!(entry.value, "one apple");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn conflict(&self) -> Option<&Conflict> {
        match self {
            Self::Conflict(conflict) => Some(conflict),
            _ => None,
        }
    }
}

/// A precondition that did not hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Conflict {
    /// The key whose condition failed.
    pub key: Key,
    /// The place of the operation in its transaction, from 0; `None` outside of one.
    pub op: Option<usize>,
    /// What is there now, where the service says so in the same reply.
    pub current: Current,
}

impl Conflict {
    /// The conflict on `key`, where `current` is now.
    #[must_use]
    pub fn new(key: Key, current: Current) -> Self {
        Self {
            key,
            op: None,
            current,
        }
    }

    /// The same, of operation `op` of a transaction, from 0.
    #[must_use]
    pub fn of_op(mut self, op: usize) -> Self {
        self.op = Some(op);
        self
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the precondition on `{}`", self.key)?;
        if let Some(op) = self.op {
            write!(f, " (operation {op} of the transaction)")?;
        }
        match &self.current {
            Current::Absent => f.write_str(" did not hold: the key is not there"),
            Current::Entry(entry) => write!(
                f,
                " did not hold: the key is there with version {}",
                entry.version
            ),
            Current::Unknown => f.write_str(" did not hold"),
        }
    }
}

impl std::error::Error for Conflict {}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(Box::new(conflict))
    }
}

/// What a conflict found under the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Current {
    /// Nothing: the key is missing or expired.
    Absent,
    /// This entry.
    Entry(Entry),
    /// The service did not say. Read the key.
    Unknown,
}

/// A part of a [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The partition.
    Partition,
    /// The id.
    Id,
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partition => "partition",
            Self::Id => "id",
        })
    }
}

/// What is wrong with a part of a [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyProblem {
    /// It has no text.
    Empty,
    /// It is longer than the store takes.
    TooLong {
        /// Its size in bytes, as the store counts them.
        size: usize,
        /// The store's limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty: both parts of a key need at least 1 byte"),
            Self::TooLong { size, limit } => {
                write!(f, "has {size} bytes, more than the {limit} that this store takes")
            }
        }
    }
}

/// `, retry after 2s`, or nothing.
struct After(Option<Duration>);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |wait| write!(f, ", which asks to wait {wait:?}"))
    }
}

/// Says that a write may have been applied, or nothing.
struct MayBe(Applied);

impl fmt::Display for MayBe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Applied::No => Ok(()),
            Applied::Maybe => f.write_str(" (the write may have been applied)"),
        }
    }
}
