//! Not written yet.

use crate::Subject;

pub async fn dropped_calls_leave_the_store_working(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn a_dropped_write_is_whole_or_not_there(_subject: &Subject) {
    panic!("not written yet")
}
