//! Stores that get versions wrong.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use statestore_api::backend::{Mutation, Stamp, stable_hash};
use statestore_api::{
    Bytes, DeleteOptions, Entry, Error, GetOptions, Key, Precondition, PutOptions, Result, TouchOptions, Ttl,
    Version,
};

use crate::calls::{Get, Put};
use crate::fault::{Fault, Reader, Write};
use crate::pause;
use crate::table::{Slots, Table};

/// Versions that are numbers, bound to their key by its hash.
struct Numbered(fn(&Write<'_>) -> u64);

impl Fault for Numbered {
    fn version(&self, write: &Write<'_>) -> Version {
        version(hash(write.key), (self.0)(write))
    }

    fn stamp(&self, version: &Version) -> Result<Stamp> {
        stamp(version)
    }
}

fn version(of: u64, number: u64) -> Version {
    format!("n{of:016x}.{number}").parse().unwrap()
}

fn number(version: &Version) -> Option<u64> {
    let text = version.to_string();
    let (of, number) = text.strip_prefix('n')?.split_once('.')?;
    (of.len() == 16).then(|| number.parse().ok())?
}

/// The stamp of a number that is not there.
fn stamp(version: &Version) -> Result<Stamp> {
    match number(version) {
        Some(_) => Ok(Stamp::from_bytes([0; Stamp::LEN])),
        None => Err(Error::InvalidVersion {
            version: version.to_string(),
        }),
    }
}

fn hash(key: &Key) -> u64 {
    stable_hash([key.partition().as_bytes(), key.id().as_bytes()])
}

/// One more than what is there.
fn next(write: &Write<'_>) -> u64 {
    write.before.map_or(1, |slot| number(slot.version()).unwrap() + 1)
}

/// A counter in the entry, which goes with the entry. (Dapr's Redis store, Orleans' DynamoDB store.)
fn counts_from_one_again(write: &Write<'_>) -> u64 {
    next(write)
}

/// A counter that a write over an expired entry starts again.
fn counts_again_after_an_expiry(write: &Write<'_>) -> u64 {
    let expires_at = write.before.and_then(|slot| slot.expires_at);
    let gone = expires_at.is_none_or(|at| at <= write.now);
    match write.before {
        Some(_) if !gone || expires_at.is_none() => next(write),
        Some(_) => 1,
        None => fastrand::u64(1 << 32..1 << 62),
    }
}

/// The hash of the value, as an MD5 ETag is.
fn is_a_hash_of_the_value(write: &Write<'_>) -> u64 {
    stable_hash([&write.value[..]])
}

/// The time of the write, of which one millisecond has room for two.
fn is_a_timestamp(write: &Write<'_>) -> u64 {
    write.now
}

/// A write of the same value is taken for no write. (A trigger `WHEN OLD.value <> NEW.value`.)
fn stays_when_the_value_does(write: &Write<'_>) -> u64 {
    match write.before {
        Some(slot) if slot.value == write.value && write.mutation == Mutation::Put => {
            number(slot.version()).unwrap()
        }
        _ => fastrand::u64(..),
    }
}

/// A touch moves only the expiry.
fn stays_when_touched(write: &Write<'_>) -> u64 {
    match write.before {
        Some(slot) if write.mutation == Mutation::Touch => number(slot.version()).unwrap(),
        _ => fastrand::u64(..),
    }
}

/// A counter for each key that nothing starts again, and that says nothing of the key.
#[derive(Default)]
struct NotBoundToItsKey {
    counters: Mutex<HashMap<Key, u64>>,
}

impl Fault for NotBoundToItsKey {
    fn version(&self, write: &Write<'_>) -> Version {
        let mut counters = self.counters.lock().unwrap();
        let counter = counters.entry(write.key.clone()).or_default();
        *counter += 1;
        version(0, *counter)
    }

    fn stamp(&self, version: &Version) -> Result<Stamp> {
        stamp(version)
    }
}

/// A counter of the process, which the next process starts again.
#[derive(Default)]
struct CountsAgainAfterARestart {
    counter: Mutex<u64>,
}

impl Fault for CountsAgainAfterARestart {
    fn version(&self, write: &Write<'_>) -> Version {
        let mut counter = self.counter.lock().unwrap();
        *counter += 1;
        version(hash(write.key), *counter)
    }

    fn stamp(&self, version: &Version) -> Result<Stamp> {
        stamp(version)
    }

    fn restart(&self, _slots: &mut Slots) {
        *self.counter.lock().unwrap() = 0;
    }
}

/// The next number is made from what was read before, and so two writers make the same.
#[derive(Default)]
struct OneNumberForTwoWriters;

#[async_trait]
impl Fault for OneNumberForTwoWriters {
    fn version(&self, write: &Write<'_>) -> Version {
        version(hash(write.key), fastrand::u64(1 << 32..1 << 62))
    }

    fn stamp(&self, version: &Version) -> Result<Stamp> {
        stamp(version)
    }

    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let unconditional = options.precondition == Precondition::None && options.attempt.is_none();
        let before = table.slot(key);
        pause().await;
        let mut made = table.put(key, value, options)?;
        if let (Some(before), true) = (before, unconditional) {
            made = version(hash(key), number(before.version()).unwrap() + 1);
            table.slots().get_mut(key).unwrap().lineage[0].version = made.clone();
        }
        pause().await;
        Ok(made)
    }
}

/// The service, or a trigger of it, has made another than the reply said.
fn another(table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
    let stamp = table.put(key, value, options)?.stamp()?;
    Ok(Stamp::new(stamp.write_id(), stamp.nonce(key) + 1, key).into())
}

/// (A weak and a strong ETag.)
fn of_another_form(table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
    let mut entry = table.get(Reader::Get, key)?;
    if let Some(entry) = &mut entry {
        entry.version = format!("W.{}", entry.version).parse()?;
    }
    Ok(entry)
}

/// A string that is no version is one that does not match.
struct GarbageConflicts;

impl Fault for GarbageConflicts {
    fn stamp(&self, version: &Version) -> Result<Stamp> {
        Ok(version.stamp().unwrap_or(Stamp::from_bytes([0; Stamp::LEN])))
    }
}

/// A string that is no version is no condition. (Dapr's blank ETag.)
struct GarbageIsNoCondition;

impl GarbageIsNoCondition {
    fn read(precondition: &mut Precondition) {
        if let Precondition::Matches(version) = precondition
            && version.stamp().is_err()
        {
            *precondition = Precondition::None;
        }
    }
}

#[async_trait]
impl Fault for GarbageIsNoCondition {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, mut options: PutOptions) -> Result<Version> {
        Self::read(&mut options.precondition);
        table.put(key, value, options)
    }

    async fn delete(&self, table: &Table, key: &Key, mut options: DeleteOptions) -> Result<()> {
        Self::read(&mut options.precondition);
        table.delete(key, options)
    }

    async fn touch(&self, table: &Table, key: &Key, ttl: Ttl, mut options: TouchOptions) -> Result<Version> {
        Self::read(&mut options.precondition);
        table.touch(key, ttl, options)
    }
}

