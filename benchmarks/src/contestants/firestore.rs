//! The crate `firestore` used directly: a collection a partition, the service's update time as version.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use firestore::errors::FirestoreError;
use firestore::gcloud_sdk::HeaderMap;
use firestore::gcloud_sdk::google::firestore::v1::write::Operation as WriteOperation;
use firestore::gcloud_sdk::google::firestore::v1::{CommitRequest, Write};
use firestore::gcloud_sdk::google_cloud_auth::credentials::{
    CacheableResource, Credentials, CredentialsProvider, EntityTag,
};
use firestore::gcloud_sdk::google_cloud_auth::errors::CredentialsError;
use firestore::gcloud_sdk::tonic::codegen::http::{Extensions, HeaderValue};
use firestore::{FirestoreDb, FirestoreDbOptions, FirestoreTimestamp, FirestoreWritePrecondition};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::back_off;
use crate::contest::{Contestant, Does, Operation, next};

#[derive(Clone)]
pub(crate) struct Crate(FirestoreDb);

/// An entry's place: collection and document.
pub(crate) type Place = (String, String);

#[derive(Deserialize, Serialize)]
struct Stored {
    v: String,
    n: u64,
}

/// What is read: the value with the time for the next condition, or after a write the time alone.
#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    v: String,
    #[serde(alias = "_firestore_updated")]
    updated: Option<FirestoreTimestamp>,
}

impl Read {
    fn into_parts(self) -> (FirestoreTimestamp, Bytes) {
        (self.updated.expect("an update time"), self.v.into())
    }
}

impl Crate {
    pub(crate) async fn new(emulator: SocketAddr, project: &str) -> Self {
        Self(client(emulator, project).await)
    }

    async fn read(&self, (collection, id): &Place) -> Option<(FirestoreTimestamp, Bytes)> {
        let read: Option<Read> = self
            .0
            .fluent()
            .select()
            .by_id_in(collection)
            .obj()
            .one(id)
            .await
            .expect("a read");
        read.map(Read::into_parts)
    }

