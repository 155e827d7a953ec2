//! Amazon DynamoDB: one table, one item an entry, one request an operation.
//!
//! ```no_run
//! use statestore::dynamodb::{DynamoDbConfig, DynamoDbStore};
//! use statestore::{StateStore, StateStoreExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore::Result<()> {
//! let store = DynamoDbStore::new(DynamoDbConfig::new("app-state"))?;
//! store.ready().await?; // in the function's init phase: the TLS handshake and the credentials are done here
//! let cart = "user-42/cart".parse()?;
//! let version = store.create(&cart, "one apple").await?;
//! store.compare_and_set(&cart, Some(&version), "two apples").await?;
//! # Ok(()) }
//! ```
//!
//! # The URL
//! `dynamodb://table?region=eu-central-1`. Options: `region`, `endpoint`, `profile`, `exactly_once` (`on` or `off`),
//! `timeout` and `connect_timeout` (`500ms`, `5s`), and `credentials=made-up` for DynamoDB Local. Credentials come from the
//! SDK's default chain: the environment, the profile, the container, the function's or machine's role. (A profile that
//! signs in through IAM Identity Center needs the feature `sso` of the crate `aws-config` in the application.) A client of the
//! application's own is handed in by [`DynamoDbStore::from_client`].
//!
//! # The table
//! A partition key `pk` and a sort key `sk`, both strings, and `ttl` as TTL attribute; on demand or provisioned. It should
//! be of its own: an item that is not ours is [`Corrupt`](Error::Corrupt) where it is met, and left as it is.
//! [`DynamoDbStore::create_table`] makes it, and never anything else does. In CloudFormation:
//!
//! ```yaml
//! StateTable:
//!   Type: AWS::DynamoDB::Table
//!   DeletionPolicy: Retain
//!   Properties:
//!     TableName: app-state
//!     BillingMode: PAY_PER_REQUEST
//!     AttributeDefinitions:
//!       - { AttributeName: pk, AttributeType: S }
//!       - { AttributeName: sk, AttributeType: S }
//!     KeySchema:
//!       - { AttributeName: pk, KeyType: HASH }
//!       - { AttributeName: sk, KeyType: RANGE }
//!     TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }
//!     PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true }
//! ```
//!
//! In Terraform:
//!
//! ```hcl
//! resource "aws_dynamodb_table" "state" {
//!   name         = "app-state"
//!   billing_mode = "PAY_PER_REQUEST"
//!   hash_key     = "pk"
//!   range_key    = "sk"
//!   attribute {
//!     name = "pk"
//!     type = "S"
//!   }
//!   attribute {
//!     name = "sk"
//!     type = "S"
//!   }
//!   ttl {
//!     attribute_name = "ttl"
//!     enabled        = true
//!   }
//!   point_in_time_recovery {
//!     enabled = true
//!   }
//! }
//! ```
//!
//! What the program may do, and no more. `DescribeTable` is for [`ready`](StateStore::ready), `Query` and `Scan` for
//! listing, `BatchGetItem` for `get_many`, `ConditionCheckItem` for checks in transactions: leave out what is not used.
//!
//! ```json
//! {
//!   "Version": "2012-10-17",
//!   "Statement": [{
//!     "Effect": "Allow",
//!     "Action": [
//!       "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:PutItem", "dynamodb:UpdateItem",
//!       "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem", "dynamodb:DescribeTable"
//!     ],
//!     "Resource": "arn:aws:dynamodb:eu-central-1:123456789012:table/app-state"
//!   }]
//! }
//! ```
//!
//! # The item
//! | Attribute | Type | Holds |
//! |---|---|---|
//! | `pk`, `sk` | S | the key's partition and id, as they are: DynamoDB sorts strings by their UTF-8 |
//! | `v` | S or B | the value: text if it is UTF-8 without control characters, so that the console shows JSON as JSON |
//! | `ver1` | S | the version, in format 1; behind it those that it replaced, the newest first, where the writer knew them |
//! | `p0` … `p3` | S | what `ver1` held before, where the writer did not know, the newest first; empty or missing where there was none |
//! | `x` | N | when it expires, in epoch milliseconds; not there: never |
//! | `ttl` | N | the same in whole seconds, rounded up, for the table's own sweep |
//!
//! # How it keeps the contract
//! A put is an UpdateItem that moves the replaced versions up one place, under a condition of three parts: the
//! precondition, the expiry, and that neither the entry nor those it remembers are of this very write. Where the caller's
//! version tells all that (it came from a read or a write of this process, and not by way of text), and where nothing is to be
//! there, it is a PutItem: that is quicker on DynamoDB Local, and costs the same. A refusal
//! comes with the item as it is (`ReturnValuesOnConditionCheckFailure`), which tells in the same reply whether an earlier
//! attempt was applied and what a conflict found. So every operation is one request; two are needed only by
//! - a put that [keeps](statestore_api::Ttl::Keep) the expiry, when an expired item is there that was not swept yet: "keep it, unless it is
//!   past" cannot be said in one;
//! - a retry with a token (see below) which finds that an earlier attempt was seen.
//!
//! `get_many` asks for 100 keys a request, several requests at once, and again for what DynamoDB leaves unprocessed. `put_many` and
//! `delete_many` are single requests side by side: DynamoDB's BatchWriteItem takes no condition, so it could neither check a
//! precondition nor see that a write was applied before.
//!
//! **Time** is judged by the client's clock: it is in the condition of each write and the filter of each read. A clock
//! that is off by S makes entries live S longer or shorter. DynamoDB's own sweep removes expired items within days.
//!
//! **Transactions** are TransactWriteItems with a `ClientRequestToken` made of the write id. DynamoDB remembers it for 10 minutes, so
//! that within these even a transaction of deletes is not applied twice. A retry whose first attempt was not answered is sent by
//! this store, for a minute, as the same request, and is answered; by another process it is refused, and answered if an
//! entry remembers it, else [`Indeterminate`](Error::Indeterminate).
//!
//! **`exactly_once=true`** sends unconditional puts and deletes that way too. Without it a retry of one is applied
//! again if its entry was deleted, or overwritten more than four times, in between; conditional writes never need it. It
//! costs twice the write units and some milliseconds, and holds for 10 minutes from the first attempt.
//!
//! **Retries**: the SDK's own are off, since only the write id makes them safe, and none are made here: [`open`](crate::open()) puts a
//! [`Retry`](crate::layer::Retry) around the store, and whoever makes it directly does so too. A client that is [handed
//! in](DynamoDbStore::from_client) reads, and only reads, under its own configuration.
//!
//! # Costs and limits
//! A put, touch or delete costs 1 write unit per KB of item, a transaction twice that; so does `exactly_once`. A refused write costs as much. A
//! strongly consistent read costs 1 read unit per 4 KB, an eventual one half. Versions, names and expiry add up to 330 bytes
//! to an item. Listings are charged for what they look at, expired items and values that are not returned included.
//!
//! Keys: 2,048 bytes of partition, 1,024 of id. Values: 396 KiB (400 KB an item). Transactions: 100 operations, 4 MB. One
//! partition takes about 1,000 writes and 3,000 reads per second; a table with a local secondary index also takes no
//! more than 10 GB in one.
//!
//! [`Error::Corrupt`]: statestore_api::Error::Corrupt

