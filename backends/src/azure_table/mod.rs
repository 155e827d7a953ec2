//! Azure Table Storage: one table, one entity an entry.
//!
//! ```no_run
//! use statestore::azure_table::{AzureTableConfig, AzureTableStore};
//! use statestore::{StateStore, StateStoreExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore::Result<()> {
//! let store = AzureTableStore::new(AzureTableConfig::new("account", "appstate"))?;
//! store.ready().await?; // when the function starts: the TLS handshake and the first token are done here
//! let cart = "user-42/cart".parse()?;
//! let version = store.create(&cart, "one apple").await?;
//! store.compare_and_set(&cart, Some(&version), "two apples").await?;
//! # Ok(()) }
//! ```
//!
//! # The URL
//! `azure-table://account/table`, or `azure-table:///table` for the account that the environment names. Options: `endpoint` (of
//! another cloud, say), `credential` (`environment`, `managed-identity`, `workload-identity`, `cli`), `client_id` of a managed
//! identity that the user has assigned, `timeout` and `connect_timeout` (`500ms`, `5s`), `sweep_rate` (entities a second), and
//! `emulator=true` for Azurite. No secret goes into a URL: the credential comes from the [environment](Credential::Environment), or is
//! handed in by [`AzureTableConfig`].
//!
//! # The table
//! Its entities should all be this store's: one that is not is [`Corrupt`](statestore_api::Error::Corrupt) where it is met, and left as
//! it is. [`AzureTableStore::create_table`] makes the table, and never anything else does. By the Azure CLI, with the least role that
//! lets a program use it:
//!
//! ```sh
//! az storage table create --name appstate --account-name account --auth-mode login
//! az role assignment create --role "Storage Table Data Contributor" --assignee "$PRINCIPAL_ID" \
//!   --scope "$(az storage account show --name account --query id --output tsv)/tableServices/default/tables/appstate"
//! ```
//!
//! In Bicep:
//!
//! ```bicep
//! param principalId string
//!
//! resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
//!   name: 'account'
//!   location: resourceGroup().location
//!   sku: { name: 'Standard_ZRS' }
//!   kind: 'StorageV2'
//!   properties: {
//!     allowSharedKeyAccess: false
//!     minimumTlsVersion: 'TLS1_2'
//!   }
//! }
//!
//! resource tables 'Microsoft.Storage/storageAccounts/tableServices@2023-05-01' = {
//!   parent: account
//!   name: 'default'
//! }
//!
//! resource state 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {
//!   parent: tables
//!   name: 'appstate'
//! }
//!
//! resource contributor 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
//!   name: guid(state.id, principalId, 'Storage Table Data Contributor')
//!   scope: state
//!   properties: {
//!     principalId: principalId
//!     principalType: 'ServicePrincipal'
//!     roleDefinitionId: subscriptionResourceId(
//!       'Microsoft.Authorization/roleDefinitions', '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3')
//!   }
//! }
//! ```
//!
//! A shared access signature needs the permissions `raud` on the table.
//!
//! # The entity
//! | Property | Type | Holds |
//! |---|---|---|
//! | `PartitionKey`, `RowKey` | String | the key's partition and id, in an encoding that keeps the order of their UTF-8 and lets `user-42`, `2026-11-23T10:00:00Z` and `a@b.c` stay what they are |
//! | `v`, `v1`, … | String | the value as text: UTF-8 without control characters up to 64 KiB, ASCII up to 480 KiB |
//! | `b`, `b1`, … | Binary | any other value, 64 KiB each |
//! | `w` | String | the write: its id and a nonce |
//! | `p` | String | the version that it replaced, if that is known |
//! | `x` | Int64 | when it expires, in epoch milliseconds; 0 or not there: never |
//! | `e` | String | what its version has in place of the ETag: the one that it had before checks gave it others, or `-` when a transaction wrote it |
//! | `f` | Int32 | the format: 1 |
//!
//! # How it keeps the contract
//! The service makes the ETag, knows no expiry and shows nothing of what refuses a write. So a version carries the ETag, the expiry and
//! the write, and a compare-and-set is one request under `If-Match`, which stores the version it replaces beside its own. An expired or
//! another key's version fails without one. A refusal is looked at in a second request, which tells a conflict from an earlier attempt
//! that was applied.
//!
//! | Operation | Requests |
//! |---|---|
//! | get; put, touch or delete of a version; create; put and delete without a condition | 1 |
//! | the same, as a conflict | 2 |
//! | put, touch or delete of whatever exists; put that keeps the expiry; any retry of a put without a condition | 2 |
//! | create over an expired entry | 3 |
//! | transaction | 1; one more for each operation that only its entity tells how to send |
//! | compare-and-set of what a transaction wrote | 2 |
//! | compare-and-set of what a transaction checked since | 3 |
//!
//! `Keep` with a version, and a delete that wants absence, are 1 too. Where several change one entry all the time, what takes two requests
//! may take further rounds of two.
//!
//! **A put without a condition forgets**: it is one request that does not see what it replaces, so the retry of an earlier write
//! whose reply was lost is then [`Indeterminate`](statestore_api::Error::Indeterminate). An entry that is otherwise replaced remembers
//! the last write before it.
//!
//! **Time** is judged by the client's clock. A clock that is off by S makes entries live S longer or shorter. The service removes nothing
//! that has expired: call [`sweep`](StateStore::sweep) from a timer. It reads the whole table, and removes at most
//! [`sweep_rate`](AzureTableConfig::sweep_rate) entities a second.
//!
//! **Transactions** are entity group transactions. The service has no operation that only checks:
//! - **A check** that an entry is there, or has a version, merges nothing into its entity. That gives the entity another ETag. The entry's
//!   version stays what it was, and is still good, but the next compare-and-set on it takes two requests more.
//! - A check that a key is absent, and a delete without a condition of a key that is missing, leave an entity that is expired from the
//!   start, until the next sweep.
//!
//! The versions of what a transaction writes have no ETag in them, since its retry must be able to tell them all from one entity.
//!
//! **Retries**: nothing is sent twice by itself. After [`may_have_applied`](statestore_api::Error::may_have_applied) repeat the write with
//! its write id.
//!
//! # Limits
//! Keys: 170 bytes of partition and of id, whatever they contain. Values: 960 KiB (an entity has 1 MiB, text counting two bytes a
//! character). Transactions: 100 operations, 1.8 MiB of keys and values (4 MiB as they are sent). A partition takes about 2,000
//! operations a second, an account 20,000. A listing returns expired entries to this store, which leaves them out: pages may be shorter.
//!
//! # Azurite
//! Its well-known account and key, by [`AzureTableConfig::emulator`], `emulator=true` or `UseDevelopmentStorage=true`. It differs from the
//! service: it takes 720 KiB of value, since it counts an update's JSON in place of its entity; and it breaks characters that lie over two
//! packets of a request, so that this store sends it ASCII.

mod auth;
mod codec;
mod config;
mod error;
mod http;
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
            table: &self.client.config().table,
            writes,
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
            .field("account", &self.client.config().account)
            .field("table", &self.client.config().table)
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
