//! What the service may answer in one way or another.

use firestore::gcloud_sdk::google::firestore::v1::batch_get_documents_response::Result as Got;
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{BatchGetDocumentsResponse, Value};
use firestore::gcloud_sdk::prost::Message;
use statestore::{Key, StateStore};

use super::canned::{Answer, Canned};
use super::errors::document;
use super::key;

/// A document that is read as an entry whose value is the key's id, or that none is there.
fn answer(key: &Key, found: bool) -> Vec<u8> {
    let mut document = document(key);
    if !found {
        return response(Got::Missing(document.name));
    }
    let mut write = vec![1];
    write.extend([7; 32]);
    for (field, value) in [
        ("v", ValueType::StringValue(key.id().to_owned())),
        ("w", ValueType::BytesValue(write)),
    ] {
        let value_type = Some(value);
        document.fields.insert(field.to_owned(), Value { value_type });
    }
    response(Got::Found(document))
}

fn response(result: Got) -> Vec<u8> {
    let response = BatchGetDocumentsResponse {
        result: Some(result),
        ..Default::default()
    };
    response.encode_to_vec()
}

#[tokio::test]
async fn documents_may_come_in_any_order() {
    let ids = ["a", "b", "c", "d"];
    let keys = ids.map(key);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [0, 2, 3, 1]] {
        let answers = order.map(|place| answer(&keys[place], ids[place] != "c"));
        let canned = Canned::start([Answer::Messages(answers.to_vec())]).await;
        let read = canned.store().get_many(&keys, Default::default()).await;
        let values = read
            .into_iter()
            .map(|entry| entry.unwrap().map(|entry| entry.value));
        let expected = ids.map(|id| (id != "c").then(|| id.into()));
        assert_eq!(values.collect::<Vec<_>>(), expected, "{order:?}");
    }
}
