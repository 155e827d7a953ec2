//! Not written yet.

use crate::Subject;

pub async fn an_empty_partition_lists_nothing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn ids_list_in_the_byte_order_of_their_utf8(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn random_ids_list_in_order(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn only_the_partition_asked_for_is_listed(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_prefix_is_taken_literally(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn start_after_is_exclusive_and_need_not_be_there(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn prefix_and_start_after_go_together(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn entries_are_listed_as_get_shows_them(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn keys_alone_can_be_listed(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn pages_follow_in_order_and_repeat_nothing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn more_than_a_thousand_keys_are_listed(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn deleted_and_expired_entries_are_not_listed(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn what_is_deleted_between_pages_is_left_out(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn what_is_written_ahead_between_pages_is_listed(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn writers_disturb_no_listing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_page_token_survives_text(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_token_of_another_query_is_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_damaged_token_is_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn page_sizes_out_of_range_are_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_bad_partition_is_refused(_subject: &Subject) {
    panic!("not written yet")
}
