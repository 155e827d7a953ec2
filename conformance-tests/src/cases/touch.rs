//! Not written yet.

use crate::Subject;

pub async fn touch_moves_the_expiry_and_keeps_the_value(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn touch_can_shorten_and_clear_the_expiry(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn touch_makes_a_new_version(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn touch_takes_conditions(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn touch_never_creates_or_revives(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn touch_for_an_absent_key_is_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_refused_touch_changes_nothing(_subject: &Subject) {
    panic!("not written yet")
}
