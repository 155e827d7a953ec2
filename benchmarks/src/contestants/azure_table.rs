//! The crate `azure_data_tables` used directly, with a client that pools: the service's ETag is the version.

use std::sync::Arc;

use azure_core_0_21::StatusCode;
use azure_core_0_21::error::ErrorKind;
use azure_core_0_21::{Etag, RetryOptions, TransportOptions};
use azure_data_tables::clients::{EntityClient, TableClient, TableServiceClientBuilder};
use azure_data_tables::{Filter, IfMatchCondition, ReturnEntity, Top};
use azure_storage::{CloudLocation, StorageCredentials};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

use super::back_off;
use crate::contest::{Contestant, Does, Operation, next};

/// A property may have 32 Ki characters: a longer value takes several.
const PART: usize = 32_000;

#[derive(Clone)]
pub(crate) struct Pooled(TableClient);

/// An entry's place: partition and row.
pub(crate) type Place = (String, String);

#[derive(Clone, Deserialize, Serialize)]
struct Entity {
    #[serde(rename = "PartitionKey")]
    partition: String,
    #[serde(rename = "RowKey")]
    row: String,
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
    pub(crate) fn new(server: std::net::SocketAddr, table: &str) -> Self {
        let location = CloudLocation::Emulator {
            address: server.ip().to_string(),
            port: server.port(),
        };
        let client = reqwest_0_12::Client::builder()
            .tcp_nodelay(true)
            .build()
            .expect("a client");
        let service = TableServiceClientBuilder::with_location(location, StorageCredentials::emulator())
            .retry(RetryOptions::none())
            .transport(TransportOptions::new(Arc::new(client)))
            .build();
        Self(service.table_client(table))
    }

    fn entity(&self, (partition, row): &Place) -> EntityClient {
        self.0.partition_key_client(partition).entity_client(row)
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
        let update = self
            .entity(place)
            .update(Entity::new(place, value), IfMatchCondition::Etag(expected));
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
        "azure_data_tables, pooled"
    }

    fn does(&self, operation: Operation) -> Does {
        Does::Work(match operation {
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
        })
    }

    fn max_value(&self) -> usize {
        4 * PART
    }

    fn key(&self, partition: &str, id: &str) -> Place {
        (format!("raw-{partition}"), id.to_owned())
    }

    async fn get(&self, key: &Place) -> Option<Bytes> {
        self.read(key).await.map(|(_, value)| value)
    }

    async fn put(&self, key: &Place, value: Bytes) {
        let put = self.entity(key).insert_or_replace(Entity::new(key, &value));
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
            .0
            .insert::<_, Entity>(Entity::new(key, &value))
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
            if self.set(key, etag, &next(&value)).await.is_some() {
                return;
            }
            back_off(attempt).await;
        }
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let query = self
            .0
            .query()
            .filter(Filter::new(format!("PartitionKey eq 'raw-{partition}'")));
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
        let mut transaction = self.0.partition_key_client(&keys[0].0).transaction();
        for key in keys {
            let put = transaction.insert_or_replace(&key.1, Entity::new(key, &value));
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