wrong_stores! {
    counts_from_one_again_after_a_delete: Numbered(counts_from_one_again) => fails {
        versions { no_version_is_reused_after_a_delete }
        conditions { matches_conflicts_after_delete_and_recreate }
        races { each_version_is_replaced_once }
        exactly_once {
            a_create_repeated_after_a_delete_makes_a_new_version
            a_compare_and_set_repeated_after_a_delete_is_indeterminate
            a_repeated_delete_that_finds_the_key_gone_is_indeterminate
        }
        expiry { sweep_removes_nothing_that_is_there }
        transactions { a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation }
        restart { no_version_is_reused expiry_goes_on }
        clock { a_clock_behind_only_prolongs_lives sweep_removes_what_has_expired }
    };
    counts_from_one_again_after_an_expiry: Numbered(counts_again_after_an_expiry) => fails {
        versions { no_version_is_reused_after_an_expiry }
        expiry { an_expired_entry_can_be_replaced }
    };
    counts_from_one_again_after_a_restart: CountsAgainAfterARestart::default() => fails {
        restart { no_version_is_reused }
    };
    makes_the_version_a_hash_of_the_value: Numbered(is_a_hash_of_the_value) => fails {
        versions {
            every_write_makes_a_new_version no_version_is_reused_after_a_delete
            no_version_is_reused_after_an_expiry no_version_is_given_to_two_writers
        }
        conditions { matches_conflicts_after_delete_and_recreate matches_compares_versions_not_values }
        races { of_many_writers_with_one_version_one_wins each_version_is_replaced_once }
        exactly_once {
            a_forgotten_write_is_indeterminate an_unconditional_write_is_applied_at_least_once
            a_retry_of_a_write_that_never_arrived_is_applied a_create_repeated_after_a_delete_makes_a_new_version
            a_repeated_delete_that_finds_a_newer_version_conflicts
        }
        expiry { an_expired_entry_can_be_replaced keep_keeps_the_expiry }
        touch { touch_makes_a_new_version }
        transactions { a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation }
        cancellation { a_dropped_write_is_whole_or_not_there }
        restart { no_version_is_reused }
        clock {
            an_entry_expires_in_its_millisecond a_clock_behind_only_prolongs_lives
            a_write_counts_whatever_the_clock_shows sweep_removes_what_has_expired
        }
    };
    makes_the_version_a_timestamp: Numbered(is_a_timestamp) => fails at least { versions { every_write_makes_a_new_version no_version_is_given_to_two_writers no_version_is_reused_after_a_delete } };
    keeps_the_version_when_the_value_stays: Numbered(stays_when_the_value_does) => fails {
        versions {
            every_write_makes_a_new_version no_version_is_reused_after_a_delete
            no_version_is_reused_after_an_expiry no_version_is_given_to_two_writers
        }
        conditions { matches_conflicts_after_delete_and_recreate }
        races { of_many_writers_with_one_version_one_wins each_version_is_replaced_once }
        restart { no_version_is_reused }
        clock { a_clock_behind_only_prolongs_lives }
    };
    keeps_the_version_when_touched: Numbered(stays_when_touched) => fails {
        versions { every_write_makes_a_new_version }
        races { of_many_writers_with_one_version_one_wins }
        exactly_once {
            a_forgotten_write_is_indeterminate a_retry_of_a_write_that_never_arrived_is_applied
            a_repeated_delete_that_finds_a_newer_version_conflicts
        }
        expiry { keep_keeps_the_expiry }
        touch { touch_makes_a_new_version }
        cancellation { a_dropped_write_is_whole_or_not_there }
        restart { no_version_is_reused }
        clock { an_entry_expires_in_its_millisecond a_write_counts_whatever_the_clock_shows }
    };
    gives_two_writers_one_version: OneNumberForTwoWriters => fails {
        versions { no_version_is_given_to_two_writers }
    };
    binds_no_version_to_its_key: NotBoundToItsKey::default() => fails {
        versions { a_version_matches_no_other_key }
        exactly_once { one_write_id_on_two_keys_is_two_writes }
        transactions { versions_are_returned_for_puts a_hundred_operations_apply }
        clock { a_clock_behind_only_prolongs_lives }
    };
    returns_another_version_than_get_shows: Put(another) => fails at least { versions { put_returns_the_version_that_reads_show a_version_survives_text } };
    shows_another_form_of_a_version_than_it_takes: Get(of_another_form) => fails at least { versions { put_returns_the_version_that_reads_show } races { increments_add_up } };
    takes_garbage_for_a_version: GarbageConflicts => fails {
        versions { what_is_no_version_is_refused }
        batches { put_many_fails_for_a_conflict_alone }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    takes_garbage_for_no_condition: GarbageIsNoCondition => fails {
        versions { what_is_no_version_is_refused }
        batches { put_many_fails_for_a_conflict_alone }
    };
}
