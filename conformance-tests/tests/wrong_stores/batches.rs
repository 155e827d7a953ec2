//! Stores that answer a batch of reads wrongly.

use std::collections::HashSet;

use statestore_api::{Error, Key};

use crate::calls::{Entries, GetMany};

fn refused() -> Error {
    Error::InvalidOptions {
        reason: "the service says: ValidationError",
    }
}

fn without_the_missing(_: &[Key], entries: Entries) -> Entries {
    entries
        .into_iter()
        .filter(|entry| !matches!(entry, Ok(None)))
        .collect()
}

/// A service takes no key twice.
fn each_once(keys: &[Key], entries: Entries) -> Entries {
    let mut seen = HashSet::new();
    let first = keys.iter().zip(entries).filter(|(key, _)| seen.insert(*key));
    first.map(|(_, entry)| entry).collect()
}

/// The answer to a key that is asked for twice goes to the first.
fn to_the_first_alone(keys: &[Key], entries: Entries) -> Entries {
    let mut seen = HashSet::new();
    let answer = |(key, entry)| if seen.insert(key) { entry } else { Ok(None) };
    keys.iter().zip(entries).map(answer).collect()
}

fn in_order_of_keys(keys: &[Key], entries: Entries) -> Entries {
    let mut all: Vec<_> = keys.iter().zip(entries).collect();
    all.sort_by_key(|(key, _)| *key);
    all.into_iter().map(|(_, entry)| entry).collect()
}

/// What the service left unprocessed. (go-cloud on DynamoDB.)
fn a_hundred(_: &[Key], entries: Entries) -> Entries {
    let answer = |(place, entry)| if place < 100 { entry } else { Ok(None) };
    entries.into_iter().enumerate().map(answer).collect()
}

fn a_mebibyte(_: &[Key], entries: Entries) -> Entries {
    let mut size = 0;
    let fits = |entry| {
        size += match &entry {
            Ok(Some(statestore_api::Entry { value, .. })) => value.len(),
            _ => 0,
        };
        if size <= 1 << 20 { entry } else { Ok(None) }
    };
    entries.into_iter().map(fits).collect()
}

fn all_or_nothing(_: &[Key], entries: Entries) -> Entries {
    let failed = entries.iter().any(Result::is_err);
    let answer = |entry: Result<_, _>| if failed { entry.and(Err(refused())) } else { entry };
    entries.into_iter().map(answer).collect()
}

fn no_more_than_a_hundred(_: &[Key], entries: Entries) -> Entries {
    let refuses = entries.len() > 100;
    let answer = |entry| if refuses { Err(refused()) } else { entry };
    entries.into_iter().map(answer).collect()
}

fn an_error_for_nothing(keys: &[Key], entries: Entries) -> Entries {
    if keys.is_empty() {
        vec![Err(refused())]
    } else {
        entries
    }
}

/// A key that is too long cannot be there.
fn none_for_a_long_key(_: &[Key], entries: Entries) -> Entries {
    let answer = |entry| match entry {
        Err(Error::InvalidKey { .. }) => Ok(None),
        entry => entry,
    };
    entries.into_iter().map(answer).collect()
}

wrong_stores! {
    leaves_missing_keys_out_of_a_batch: GetMany(without_the_missing) => fails {
        expiry { an_expired_entry_is_gone_for_every_read what_was_kept_still_expires }
        touch { touch_can_shorten_and_clear_the_expiry }
        batches {
            get_many_answers_in_the_order_asked get_many_takes_any_number_of_keys
            delete_many_takes_any_number_of_keys
        }
        transactions { a_hundred_operations_apply of_many_transactions_on_one_version_one_wins }
        clock { an_entry_expires_in_its_millisecond }
    };
    answers_a_key_once_in_a_batch: GetMany(each_once) => fails {
        batches { get_many_answers_in_the_order_asked get_many_takes_any_number_of_keys }
    };
    answers_the_first_of_a_key_in_a_batch: GetMany(to_the_first_alone) => fails {
        batches { get_many_answers_in_the_order_asked get_many_takes_any_number_of_keys }
    };
    answers_a_batch_in_order_of_keys: GetMany(in_order_of_keys) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            every_store_takes_170_bytes_of_anything keys_up_to_the_limit_are_taken
        }
        expiry { an_expired_entry_is_gone_for_every_read }
        scan { scan_finds_every_key_of_every_partition_once }
        batches {
            get_many_answers_in_the_order_asked get_many_takes_any_number_of_keys
            get_many_takes_more_than_a_reply_holds an_eventual_get_many_is_answered
            get_many_fails_for_a_bad_key_alone put_many_takes_any_number_of_keys
        }
        transactions { of_many_transactions_on_one_version_one_wins }
    };
    takes_unprocessed_keys_for_missing: GetMany(a_hundred) => fails {
        keys { keys_that_look_alike_are_different partitions_that_look_alike_are_different }
        batches { get_many_takes_any_number_of_keys put_many_takes_any_number_of_keys }
        transactions { a_hundred_operations_apply }
    };
    takes_what_a_reply_cannot_hold_for_missing: GetMany(a_mebibyte) => fails {
        batches { get_many_takes_more_than_a_reply_holds }
    };
    fails_a_batch_for_one_bad_key: GetMany(all_or_nothing) => fails {
        batches { get_many_fails_for_a_bad_key_alone }
    };
    refuses_large_batches: GetMany(no_more_than_a_hundred) => fails {
        keys { keys_that_look_alike_are_different partitions_that_look_alike_are_different }
        batches {
            get_many_takes_any_number_of_keys an_eventual_get_many_is_answered
            put_many_takes_any_number_of_keys delete_many_takes_any_number_of_keys
        }
        transactions { a_hundred_operations_apply }
    };
    answers_a_batch_of_nothing: GetMany(an_error_for_nothing) => fails {
        batches { batches_of_nothing_do_nothing }
    };
    checks_no_keys_in_batches: GetMany(none_for_a_long_key) => fails {
        keys { longer_keys_are_refused_by_every_operation }
        batches { get_many_fails_for_a_bad_key_alone }
    };
}
