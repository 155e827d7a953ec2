use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::Result;
use crate::{
    Capabilities, DeleteOptions, Entry, GetOptions, Key, ListOptions, Page, Precondition, PutOptions,
    Resolution, ScanOptions, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

/// A key-value store with optimistic concurrency: the contract that every backend keeps.
///
/// This page is the contract. The suite `statestore-conformance` checks each sentence of it on each backend; where a
/// service cannot keep one, the store's [`Capabilities`] say so and it is refused with a typed error.
///
/// The conveniences (`create`, `compare_and_set`, `update`, streams, batches of writes) are in
/// [`StateStoreExt`](crate::StateStoreExt), for every store. Stores are shared as `Arc<dyn StateStore>`, which is a
/// store itself.
///
/// ```
/// use statestore_api::{MemoryStore, Precondition, StateStore};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let store = MemoryStore::new();
/// let key = "user-42/cart".parse()?;
///
/// let version = store.put(&key, "one apple".into(), Precondition::Absent.into()).await?;
/// let entry = store.get(&key, Default::default()).await?.expect("it was just put");
/// assert_eq!((entry.value, entry.version), ("one apple".into(), version.clone()));
///
/// // Only if nobody has changed it since.
/// store.put(&key, "two apples".into(), version.into()).await?;
/// # Ok(()) }
/// ```
///
/// # Keys and values
/// - Two different keys never meet, whatever they contain. A key over the limits is
///   [`InvalidKey`](crate::Error::InvalidKey), before any request.
/// - A value is bytes, from none to [`max_value_bytes`](Capabilities::max_value_bytes); over that it is
///   [`ValueTooLarge`](crate::Error::ValueTooLarge), before any request.
///
/// # Versions
/// - Every mutation that leaves an entry returns its new [`Version`]; a read returns the same one.
/// - A version is never reused: not after delete and re-create, not after expiry, not after a restart, not by two writers.
/// - With another key than its own it never matches. A string that is no version of this store is
///   [`InvalidVersion`](crate::Error::InvalidVersion), not a conflict.
///
/// # Conditions
/// - Checking a [`Precondition`] and writing are one atomic step at the service.
/// - When it does not hold it is [`Conflict`](crate::Error::Conflict) and nothing changed: not the value, the version
///   or the expiry. It carries what is there now whenever the service gives it in the same reply.
/// - `Matches` on a key that was deleted or has expired is a conflict, never a create.
/// - Of N writers that expect the same version, or all expect absence, exactly one wins.
///
/// # Exactly once
/// - Every mutation carries a [`WriteId`], and an entry holds the one that wrote it and the last that it replaced
///   ([`remembered_writes`](Capabilities::remembered_writes)). **A put or touch whose write id is among them has been
///   applied already: it is answered with its version and not written again.**
/// - So a `Matches` is applied exactly once, however often it is retried. An `Absent` is too, unless somebody deletes
///   the new key before the retry arrives, which then creates it again, under a version of its own.
/// - An `Exists` or an unconditional mutation is applied **at least once** when it is retried: if it was overwritten more often than
///   the entry remembers, or deleted, it is applied again.
/// - Where [`blind_puts_forget`](Capabilities::blind_puts_forget), a put without a condition makes the entry forget the
///   writes before it, and an attempt of it that arrives after its retry was answered is applied again.
/// - Where a retry cannot tell whether an earlier attempt was applied, it is
///   [`Indeterminate`](crate::Error::Indeterminate), never a conflict and never a success. Say which attempt a call is by
///   [`Attempt`](crate::Attempt).
///
/// # Expiry
/// - Kept to the millisecond. An expired entry is gone at once for reads, listings, batches, transactions and every
///   precondition, however late the service sweeps it.
/// - A put without an expiry clears the one that was there; [`Ttl::Keep`] keeps it.
/// - An expiry that is not in the future, or behind the year 9999, is [`InvalidTtl`](crate::Error::InvalidTtl). So may be a retry
///   whose [`Ttl::At`] has passed meanwhile, although an earlier attempt was applied: [`resolve`](Self::resolve) tells, and
///   [`Retry`](crate::layer::Retry) asks it.
///
/// # Start, cancellation, concurrency
/// - One instance serves all tasks. Dropping a future half way leaks nothing and poisons nothing; the mutation it stood for may
///   or may not be applied.
#[async_trait]
pub trait StateStore: Debug + Send + Sync {
    /// What this store can do, and its limits.
    fn capabilities(&self) -> &Capabilities;

    /// Connects, authenticates and checks that the table is there: for a function's init phase and for health checks.
    ///
    /// # Errors
    /// [`StoreNotFound`](crate::Error::StoreNotFound), with how to make it;
    /// [`Unauthorized`](crate::Error::Unauthorized); [`Unavailable`](crate::Error::Unavailable).
    async fn ready(&self) -> Result<()>;

    /// The entry of `key`, or `None` when it is missing or expired.
    ///
    /// Strongly consistent unless [`Consistency::Eventual`](crate::Consistency::Eventual) is asked for: it sees every
    /// write that was acknowledged before it began.
    ///
    /// # Errors
    /// [`Corrupt`](crate::Error::Corrupt) when what is stored is damaged or not ours; those of the service.
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>>;

    /// The entries of any number of keys, in the order asked, each with its own result. Split to fit the service; what it leaves
    /// unprocessed is asked for again. Not a snapshot: each key is read on its own.
    async fn get_many(&self, keys: &[Key], options: GetOptions) -> Vec<Result<Option<Entry>>>;

    /// Writes `value`, if the precondition holds, and returns its version.
    ///
    /// # Errors
    /// [`Conflict`](crate::Error::Conflict) when the precondition does not hold; those of the arguments, before any
    /// request; those of the service.
    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version>;

    /// Deletes `key`, if the precondition holds. Without a precondition a missing key is a success.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()>;

    /// Moves the expiry of an entry without sending its value, and makes a new version, which it returns.
    ///
    /// # Errors
    /// [`Conflict`](crate::Error::Conflict) when the key is missing or expired, whatever the precondition, or when that does not hold;
    /// [`InvalidOptions`](crate::Error::InvalidOptions) for `Absent`, which could never hold.
    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version>;

    /// What became of a write whose answer never came. Pass the precondition it was sent with, or
    /// [`Precondition::None`] if that is not known: only with [`Precondition::Matches`] can it be told that it was not applied.
    ///
    /// ```
    /// # use statestore_api::{MemoryStore, PutOptions, Precondition, Resolution, StateStore, WriteId};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
    /// # let store = MemoryStore::new();
    /// # let key = "user-42/order-7".parse()?;
    /// let id = WriteId::new(); // stored somewhere before the write
    /// let options = PutOptions::from(Precondition::Absent).with_write_id(id);
    /// let version = store.put(&key, "placed".into(), options).await?;
    ///
    /// // … a crash later:
    /// let became = store.resolve(&key, id, &Precondition::Absent).await?;
    /// assert_eq!(became, Resolution::Applied(version));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution>;

    /// A page of the ids in `partition`, in the byte order of their UTF-8, whatever they contain.
    ///
    /// Pages follow in order, skip nothing that was there throughout, and repeat nothing.
    ///
    /// # Errors
    /// [`InvalidToken`](crate::Error::InvalidToken) for a page token of another query;
    /// [`InvalidOptions`](crate::Error::InvalidOptions) for a page size of 0 or over 1000; [`InvalidKey`](crate::Error::InvalidKey) for
    /// a partition, prefix or start that is longer than a key's part may be;
    /// [`Unsupported`](crate::Error::Unsupported) where the capabilities say so.
    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page>;

    /// A page of all keys of all partitions, in no particular order: for export, migration and repair.
    ///
    /// # Errors
    /// As for [`list_page`](Self::list_page).
    async fn scan_page(&self, options: ScanOptions) -> Result<Page>;

    /// Applies puts, deletes and checks in one partition, each under its precondition: all or nothing. Returns the new version for
    /// each put, in the order of the operations.
    ///
    /// A retry of a transaction that has been applied (with the same write id and operations) is answered with its
    /// versions and not applied again, as long as the entry of one of its puts remembers it.
    ///
    /// # Errors
    /// [`Conflict`](crate::Error::Conflict), naming the operation where the service tells which; nothing changed.
    /// [`TooManyOps`](crate::Error::TooManyOps), [`TransactionTooLarge`](crate::Error::TransactionTooLarge) and
    /// [`InvalidTransaction`](crate::Error::InvalidTransaction) (a key twice, two partitions), before any request.
    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>>;

    /// Removes expired entries from storage, and returns how many. They are invisible without it; this frees their room on a
    /// store that does not do so [by itself](Capabilities::sweeps_itself). Where the service sweeps, it does nothing and returns 0.
    ///
    /// # Errors
    /// Those of the service.
    async fn sweep(&self) -> Result<u64>;

    /// Finishes what is under way and lets go of files and connections, for all clones: before the process ends, or before
    /// another opens the same file. May be repeated. A store that was closed is not to be used any more; one that holds a file refuses it with
    /// [`Closed`](crate::Error::Closed).
    ///
    /// # Errors
    /// Those of the store; nothing that was acknowledged is lost.
    async fn close(&self) -> Result<()>;
}

/// A pointer to a store is a store. Written out as `async_trait` would do it, so that the future of the store is handed on as it is.
macro_rules! forward {
    ($($pointer:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<S: StateStore + ?Sized> StateStore for $pointer {
            fn capabilities(&self) -> &Capabilities {
                (**self).capabilities()
            }

            fn ready<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, Result<()>> {
                (**self).ready()
            }

            fn get<'s: 'f, 'k: 'f, 'f>(
                &'s self,
                key: &'k Key,
                options: GetOptions,
            ) -> BoxFuture<'f, Result<Option<Entry>>> {
                (**self).get(key, options)
            }

            fn get_many<'s: 'f, 'k: 'f, 'f>(
                &'s self,
                keys: &'k [Key],
                options: GetOptions,
            ) -> BoxFuture<'f, Vec<Result<Option<Entry>>>> {
                (**self).get_many(keys, options)
            }

            fn put<'s: 'f, 'k: 'f, 'f>(
                &'s self,
                key: &'k Key,
                value: Bytes,
                options: PutOptions,
            ) -> BoxFuture<'f, Result<Version>> {
                (**self).put(key, value, options)
            }

            fn delete<'s: 'f, 'k: 'f, 'f>(
                &'s self,
                key: &'k Key,
                options: DeleteOptions,
            ) -> BoxFuture<'f, Result<()>> {
                (**self).delete(key, options)
            }

            fn touch<'s: 'f, 'k: 'f, 'f>(
                &'s self,
                key: &'k Key,
                ttl: Ttl,
                options: TouchOptions,
            ) -> BoxFuture<'f, Result<Version>> {
                (**self).touch(key, ttl, options)
            }

            fn resolve<'s: 'f, 'k: 'f, 'p: 'f, 'f>(
                &'s self,
                key: &'k Key,
                id: WriteId,
                precondition: &'p Precondition,
            ) -> BoxFuture<'f, Result<Resolution>> {
                (**self).resolve(key, id, precondition)
            }

            fn list_page<'s: 'f, 'p: 'f, 'f>(
                &'s self,
                partition: &'p str,
                options: ListOptions,
            ) -> BoxFuture<'f, Result<Page>> {
                (**self).list_page(partition, options)
            }

            fn scan_page<'s: 'f, 'f>(&'s self, options: ScanOptions) -> BoxFuture<'f, Result<Page>> {
                (**self).scan_page(options)
            }

            fn transact<'s: 'f, 'f>(
                &'s self,
                ops: Vec<TransactOp>,
                options: TransactOptions,
            ) -> BoxFuture<'f, Result<Vec<Option<Version>>>> {
                (**self).transact(ops, options)
            }

            fn sweep<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, Result<u64>> {
                (**self).sweep()
            }

            fn close<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, Result<()>> {
                (**self).close()
            }
        }
    )+};
}

forward!(Arc<S>, Box<S>, &S);
