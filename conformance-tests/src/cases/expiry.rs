//! Not written yet.

use crate::Subject;

pub async fn an_entry_without_a_ttl_never_expires(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn the_expiry_is_returned_to_the_millisecond(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_ttl_counts_from_the_write(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn fractions_of_a_millisecond_round_up(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn the_furthest_expiry_is_kept(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn an_expired_entry_is_gone_for_every_read(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn an_expired_entry_is_gone_for_every_condition(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn an_expired_entry_can_be_replaced(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_put_without_a_ttl_clears_the_expiry(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_put_with_a_ttl_replaces_the_expiry(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn keep_keeps_the_expiry(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn keep_takes_nothing_from_an_expired_entry(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_ttl_that_is_not_in_the_future_is_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_ttl_that_is_too_far_is_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn sweep_removes_nothing_that_is_there(_subject: &Subject) {
    panic!("not written yet")
}
