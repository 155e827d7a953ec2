//! The client of the crate `firestore` sending what the store sends: the same documents and conditions. What is left is what the store
//! adds around them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use firestore::FirestoreDb;
use firestore::gcloud_sdk::RequestTimeouts;
use firestore::gcloud_sdk::google::firestore::v1::batch_get_documents_response::Result as Answer;
use firestore::gcloud_sdk::google::firestore::v1::precondition::ConditionType;
use firestore::gcloud_sdk::google::firestore::v1::run_query_request::QueryType;
use firestore::gcloud_sdk::google::firestore::v1::structured_query::{
    CollectionSelector, Direction, FieldReference, Order,
};
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::write::Operation as WriteOperation;
use firestore::gcloud_sdk::google::firestore::v1::{
    BatchGetDocumentsRequest, CommitRequest, Document, GetDocumentRequest, Precondition, RunQueryRequest,
    StructuredQuery, Value, Write,
};
use firestore::gcloud_sdk::prost_types::Timestamp;
use firestore::gcloud_sdk::tonic::{Code, Request};
use statestore::backend::Stamp;
use statestore::{Key, WriteId};

use super::{back_off, now_ms, twin};
use crate::contest::{Contestant, Does, Operation, next};

/// The byte that `w` begins with, and how long what follows of the write itself is.
const FORMAT: u8 = 1;
const WRITTEN: usize = Stamp::LEN + 8;

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Requests {
    db: FirestoreDb,
    collection: &'static str,
}

/// What a condition compares, and what `w` says of the write.
pub(crate) struct Known {
    updated: Timestamp,
    written: Vec<u8>,
}

impl Requests {
    /// The collection is the store's; the partitions are others.
    pub(crate) async fn new(emulator: SocketAddr, project: &str, collection: &'static str) -> Self {
        let db = super::firestore::client(emulator, project).await;
        Self { db, collection }
    }

    fn parent(&self, partition: &str) -> String {
        format!("{}/{}/{partition}", self.db.get_documents_path(), self.collection)
    }

    fn document(&self, key: &Key) -> String {
        let (parent, collection) = (self.parent(key.partition()), self.collection);
        format!("{parent}/{collection}-items/{}", key.id())
    }

    async fn read(&self, key: &Key) -> Option<(Known, Bytes)> {
        let request = GetDocumentRequest {
            name: self.document(key),
            ..Default::default()
        };
        let request = limited(request, RequestTimeouts::new().with_total(LIMIT));
        match self.db.client().get().get_document(request).await {
            Ok(document) => Some(parts(document.into_inner())),
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("{status}"),
        }
    }

    fn write(
        &self,
        key: &Key,
        stamp: Stamp,
        replaced: Option<&Known>,
        condition: Option<ConditionType>,
        value: Bytes,
    ) -> (Write, Vec<u8>) {
        let mut written = Vec::with_capacity(1 + 2 * WRITTEN + 16);
        written.push(FORMAT);
        written.extend(stamp.to_bytes());
        written.extend(now_ms().to_be_bytes());
        let own = written[1..].to_vec();
        if let Some(replaced) = replaced {
            let nanos = replaced.updated.seconds * 1_000_000_000 + i64::from(replaced.updated.nanos);
            written.extend(nanos.to_be_bytes());
            written.extend(&replaced.written);
            // It never expires.
            written.extend([0; 8]);
        }
        let text = String::from_utf8(value.into()).expect("text");
        let fields = [
            ("w", ValueType::BytesValue(written)),
            ("v", ValueType::StringValue(text)),
        ];
        let field = |(name, value): (&str, ValueType)| {
            let value = Value {
                value_type: Some(value),
            };
            (name.to_owned(), value)
        };
        let write = Write {
            operation: Some(WriteOperation::Update(Document {
                name: self.document(key),
                fields: HashMap::from(fields.map(field)),
                ..Default::default()
            })),
            current_document: condition.map(|condition| Precondition {
                condition_type: Some(condition),
            }),
            ..Default::default()
        };
        (write, own)
    }

    /// Applies them; `None`: a condition did not hold.
    async fn commit(&self, writes: Vec<Write>) -> Option<Vec<Timestamp>> {
        let request = CommitRequest {
            database: self.db.get_database_path().clone(),
            writes,
            ..Default::default()
        };
        let request = limited(request, RequestTimeouts::new().with_total(LIMIT));
        match self.db.client().get().commit(request).await {
            Ok(answer) => {
                let results = answer.into_inner().write_results.into_iter();
                Some(
                    results
                        .map(|result| result.update_time.expect("a time"))
                        .collect(),
                )
            }
            Err(status) if status.code() == Code::FailedPrecondition => None,
            Err(status) => panic!("{status}"),
        }
    }

    async fn put_if(
        &self,
        key: &Key,
        replaced: Option<&Known>,
        condition: Option<ConditionType>,
        value: Bytes,
    ) -> Option<Known> {
        let stamp = Stamp::new(WriteId::new(), Stamp::new_nonce(), key);
        let (write, written) = self.write(key, stamp, replaced, condition, value);
        let updated = self.commit(vec![write]).await?.swap_remove(0);
        Some(Known { updated, written })
    }

    async fn set(&self, key: &Key, expected: &Known, value: Bytes) -> Option<Known> {
        let condition = ConditionType::UpdateTime(expected.updated);
        self.put_if(key, Some(expected), Some(condition), value).await
    }
}

