//! What the backends' batches have in common.

use std::collections::HashMap;

use statestore_api::{Applied, Entry, Error, Key, Result};

/// What became of each of `keys`, in their order, from what was found of each once. `check` refuses keys that were not
/// asked for.
pub(crate) fn in_order(
    keys: &[Key],
    mut found: HashMap<Key, Result<Option<Entry>>>,
    check: impl Fn(&Key) -> Result<()>,
) -> Vec<Result<Option<Entry>>> {
    let mut left: HashMap<&Key, usize> = HashMap::new();
    for key in keys {
        *left.entry(key).or_default() += 1;
    }
    keys.iter()
        .map(|key| {
            check(key)?;
            let uses = left.entry(key).or_default();
            *uses -= 1;
            match found.get(key) {
                None => Ok(None),
                Some(Ok(entry)) if *uses > 0 => Ok(entry.clone()),
                Some(Err(error)) if *uses > 0 => Err(again(error)),
                Some(_) => found.remove(key).unwrap_or(Ok(None)),
            }
        })
        .collect()
}

/// The same error of a read for another key of the request. Its source stays with the first.
pub(crate) fn again(error: &Error) -> Error {
    match error {
        Error::Throttled { retry_after, .. } => Error::Throttled {
            retry_after: *retry_after,
            source: None,
        },
        Error::Timeout { after, applied, .. } => Error::Timeout {
            after: *after,
            applied: *applied,
            source: None,
        },
        Error::StoreNotFound { store, todo } => Error::StoreNotFound {
            store: store.clone(),
            todo: todo.clone(),
        },
        Error::Unauthorized { todo, .. } => Error::Unauthorized {
            todo: todo.clone(),
            source: None,
        },
        Error::Corrupt { what, reason, .. } => Error::Corrupt {
            what: what.clone(),
            reason: reason.clone(),
            source: None,
        },
        Error::Config { reason, .. } => Error::Config {
            reason: reason.clone(),
            source: None,
        },
        Error::Unavailable { applied, reason, .. } => Error::Unavailable {
            applied: *applied,
            reason: reason.clone(),
            source: None,
        },
        error => Error::Unavailable {
            applied: Applied::No,
            reason: error.to_string(),
            source: None,
        },
    }
}
