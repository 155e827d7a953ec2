//! Google Cloud Firestore.

mod batch;
mod codec;
mod commit;
mod config;
mod connection;
mod error;
mod fields;
mod ids;
mod listing;
mod names;
mod transact;
mod write;

use std::fmt;
use std::sync::Arc;

use ::firestore::FirestoreDb;
use async_trait::async_trait;
use bytes::Bytes;
use statestore_api::backend::expiry::{self, Expiry};
use statestore_api::backend::{self, check};
use statestore_api::{
    Capabilities, Clock, DeleteOptions, Entry, GetOptions, Key, ListOptions, Page, Precondition, PutOptions,
    Resolution, Result, ScanOptions, StateStore, SystemClock, TouchOptions, TransactOp, TransactOptions, Ttl,
    Version, WriteId,
};

use self::batch::Parts;
pub use self::config::FirestoreConfig;
use self::connection::Connection;
use self::error::Context;
use self::names::Names;
use self::write::{own_version, unsettled};
use crate::change::Change;

/// A collection of Firestore as a store. Clones share its connection.
///
/// See the [module](self) for the documents, the rights it needs, what it costs and how it keeps the contract.
#[derive(Clone)]
pub struct FirestoreStore {
    connection: Arc<Connection>,
    names: Arc<Names>,
    clock: Arc<dyn Clock>,
    capabilities: Arc<Capabilities>,
}

impl FirestoreStore {
    /// The store in the collection that `config` names. Nothing is read or sent before the first request.
    ///
    /// # Errors
    /// [`Config`](statestore_api::Error::Config) when the configuration cannot be meant.
    pub fn new(config: FirestoreConfig) -> Result<Self> {
        config.check()?;
        let database = format!("projects/{}/databases/{}", config.project, config.database);
        let names = Names::new(database, &config.collection);
        Ok(Self::with_connection(Connection::new(config), names))
    }

    /// The store in this collection, by a client of the application's own: its connection, credentials and database are
    /// used, its retries are not, and its request time-out is, or that of [`FirestoreConfig::new`] if it has none.
    ///
    /// # Errors
    /// [`Config`](statestore_api::Error::Config) when this is no collection's name.
    pub fn from_client(client: &FirestoreDb, collection: impl AsRef<str>) -> Result<Self> {
        let collection = collection.as_ref();
        config::check_collection(collection)?;
        let mut config = FirestoreConfig::new(client.get_options().google_project_id.clone(), collection);
        if let Some(timeout) = client.get_options().request_timeout {
            config.timeout = timeout;
        }
        let names = Names::new(client.get_database_path().clone(), collection);
        Ok(Self::with_connection(
            Connection::from_client(client, config),
            names,
        ))
    }

    fn with_connection(connection: Connection, names: Names) -> Self {
        let mut capabilities = Capabilities::portable("firestore");
        capabilities.max_partition_bytes = ids::MAX_PART;
        capabilities.max_id_bytes = ids::MAX_PART;
        capabilities.max_value_bytes = codec::MAX_VALUE;
        capabilities.max_transaction_ops = codec::MAX_OPS;
        capabilities.max_transaction_bytes = Some(codec::MAX_TRANSACTION);
        capabilities.remembered_writes = codec::REMEMBERED;
        capabilities.blind_puts_forget = true;
        Self {
            connection: Arc::new(connection),
            names: Arc::new(names),
            clock: Arc::new(SystemClock),
            capabilities: Arc::new(capabilities),
        }
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

    fn context(&self, writes: bool) -> Context<'_> {
        Context {
            database: self.names.database(),
            writes,
            timeout: self.connection.timeout(),
        }
    }
}

impl fmt::Debug for FirestoreStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirestoreStore")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateStore for FirestoreStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn ready(&self) -> Result<()> {
        // Whether there is such an entry does not matter: that a document is missing is no error, that the database is, is one.
        let key = Key::new("statestore", "ready")?;
        self.documents(&[key], Parts::Meta, false).await.map(drop)
    }

    async fn get(&self, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        check::key(&self.capabilities, key)?;
        match self.find(key, Parts::All).await? {
            Some(found) => found.entry(key, self.now()),
            None => Ok(None),
        }
    }

    async fn get_many(&self, keys: &[Key], _: GetOptions) -> Vec<Result<Option<Entry>>> {
        self.get_all(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        check::key(&self.capabilities, key)?;
        check::value(&self.capabilities, &value)?;
        let now = self.now();
        let change = Change::Put(value, Expiry::new(options.ttl, now)?);
        self.write(key, change, &options.precondition, options.attempt, now)
            .await?
            .ok_or_else(unsettled)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        check::key(&self.capabilities, key)?;
        self.write(
            key,
            Change::Delete,
            &options.precondition,
            options.attempt,
            self.now(),
        )
        .await
        .map(drop)
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        check::key(&self.capabilities, key)?;
        check::touch(&options.precondition)?;
        let now = self.now();
        let change = Change::Touch(Expiry::new(ttl, now)?);
        self.write(key, change, &options.precondition, options.attempt, now)
            .await?
            .ok_or_else(unsettled)
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        check::key(&self.capabilities, key)?;
        let judged = codec::by_stamp(precondition)?;
        let found = self.find(key, Parts::Meta).await?;
        let now = self.now();
        let became = backend::resolve(id, &judged, found.as_ref().map(|found| found.stored(now)))?;
        Ok(match became {
            Resolution::Applied(stamp) => {
                Resolution::Applied(own_version(key, found.as_ref(), stamp.stamp()?)?)
            }
            other => other,
        })
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.list(partition, options).await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.scan(options).await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        self.transact_ops(ops, options.attempt).await
    }

    async fn sweep(&self) -> Result<u64> {
        // The TTL policy does it.
        Ok(0)
    }

    async fn close(&self) -> Result<()> {
        // Each write was answered when it was applied, and the connection ends with the last clone.
        Ok(())
    }
}
