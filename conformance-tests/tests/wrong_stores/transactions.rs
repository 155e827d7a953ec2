//! Stores whose transactions are none.

use std::collections::HashSet;

use statestore_api::backend::check;
use statestore_api::{
    Action, Conflict, DeleteOptions, Error, Key, Precondition, PutOptions, TransactOp, TransactOptions, Ttl,
};

use crate::calls::{Limits, Transact, Versions};
use crate::table::Table;

fn is_put(op: &TransactOp) -> bool {
    matches!(op.action, Action::Put { .. })
}

/// Whether an operation expects a version. One that is none is left to be refused.
fn has_version(op: &TransactOp) -> bool {
    matches!(&op.precondition, Precondition::Matches(version) if version.stamp().is_ok())
}

/// Applies operations that are changed before.
fn changed(
    table: &Table,
    mut ops: Vec<TransactOp>,
    options: TransactOptions,
    change: fn(&mut TransactOp),
) -> Versions {
    check::transaction(table.kept(), &ops)?;
    ops.iter_mut().for_each(change);
    table.transact(ops, options)
}

fn without_checks(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    changed(table, ops, options, |op| {
        let is_version = matches!(op.precondition, Precondition::Matches(_));
        if op.action == Action::Check && (!is_version || has_version(op)) {
            op.precondition = Precondition::None;
        }
    })
}

/// (Dapr.)
fn without_versions_of_deletes(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    changed(table, ops, options, |op| {
        if op.action == Action::Delete && has_version(op) {
            op.precondition = Precondition::None;
        }
    })
}

fn without_versions_of_puts(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    changed(table, ops, options, |op| {
        if is_put(op) && has_version(op) {
            op.precondition = Precondition::Exists;
        }
    })
}

fn without_ttl(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    changed(table, ops, options, |op| {
        if let Action::Put { ttl, .. } = &mut op.action
            && matches!(ttl, Ttl::After(_) | Ttl::At(_))
        {
            *ttl = Ttl::None;
        }
    })
}

fn without_keep(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    changed(table, ops, options, |op| {
        if let Action::Put { ttl, .. } = &mut op.action
            && *ttl == Ttl::Keep
        {
            *ttl = Ttl::None;
        }
    })
}

/// Keys in a transaction are escaped, and elsewhere not.
fn escaped(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    changed(table, ops, options, |op| {
        let id = op.key.id().replace('/', "%2F");
        op.key = Key::new(op.key.partition(), id).unwrap();
    })
}

/// What there is no row of cannot be deleted.
fn deletes_what_is_there(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    changed(table, ops, options, |op| {
        if op.action == Action::Delete && op.precondition == Precondition::None {
            op.precondition = Precondition::Exists;
        }
    })
}

/// A value is cut to the size that is allowed, instead of refused.
fn with_short_values(table: &Table, mut ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    for op in &mut ops {
        if let Action::Put { value, .. } = &mut op.action {
            value.truncate(table.kept().max_value_bytes);
        }
    }
    table.transact(ops, options)
}

/// A check locks its key by a write of what is there.
fn checking_by_writing(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    let versions = table.transact(ops.clone(), options)?;
    for op in ops.iter().filter(|op| op.action == Action::Check) {
        if let Some(slot) = table.slot(&op.key) {
            table.put(&op.key, slot.value, PutOptions::expiring(Ttl::Keep))?;
        }
    }
    Ok(versions)
}

/// The operations one after the other, until one fails. (Redis' `MULTI`.)
fn until_one_fails(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    let transacted = table.transact(ops.clone(), options.clone());
    if let Err(Error::Conflict(_)) = transacted {
        for op in ops {
            table.transact(vec![op], options.clone())?;
        }
    }
    transacted
}

/// The same, since arguments are checked when it is their turn.
fn until_one_is_invalid(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    let transacted = table.transact(ops.clone(), options.clone());
    if let Err(Error::ValueTooLarge { .. } | Error::InvalidTtl { .. }) = transacted {
        for op in ops {
            table.transact(vec![op], options.clone())?;
        }
    }
    transacted
}

