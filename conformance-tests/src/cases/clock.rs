//! Not written yet.

use crate::Subject;

pub async fn an_entry_expires_in_its_millisecond(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_clock_ahead_only_shortens_lives(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_clock_behind_only_prolongs_lives(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn sweep_removes_what_has_expired(_subject: &Subject) {
    panic!("not written yet")
}