mod batch;
mod codec;
mod config;
mod connection;
mod error;
mod expression;
mod listing;
mod table;
mod transact;
mod unanswered;
mod whole;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use bytes::Bytes;
use statestore_api::backend::expiry::{self, Expiry};
use statestore_api::backend::{self, check};
use statestore_api::{
    Capabilities, Clock, Consistency, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions, Page,
    Precondition, PutOptions, Resolution, Result, ScanOptions, StateStore, SystemClock, TouchOptions,
    TransactOp, TransactOptions, Ttl, Version, WriteId,
};

use self::codec::{Found, Item};
pub use self::config::DynamoDbConfig;
use self::connection::{Connection, Ready, read};
use self::error::{Context, Reply};
use self::unanswered::Unanswered;
use crate::change::Change;

/// A table of DynamoDB as a store. Clones share its connections.
///
/// See the [module](self) for the table, the rights it needs, what it costs and how it keeps the contract.
#[derive(Clone)]
pub struct DynamoDbStore {
    connection: Arc<Connection>,
    table: Arc<str>,
    clock: Arc<dyn Clock>,
    exactly_once: bool,
    unanswered: Arc<Unanswered>,
    capabilities: Arc<Capabilities>,
}

impl DynamoDbStore {
    /// The store in the table that `config` names. Nothing is read or sent before the first request.
    ///
    /// # Errors
    /// [`Config`](Error::Config) when the configuration cannot be meant.
    pub fn new(config: DynamoDbConfig) -> Result<Self> {
        config.check()?;
        let (table, exactly_once) = (config.table.clone(), config.exactly_once);
        Ok(Self::with_connection(Connection::new(config), &table).with_exactly_once(exactly_once))
    }

