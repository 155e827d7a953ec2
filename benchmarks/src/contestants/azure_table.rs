//! The crate `azure_data_tables` used directly, with a client that pools: the service's ETag is the version.

use std::sync::Arc;
use std::time::{Duration, Instant};

use azure_core_0_21::StatusCode;
use azure_core_0_21::error::ErrorKind;
use azure_core_0_21::{Etag, RetryOptions, TransportOptions};
use azure_data_tables::clients::{EntityClient, TableClient, TableServiceClientBuilder};
use azure_data_tables::{Filter, IfMatchCondition, ReturnEntity, Top};
use azure_storage::{CloudLocation, StorageCredentials};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use statestore::backend::Stamp;
use statestore::{Key, Version, WriteId};

use super::{back_off, twin};
use crate::contest::{Contestant, Does, Operation, next};

/// A property may have 32 Ki characters: a longer value takes several.
const PART: usize = 32_000;

#[derive(Clone)]
pub(crate) struct Pooled {
    table: TableClient,
    of: Of,
}

/// What is stored of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Its value.
    Value,
    /// All that the store keeps.
    Store,
}

/// An entry's place: partition and row.
pub(crate) type Place = (String, String);

#[derive(Clone, Deserialize, Serialize)]
struct Entity {
    #[serde(rename = "PartitionKey")]
    partition: String,
    #[serde(rename = "RowKey")]
    row: String,
    /// The format, the write's id, the version that it replaced, and what the store's transactions add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    w: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    v: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    v1: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    v2: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    v3: Option<String>,
}

impl Entity {
    fn new((partition, row): &Place, value: &[u8]) -> Self {
        let text = std::str::from_utf8(value).expect("text");
        let part = |n: usize| {
            text.get(n * PART..text.len().min((n + 1) * PART))
                .filter(|part| !part.is_empty())
        };
        Self {
            partition: partition.clone(),
            row: row.clone(),
            f: None,
            w: None,
            p: None,
            e: None,
            v: part(0).unwrap_or_default().to_owned(),
            v1: part(1).map(str::to_owned),
            v2: part(2).map(str::to_owned),
            v3: part(3).map(str::to_owned),
        }
    }

    fn value(self) -> Bytes {
        let mut value = self.v;
        for part in [self.v1, self.v2, self.v3].into_iter().flatten() {
            value.push_str(&part);
        }
        value.into()
    }
}

impl Pooled {
    /// The table is there already. A client that does not pool opens a connection for each request.
    pub(crate) fn new(server: std::net::SocketAddr, table: &str, of: Of) -> Self {
        let location = CloudLocation::Emulator {
            address: server.ip().to_string(),
            port: server.port(),
        };
        let client = reqwest_0_12::Client::builder()
            .tcp_nodelay(true)
            // Azurite closes a connection that was idle for 5 s: what is sent on it then is lost.
            .pool_idle_timeout(Duration::from_secs(2))
            .build()
            .expect("a client");
        let service = TableServiceClientBuilder::with_location(location, StorageCredentials::emulator())
            .retry(RetryOptions::none())
            .transport(TransportOptions::new(Arc::new(client)))
            .build();
        Self {
            table: service.table_client(table),
            of,
        }
    }

    fn entry(&self, place: &Place, replaced: Option<&Etag>, value: &[u8]) -> Entity {
        let entity = Entity::new(place, value);
        if self.of == Of::Value {
            return entity;
        }
        let key = Key::new(&*place.0, &*place.1).expect("a key");
        let stamp = Version::from(Stamp::new(WriteId::new(), Stamp::new_nonce(), &key)).to_string();
        Entity {
            f: Some(1),
            // The store's has the ETag in 8 bytes, the hash of all, the stamp and an expiry.
            p: replaced.map(|etag| format!("e.{stamp}{etag}")),
            w: Some(stamp),
            ..entity
        }
    }

    fn partition(&self, partition: &str) -> String {
        match self.of {
            Of::Value => format!("raw-{partition}"),
            Of::Store => twin(partition),
        }
    }

    fn entity(&self, (partition, row): &Place) -> EntityClient {
        self.table.partition_key_client(partition).entity_client(row)
    }

