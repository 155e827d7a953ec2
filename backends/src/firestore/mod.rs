//! Google Cloud Firestore in native mode: one collection, one document an entry, one commit a write.
//!
//! ```no_run
//! use statestore::firestore::{FirestoreConfig, FirestoreStore};
//! use statestore::{StateStore, StateStoreExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore::Result<()> {
//! let store = FirestoreStore::new(FirestoreConfig::new("my-project", "app-state"))?;
//! store.ready().await?; // in the instance's start: the TLS handshake and the credentials are done here
//! let cart = "user-42/cart".parse()?;
//! let version = store.create(&cart, "one apple").await?;
//! store.compare_and_set(&cart, Some(&version), "two apples").await?;
//! # Ok(()) }
//! ```
//!
//! # The URL
//! `firestore://project/collection?database=eu`. Options: `database` (else `(default)`), `emulator` (`127.0.0.1:8080`),
//! `credentials` (the file of a service account's key), `timeout` and `connect_timeout` (`500ms`, `5s`).
//!
//! Without `emulator` the one in `FIRESTORE_EMULATOR_HOST` is used, and without both the service, with application default
//! credentials: `GOOGLE_APPLICATION_CREDENTIALS`, those of `gcloud auth application-default login`, or of the service account of
//! the function or machine; workload identity federation too, which is a file that `GOOGLE_APPLICATION_CREDENTIALS` names. A client of
//! the application's own, with credentials of any kind, is handed in by [`FirestoreStore::from_client`].
//!
//! # The database
//! A Firestore database in native mode; the collection comes to be with its first document. Make the database once, at a
//! location that is for good, then exempt the fields from indexes and switch the sweep on. The last two are best done before the first
//! write:
//!
//! ```sh
//! gcloud firestore databases create --project=my-project --location=eur3 --type=firestore-native
//! for field in v w x; do
//!   gcloud firestore indexes fields update $field --collection-group=app-state-items --disable-indexes --project=my-project
//! done
//! gcloud firestore fields ttls update x --collection-group=app-state-items --enable-ttl --project=my-project
//! ```
//!
//! [`FirestoreStore::create_fields`] does the same but for the database. In `firestore.indexes.json`, for `firebase deploy`:
//!
//! ```json
//! {
//!   "indexes": [],
//!   "fieldOverrides": [
//!     { "collectionGroup": "app-state-items", "fieldPath": "v", "indexes": [] },
//!     { "collectionGroup": "app-state-items", "fieldPath": "w", "indexes": [] },
//!     { "collectionGroup": "app-state-items", "fieldPath": "x", "ttl": true, "indexes": [] }
//!   ]
//! }
//! ```
//!
//! In Terraform:
//!
//! ```hcl
//! resource "google_firestore_database" "state" {
//!   name                    = "(default)"
//!   location_id             = "eur3"
//!   type                    = "FIRESTORE_NATIVE"
//!   delete_protection_state = "DELETE_PROTECTION_ENABLED"
//! }
//!
//! resource "google_firestore_field" "state" {
//!   for_each   = toset(["v", "w"])
//!   database   = google_firestore_database.state.name
//!   collection = "app-state-items"
//!   field      = each.key
//!   index_config {}
//! }
//!
//! resource "google_firestore_field" "state_expiry" {
//!   database   = google_firestore_database.state.name
//!   collection = "app-state-items"
//!   field      = "x"
//!   index_config {}
//!   ttl_config {}
//! }
//! ```
//!
//! Nothing here works only with that: without the exemptions each write also pays for index entries that nobody reads, and the index of the
//! expiry is a hot spot at a high rate; without the policy expired entries are invisible but stay.
//!
//! The program needs the role `roles/datastore.user` and no other. (It holds for a whole project; a condition on
//! `resource.name` narrows it to one database.) Security rules do not apply to it: they are for browsers and phones.
//!
//! # The document
//! The entry of `user-42/cart` is `app-state/user-42/app-state-items/cart`: a partition is a document that need not be there, its
//! entries are a collection below it. The collections' name is the store's own, because indexes and the sweep are switched by
//! name all over a database. Ids are the key's text, but for `/`, which is written `.~`, and a `.` or `_` in front, which
//! become `.-` and `_-`; behind a `.` a character from `}` on has a `}` before it. So ids sort as the keys do.
//!
//! | Field | Type | Holds |
//! |---|---|---|
//! | `v` | string or bytes | the value: text if it is UTF-8 without control characters, so that the console shows JSON as JSON |
//! | `w` | bytes | a byte that says the format, 1; who wrote it: 16 bytes of write id, 8 of nonce, 8 of its clock; and, if that is known, the write that it replaced: 8 bytes of update time, the same 32 of who wrote that, 8 of its expiry |
//! | `x` | timestamp | when it expires, to the millisecond, for the TTL policy too; not there: never |
//!
//! # How it keeps the contract
//! Firestore checks two conditions: that a document is not there, and that it was last written at a certain time. So a
//! [`Version`] holds the document's update time, and beside it what wrote it, its expiry and a hash of its key: that makes a compare-and-set, also a
//! [keeping](statestore_api::Ttl::Keep) one, **one commit**, in which the document is told what it replaces, and makes a version that
//! has expired, or is of another key, fail without one. A create, an unconditional put and a delete are one commit too.
//!
//! A commit that is refused does not say what is there: one read follows, which also tells whether an earlier attempt was applied. Two requests
//! are needed as well for what Firestore cannot check: [`Exists`](Precondition::Exists), a touch or keeping put without a version,
//! and the retry of a put without a condition. A create over an expired document that was not swept takes three.
//!
//! **What an entry remembers** is the write that made it and the one that it replaced. A put **without a condition** is written without a
//! look, so the entry then forgets those before it ([`blind_puts_forget`](Capabilities::blind_puts_forget)), and it overwrites
//! a document that is not this store's, which all else leaves as it is.
//!
//! **Time** is judged by the client's clock. A clock that is off by S makes entries live S longer or shorter. The TTL
//! policy removes expired documents within about a day.
//!
//! **Transactions** are one commit. One that *checks* a key, without writing it, reads that key in a read-write transaction of
//! Firestore's before, which is two requests, and locks the checked document in between.
//!
//! **Retries**: the crate's own are not used, since only the write id makes them safe, and none are made here: [`open`](crate::open()) puts a
//! [`Retry`](crate::layer::Retry) around the store, and whoever makes it directly does so too. A request whose caller is dropped goes on
//! to its end, since a server that sees many requests cut off ends their connection. After one that was not answered in time the next
//! takes a new connection, unless the client is the application's own.
//!
//! # Hot spots, costs and limits
//! Firestore splits its documents by the order of their names, as the load grows. Names that follow each other, such as times and
//! counters, written at more than 500 a second, all go to one place and wait there. The partition comes first in the name: put the
//! customer, tenant or order there, and what counts up in the id, and the load spreads by partition; a new load should start at 500
//! writes a second and grow by half every five minutes. One document takes about one write a second for long; more at once
//! become [`Unavailable`](statestore_api::Error::Unavailable) by contention, where nothing was applied.
//!
//! A write costs one document write, a refused one one read more, a delete one delete, a look one read, and so does a missing document.
//! A listing costs one read an entry it looks at, expired ones included, keys alone too.
//!
//! Keys: 749 bytes in each part. Values: 1,018 KiB (1 MiB a document). Transactions: 500 operations, 9 MiB. A page of a listing ends behind 16 MiB.
//! Names of partitions are no secret: Firestore's own logs and errors show them.
//!
//! # Testing
//! hidane, an emulator in Rust, is what this repository's tests start. Google's own, or a database of the service's, is tested by
//!
//! ```sh
//! gcloud emulators firestore start --host-port=127.0.0.1:8080 &
//! STATESTORE_TEST_FIRESTORE='firestore://demo-test/state?emulator=127.0.0.1:8080' \
//!   cargo test -p statestore --no-default-features --features firestore --test firestore firestore::
//! STATESTORE_TEST_FIRESTORE='firestore://my-project/statestore-test?database=test&timeout=30s' \
//!   cargo test -p statestore --no-default-features --features firestore --test firestore firestore::
//! ```

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
use ::firestore::gcloud_sdk::tonic::Status;
use async_trait::async_trait;
use bytes::Bytes;
use statestore_api::backend::expiry::{self, Expiry};
use statestore_api::backend::{self, check};
use statestore_api::{
    Capabilities, Clock, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions, Page, Precondition,
    PutOptions, Resolution, Result, ScanOptions, StateStore, SystemClock, TouchOptions, TransactOp,
    TransactOptions, Ttl, Version, WriteId,
};
use tokio::time::Instant;

use self::batch::Parts;
pub use self::config::FirestoreConfig;
use self::connection::Connection;
use self::error::{Context, is_time_out};
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

    /// To be made when a request is about to be sent.
    fn context(&self, writes: bool) -> Context<'_> {
        Context {
            database: self.names.database(),
            writes,
            timeout: self.connection.timeout(),
            sent: Instant::now(),
        }
    }

    /// The error of a request that was answered so, or not at all.
    fn failed(&self, context: Context<'_>, status: Status) -> Error {
        if is_time_out(&status) {
            self.connection.retire(context.sent);
        }
        context.error(status)
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
        self.documents(vec![key], Parts::Meta, false).await.map(drop)
    }

    async fn get(&self, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        check::key(&self.capabilities, key)?;
        match self.find(key, Parts::All).await? {
            Some(found) => found.into_entry(key, self.now()),
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
