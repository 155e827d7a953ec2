//! Not written yet.

use crate::Subject;

pub async fn scan_finds_every_key_of_every_partition_once(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn scan_pages_repeat_nothing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn scan_leaves_out_what_is_gone(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn scan_can_return_keys_alone(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn scan_refuses_what_is_no_token_of_it(_subject: &Subject) {
    panic!("not written yet")
}