    async fn read(&self, place: &Place) -> Option<(Etag, Bytes)> {
        match self.entity(place).get::<Entity>().await {
            Ok(got) => Some((got.etag, got.entity.value())),
            Err(error) if is(&error, StatusCode::NotFound) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// `None`: another was faster.
    async fn set(&self, place: &Place, expected: Etag, value: &[u8]) -> Option<Etag> {
        let entry = self.entry(place, Some(&expected), value);
        let update = self.entity(place).update(entry, IfMatchCondition::Etag(expected));
        match update.expect("JSON").await {
            Ok(done) => Some(done.etag),
            Err(error) if is(&error, StatusCode::PreconditionFailed) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn is(error: &azure_core_0_21::Error, expected: StatusCode) -> bool {
    matches!(error.kind(), ErrorKind::HttpResponse { status, .. } if *status == expected)
}

impl Contestant for Pooled {
    type Key = Place;
    type Version = Etag;

    fn name(&self) -> &str {
        match self.of {
            Of::Value => "azure_data_tables, pooled",
            Of::Store => "azure_data_tables, the store's entities",
        }
    }

    fn does(&self, operation: Operation) -> Does {
        let work = match operation {
            Operation::Get => "Get Entity",
            Operation::Put => "Insert Or Replace Entity",
            Operation::Create => "Insert Entity",
            Operation::CompareAndSet => "Update Entity under the ETag",
            Operation::Update => {
                "Get Entity and Update Entity under the ETag, again on a conflict, with back-off"
            }
            Operation::Page => "Query Entities of the partition",
            Operation::GetMany => "Get Entity, 32 at a time",
            Operation::Transact => "an entity group transaction of 10 Insert Or Replace",
        };
        match self.of {
            Of::Value => Does::Less(work, "the write's id and the version that it replaced"),
            Of::Store => Does::Alike(match operation {
                Operation::Get => "Get Entity of all that the store keeps",
                Operation::Put => "Insert Or Replace Entity of all that the store keeps",
                Operation::Create => "Insert Entity of all that the store keeps",
                Operation::CompareAndSet => "Update Entity of all that the store keeps, under the ETag",
                Operation::Update => {
                    "Get Entity and Update Entity of all that the store keeps, again on a conflict, with back-off"
                }
                Operation::Page => {
                    "Query Entities of the partition, of all that the store keeps, with the full metadata that it always asks for"
                }
                Operation::GetMany => "Get Entity of all that the store keeps, 32 at a time",
                Operation::Transact => {
                    "an entity group transaction of 10 Insert Or Replace of all that the store keeps"
                }
            }),
        }
    }

    fn max_value(&self) -> usize {
        4 * PART
    }

    fn key(&self, partition: &str, id: &str) -> Place {
        (self.partition(partition), id.to_owned())
    }

    async fn get(&self, key: &Place) -> Option<Bytes> {
        self.read(key).await.map(|(_, value)| value)
    }

    async fn put(&self, key: &Place, value: Bytes) {
        let put = self.entity(key).insert_or_replace(self.entry(key, None, &value));
        put.expect("JSON").await.expect("a put");
    }

    async fn delete(&self, key: &Place) {
        match self.entity(key).delete().await {
            Ok(_) => {}
            Err(error) if is(&error, StatusCode::NotFound) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn create(&self, key: &Place, value: Bytes) -> Etag {
        let insert = self
            .table
            .insert::<_, Entity>(self.entry(key, None, &value))
            .expect("JSON");
        let done = insert
            .return_entity(ReturnEntity::from(false))
            .await
            .expect("nothing was there");
        done.etag
    }

    async fn compare_and_set(&self, key: &Place, expected: Etag, value: Bytes) -> Etag {
        self.set(key, expected, &value)
            .await
            .expect("nobody else writes it")
    }

    async fn update(&self, key: &Place) {
        for attempt in 1.. {
            let (etag, value) = self.read(key).await.expect("it is there");
            let began = Instant::now();
            if self.set(key, etag, &next(&value)).await.is_some() {
                return;
            }
            back_off(attempt, began).await;
        }
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let query = self.table.query().filter(Filter::new(format!(
            "PartitionKey eq '{}'",
            self.partition(partition)
        )));
        let query = query.top(Top::new(u32::try_from(limit).expect("few")));
        let page = query.into_stream::<Entity>().next().await.expect("a page");
        page.expect("a page")
            .entities
            .into_iter()
            .map(Entity::value)
            .count()
    }

    async fn get_many(&self, keys: &[Place]) -> usize {
        let gets: Vec<_> = keys.iter().map(|key| self.read(key)).collect();
        let read: Vec<_> = stream::iter(gets).buffered(32).collect().await;
        read.into_iter().flatten().count()
    }

    async fn transact(&self, keys: &[Place], value: Bytes) {
        let mut transaction = self.table.partition_key_client(&keys[0].0).transaction();
        for key in keys {
            let mut entry = self.entry(key, None, &value);
            entry.e = entry.f.map(|_| "-".to_owned());
            let put = transaction.insert_or_replace(&key.1, entry);
            transaction = put.expect("JSON");
        }
        let done = transaction.await.expect("a transaction");
        assert!(
            done.operation_responses
                .iter()
                .all(|response| response.status_code.is_success())
        );
    }
}
