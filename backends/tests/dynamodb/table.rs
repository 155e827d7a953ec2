//! The table: made by an explicit call alone, checked by `ready`; clients of the application's own; parts of a scan.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveStatus,
};
use futures::TryStreamExt as _;
use statestore::{
    DynamoDbStore, ErrorKind, GetOptions, Key, ListOptions, PageToken, Projection, PutOptions, ScanOptions,
    StateStore, StateStoreExt,
};

use super::{key, local};

/// A client of the SDK's for DynamoDB Local.
async fn client() -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("made", "up", None, None, "test"))
        .endpoint_url(local().await.1.endpoint())
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn a_missing_table_is_said_and_never_made() {
    let client = client().await;
    let store = DynamoDbStore::from_client(client.clone(), "not-there").unwrap();
    let put = store
        .put(&key("x"), "x".into(), PutOptions::default())
        .await
        .map(drop);
    let get = store.get(&key("x"), GetOptions::default()).await.map(drop);
    for answer in [store.ready().await, put, get] {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StoreNotFound, "{error}");
        assert!(
            error
                .to_string()
                .contains("aws dynamodb create-table --table-name not-there")
        );
    }
    let tables = client.list_tables().send().await.unwrap();
    assert!(!tables.table_names().contains(&"not-there".to_owned()));
}

#[tokio::test]
async fn create_table_makes_it_with_its_ttl_and_may_be_repeated() {
    let client = client().await;
    let store = DynamoDbStore::from_client(client.clone(), "made-by-a-call").unwrap();
    for _ in 0..2 {
        store.create_table().await.unwrap();
        store.ready().await.unwrap();
    }
    let ttl = client
        .describe_time_to_live()
        .table_name("made-by-a-call")
        .send()
        .await
        .unwrap()
        .time_to_live_description
        .unwrap();
    assert_eq!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled));
    assert_eq!(ttl.attribute_name.as_deref(), Some("ttl"));
}

#[tokio::test]
async fn a_table_with_another_key_is_refused() {
    let client = client().await;
    client
        .create_table()
        .table_name("of-another-program")
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name("id")
                .key_type(KeyType::Hash)
                .build()
                .unwrap(),
        )
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name("id")
                .attribute_type(ScalarAttributeType::S)
                .build()
                .unwrap(),
        )
        .send()
        .await
        .unwrap();
    let store = DynamoDbStore::from_client(client, "of-another-program").unwrap();
    let put = store
        .put(&key("x"), "x".into(), PutOptions::default())
        .await
        .map(drop);
    for answer in [store.ready().await, store.create_table().await, put] {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}

#[tokio::test]
async fn a_client_of_the_application_s_own_serves() {
    let (config, _) = local().await;
    let store = DynamoDbStore::from_client(client().await, &config.table).unwrap();
    let key = key("own-client");
    let version = store.create(&key, "x").await.unwrap();
    let entry = store.get(&key, GetOptions::default()).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.version), ("x".into(), version));
    assert!(!format!("{store:?}").contains("made"));
}

#[tokio::test]
async fn open_takes_a_url() {
    let (config, server) = local().await;
    let url = format!(
        "dynamodb://{}?endpoint={}&credentials=made-up&region=eu-central-1&timeout=30s",
        config.table,
        server.endpoint()
    );
    let store = statestore::open(&url).await.unwrap();
    store.ready().await.unwrap();
    assert_eq!(store.capabilities().backend, "dynamodb");
    let error = statestore::open("dynamodb://app-state?regoin=eu")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`regoin`"), "{error}");
}

#[tokio::test]
async fn segments_of_a_scan_find_each_key_once() {
    let store = DynamoDbStore::from_client(client().await, "scanned-in-segments").unwrap();
    store.create_table().await.unwrap();
    let keys: BTreeSet<Key> = (0..90)
        .map(|number| Key::new(format!("p-{}", number % 30), format!("{number}")).unwrap())
        .collect();
    for key in &keys {
        store.create(key, "x").await.unwrap();
    }
    let options = ScanOptions::default().with_page_size(7);
    for segments in [1, 4] {
        let found: Vec<Key> = store
            .scan_in_segments(segments, options.clone().with_projection(Projection::Keys))
            .map_ok(|item| item.key)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(found.len(), keys.len());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), keys);
    }
    let page = store.scan_segment_page(0, 1, options.clone()).await.unwrap();
    let token = page.next.unwrap();
    let other = store.scan_segment_page(0, 2, options.clone().with_page_token(token));
    assert_eq!(other.await.unwrap_err().kind(), ErrorKind::InvalidToken);
    let beyond = store.scan_segment_page(2, 2, options).await;
    assert_eq!(beyond.unwrap_err().kind(), ErrorKind::InvalidOptions);
}

#[tokio::test]
async fn a_listing_may_start_anywhere() {
    let (config, _) = local().await;
    let store = DynamoDbStore::new(config.clone()).unwrap();
    let first = key("a");
    let long = "a".repeat(1024);
    for id in ["a", "ab", "b", &long] {
        store
            .create(&Key::new(first.partition(), id).unwrap(), "x")
            .await
            .unwrap();
    }
    let ids = async |options: ListOptions| {
        let page = store.list_page(first.partition(), options).await.unwrap();
        page.items
            .iter()
            .map(|item| item.key.id().len())
            .collect::<Vec<_>>()
    };
    let options = ListOptions::default();
    assert_eq!(ids(options.clone()).await, [1, 1024, 2, 1]);
    let behind_all_as = options.clone().with_start_after(long.clone());
    assert_eq!(ids(behind_all_as).await, [2, 1]);
    assert_eq!(
        ids(options.clone().with_prefix("ab").with_start_after("ab")).await,
        [0; 0]
    );
    assert_eq!(
        ids(options.clone().with_prefix("ab").with_start_after("aa")).await,
        [2]
    );
    assert_eq!(
        ids(options.clone().with_prefix("a").with_start_after("b")).await,
        [0; 0]
    );
    let token: PageToken = "nonsense".parse().unwrap();
    let refused = store
        .list_page(first.partition(), options.with_page_token(token))
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidToken);
}