/// What is to be deleted is deleted first, whatever comes after.
fn deletes_first(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    let transacted = table.transact(ops.clone(), options);
    if let Err(Error::Conflict(_)) = transacted {
        for op in ops.into_iter().filter(|op| op.action == Action::Delete) {
            let _ = table.delete(&op.key, DeleteOptions::from(op.precondition));
        }
    }
    transacted
}

/// Of the operations on one key only the last is kept. (Dapr.)
fn merged(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    let mut seen = HashSet::new();
    let last = ops.into_iter().rev().filter(|op| seen.insert(op.key.clone()));
    let mut merged: Vec<_> = last.collect();
    merged.reverse();
    table.transact(merged, options)
}

/// The operations go to each partition, one after the other.
fn by_partition(table: &Table, mut ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    let Some(first) = ops.first() else {
        return Ok(Vec::new());
    };
    let partition = first.key.partition().to_owned();
    let here = ops
        .iter()
        .take_while(|op| op.key.partition() == partition)
        .count();
    let elsewhere = ops.split_off(here);
    let mut versions = table.transact(ops, options.clone())?;
    if !elsewhere.is_empty() {
        versions.extend(by_partition(table, elsewhere, options)?);
    }
    Ok(versions)
}

/// One version for all keys. (The revision of a commit: etcd, FoundationDB.)
fn with_one_version(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    let is_known = options.attempt.is_some();
    let mut versions = table.transact(ops.clone(), options)?;
    let one = versions.iter().flatten().next().cloned();
    if let (Some(one), false) = (one, is_known) {
        for (op, version) in ops.iter().zip(&mut versions).filter(|(op, _)| is_put(op)) {
            table.slots().get_mut(&op.key).unwrap().lineage[0].version = one.clone();
            *version = Some(one.clone());
        }
    }
    Ok(versions)
}

/// A conflict that says something else.
fn saying(
    table: &Table,
    ops: Vec<TransactOp>,
    options: TransactOptions,
    otherwise: fn(&mut Conflict),
) -> Versions {
    table.transact(ops, options).map_err(|error| match error {
        Error::Conflict(mut conflict) => {
            otherwise(&mut conflict);
            Error::Conflict(conflict)
        }
        error => error,
    })
}