    /// Writes it under this condition; `None`: that did not hold. The answer has no value in it.
    async fn write(
        &self,
        (collection, id): &Place,
        condition: Option<FirestoreWritePrecondition>,
        value: &[u8],
    ) -> Option<FirestoreTimestamp> {
        let update = self
            .0
            .fluent()
            .update()
            .in_col(collection)
            .return_only_fields(["n"]);
        let update = match condition {
            Some(condition) => update.precondition(condition),
            None => update,
        };
        let stored = stored(value);
        let written: Result<Read, _> = update.document_id(id).object(&stored).execute().await;
        match written {
            Ok(read) => Some(read.into_parts().0),
            Err(FirestoreError::DatabaseError(error)) if error.public.code == "FailedPrecondition" => None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn stored(value: &[u8]) -> Stored {
    Stored {
        v: String::from_utf8(value.to_vec()).expect("text"),
        n: 0,
    }
}

pub(super) async fn client(emulator: SocketAddr, project: &str) -> FirestoreDb {
    let mut options = FirestoreDbOptions::new(project.to_owned());
    options.firebase_api_url = Some(format!("http://{emulator}"));
    options.request_timeout = Some(Duration::from_secs(10));
    let client = FirestoreDb::with_options_auth(options, Credentials::from(Owner::default())).await;
    client.expect("a client")
}

/// What emulators take for an administrator. Without it a request has one header less than any to the service has, and that is one that
/// HPACK may not compress.
#[derive(Debug, Default)]
struct Owner(EntityTag);

impl CredentialsProvider for Owner {
    async fn headers(
        &self,
        extensions: Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        if extensions.get() == Some(&self.0) {
            return Ok(CacheableResource::NotModified);
        }
        let mut data = HeaderMap::new();
        data.insert("authorization", HeaderValue::from_static("Bearer owner"));
        Ok(CacheableResource::New {
            entity_tag: self.0.clone(),
            data,
        })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}

impl Contestant for Crate {
    type Key = Place;
    type Version = FirestoreTimestamp;

    fn name(&self) -> &str {
        "firestore"
    }

    fn does(&self, operation: Operation) -> Does {
        let work = match operation {
            Operation::Get => "a read by id",
            Operation::Put => "an update without a condition, answered with its time alone",
            Operation::Create => "an update where no document is, answered with its time alone",
            Operation::CompareAndSet => "an update under the update time, answered with the new one alone",
            Operation::Update => {
                "a read and an update under its update time, again on a conflict, with back-off"
            }
            Operation::Page => "a query of the collection",
            Operation::GetMany => "a batch get",
            Operation::Transact => "one Commit of 10 updates",
        };
        let leaves_out = match operation {
            Operation::Get | Operation::GetMany | Operation::Page => "the field with the write's id",
            _ => "the write's id, and the memory of the one that it replaced",
        };
        Does::Less(work, leaves_out)
    }

    fn max_value(&self) -> usize {
        1018 * 1024
    }

    fn key(&self, partition: &str, id: &str) -> Place {
        (format!("raw-{partition}"), id.to_owned())
    }

    async fn get(&self, key: &Place) -> Option<Bytes> {
        self.read(key).await.map(|(_, value)| value)
    }

    async fn put(&self, key: &Place, value: Bytes) {
        self.write(key, None, &value).await.expect("no condition");
    }

    async fn delete(&self, (collection, id): &Place) {
        let delete = self.0.fluent().delete().from(collection.as_str()).document_id(id);
        delete.execute().await.expect("a deletion");
    }

    async fn create(&self, key: &Place, value: Bytes) -> FirestoreTimestamp {
        let absent = FirestoreWritePrecondition::Exists(false);
        self.write(key, Some(absent), &value)
            .await
            .expect("nothing was there")
    }

    async fn compare_and_set(
        &self,
        key: &Place,
        expected: FirestoreTimestamp,
        value: Bytes,
    ) -> FirestoreTimestamp {
        let there = FirestoreWritePrecondition::UpdateTime(expected.0);
        self.write(key, Some(there), &value)
            .await
            .expect("nobody else writes it")
    }

    async fn update(&self, key: &Place) {
        for attempt in 1.. {
            let (updated, value) = self.read(key).await.expect("it is there");
            let began = Instant::now();
            let there = FirestoreWritePrecondition::UpdateTime(updated.0);
            if self.write(key, Some(there), &next(&value)).await.is_some() {
                return;
            }
            back_off(attempt, began).await;
        }
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let select = self.0.fluent().select().from(&*format!("raw-{partition}"));
        let limit = u32::try_from(limit).expect("few");
        let read: Vec<Read> = select.limit(limit).obj().query().await.expect("a query");
        read.into_iter().map(Read::into_parts).count()
    }

    async fn get_many(&self, keys: &[Place]) -> usize {
        let ids = keys.iter().map(|(_, id)| id);
        let read = self
            .0
            .fluent()
            .select()
            .by_id_in(&keys[0].0)
            .obj::<Read>()
            .batch(ids)
            .await;
        let read: Vec<_> = read.expect("a batch").collect().await;
        read.into_iter()
            .filter_map(|(_, read)| read.map(Read::into_parts))
            .count()
    }

    async fn transact(&self, keys: &[Place], value: Bytes) {
        let writes = keys.iter().map(|(collection, id)| {
            let path = format!("{}/{collection}/{id}", self.0.get_documents_path());
            let document = FirestoreDb::serialize_to_doc(path, &stored(&value)).expect("a document");
            Write {
                operation: Some(WriteOperation::Update(document)),
                ..Default::default()
            }
        });
        let request = CommitRequest {
            database: self.0.get_database_path().clone(),
            writes: writes.collect(),
            ..Default::default()
        };
        let commit = self.0.client().get().commit(request).await;
        assert_eq!(
            commit.expect("a commit").into_inner().write_results.len(),
            keys.len()
        );
    }
}
