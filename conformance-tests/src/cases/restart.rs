//! Not written yet.

use crate::Subject;

pub async fn every_acknowledged_write_is_there(_subject: &mut Subject) {
    panic!("not written yet")
}

pub async fn no_version_is_reused(_subject: &mut Subject) {
    panic!("not written yet")
}

pub async fn a_lost_reply_is_resolved(_subject: &mut Subject) {
    panic!("not written yet")
}

pub async fn a_retry_is_recognised(_subject: &mut Subject) {
    panic!("not written yet")
}

pub async fn expiry_goes_on(_subject: &mut Subject) {
    panic!("not written yet")
}
