//! What is checked before any request: the store's limits, and arguments that cannot be meant.

use std::collections::HashSet;

use bytes::Bytes;

use crate::error::{Error, KeyPart, KeyProblem, Result};
use crate::{Action, Capabilities, Key, ListOptions, Precondition, TransactOp};

/// # Errors
/// [`Error::InvalidKey`] when a part is longer than the store takes.
pub fn key(capabilities: &Capabilities, key: &Key) -> Result<()> {
    partition(capabilities, key.partition())?;
    id(capabilities, key.id())
}

/// # Errors
/// [`Error::InvalidKey`] when it is longer than the store takes. A part of an id, which this is for too, may be empty.
pub fn id(capabilities: &Capabilities, id: &str) -> Result<()> {
    part(KeyPart::Id, id, capabilities.max_id_bytes)
}

/// # Errors
/// [`Error::InvalidKey`] when it is empty or longer than the store takes.
pub fn partition(capabilities: &Capabilities, partition: &str) -> Result<()> {
    if partition.is_empty() {
        return Err(Error::InvalidKey {
            part: KeyPart::Partition,
            problem: KeyProblem::Empty,
        });
    }
    part(KeyPart::Partition, partition, capabilities.max_partition_bytes)
}

fn part(part: KeyPart, text: &str, limit: usize) -> Result<()> {
    let size = text.len();
    if size > limit {
        return Err(Error::InvalidKey {
            part,
            problem: KeyProblem::TooLong { size, limit },
        });
    }
    Ok(())
}

/// # Errors
/// [`Error::ValueTooLarge`].
pub fn value(capabilities: &Capabilities, value: &Bytes) -> Result<()> {
    let (size, limit) = (value.len(), capabilities.max_value_bytes);
    if size > limit {
        return Err(Error::ValueTooLarge { size, limit });
    }
    Ok(())
}

/// # Errors
/// [`Error::InvalidVersion`] when it names a version that is no [`Stamp`](super::Stamp).
pub fn stamp_of(precondition: &Precondition) -> Result<()> {
    match precondition {
        Precondition::Matches(version) => version.stamp().map(drop),
        _ => Ok(()),
    }
}

/// # Errors
/// [`Error::InvalidOptions`] for a `touch` that wants the key absent: it could never be applied.
pub fn touch(precondition: &Precondition) -> Result<()> {
    match precondition {
        Precondition::Absent => Err(Error::InvalidOptions {
            reason: "touch moves the expiry of an entry that is there, so `Absent` can never hold",
        }),
        _ => Ok(()),
    }
}

/// # Errors
/// [`Error::InvalidOptions`] unless it is 1 to [`ListOptions::MAX_PAGE_SIZE`].
pub fn page_size(size: usize) -> Result<()> {
    if !(1..=ListOptions::MAX_PAGE_SIZE).contains(&size) {
        return Err(Error::InvalidOptions {
            reason: "a page holds 1 to 1000 items",
        });
    }
    Ok(())
}

/// # Errors
/// [`Error::TooManyOps`], [`Error::InvalidTransaction`] for two partitions or a key twice, [`Error::TransactionTooLarge`],
/// and those of [`key`] and [`value()`].
pub fn transaction(capabilities: &Capabilities, ops: &[TransactOp]) -> Result<()> {
    let (count, limit) = (ops.len(), capabilities.max_transaction_ops);
    if count > limit {
        return Err(Error::TooManyOps { count, limit });
    }
    let mut ids = HashSet::with_capacity(count);
    let mut size = 0;
    for (
        op,
        TransactOp {
            key: op_key, action, ..
        },
    ) in ops.iter().enumerate()
    {
        key(capabilities, op_key)?;
        if op_key.partition() != ops[0].key.partition() {
            let reason = "is in another partition than the first: a transaction keeps to one";
            return Err(Error::InvalidTransaction { op, reason });
        }
        if !ids.insert(op_key.id()) {
            let reason = "names a key that an earlier one names: a transaction names each key once";
            return Err(Error::InvalidTransaction { op, reason });
        }
        size += op_key.partition().len() + op_key.id().len();
        if let Action::Put { value: bytes, .. } = action {
            value(capabilities, bytes)?;
            size += bytes.len();
        }
    }
    match capabilities.max_transaction_bytes {
        Some(limit) if size > limit => Err(Error::TransactionTooLarge { size, limit }),
        _ => Ok(()),
    }
}
