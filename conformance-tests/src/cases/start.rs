//! Not written yet.

use crate::Subject;

pub async fn ready_succeeds_and_may_be_repeated(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn capabilities_keep_what_every_store_can_do(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn what_is_not_declared_is_refused(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn clones_share_their_entries(_subject: &Subject) {
    panic!("not written yet")
}
