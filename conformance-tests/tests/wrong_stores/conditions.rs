//! Stores that get conditions wrong.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use statestore_api::backend::{Decision, Mutation, Stored, decide};
use statestore_api::{
    Attempt, Bytes, Conflict, Current, DeleteOptions, Error, Key, Precondition, PutOptions, Result, Ttl,
    Version,
};

use crate::calls::{Delete, Put};
use crate::fault::{Fault, Write};
use crate::table::{Slot, Table};

/// Another decision about a mutation of one key.
struct Decides(fn(Mutation, &Precondition, Option<Stored<'_>>) -> Option<Decision>);

impl Fault for Decides {
    fn decide(
        &self,
        mutation: Mutation,
        precondition: &Precondition,
        attempt: Attempt,
        stored: Option<Stored<'_>>,
    ) -> Result<Decision> {
        let right = decide(mutation, precondition, attempt, stored)?;
        Ok(match right {
            // The write id is none of its concerns.
            Decision::Already(_) | Decision::Indeterminate => right,
            Decision::Apply | Decision::Conflict => (self.0)(mutation, precondition, stored).unwrap_or(right),
        })
    }
}

fn is_there(stored: Option<Stored<'_>>) -> bool {
    stored.is_some_and(|stored| stored.live)
}

/// Any version will do.
fn any_version(
    mutation: Mutation,
    precondition: &Precondition,
    stored: Option<Stored<'_>>,
) -> Option<Decision> {
    let matches = matches!(precondition, Precondition::Matches(_));
    (matches && mutation != Mutation::Delete && is_there(stored)).then_some(Decision::Apply)
}

/// Only a version that is known to be replaced is refused.
fn any_unknown_version(
    _: Mutation,
    precondition: &Precondition,
    stored: Option<Stored<'_>>,
) -> Option<Decision> {
    let Precondition::Matches(version) = precondition else {
        return None;
    };
    let stored = stored.filter(|stored| stored.live)?;
    let stamp = version.stamp().ok()?;
    (!stored.replaced.contains(&stamp)).then_some(Decision::Apply)
}

/// An update-if-match on a key that is missing creates it. (Two of Dapr's stores.)
fn a_version_of_nothing(
    mutation: Mutation,
    precondition: &Precondition,
    stored: Option<Stored<'_>>,
) -> Option<Decision> {
    let matches = matches!(precondition, Precondition::Matches(_));
    (matches && mutation == Mutation::Put && stored.is_none()).then_some(Decision::Apply)
}

/// A create is an upsert.
fn absent_overwrites(
    mutation: Mutation,
    precondition: &Precondition,
    _: Option<Stored<'_>>,
) -> Option<Decision> {
    let create = mutation == Mutation::Put && *precondition == Precondition::Absent;
    create.then_some(Decision::Apply)
}

/// An update is an upsert.
fn exists_creates(
    mutation: Mutation,
    precondition: &Precondition,
    _: Option<Stored<'_>>,
) -> Option<Decision> {
    let update = mutation == Mutation::Put && *precondition == Precondition::Exists;
    update.then_some(Decision::Apply)
}

fn deletes_anything(mutation: Mutation, _: &Precondition, _: Option<Stored<'_>>) -> Option<Decision> {
    (mutation == Mutation::Delete).then_some(Decision::Apply)
}

fn delete_takes_any_version(
    mutation: Mutation,
    precondition: &Precondition,
    stored: Option<Stored<'_>>,
) -> Option<Decision> {
    let matches = matches!(precondition, Precondition::Matches(_));
    (mutation == Mutation::Delete && matches && is_there(stored)).then_some(Decision::Apply)
}

/// What is gone is as it should be, whatever was expected.
fn deletes_what_is_gone(
    mutation: Mutation,
    _: &Precondition,
    stored: Option<Stored<'_>>,
) -> Option<Decision> {
    (mutation == Mutation::Delete && !is_there(stored)).then_some(Decision::Apply)
}

/// "0 rows affected" is taken for a refusal.
fn deletes_only_what_is_there(
    mutation: Mutation,
    precondition: &Precondition,
    stored: Option<Stored<'_>>,
) -> Option<Decision> {
    let blind = mutation == Mutation::Delete && *precondition == Precondition::None;
    (blind && !is_there(stored)).then_some(Decision::Conflict)
}

/// Only a version is looked at.
fn delete_knows_no_absent(
    mutation: Mutation,
    precondition: &Precondition,
    _: Option<Stored<'_>>,
) -> Option<Decision> {
    (mutation == Mutation::Delete && *precondition == Precondition::Absent).then_some(Decision::Apply)
}

/// What is absent cannot be deleted.
fn refusing_absent(table: &Table, key: &Key, options: DeleteOptions) -> Result<()> {
    if options.precondition == Precondition::Absent {
        let reason = "the service says: ValidationError";
        return Err(Error::InvalidOptions { reason });
    }
    table.delete(key, options)
}

/// `UPDATE … WHERE value = old`: the version only finds the value it had.
#[derive(Default)]
struct ComparesValues {
    values: Mutex<HashMap<Version, Bytes>>,
}

#[async_trait]
impl Fault for ComparesValues {
    fn version(&self, write: &Write<'_>) -> Version {
        let version: Version = write.stamp.into();
        let mut values = self.values.lock().unwrap();
        values.insert(version.clone(), write.value.clone());
        version
    }

    async fn put(&self, table: &Table, key: &Key, value: Bytes, mut options: PutOptions) -> Result<Version> {
        if let (Precondition::Matches(version), None) = (&options.precondition, options.attempt) {
            let expected = self.values.lock().unwrap().get(version).cloned();
            let slot = table.slot(key);
            if slot.is_some_and(|slot| expected == Some(slot.value)) {
                options.precondition = Precondition::Exists;
            }
        }
        table.put(key, value, options)
    }
}

/// A write of the value that is there affects 0 rows, which is taken for a refusal. (MySQL.)
fn refusing_the_same_value(table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
    if let Precondition::Matches(version) = &options.precondition
        && let Some(slot) = table.slot(key)
        && slot.value == value
        && slot.version() == version
    {
        return Err(table.conflict(key, Some(&slot)).into());
    }
    table.put(key, value, options)
}

/// A conflict that says something else.
struct Says(fn(&mut Conflict, Option<&Slot>));

impl Fault for Says {
    fn conflict(&self, mut conflict: Conflict, slot: Option<&Slot>) -> Conflict {
        (self.0)(&mut conflict, slot);
        conflict
    }
}

/// A reply without an entry is taken for a key without one.
fn absent(conflict: &mut Conflict, _: Option<&Slot>) {
    conflict.current = Current::Absent;
}

/// The entry comes from a read before the write, of a replica.
fn the_version_before(conflict: &mut Conflict, slot: Option<&Slot>) {
    if let (Current::Entry(entry), Some(before)) =
        (&mut conflict.current, slot.and_then(|slot| slot.lineage.get(1)))
    {
        entry.version = before.version.clone();
    }
}

/// The reply's entry is read without its expiry.
fn no_expiry(conflict: &mut Conflict, _: Option<&Slot>) {
    if let Current::Entry(entry) = &mut conflict.current {
        entry.expires_at = None;
    }
}

/// The reply's entry is shown although it has expired.
fn an_expired_entry(conflict: &mut Conflict, slot: Option<&Slot>) {
    if let (Current::Absent, Some(slot)) = (&conflict.current, slot) {
        conflict.current = Current::Entry(slot.entry());
    }
}

/// The key as the service names it.
fn another_key(conflict: &mut Conflict, _: Option<&Slot>) {
    let (partition, id) = (conflict.key.partition(), conflict.key.id());
    conflict.key = Key::new(partition, format!("item#{id}")).unwrap();
}

/// What is there is written again, to be returned.
fn writing_when_it_refuses(table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
    let put = table.put(key, value, options);
    if let (Err(Error::Conflict(_)), Some(slot)) = (&put, table.slot(key)) {
        table.put(key, slot.value, PutOptions::expiring(Ttl::Keep))?;
    }
    put
}

wrong_stores! {
    takes_any_version: Decides(any_version) => fails at least {
        conditions {
            matches_conflicts_for_a_stale_version matches_conflicts_after_delete_and_recreate
            matches_compares_versions_not_values a_refused_write_changes_nothing
            a_conflict_shows_what_is_there compare_and_set_creates_and_replaces
        }
        races { of_many_writers_with_one_version_one_wins update_gives_up_and_says_how_often_it_tried }
    };
    takes_an_unknown_version: Decides(any_unknown_version) => fails {
        versions { a_version_matches_no_other_key a_version_of_another_store_never_matches }
        conditions { matches_conflicts_after_delete_and_recreate }
        races { of_many_deleters_one_wins }
        exactly_once {
            a_late_first_attempt_changes_nothing a_create_repeated_after_a_delete_makes_a_new_version
            a_first_attempt_is_never_indeterminate one_write_id_on_two_keys_is_two_writes
        }
        expiry { an_expired_entry_can_be_replaced sweep_removes_nothing_that_is_there }
        touch { touch_makes_a_new_version a_refused_touch_changes_nothing }
        restart { no_version_is_reused }
        clock { a_clock_behind_only_prolongs_lives }
    };
    compares_values_instead_of_versions: ComparesValues::default() => fails {
        versions { a_version_matches_no_other_key }
        conditions { matches_conflicts_after_delete_and_recreate matches_compares_versions_not_values }
        races { of_many_writers_with_one_version_one_wins }
        exactly_once {
            a_create_repeated_after_a_delete_makes_a_new_version one_write_id_on_two_keys_is_two_writes
        }
        expiry { an_expired_entry_can_be_replaced }
        touch { touch_makes_a_new_version }
        restart { no_version_is_reused }
        clock { a_clock_behind_only_prolongs_lives }
    };
    resurrects_a_deleted_key: Decides(a_version_of_nothing) => fails {
        conditions { matches_never_creates_a_key_that_is_gone a_conflict_shows_what_is_there }
        exactly_once { a_first_attempt_is_never_indeterminate }
        batches { put_many_fails_for_a_conflict_alone }
        restart { expiry_goes_on }
    };
    overwrites_with_absent: Decides(absent_overwrites) => fails {
        conditions {
            absent_conflicts_when_the_key_is_there a_refused_write_changes_nothing
            a_conflict_shows_what_is_there compare_and_set_creates_and_replaces
        }
        races { of_many_creators_one_wins of_many_takers_of_an_expired_key_one_wins }
        exactly_once { a_late_first_attempt_changes_nothing a_first_attempt_is_never_indeterminate }
        expiry { the_expiry_is_returned_to_the_millisecond }
        batches { put_many_fails_for_a_conflict_alone put_many_writes_a_key_twice_in_order }
        cancellation { a_dropped_transaction_is_whole_or_not_there }
        clock { an_entry_expires_in_its_millisecond }
        model { random_sequences_agree_with_a_map }
    };
    creates_with_exists: Decides(exists_creates) => fails {
        conditions { exists_conflicts_when_the_key_is_gone }
        races { of_many_deleters_one_wins }
        exactly_once { a_first_attempt_is_never_indeterminate }
        expiry { an_expired_entry_is_gone_for_every_condition }
        batches { put_many_fails_for_a_conflict_alone }
        restart { expiry_goes_on }
        clock { an_entry_expires_in_its_millisecond }
    };
    refuses_a_write_of_the_same_value: Put(refusing_the_same_value) => fails {
        conditions { matches_holds_for_the_current_version }
        exactly_once {
            a_replaced_write_is_remembered a_forgotten_write_is_indeterminate
            a_write_that_lost_the_race_is_told_apart a_repeated_delete_that_finds_a_newer_version_conflicts
            resolve_tells_what_became_of_a_write a_repeated_transaction_is_answered_and_not_applied_again
            a_repeated_transaction_that_cannot_be_told_is_indeterminate
        }
        restart { a_lost_reply_is_resolved a_retry_is_recognised }
    };
    deletes_under_any_condition: Decides(deletes_anything) => fails {
        versions { a_version_matches_no_other_key }
        conditions {
            matches_conflicts_after_delete_and_recreate delete_takes_every_condition
            delete_with_a_stale_version_conflicts delete_with_a_version_of_a_key_that_is_gone_conflicts
            a_conflict_shows_what_is_there
        }
        races { of_many_deleters_one_wins }
        exactly_once {
            a_repeated_delete_that_finds_a_newer_version_conflicts a_first_attempt_is_never_indeterminate
        }
        expiry { an_expired_entry_is_gone_for_every_condition an_expired_entry_can_be_replaced }
        touch { touch_makes_a_new_version }
        batches { delete_many_answers_in_the_order_given }
        restart { no_version_is_reused }
        clock { an_entry_expires_in_its_millisecond }
        model { random_sequences_agree_with_a_map }
    };
    deletes_any_version: Decides(delete_takes_any_version) => fails {
        versions { a_version_matches_no_other_key }
        conditions { matches_conflicts_after_delete_and_recreate delete_with_a_stale_version_conflicts }
        races { of_many_deleters_one_wins }
        exactly_once {
            a_repeated_delete_that_finds_a_newer_version_conflicts a_first_attempt_is_never_indeterminate
        }
        expiry { an_expired_entry_can_be_replaced }
        touch { touch_makes_a_new_version }
        batches { delete_many_answers_in_the_order_given }
        restart { no_version_is_reused }
    };
    deletes_what_is_gone_under_any_condition: Decides(deletes_what_is_gone) => fails {
        conditions { delete_with_a_version_of_a_key_that_is_gone_conflicts a_conflict_shows_what_is_there }
        races { of_many_deleters_one_wins }
        exactly_once { a_first_attempt_is_never_indeterminate }
        expiry { an_expired_entry_is_gone_for_every_condition }
        batches { delete_many_answers_in_the_order_given }
        clock { an_entry_expires_in_its_millisecond }
    };
    fails_to_delete_a_missing_key: Decides(deletes_only_what_is_there) => fails {
        values { deleting_a_missing_key_succeeds }
        conditions { delete_takes_every_condition }
        exactly_once {
            a_repeated_unconditional_delete_succeeds
            a_repeated_transaction_that_cannot_be_told_is_indeterminate
        }
        expiry { an_expired_entry_is_gone_for_every_condition }
        batches { delete_many_answers_in_the_order_given }
        clock { an_entry_expires_in_its_millisecond }
    };
    deletes_what_should_be_absent: Decides(delete_knows_no_absent) => fails {
        conditions { delete_takes_every_condition }
        exactly_once { a_first_attempt_is_never_indeterminate }
        batches { delete_many_answers_in_the_order_given }
        clock { an_entry_expires_in_its_millisecond }
    };
    refuses_a_delete_of_what_is_absent: Delete(refusing_absent) => fails {
        conditions { delete_takes_every_condition }
        exactly_once { a_first_attempt_is_never_indeterminate }
        expiry { an_expired_entry_is_gone_for_every_condition }
        batches { delete_many_answers_in_the_order_given }
        clock { an_entry_expires_in_its_millisecond }
    };
    says_absent_in_every_conflict: Says(absent) => fails at least {
        conditions {
            absent_conflicts_when_the_key_is_there matches_conflicts_for_a_stale_version
            matches_conflicts_after_delete_and_recreate matches_compares_versions_not_values
            delete_takes_every_condition delete_with_a_stale_version_conflicts a_refused_write_changes_nothing
            a_conflict_shows_what_is_there compare_and_set_creates_and_replaces
        }
    };
    shows_a_stale_version_in_a_conflict: Says(the_version_before) => fails {
        conditions {
            absent_conflicts_when_the_key_is_there matches_conflicts_for_a_stale_version
            matches_conflicts_after_delete_and_recreate matches_compares_versions_not_values
            delete_takes_every_condition delete_with_a_stale_version_conflicts a_refused_write_changes_nothing
            a_conflict_shows_what_is_there compare_and_set_creates_and_replaces
        }
        exactly_once {
            a_write_that_lost_the_race_is_told_apart a_repeated_delete_that_finds_a_newer_version_conflicts
            a_first_attempt_is_never_indeterminate a_transaction_that_lost_the_race_is_told_apart
        }
        expiry { an_expired_entry_can_be_replaced a_refused_write_leaves_the_expiry }
        touch { touch_makes_a_new_version a_refused_touch_changes_nothing }
        transactions {
            a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation
            checks_alone_change_nothing
        }
        restart { no_version_is_reused a_retry_is_recognised }
        clock { a_clock_ahead_only_shortens_lives a_clock_behind_only_prolongs_lives }
    };
    shows_no_expiry_in_a_conflict: Says(no_expiry) => fails {
        conditions {
            absent_conflicts_when_the_key_is_there matches_conflicts_for_a_stale_version
            delete_takes_every_condition delete_with_a_stale_version_conflicts a_refused_write_changes_nothing
            a_conflict_shows_what_is_there
        }
        exactly_once {
            a_create_repeated_after_a_delete_makes_a_new_version
            a_repeated_delete_that_finds_a_newer_version_conflicts one_write_id_on_two_keys_is_two_writes
        }
        expiry { the_expiry_is_returned_to_the_millisecond a_refused_write_leaves_the_expiry }
        touch { touch_makes_a_new_version a_refused_touch_changes_nothing }
        transactions {
            a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation
            checks_alone_change_nothing
        }
        clock { an_entry_expires_in_its_millisecond a_clock_ahead_only_shortens_lives }
    };
    shows_an_expired_entry_in_a_conflict: Says(an_expired_entry) => fails {
        conditions {
            exists_conflicts_when_the_key_is_gone matches_never_creates_a_key_that_is_gone
            delete_with_a_version_of_a_key_that_is_gone_conflicts a_conflict_shows_what_is_there
        }
        exactly_once { a_first_attempt_is_never_indeterminate }
        expiry { an_expired_entry_is_gone_for_every_condition keep_takes_nothing_from_an_expired_entry }
        touch { touch_never_creates_or_revives }
        transactions { a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation }
        restart { expiry_goes_on }
        clock { an_entry_expires_in_its_millisecond }
    };
    names_another_key_in_a_conflict: Says(another_key) => fails {
        conditions { a_conflict_shows_what_is_there }
        exactly_once {
            a_write_that_lost_the_race_is_told_apart a_create_repeated_after_a_delete_makes_a_new_version
            a_repeated_delete_that_finds_a_newer_version_conflicts a_first_attempt_is_never_indeterminate
            one_write_id_on_two_keys_is_two_writes a_transaction_that_lost_the_race_is_told_apart
        }
        expiry {
            an_expired_entry_is_gone_for_every_condition an_expired_entry_can_be_replaced
            keep_takes_nothing_from_an_expired_entry a_refused_write_leaves_the_expiry
            sweep_removes_nothing_that_is_there
        }
        touch { touch_makes_a_new_version touch_never_creates_or_revives a_refused_touch_changes_nothing }
        transactions {
            a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation
            checks_alone_change_nothing a_hundred_operations_apply
        }
        restart { no_version_is_reused a_retry_is_recognised expiry_goes_on }
        clock {
            an_entry_expires_in_its_millisecond a_clock_ahead_only_shortens_lives
            a_clock_behind_only_prolongs_lives
        }
    };
    makes_a_version_when_it_refuses: Put(writing_when_it_refuses) => fails at least {
        conditions {
            absent_conflicts_when_the_key_is_there exists_conflicts_when_the_key_is_gone
            matches_conflicts_for_a_stale_version matches_never_creates_a_key_that_is_gone
            matches_conflicts_after_delete_and_recreate matches_compares_versions_not_values
            a_refused_write_changes_nothing a_conflict_shows_what_is_there
            compare_and_set_creates_and_replaces
        }
    };
}
