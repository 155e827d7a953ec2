//! Opening, and what is set up by an explicit call.

use std::collections::BTreeSet;
use std::time::Duration;

use firestore::gcloud_sdk::google::firestore::admin::v1::UpdateFieldRequest;
use firestore::gcloud_sdk::google::firestore::v1::run_query_request::QueryType;
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{
    Cursor, PartitionQueryRequest, PartitionQueryResponse, RunQueryRequest, RunQueryResponse, Value,
};
use firestore::gcloud_sdk::google::longrunning::Operation;
use firestore::gcloud_sdk::google_cloud_auth::credentials::anonymous;
use firestore::gcloud_sdk::prost::Message as _;
use firestore::gcloud_sdk::tonic::Code;
use firestore::{FirestoreDb, FirestoreDbOptions};
use futures::TryStreamExt;
use statestore::{
    Clock, ErrorKind, FirestoreStore, GetOptions, Key, ListOptions, ManualClock, Projection, PutOptions,
    ScanOptions, StateStore, StateStoreExt, Ttl,
};

use super::canned::{Answer, Canned};
use super::{key, local};

#[tokio::test]
async fn a_client_of_the_application_s_own_serves() {
    let (config, server) = local().await;
    let mut options = FirestoreDbOptions::new(config.project.clone());
    options.firebase_api_url = Some(format!("http://{}", server.addr()));
    let auth = anonymous::Builder::new().build();
    let client = FirestoreDb::with_options_auth(options, auth).await.unwrap();
    let store = FirestoreStore::from_client(&client, &config.collection).unwrap();
    let key = key("own-client");
    let version = store.create(&key, "x").await.unwrap();
    let other = FirestoreStore::new(config).unwrap();
    let entry = other.get(&key, GetOptions::default()).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.version), ("x".into(), version));
    let bad = FirestoreStore::from_client(&client, "a/b").unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn open_takes_a_url() {
    let (_, server) = local().await;
    let url = format!(
        "firestore://statestore-test/opened?emulator={}&timeout=30s",
        server.addr()
    );
    let store = statestore::open(&url).await.unwrap();
    store.ready().await.unwrap();
    assert_eq!(store.capabilities().backend, "firestore");
    let error = statestore::open("firestore://my-project/app-state?databse=eu")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`databse`"), "{error}");
}

/// Where every Google library looks for an emulator.
const EMULATOR: &str = "FIRESTORE_EMULATOR_HOST";

/// A variable cannot be set in this process, in which other tests run: so this test runs itself in another.
#[tokio::test]
async fn the_emulator_of_the_environment_is_used() {
    const PARTITION: &str = "STATESTORE_TEST_PARTITION";
    if let Ok(partition) = std::env::var(PARTITION) {
        let store = statestore::open("firestore://statestore-test/state")
            .await
            .unwrap();
        store
            .create(&Key::new(partition, "inner").unwrap(), "x")
            .await
            .unwrap();
        return;
    }
    let (config, server) = local().await;
    let key = key("inner");
    let inner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "setup::the_emulator_of_the_environment_is_used"])
        .env(PARTITION, key.partition())
        .env(EMULATOR, server.addr().to_string())
        .output()
        .unwrap();
    assert!(
        inner.status.success(),
        "{}",
        String::from_utf8_lossy(&inner.stdout)
    );
    let store = FirestoreStore::new(config).unwrap();
    assert!(store.exists(&key).await.unwrap());
}

#[tokio::test]
async fn stores_in_one_database_do_not_meet() {
    let (config, _) = local().await;
    let collections = ["one", "one-items", "one.two"];
    let stores = collections.map(|collection| {
        let mut config = config.clone();
        collection.clone_into(&mut config.collection);
        FirestoreStore::new(config).unwrap()
    });
    let key = key("same");
    for (store, collection) in stores.iter().zip(collections) {
        store.create(&key, collection).await.unwrap();
    }
    for (store, collection) in stores.iter().zip(collections) {
        let entry = store.get(&key, GetOptions::default()).await.unwrap().unwrap();
        assert_eq!(entry.value, collection);
        let page = store
            .list_page(key.partition(), ListOptions::default())
            .await
            .unwrap();
        assert_eq!(page.items.len(), 1);
        let scanned = store.scan_page(ScanOptions::default()).await.unwrap();
        let values = scanned.items.into_iter().map(|item| item.entry.unwrap().value);
        assert!(values.into_iter().all(|value| value == collection));
    }
}

#[tokio::test]
async fn parts_of_a_scan_find_each_key_once() {
    let (mut config, _) = local().await;
    config.collection = "scanned-in-parts".to_owned();
    let store = FirestoreStore::new(config).unwrap();
    let keys: BTreeSet<Key> = (0..300)
        .map(|number| Key::new(format!("p-{}", number % 30), format!("{number}")).unwrap())
        .collect();
    for key in &keys {
        store.create(key, "x").await.unwrap();
    }
    let options = ScanOptions::default()
        .with_page_size(7)
        .with_projection(Projection::Keys);
    for parts in [1, 4] {
        let found: Vec<Key> = store
            .scan_in_parts(parts, options.clone())
            .map_ok(|item| item.key)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(found.len(), keys.len());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), keys);
    }
    let bad = store
        .scan_in_parts(2, options.with_page_size(0))
        .try_collect::<Vec<_>>()
        .await;
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::InvalidOptions);
}

