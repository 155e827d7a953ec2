//! Not written yet.

use crate::Subject;

pub async fn random_sequences_agree_with_a_map(_subject: &Subject) {
    panic!("not written yet")
}
