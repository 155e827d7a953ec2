//! Not written yet.

use crate::Subject;

pub async fn none_always_holds(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn absent_holds_when_the_key_is_gone(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn absent_conflicts_when_the_key_is_there(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn exists_holds_when_the_key_is_there(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn exists_conflicts_when_the_key_is_gone(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn matches_holds_for_the_current_version(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn matches_conflicts_for_a_stale_version(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn matches_never_creates_a_key_that_is_gone(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn matches_conflicts_after_delete_and_recreate(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn matches_compares_versions_not_values(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn delete_takes_every_condition(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn delete_with_a_stale_version_conflicts(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn delete_with_a_version_of_a_key_that_is_gone_conflicts(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_refused_write_changes_nothing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_conflict_shows_what_is_there(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn compare_and_set_creates_and_replaces(_subject: &Subject) {
    panic!("not written yet")
}
