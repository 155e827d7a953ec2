//! Not written yet.

use crate::Subject;

pub async fn of_many_writers_with_one_version_one_wins(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn of_many_creators_one_wins(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn of_many_takers_of_an_expired_key_one_wins(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn of_many_deleters_one_wins(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn increments_add_up(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn each_version_is_replaced_once(_subject: &Subject) {
    panic!("not written yet")
}

pub async fn update_gives_up_and_says_how_often_it_tried(_subject: &Subject) {
    panic!("not written yet")
}
