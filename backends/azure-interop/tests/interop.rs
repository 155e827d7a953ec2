//! A program on the crate `azure_data_tables` and one on ours read each other's entities.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::time::Duration;

use azure_data_tables::IfMatchCondition;
use azure_data_tables::clients::{TableClient, TableServiceClientBuilder};
use azure_storage::{CloudLocation, StorageCredentials};
use serde::{Deserialize, Serialize};
use statestore::azure_table::AzureTableConfig;
use statestore::{AzureTableStore, ErrorKind, GetOptions, Key, PutOptions, StateStore, StateStoreExt, Ttl};
use statestore_conformance::servers::azurite::AzuriteServer;

/// What another program wants of our entities.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Theirs {
    #[serde(rename = "PartitionKey")]
    partition: String,
    #[serde(rename = "RowKey")]
    row: String,
    v: String,
    w: String,
    f: u32,
}

struct Both {
    ours: AzureTableStore,
    theirs: TableClient,
    _server: AzuriteServer,
}

impl Both {
    async fn start() -> Self {
        let server = AzuriteServer::start().await.unwrap();
        let config = AzureTableConfig::emulator("shared")
            .with_endpoint(server.endpoint())
            .with_timeout(Duration::from_secs(30));
        let ours = AzureTableStore::new(config).unwrap();
        ours.create_table().await.unwrap();
        let location = CloudLocation::Emulator {
            address: server.addr().ip().to_string(),
            port: server.addr().port(),
        };
        let service =
            TableServiceClientBuilder::with_location(location, StorageCredentials::emulator()).build();
        Self {
            ours,
            theirs: service.table_client("shared"),
            _server: server,
        }
    }
}

#[tokio::test]
async fn they_read_what_we_wrote_and_we_notice_what_they_change() {
    let both = Both::start().await;
    let key = Key::new("user-42", "2026-11-23T10:00:00Z").unwrap();
    let text = r#"{"name":"é \"quoted\""}"#;
    let options = PutOptions::expiring(Ttl::After(Duration::from_secs(3600)));
    let version = both.ours.put(&key, text.into(), options).await.unwrap();

    let client = both
        .theirs
        .partition_key_client("user-42")
        .entity_client("2026-11-23T10:00:00Z");
    let read = client.get::<Theirs>().await.unwrap();
    assert_eq!((read.entity.v.as_str(), read.entity.f), (text, 1));

    // They change the value under the ETag that ours has, and know nothing of our versions.
    let change = serde_json::json!({ "v": "theirs" });
    let condition = IfMatchCondition::Etag(read.etag);
    client.merge(&change, condition).unwrap().await.unwrap();
    let entry = both.ours.get(&key, GetOptions::default()).await.unwrap().unwrap();
    assert_eq!(entry.value, "theirs");
    assert_ne!(entry.version, version);
    let error = both
        .ours
        .compare_and_set(&key, Some(&version), "lost")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    both.ours
        .compare_and_set(&key, Some(&entry.version), "ours again")
        .await
        .unwrap();
}

#[tokio::test]
async fn we_read_what_they_wrote() {
    let both = Both::start().await;
    let entity = Theirs {
        partition: "user-42".to_owned(),
        row: "cart".to_owned(),
        v: "one apple".to_owned(),
        w: "A".repeat(32),
        f: 1,
    };
    let _: azure_data_tables::operations::InsertEntityResponse<Theirs> =
        both.theirs.insert(&entity).unwrap().await.unwrap();
    let key: Key = "user-42/cart".parse().unwrap();
    let entry = both.ours.get(&key, GetOptions::default()).await.unwrap().unwrap();
    assert_eq!(entry.value, "one apple");
    let page = both.ours.list_page("user-42", Default::default()).await.unwrap();
    assert_eq!(
        page.items[0].entry.as_ref(),
        Some(&entry),
        "a listing shows the same ETag"
    );
    both.ours
        .compare_and_set(&key, Some(&entry.version), "two apples")
        .await
        .unwrap();
}
