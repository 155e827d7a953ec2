//! Not written yet.

use crate::Subject;

pub async fn puts_deletes_and_checks_apply_together(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn versions_are_returned_for_puts(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn an_empty_transaction_does_nothing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_failed_condition_anywhere_changes_nothing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn every_condition_is_checked(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_conflict_names_the_operation(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn checks_alone_change_nothing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn deleting_a_missing_key_is_no_failure(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn expiry_works_in_transactions(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn an_expired_entry_counts_as_absent(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_hundred_operations_apply(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn more_operations_are_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_key_twice_is_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn two_partitions_are_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn bad_arguments_are_refused_and_change_nothing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn of_many_transactions_on_one_version_one_wins(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn transfers_keep_the_sum(_subject: &Subject) {
    panic!("not written yet")
}