wrong_stores! {
    applies_half_a_transaction: Transact(until_one_fails) => fails {
        exactly_once { a_transaction_that_lost_the_race_is_told_apart }
        transactions {
            a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation
            checks_alone_change_nothing a_hundred_operations_apply
            of_many_transactions_on_one_version_one_wins
        }
    };
    checks_arguments_late_in_a_transaction: Transact(until_one_is_invalid) => fails {
        expiry { a_ttl_that_is_not_in_the_future_is_refused a_ttl_that_is_too_far_is_refused }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    deletes_first_in_a_transaction: Transact(deletes_first) => fails {
        exactly_once { a_transaction_that_lost_the_race_is_told_apart }
        transactions {
            a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation
            a_hundred_operations_apply
        }
    };
    ignores_checks_in_a_transaction: Transact(without_checks) => fails {
        exactly_once { a_first_attempt_is_never_indeterminate }
        expiry { an_expired_entry_is_gone_for_every_condition an_expired_entry_can_be_replaced }
        touch { touch_makes_a_new_version }
        transactions {
            a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation
            checks_alone_change_nothing
        }
        restart { no_version_is_reused }
        clock { an_entry_expires_in_its_millisecond }
    };
    ignores_versions_of_deletes_in_a_transaction: Transact(without_versions_of_deletes) => fails {
        exactly_once {
            a_first_attempt_is_never_indeterminate
        }
        expiry { an_expired_entry_is_gone_for_every_condition an_expired_entry_can_be_replaced }
        touch { touch_makes_a_new_version }
        transactions { a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation }
        restart { no_version_is_reused }
        clock { an_entry_expires_in_its_millisecond }
    };
    ignores_versions_of_puts_in_a_transaction: Transact(without_versions_of_puts) => fails {
        exactly_once { a_first_attempt_is_never_indeterminate a_transaction_that_lost_the_race_is_told_apart }
        expiry { an_expired_entry_can_be_replaced a_refused_write_leaves_the_expiry }
        touch { touch_makes_a_new_version }
        transactions {
            a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation
            of_many_transactions_on_one_version_one_wins
        }
        restart { no_version_is_reused }
    };
    ignores_ttls_in_a_transaction: Transact(without_ttl) => fails {
        expiry {
            the_expiry_is_returned_to_the_millisecond a_ttl_counts_from_the_write
            fractions_of_a_millisecond_round_up the_furthest_expiry_is_kept an_entry_is_there_until_its_expiry
            an_expired_entry_is_gone_for_every_read a_put_with_a_ttl_replaces_the_expiry
            a_ttl_that_is_not_in_the_future_is_refused a_ttl_that_is_too_far_is_refused
        }
        transactions {
            every_condition_that_holds_lets_pass expiry_works_in_transactions
            bad_arguments_are_refused_and_change_nothing
        }
        clock { an_entry_expires_in_its_millisecond a_ttl_is_at_least_a_millisecond }
    };
    keeps_no_expiry_in_a_transaction: Transact(without_keep) => fails {
        expiry { keep_keeps_the_expiry what_was_kept_still_expires }
        transactions { expiry_works_in_transactions }
    };
    names_keys_otherwise_in_a_transaction: Transact(escaped) => fails {
        transactions { keys_of_any_content_take_part }
    };
    fails_to_delete_a_missing_key_in_a_transaction: Transact(deletes_what_is_there) => fails {
        expiry { an_expired_entry_is_gone_for_every_condition }
        transactions {
            versions_are_returned_for_puts every_condition_that_holds_lets_pass
            deleting_a_missing_key_is_no_failure
        }
        clock { an_entry_expires_in_its_millisecond }
    };
    cuts_values_in_a_transaction: Transact(with_short_values) => fails {
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    checks_by_writing: Transact(checking_by_writing) => fails {
        exactly_once { a_repeated_transaction_is_answered_and_not_applied_again }
        expiry { an_expired_entry_is_gone_for_every_condition }
        transactions {
            puts_deletes_and_checks_apply_together every_condition_that_holds_lets_pass
            checks_alone_change_nothing an_expired_entry_counts_as_absent
        }
        cancellation { a_dropped_transaction_is_whole_or_not_there }
        restart { a_retry_is_recognised }
        clock { an_entry_expires_in_its_millisecond }
    };
    merges_operations_on_one_key: Transact(merged) => fails {
        transactions { a_key_twice_is_refused }
    };
    takes_two_partitions: Transact(by_partition) => fails {
        transactions { two_partitions_are_refused }
    };
    gives_one_version_to_all_keys: Transact(with_one_version) => fails {
        versions { a_version_matches_no_other_key }
        transactions { versions_are_returned_for_puts a_hundred_operations_apply }
    };
    returns_versions_in_reverse: Transact(|table, ops, options| {
        table.transact(ops, options).map(|versions| versions.into_iter().rev().collect())
    }) => fails {
        versions { a_version_matches_no_other_key }
        exactly_once {
            a_repeated_transaction_is_answered_and_not_applied_again
            a_repeated_transaction_that_cannot_be_told_is_indeterminate
            a_transaction_that_lost_the_race_is_told_apart two_attempts_of_a_transaction_at_once_are_one
        }
        transactions {
            versions_are_returned_for_puts a_failed_condition_anywhere_changes_nothing
            every_condition_that_holds_lets_pass deleting_a_missing_key_is_no_failure
            expiry_works_in_transactions an_expired_entry_counts_as_absent keys_of_any_content_take_part
            a_hundred_operations_apply
        }
        cancellation { a_dropped_transaction_is_whole_or_not_there }
        restart { a_retry_is_recognised }
    };
    returns_versions_of_puts_alone: Transact(|table, ops, options| {
        table.transact(ops, options).map(|versions| versions.into_iter().filter(Option::is_some).collect())
    }) => fails {
        exactly_once {
            a_repeated_transaction_is_answered_and_not_applied_again
            a_repeated_transaction_that_cannot_be_told_is_indeterminate
            a_transaction_that_lost_the_race_is_told_apart two_attempts_of_a_transaction_at_once_are_one
        }
        transactions {
            puts_deletes_and_checks_apply_together versions_are_returned_for_puts
            a_failed_condition_anywhere_changes_nothing every_condition_that_holds_lets_pass
            checks_alone_change_nothing deleting_a_missing_key_is_no_failure expiry_works_in_transactions
            an_expired_entry_counts_as_absent keys_of_any_content_take_part a_hundred_operations_apply
        }
        cancellation { a_dropped_transaction_is_whole_or_not_there }
        restart { a_retry_is_recognised }
    };
    returns_no_versions: Transact(|table, ops, options| {
        table.transact(ops, options).map(|versions| vec![None; versions.len()])
    }) => fails at least {
        transactions {
            puts_deletes_and_checks_apply_together versions_are_returned_for_puts
            a_failed_condition_anywhere_changes_nothing every_condition_that_holds_lets_pass
            deleting_a_missing_key_is_no_failure expiry_works_in_transactions
            an_expired_entry_counts_as_absent keys_of_any_content_take_part a_hundred_operations_apply
            more_bytes_are_refused no_reader_sees_half_a_transaction
        }
    };
    refuses_an_empty_transaction: Transact(|table, ops, options| match ops.len() {
        0 => Err(Error::InvalidTransaction { op: 0, reason: "the service says: ValidationError" }),
        _ => table.transact(ops, options),
    }) => fails {
        transactions { an_empty_transaction_does_nothing }
    };
    names_the_first_operation: Transact(|table, ops, options| {
        saying(table, ops, options, |conflict| conflict.op = Some(0))
    }) => fails {
        exactly_once { a_transaction_that_lost_the_race_is_told_apart }
        transactions {
            a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation
            checks_alone_change_nothing a_hundred_operations_apply
        }
    };
    names_the_operation_from_one: Transact(|table, ops, options| {
        saying(table, ops, options, |conflict| conflict.op = conflict.op.map(|op| op + 1))
    }) => fails {
        exactly_once { a_transaction_that_lost_the_race_is_told_apart }
        transactions {
            a_failed_condition_anywhere_changes_nothing a_conflict_names_the_operation
            checks_alone_change_nothing a_hundred_operations_apply
        }
    };
    takes_too_many_operations: Limits(|_, kept| kept.max_transaction_ops = usize::MAX) => fails {
        transactions { more_operations_are_refused }
    };
    takes_an_operation_too_many: Limits(|_, kept| kept.max_transaction_ops += 1) => fails {
        transactions { more_operations_are_refused }
    };
    takes_25_operations: Limits(|declared, kept| {
        (declared.max_transaction_ops, kept.max_transaction_ops) = (25, 25);
    }) => fails {
        start { capabilities_keep_what_every_store_can_do }
        transactions { keys_of_any_content_take_part a_hundred_operations_apply }
    };
    refuses_more_than_100_operations: Limits(|_, kept| kept.max_transaction_ops = 100) => fails {
        transactions { a_hundred_operations_apply more_operations_are_refused }
    };
    takes_too_many_bytes: Limits(|declared, _| declared.max_transaction_bytes = Some(4 << 20)) => fails {
        transactions { more_bytes_are_refused }
    };
    refuses_many_bytes: Limits(|_, kept| kept.max_transaction_bytes = Some(1 << 20)) => fails {
        transactions { more_bytes_are_refused }
    };
}
