//! Azure Table Storage: one table, one entity an entry.
//!
//! DOCS

mod auth;
mod codec;
mod config;
mod error;
mod key;
mod listing;
mod rest;
mod sweep;
mod table;
mod transact;
mod version;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
pub use azure_core::credentials::{Secret, TokenCredential};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use statestore_api::backend::expiry::{self, Expiry};
use statestore_api::backend::{self, check};
use statestore_api::{
    Capabilities, Clock, DeleteOptions, Entry, GetOptions, Key, ListOptions, Page, Precondition, PutOptions,
    Resolution, Result, ScanOptions, StateStore, SystemClock, TouchOptions, TransactOp, TransactOptions, Ttl,
    Version, WriteId,
};

use self::codec::Found;
pub use self::config::{AzureTableConfig, Credential};
use self::error::{Context, is_missing};
use self::rest::{Client, Place};
use self::write::{Change, Condition};

/// How many keys of a batch are read at once.
const READ_CONCURRENCY: usize = 16;

/// A table of Azure Table Storage as a store. Clones share its connections.
///
/// See the [module](self) for the table, the rights it needs, its limits and how it keeps the contract.
#[derive(Clone)]
pub struct AzureTableStore {
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    sweep_rate: u32,
    /// Whether the table was there once: then a 404 is about an entity.
    table_seen: Arc<AtomicBool>,
    capabilities: Arc<Capabilities>,
}

impl AzureTableStore {
    /// The store in the table that `config` names. Nothing is sent before the first request.
    ///
    /// # Errors
    /// [`Config`](statestore_api::Error::Config) when the configuration, with what the environment adds to it, cannot be meant.
    pub fn new(config: AzureTableConfig) -> Result<Self> {
        let config = config.resolved(|name| std::env::var(name).ok())?;
        let mut capabilities = Capabilities::portable("azure-table");
        capabilities.max_partition_bytes = key::MAX_BYTES;
        capabilities.max_id_bytes = key::MAX_BYTES;
        capabilities.max_value_bytes = if config.emulator {
            codec::MAX_VALUE_ON_AZURITE
        } else {
            codec::MAX_VALUE
        };
        capabilities.max_transaction_bytes = Some(codec::MAX_TRANSACTION);
        capabilities.blind_puts_forget = true;
        capabilities.sweeps_itself = false;
        Ok(Self {
            sweep_rate: config.sweep_rate,
            client: Arc::new(Client::new(config)),
            clock: Arc::new(SystemClock),
            table_seen: Arc::default(),
            capabilities: Arc::new(capabilities),
        })
    }

    /// The same where expiry is judged by `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The time in epoch milliseconds.
    fn now(&self) -> u64 {
        expiry::to_ms(self.clock.now())
    }

    fn context(&self, writes: bool, size: usize) -> Context<'_> {
        Context {
            table: self.client.table(),
            writes,
            timeout: self.client.timeout(),
            size,
        }
    }

    fn saw_table(&self) {
        self.table_seen.store(true, Ordering::Relaxed);
    }

    /// The entity of `key`, expired or not.
    async fn find(&self, key: &Key) -> Result<Option<Found>> {
        let Some((etag, entity)) = self.entity(key, None).await? else {
            return Ok(None);
        };
        Found::decode(key, &etag, entity).map(Some)
    }

    /// The same without its value.
    async fn find_to_touch(&self, key: &Key) -> Result<Option<Found>> {
        let Some((etag, entity)) = self.entity(key, Some(codec::WITHOUT_VALUE)).await? else {
            return Ok(None);
        };
        Found::decode_without_value(key, &etag, &entity).map(Some)
    }

    async fn entity(&self, key: &Key, select: Option<&str>) -> Result<Option<(String, rest::Entity)>> {
        match self.client.get(&place_of(key), select).await {
            Ok(found) => {
                self.saw_table();
                Ok(Some(found))
            }
            Err(fault) if is_missing(&fault) => {
                self.make_sure_of_table().await?;
                Ok(None)
            }
            Err(fault) => Err(self.context(false, 0).error(fault)),
        }
    }

    /// After a 404 which may be about the table as well as about an entity: asks, unless the table was there before.
    async fn make_sure_of_table(&self) -> Result<()> {
        if self.table_seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.check_table().await
    }
}

/// Where the entity of `key` is.
fn place_of(key: &Key) -> Place {
    Place {
        partition: key::encode(key.partition().as_bytes()),
        row: key::encode(key.id().as_bytes()),
    }
}

impl fmt::Debug for AzureTableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureTableStore")
            .field("table", &self.client.table())
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateStore for AzureTableStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn ready(&self) -> Result<()> {
        self.check_table().await
    }

    async fn get(&self, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        check::key(&self.capabilities, key)?;
        let found = self.find(key).await?;
        Ok(found.and_then(|found| found.into_entry(self.now())))
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let keys: Vec<Key> = keys.to_vec();
        stream::iter(keys)
            .map(|key| async move { self.get(&key, options).await })
            .buffered(READ_CONCURRENCY)
            .collect()
            .await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        check::key(&self.capabilities, key)?;
        check::value(&self.capabilities, &value)?;
        let now = self.now();
        let change = Change::Put(value, Expiry::new(options.ttl, now)?);
        let version = self.write(key, change, &options.precondition, options.attempt, now);
        version.await?.ok_or_else(write::unsettled)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        check::key(&self.capabilities, key)?;
        let (precondition, attempt) = (&options.precondition, options.attempt);
        self.write(key, Change::Delete, precondition, attempt, self.now())
            .await
            .map(drop)
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        check::key(&self.capabilities, key)?;
        check::touch(&options.precondition)?;
        let now = self.now();
        let change = Change::Touch(Expiry::new(ttl, now)?);
        let version = self.write(key, change, &options.precondition, options.attempt, now);
        version.await?.ok_or_else(write::unsettled)
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        check::key(&self.capabilities, key)?;
        let condition = Condition::new(precondition)?;
        let found = self.find_to_touch(key).await?;
        let stored = found.as_ref().map(|found| found.stored(self.now()));
        let resolution = backend::resolve(id, &condition.in_stamps(key), stored)?;
        Ok(match (resolution, &found) {
            (Resolution::Applied(version), Some(found)) => {
                Resolution::Applied(found.version_of(version.stamp()?).clone())
            }
            (resolution, _) => resolution,
        })
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.list(partition, options).await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.scan(options).await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        self.transact_ops(&ops, options.attempt).await
    }

    async fn sweep(&self) -> Result<u64> {
        self.sweep_expired().await
    }

    async fn close(&self) -> Result<()> {
        // Nothing is under way that no caller waits for, and the connections end with the last clone.
        Ok(())
    }
}
