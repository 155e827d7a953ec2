//! What a case expects of a result, with messages for whoever reads the failed test.

use std::fmt::Debug;

use statestore_api::{Conflict, Current, Entry, Error, ErrorKind, Result};

/// The error that has to be there, of this kind.
pub(crate) fn refused<T: Debug>(what: &str, result: Result<T>, kind: ErrorKind) -> Error {
    match result {
        Err(error) if error.kind() == kind => error,
        Err(error) => panic!("{what}: should be {kind:?}, is {:?}: {error}", error.kind()),
        Ok(value) => panic!("{what}: should be {kind:?}, but succeeded with {value:?}"),
    }
}

/// The conflict that has to be there, whose `current`, if it says something, is what is really there.
pub(crate) fn conflict<T: Debug>(what: &str, result: Result<T>, there: Option<&Entry>) -> Conflict {
    let error = refused(what, result, ErrorKind::Conflict);
    let conflict = error
        .conflict()
        .unwrap_or_else(|| panic!("{what}: a conflict says what it is about"))
        .clone();
    match (&conflict.current, there) {
        (Current::Unknown, _) | (Current::Absent, None) => {}
        (Current::Entry(shown), Some(there)) if shown == there => {}
        (shown, there) => panic!("{what}: the conflict shows {shown:?}, but {there:?} is there"),
    }
    conflict
}

/// The value of a call that has to succeed.
pub(crate) fn ok<T>(what: &str, result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}
