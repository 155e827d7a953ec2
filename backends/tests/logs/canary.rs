use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use statestore::{
    Action, Bytes, Capabilities, Current, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions, Page,
    Precondition, PutOptions, Resolution, Result, ScanOptions, StateStore, TouchOptions, TransactOp,
    TransactOptions, Ttl, Version, WriteId,
};

/// What every stored value begins with.
const CANARY: &str = "canary-value-c3a95e";

/// The forms in which a log may show it: as text, as base64, as a list of bytes.
pub(crate) fn shown() -> Vec<String> {
    let whole_groups = &CANARY.as_bytes()[..CANARY.len() / 3 * 3];
    let bytes: Vec<_> = CANARY.bytes().take(10).map(|byte| byte.to_string()).collect();
    vec![
        CANARY.to_owned(),
        base64::engine::general_purpose::STANDARD.encode(whole_groups),
        bytes.join(", "),
    ]
}

/// A store that stores the canary before each value, and nobody notices.
#[derive(Debug)]
pub(crate) struct Canary {
    store: Arc<dyn StateStore>,
    capabilities: Capabilities,
}

impl Canary {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Self {
        // The suite goes to the limits.
        let mut capabilities = store.capabilities().clone();
        capabilities.max_value_bytes -= CANARY.len();
        Self { store, capabilities }
    }
}

fn with(value: &Bytes) -> Bytes {
    [CANARY.as_bytes(), value].concat().into()
}

fn without(mut entry: Entry) -> Entry {
    assert!(
        entry.value.starts_with(CANARY.as_bytes()),
        "a value without a canary"
    );
    entry.value = entry.value.slice(CANARY.len()..);
    entry
}

fn without_in_error(error: Error) -> Error {
    match error {
        Error::Conflict(mut conflict) => {
            if let Current::Entry(entry) = conflict.current {
                conflict.current = Current::Entry(without(entry));
            }
            Error::Conflict(conflict)
        }
        Error::ValueTooLarge { size, limit } => Error::ValueTooLarge {
            size: size - CANARY.len(),
            limit: limit - CANARY.len(),
        },
        error => error,
    }
}

fn without_in_page(mut page: Page) -> Page {
    for item in &mut page.items {
        item.entry = item.entry.take().map(without);
    }
    page
}

#[async_trait]
impl StateStore for Canary {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn ready(&self) -> Result<()> {
        self.store.ready().await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        Ok(self.store.get(key, options).await?.map(without))
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let results = self.store.get_many(keys, options).await.into_iter();
        results.map(|result| Ok(result?.map(without))).collect()
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        self.store
            .put(key, with(&value), options)
            .await
            .map_err(without_in_error)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.store.delete(key, options).await.map_err(without_in_error)
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        self.store
            .touch(key, ttl, options)
            .await
            .map_err(without_in_error)
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        self.store.resolve(key, id, precondition).await
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.store
            .list_page(partition, options)
            .await
            .map(without_in_page)
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.store.scan_page(options).await.map(without_in_page)
    }

    async fn transact(
        &self,
        mut ops: Vec<TransactOp>,
        options: TransactOptions,
    ) -> Result<Vec<Option<Version>>> {
        for op in &mut ops {
            if let Action::Put { value, .. } = &mut op.action {
                *value = with(value);
            }
        }
        self.store.transact(ops, options).await.map_err(without_in_error)
    }

    async fn sweep(&self) -> Result<u64> {
        self.store.sweep().await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
