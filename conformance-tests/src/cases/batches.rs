//! Not written yet.

use crate::Subject;

pub async fn get_many_answers_in_the_order_asked(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn get_many_of_nothing_is_nothing(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn get_many_takes_any_number_of_keys(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn get_many_fails_for_a_bad_key_alone(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn put_many_answers_in_the_order_given(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn put_many_takes_any_number_of_keys(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn put_many_fails_for_a_conflict_alone(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn put_many_writes_a_key_twice_in_order(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn delete_many_answers_in_the_order_given(_subject: &Subject) {
    panic!("not written yet")
}
