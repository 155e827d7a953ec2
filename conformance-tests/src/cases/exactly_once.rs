//! Not written yet.

use crate::Subject;

pub async fn a_repeated_create_is_answered_and_not_written_again(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_repeated_compare_and_set_is_answered_and_not_written_again(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_repeated_unconditional_put_is_answered_and_not_written_again(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_repeated_touch_is_answered_and_not_applied_again(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_replaced_write_is_remembered(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_forgotten_write_is_indeterminate(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_write_that_lost_the_race_is_told_apart(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_create_repeated_after_a_delete_makes_a_new_version(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_compare_and_set_repeated_after_a_delete_is_indeterminate(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_repeated_delete_that_finds_the_key_gone_is_indeterminate(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_repeated_delete_that_finds_a_newer_version_conflicts(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_repeated_unconditional_delete_succeeds(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_first_attempt_is_never_indeterminate(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn two_attempts_at_once_are_one_write(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn one_write_id_on_two_keys_is_two_writes(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn resolve_tells_what_became_of_a_write(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_repeated_transaction_is_answered_and_not_applied_again(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_repeated_transaction_that_cannot_be_told_is_indeterminate(_subject: &Subject) {
    panic!("not written yet")
}
