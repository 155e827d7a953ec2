//! What goes wrong with a file, as the errors of the contract.

use std::io;
use std::path::Path;
use std::sync::Arc;

use statestore_api::{Applied, BoxError, Error};

/// What stopped the work on a file. Cloned for each of those who waited for it.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// redb's own error, or the operating system's.
    Redb(Arc<redb::Error>),
    /// redb panicked, which it does on some damaged files.
    Panicked,
    /// The file is there and has no bytes.
    Empty,
    /// A database of redb that holds something else.
    Foreign,
    /// A store of ours in a format that is not known here.
    Format(u64),
    /// The path is that of a directory, a device or a pipe.
    NotAFile,
    /// There is no file and none is to be created.
    NoFile,
    /// There is no directory to create the file in.
    NoDirectory,
    /// The store was closed.
    Closed,
    /// The thread that writes ended before it answered.
    NoWriter,
}

impl Failure {
    pub(super) fn io(error: io::Error) -> Self {
        Self::Redb(Arc::new(redb::Error::Io(error)))
    }

    /// The error for a caller whose mutation was, or may have been, `applied`.
    pub(super) fn error(&self, path: &Path, applied: Applied) -> Error {
        use io::ErrorKind as Io;
        use redb::Error as Redb;

        let file = || format!("the file `{}`", path.display());
        let directory = || {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            directory.unwrap_or(Path::new(".")).display().to_string()
        };
        let source: Option<BoxError> = match self {
            Self::Redb(error) => Some(Box::new(Arc::clone(error))),
            _ => None,
        };
        let corrupt = |reason: &str, source| Error::Corrupt {
            what: file(),
            reason: reason.to_owned(),
            source,
        };
        let unavailable = |reason: &str, source| Error::Unavailable {
            applied,
            reason: format!("{}: {reason}", file()),
            source,
        };
        match self {
            Self::Redb(error) => match &**error {
                Redb::DatabaseAlreadyOpen | Redb::LockProtocolMismatch => Error::InUse {
                    store: file(),
                    todo: "close the store, or end the process, that has it open; only one can".to_owned(),
                },
                Redb::Io(error) => match error.kind() {
                    Io::NotFound => Error::StoreNotFound {
                        store: file(),
                        todo: "it was removed or renamed; open it again to make a new one".to_owned(),
                    },
                    Io::PermissionDenied | Io::ReadOnlyFilesystem => Error::Unauthorized {
                        todo: format!(
                            "let this process read and write {} and its directory, and mount that writable",
                            file()
                        ),
                        source,
                    },
                    // `StorageFull` says that nothing was applied.
                    Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge if applied == Applied::No => {
                        Error::StorageFull {
                            todo: format!("make room on the disk, or in the quota, of {}", file()),
                            source,
                        }
                    }
                    Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
                        unavailable("its disk or quota is full: make room", source)
                    }
                    Io::InvalidData => corrupt("it is no database of this store", source),
                    Io::UnexpectedEof => corrupt("it is truncated: restore it from a copy", source),
                    _ => unavailable("reading or writing it failed: look at the disk", source),
                },
                Redb::Corrupted(_) => corrupt("it is damaged or truncated: restore it from a copy", source),
                Redb::UpgradeRequired(_) => corrupt("it has a format of redb that is too old", source),
                Redb::TableTypeMismatch { .. }
                | Redb::TableIsMultimap(_)
                | Redb::TableIsNotMultimap(_)
                | Redb::TypeDefinitionChanged { .. }
                | Redb::TableDoesNotExist(_) => corrupt("it holds other tables than a store's", source),
                _ => unavailable("the database failed", source),
            },
            Self::Panicked => corrupt(
                "reading it failed half way: it is damaged, restore it from a copy",
                None,
            ),
            Self::Empty => corrupt(
                "it is empty, which a store's file never is: remove it to start with a new one",
                None,
            ),
            Self::Foreign => corrupt("it is a redb database of something else: name another file", None),
            Self::Format(format) => corrupt(
                &format!("it has format {format}, which this version does not know: use a newer one"),
                None,
            ),
            Self::NotAFile => Error::Config {
                reason: format!("`{}` is no file: name a file in a directory", path.display()),
                source: None,
            },
            Self::NoFile => Error::StoreNotFound {
                store: file(),
                todo: "correct the path, or open it with `create` to make a new one".to_owned(),
            },
            Self::NoDirectory => Error::StoreNotFound {
                store: file(),
                todo: format!(
                    "create the directory `{}` first, or correct the path",
                    directory()
                ),
            },
            Self::Closed | Self::NoWriter if applied == Applied::No => Error::Closed {
                store: file(),
                todo: "open it again".to_owned(),
            },
            Self::Closed => unavailable("this store was closed: open it again", None),
            Self::NoWriter => unavailable("the thread that writes it ended: open it again", None),
        }
    }
}

/// The errors of redb's calls.
macro_rules! from_redb {
    ($($error:ty),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Redb(Arc::new(error.into()))
            }
        }
    )+};
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError
);

