//! What is told of the calls of a store that was opened by its URL.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use statestore::{StateStore, open};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// The fields that the spans of calls begin with.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Fields>>>);

#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Told {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if span.metadata().target() == "statestore::observe" {
            let mut fields = Fields::default();
            span.record(&mut fields);
            self.0.lock().unwrap().push(fields);
        }
    }
}

impl Told {
    fn take(&self) -> Vec<Fields> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// What is told of a call of the store of `url`, which need not be there.
    async fn of_a_call(&self, url: &str) -> Option<Fields> {
        let store = open(url).await.unwrap();
        // It is told of whether it succeeds or not.
        let _ = store
            .get(&"user-42/cart".parse().unwrap(), Default::default())
            .await;
        let told = self.take();
        assert!(told.len() <= 1, "{url}: {told:?}");
        // One store at a time has a file open.
        store.close().await.unwrap();
        self.take();
        told.into_iter().next()
    }
}

/// URLs, and the names that they have.
fn stores(folder: &str) -> Vec<(String, [Option<&'static str>; 4])> {
    let mut stores = vec![("memory:?".to_owned(), [Some("memory"), None, None, Some("get")])];
    if cfg!(feature = "embedded") {
        let url = format!("file:{folder}/state.redb?");
        stores.push((url, [Some("redb"), None, None, Some("get")]));
    }
    if cfg!(feature = "redis") {
        let url = "redis://127.0.0.1:1/3?retry=off&";
        stores.push((url.to_owned(), [Some("redis"), Some("3"), None, Some("get 3")]));
    }
    if cfg!(feature = "dynamodb") {
        let url = "dynamodb://app-state?endpoint=http://127.0.0.1:1&credentials=made-up&retry=off&";
        let names = [
            Some("aws.dynamodb"),
            None,
            Some("app-state"),
            Some("get app-state"),
        ];
        stores.push((url.to_owned(), names));
    }
    if cfg!(feature = "firestore") {
        let url = "firestore://my-project/app-state?emulator=127.0.0.1:1&retry=off&";
        let names = [
            Some("gcp.firestore"),
            Some("my-project/(default)"),
            Some("app-state"),
            Some("get app-state"),
        ];
        stores.push((url.to_owned(), names));
    }
    if cfg!(feature = "azure-table") {
        let url = "azure-table://devstoreaccount1/appstate?emulator=true&endpoint=http://127.0.0.1:1/devstoreaccount1&retry=off&";
        let names = [
            Some("azure.table"),
            Some("devstoreaccount1"),
            Some("appstate"),
            Some("get appstate"),
        ];
        stores.push((url.to_owned(), names));
    }
    stores
}

#[tokio::test]
async fn each_store_is_told_of_by_its_names() {
    let told = Told::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(told.clone())).unwrap();
    let folder = tempfile::tempdir().unwrap();

    for (url, names) in stores(folder.path().to_str().unwrap()) {
        let fields = told.of_a_call(&format!("{url}observe=on")).await.unwrap();
        let expected = [
            "db.system.name",
            "db.namespace",
            "db.collection.name",
            "otel.name",
        ];
        assert_eq!(expected.map(|name| fields.get(name)), names, "{url}");
        assert!(!format!("{fields:?}").contains("user-42"), "{url}: {fields:?}");

        let fields = told.of_a_call(&format!("{url}observe_keys=on")).await.unwrap();
        assert_eq!(
            fields.get("db.operation.parameter.key"),
            Some("user-42/cart"),
            "{url}"
        );

        let fields = told.of_a_call(&format!("{url}observe=off")).await;
        assert!(fields.is_none(), "{url}: {fields:?}");
    }
}