/// A request with a time-out, of which the server is told where it is for all of the request.
fn limited<M>(message: M, timeouts: RequestTimeouts) -> Request<M> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(timeouts);
    request
}

fn parts(mut document: Document) -> (Known, Bytes) {
    let mut take = |name: &str| document.fields.remove(name).and_then(|value| value.value_type);
    let (Some(ValueType::BytesValue(written)), Some(ValueType::StringValue(text))) = (take("w"), take("v"))
    else {
        panic!("not as it was written");
    };
    let known = Known {
        updated: document.update_time.expect("an update time"),
        written: written[1..1 + WRITTEN].to_vec(),
    };
    (known, text.into())
}

impl Contestant for Requests {
    type Key = Key;
    type Version = Known;

    fn name(&self) -> &str {
        "firestore, the store's requests"
    }

    fn does(&self, operation: Operation) -> Does {
        Does::Same(match operation {
            Operation::Get => "GetDocument",
            Operation::Put => "Commit of an update with the write's id, without a condition",
            Operation::Create => "Commit of an update with the write's id, where no document is",
            Operation::CompareAndSet => {
                "Commit of an update with the write's id and the one that it replaced, under the update time"
            }
            Operation::Update => "GetDocument and that Commit, again on a conflict, with back-off",
            Operation::Page => "RunQuery of the collection, by name",
            Operation::GetMany => "BatchGetDocuments",
            Operation::Transact => "one Commit of 10 updates with the write's id",
        })
    }

    fn max_value(&self) -> usize {
        1018 * 1024
    }

    fn key(&self, partition: &str, id: &str) -> Key {
        Key::new(twin(partition), id).expect("not empty")
    }

    async fn get(&self, key: &Key) -> Option<Bytes> {
        self.read(key).await.map(|(_, value)| value)
    }

    async fn put(&self, key: &Key, value: Bytes) {
        let put = self.put_if(key, None, None, value).await;
        put.expect("no condition");
    }

    async fn delete(&self, key: &Key) {
        let delete = Write {
            operation: Some(WriteOperation::Delete(self.document(key))),
            ..Default::default()
        };
        let request = CommitRequest {
            database: self.db.get_database_path().clone(),
            writes: vec![delete],
            ..Default::default()
        };
        self.db.client().get().commit(request).await.expect("a deletion");
    }

    async fn create(&self, key: &Key, value: Bytes) -> Known {
        let absent = ConditionType::Exists(false);
        let put = self.put_if(key, None, Some(absent), value).await;
        put.expect("nothing was there")
    }

    async fn compare_and_set(&self, key: &Key, expected: Known, value: Bytes) -> Known {
        let set = self.set(key, &expected, value).await;
        set.expect("nobody else writes it")
    }

    async fn update(&self, key: &Key) {
        let (mut known, mut value) = self.read(key).await.expect("it is there");
        for attempt in 1.. {
            let began = Instant::now();
            if self.set(key, &known, next(&value)).await.is_some() {
                return;
            }
            // A refusal does not show what is there.
            (known, value) = self.read(key).await.expect("it is there");
            if back_off(attempt, began).await {
                (known, value) = self.read(key).await.expect("it is there");
            }
        }
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let query = StructuredQuery {
            from: vec![CollectionSelector {
                collection_id: format!("{}-items", self.collection),
                all_descendants: false,
            }],
            order_by: vec![Order {
                field: Some(FieldReference {
                    field_path: "__name__".to_owned(),
                }),
                direction: Direction::Ascending.into(),
            }],
            limit: Some(i32::try_from(limit).expect("few")),
            ..Default::default()
        };
        let request = RunQueryRequest {
            parent: self.parent(&twin(partition)),
            query_type: Some(QueryType::StructuredQuery(query)),
            ..Default::default()
        };
        let request = limited(request, RequestTimeouts::new().with_idle(LIMIT));
        let answer = self.db.client().get().run_query(request).await.expect("a query");
        let (mut answers, mut read) = (answer.into_inner(), Vec::new());
        while let Some(answer) = answers.message().await.expect("an answer") {
            read.extend(answer.document.map(parts));
        }
        read.len()
    }

    async fn get_many(&self, keys: &[Key]) -> usize {
        let request = BatchGetDocumentsRequest {
            database: self.db.get_database_path().clone(),
            documents: keys.iter().map(|key| self.document(key)).collect(),
            ..Default::default()
        };
        let request = limited(request, RequestTimeouts::new().with_idle(LIMIT));
        let mut client = self.db.client().get();
        let answer = client.batch_get_documents(request).await.expect("a batch");
        let (mut answers, mut read) = (answer.into_inner(), Vec::new());
        while let Some(answer) = answers.message().await.expect("an answer") {
            if let Some(Answer::Found(document)) = answer.result {
                read.push(parts(document));
            }
        }
        read.len()
    }

    async fn transact(&self, keys: &[Key], value: Bytes) {
        let (id, nonce) = (WriteId::new(), Stamp::new_nonce());
        let writes = keys.iter().map(|key| {
            let stamp = Stamp::new(id, nonce, key);
            self.write(key, stamp, None, None, value.clone()).0
        });
        let applied = self.commit(writes.collect()).await.expect("no condition");
        assert_eq!(applied.len(), keys.len());
    }
}