/// Why one call has no result.
#[derive(Debug)]
pub(super) enum Stop {
    /// This call is refused; the file is sound.
    Refused(Error),
    /// The work on the file stopped.
    Failed(Failure),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

#[cfg(test)]
mod tests {
    use statestore_api::ErrorKind;

    use super::*;

    fn error(failure: &Failure, applied: Applied) -> Error {
        failure.error(Path::new("/data/state.redb"), applied)
    }

    fn redb(error: redb::Error) -> Failure {
        Failure::Redb(Arc::new(error))
    }

    #[test]
    fn each_row_has_its_kind_and_says_what_to_do() {
        use io::ErrorKind as Io;
        use redb::Error as Redb;

        let io = |kind: Io| Failure::io(kind.into());
        let mismatch = Redb::TableTypeMismatch {
            table: "entries".to_owned(),
            key: redb::TypeName::new("k"),
            value: redb::TypeName::new("v"),
        };
        let changed = Redb::TypeDefinitionChanged {
            name: redb::TypeName::new("k"),
            alignment: 1,
            width: None,
        };
        let rows = [
            (
                redb(Redb::DatabaseAlreadyOpen),
                ErrorKind::InUse,
                "close the store",
            ),
            (
                redb(Redb::LockProtocolMismatch),
                ErrorKind::InUse,
                "close the store",
            ),
            (io(Io::NotFound), ErrorKind::StoreNotFound, "open it again"),
            (
                io(Io::PermissionDenied),
                ErrorKind::Unauthorized,
                "let this process",
            ),
            (
                io(Io::ReadOnlyFilesystem),
                ErrorKind::Unauthorized,
                "mount that writable",
            ),
            (io(Io::StorageFull), ErrorKind::StorageFull, "make room"),
            (io(Io::QuotaExceeded), ErrorKind::StorageFull, "make room"),
            (io(Io::FileTooLarge), ErrorKind::StorageFull, "make room"),
            (io(Io::InvalidData), ErrorKind::Corrupt, "no database"),
            (io(Io::UnexpectedEof), ErrorKind::Corrupt, "restore it"),
            (io(Io::Other), ErrorKind::Unavailable, "look at the disk"),
            (
                redb(Redb::Corrupted("x".to_owned())),
                ErrorKind::Corrupt,
                "restore it",
            ),
            (redb(Redb::UpgradeRequired(1)), ErrorKind::Corrupt, "too old"),
            (redb(mismatch), ErrorKind::Corrupt, "other tables"),
            (redb(changed), ErrorKind::Corrupt, "other tables"),
            (
                redb(Redb::TableIsMultimap("t".to_owned())),
                ErrorKind::Corrupt,
                "other tables",
            ),
            (
                redb(Redb::TableIsNotMultimap("t".to_owned())),
                ErrorKind::Corrupt,
                "other tables",
            ),
            (
                redb(Redb::TableDoesNotExist("t".to_owned())),
                ErrorKind::Corrupt,
                "other tables",
            ),
            (
                redb(Redb::PreviousIo),
                ErrorKind::Unavailable,
                "the database failed",
            ),
            (
                redb(Redb::DatabaseClosed),
                ErrorKind::Unavailable,
                "the database failed",
            ),
            (Failure::Panicked, ErrorKind::Corrupt, "restore it"),
            (Failure::Empty, ErrorKind::Corrupt, "remove it"),
            (Failure::Foreign, ErrorKind::Corrupt, "name another file"),
            (Failure::Format(9), ErrorKind::Corrupt, "format 9"),
            (Failure::NotAFile, ErrorKind::Config, "name a file"),
            (Failure::NoFile, ErrorKind::StoreNotFound, "correct the path"),
            (
                Failure::NoDirectory,
                ErrorKind::StoreNotFound,
                "create the directory `/data`",
            ),
            (Failure::Closed, ErrorKind::Closed, "open it again"),
            (Failure::NoWriter, ErrorKind::Closed, "open it again"),
        ];
        for (failure, kind, todo) in rows {
            let error = error(&failure, Applied::No);
            assert_eq!(error.kind(), kind, "{failure:?}");
            let text = error.to_string();
            assert!(text.contains(todo) && text.contains("/data"), "{text}");
            assert!(!error.may_have_applied(), "{failure:?}");
            assert_eq!(
                error.is_retryable(),
                kind == ErrorKind::Unavailable,
                "{failure:?}"
            );
        }
    }

    #[test]
    fn a_write_that_may_have_been_applied_is_never_called_refused() {
        for failure in [
            Failure::io(io::ErrorKind::StorageFull.into()),
            Failure::io(io::ErrorKind::Other.into()),
            Failure::NoWriter,
        ] {
            let error = error(&failure, Applied::Maybe);
            assert!(error.may_have_applied() && !error.is_retryable(), "{error}");
        }
    }

    #[test]
    fn the_source_is_kept() {
        let error = error(&Failure::io(io::ErrorKind::StorageFull.into()), Applied::No);
        assert!(std::error::Error::source(&error).is_some_and(|source| source.is::<Arc<redb::Error>>()));
    }
}