    /// The store in the table of this name or ARN, by a client of the application's own: its connections and
    /// credentials are shared. Its retries are used for reads, and off for whatever changes something. Its time-outs
    /// are kept, and those of [`DynamoDbConfig::new`] used if it has none.
    ///
    /// # Errors
    /// [`Config`](Error::Config) when this is no table's name.
    pub fn from_client(client: Client, table: impl AsRef<str>) -> Result<Self> {
        config::check_table(table.as_ref())?;
        Ok(Self::with_connection(
            Connection::from_client(client),
            table.as_ref(),
        ))
    }

    fn with_connection(connection: Connection, table: &str) -> Self {
        let mut capabilities = Capabilities::portable("dynamodb");
        capabilities.max_partition_bytes = codec::MAX_PARTITION;
        capabilities.max_id_bytes = codec::MAX_ID;
        capabilities.max_value_bytes = codec::MAX_VALUE;
        capabilities.max_transaction_bytes = Some(codec::MAX_TRANSACTION);
        capabilities.remembered_writes = codec::REMEMBERED;
        Self {
            connection: Arc::new(connection),
            table: table.into(),
            clock: Arc::new(SystemClock),
            exactly_once: false,
            unanswered: Arc::default(),
            capabilities: Arc::new(capabilities),
        }
    }

    /// The same with or without [`exactly_once`](DynamoDbConfig::exactly_once).
    #[must_use]
    pub fn with_exactly_once(mut self, exactly_once: bool) -> Self {
        self.exactly_once = exactly_once;
        self
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

    fn context(&self, ready: &Ready, writes: bool) -> Context<'_> {
        Context {
            table: &self.table,
            writes,
            timeout: ready.timeout,
        }
    }

    /// The error of an operation for which a transaction was cancelled: nothing was applied.
    fn cancelled(&self, reply: Reply) -> Error {
        let context = Context {
            table: &self.table,
            writes: false,
            timeout: Duration::ZERO,
        };
        context.refused(reply)
    }

    /// The item of `key`, expired or not.
    async fn item(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>> {
        let ready = self.connection.ready().await?;
        let request = ready
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(codec::key_item(key)))
            .consistent_read(consistency == Consistency::Strong);
        let answer = read!(ready, request).await;
        Ok(answer
            .map_err(|error| self.context(&ready, false).error(error))?
            .item)
    }
}

impl fmt::Debug for DynamoDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDbStore")
            .field("table", &self.table)
            .field("exactly_once", &self.exactly_once)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateStore for DynamoDbStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn ready(&self) -> Result<()> {
        self.check_table(&*self.connection.ready().await?).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        check::key(&self.capabilities, key)?;
        let Some(item) = self.item(key, options.consistency).await? else {
            return Ok(None);
        };
        Ok(Found::decode(key, item)?.into_entry(self.now()))
    }

    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>> {
        self.get_all(keys, options.consistency).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        check::key(&self.capabilities, key)?;
        check::value(&self.capabilities, &value)?;
        let now = self.now();
        let change = Change::Put(value, Expiry::new(options.ttl, now)?);
        self.write(key, change, &options.precondition, options.attempt, now)
            .await
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
            .await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        check::key(&self.capabilities, key)?;
        let item = self.item(key, Consistency::Strong).await?;
        let found = item.map(|item| Found::decode(key, item)).transpose()?;
        let now = self.now();
        backend::resolve(id, precondition, found.as_ref().map(|found| found.stored(now)))
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.query(partition, options).await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        self.scan_table(options, None).await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        self.transact_ops(&ops, options.attempt).await
    }

    async fn sweep(&self) -> Result<u64> {
        // The table's TTL does it.
        Ok(0)
    }

    async fn close(&self) -> Result<()> {
        // Nothing is under way that no caller waits for, and the connections end with the last clone.
        Ok(())
    }
}