/// The emulators have no PartitionQuery, and so one part: the service's answer is canned.
#[tokio::test]
async fn each_part_is_read_from_where_the_one_before_ends() {
    let name =
        |id: &str| format!("projects/canned/databases/(default)/documents/state/{id}/state-items/{id}");
    let cursor = |id: &str| Cursor {
        values: vec![Value {
            value_type: Some(ValueType::ReferenceValue(name(id))),
        }],
        before: false,
    };
    let parted = PartitionQueryResponse {
        partitions: vec![cursor("m"), cursor("f")],
        ..Default::default()
    };
    let canned = Canned::start([
        Answer::message(&parted),
        Answer::message(&RunQueryResponse::default()),
    ])
    .await;
    let store = canned.store();
    let items: Vec<_> = store
        .scan_in_parts(3, ScanOptions::default())
        .try_collect()
        .await
        .unwrap();
    assert!(items.is_empty());
    let requests = canned.requests();
    assert_eq!(requests[0].0, "PartitionQuery");
    assert_eq!(
        PartitionQueryRequest::decode(&*requests[0].1)
            .unwrap()
            .partition_count,
        2
    );
    let mut parts: Vec<_> = requests[1..]
        .iter()
        .map(|(method, message)| {
            assert_eq!(method, "RunQuery");
            let QueryType::StructuredQuery(query) =
                RunQueryRequest::decode(&**message).unwrap().query_type.unwrap();
            // From the first on that is in it, to before the first that is in the next.
            [query.start_at, query.end_at].map(|cursor| {
                let cursor = cursor?;
                assert!(cursor.before);
                match cursor.values[0].value_type.clone()? {
                    ValueType::ReferenceValue(name) => Some(name),
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    parts.sort();
    let [f, m] = ["f", "m"].map(|id| Some(name(id)));
    assert_eq!(parts, [[None, f.clone()], [f, m.clone()], [m, None]]);
}

#[tokio::test]
async fn a_page_of_large_values_ends_early() {
    let (config, _) = local().await;
    let clock = ManualClock::new();
    let store = FirestoreStore::new(config).unwrap().with_clock(clock.clone());
    let first = key("00");
    let keys: Vec<Key> = (0..20)
        .map(|id| Key::new(first.partition(), format!("{id:02}")).unwrap())
        .collect();
    let expires = PutOptions::default().with_ttl(Ttl::After(Duration::from_secs(60)));
    for key in &keys {
        let large = vec![b'x'; 1_000_000].into();
        store.put(key, large, expires.clone()).await.unwrap();
    }
    let page = store
        .list_page(first.partition(), ListOptions::default())
        .await
        .unwrap();
    assert!((10..20).contains(&page.items.len()), "{}", page.items.len());
    let next = ListOptions::default().with_page_token(page.next.unwrap());
    let rest = store.list_page(first.partition(), next.clone()).await.unwrap();
    let all = page.items.iter().chain(&rest.items).map(|item| &item.key);
    assert!(all.eq(&keys));
    assert_eq!(rest.next, None);
    // What has expired is as long on its way, and ends the page at the same place.
    clock.set(clock.now() + Duration::from_secs(60));
    let expired = store
        .list_page(first.partition(), ListOptions::default())
        .await
        .unwrap();
    assert_eq!(expired.items, []);
    let expired = ListOptions::default().with_page_token(expired.next.unwrap());
    assert_eq!(expired.page_token, next.page_token);
}

#[tokio::test]
async fn create_fields_exempts_each_field_and_makes_the_policy() {
    let canned = Canned::start([Answer::message(&Operation::default())]).await;
    canned.store().create_fields().await.unwrap();
    let shipped: serde_json::Value =
        serde_json::from_str(include_str!("../../src/firestore/firestore.indexes.json")).unwrap();
    let shipped = shipped["fieldOverrides"].as_array().unwrap();
    let requests = canned.requests();
    assert_eq!(requests.len(), shipped.len());
    for ((method, message), shipped) in requests.iter().zip(shipped) {
        assert_eq!(method, "UpdateField");
        let field = UpdateFieldRequest::decode(&**message).unwrap().field.unwrap();
        let (group, path) = (
            shipped["collectionGroup"].as_str().unwrap(),
            shipped["fieldPath"].as_str().unwrap(),
        );
        let group = group.replace("app-state", "state");
        assert_eq!(
            field.name,
            format!("projects/canned/databases/(default)/collectionGroups/{group}/fields/{path}")
        );
        assert_eq!(
            field.index_config.unwrap().indexes.len(),
            shipped["indexes"].as_array().unwrap().len()
        );
        assert_eq!(
            field.ttl_config.is_some(),
            shipped["ttl"].as_bool().unwrap_or(false),
            "{path}"
        );
    }
    let refused = Canned::start([Answer::status(Code::PermissionDenied, "no")]).await;
    let error = refused.store().create_fields().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
}
