//! One durable file, no server: [`EmbeddedStore`], on [redb](https://www.redb.org).
//!
//! For one process: a program of its own, a test, a function that keeps its state on a mounted disk. Only one store, in one
//! process, has a file open at a time; another is refused with [`InUse`](crate::Error::InUse).
//!
//! ```
//! use statestore::embedded::EmbeddedStore;
//! use statestore::{StateStore, StateStoreExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("state.redb");
//! let store = EmbeddedStore::open(&path).await?; // creates the file if it is missing
//! let key = "user-42/cart".parse()?;
//! store.create(&key, "one apple").await?;
//! store.close().await?;
//!
//! let store = EmbeddedStore::open(&path).await?;
//! assert_eq!(store.get(&key, Default::default()).await?.expect("it is there").value, "one apple");
//! # Ok(()) }
//! ```
//!
//! # The file
//! | table | key | value |
//! |---|---|---|
//! | `entries` | partition, id | the entry: format, checksums, expiry, version, the 4 it replaced, value |
//! | `expiring` | expiry, partition, id | nothing |
//! | `statestore` | `format` | 1 |
//!
//! Keys are in the byte order of their UTF-8. A file or an entry of another format, or one that is damaged, is
//! [`Corrupt`](crate::Error::Corrupt) and never guessed at. A file that is refused is left byte for byte as it is: an empty
//! one, too, since a store's file never is and the content may have been lost. A file that is missing is made whole under
//! another name beside it and then linked to its own, so that there never is half of one; a crash in that moment
//! leaves a file `.name.new-…`, which can be removed.
//!
//! # Limits
//! 2,048 bytes in each part of a key, 16 MiB a value, 100 operations a transaction. A page of a listing ends early behind
//! 32 MiB of values.
//!
//! # Durability
//! A mutation that returns is on the disk (`fdatasync`). One thread does all the writing: what waits for it, up to 256
//! mutations, is applied in one transaction of redb and shares one sync. Nobody waits for company: a lone writer's
//! mutation is committed at once. When 256 more wait, a call waits to be let in.
//!
//! Reads see all that was acknowledged before they began, each in a snapshot of its own, and do not wait for writers.
//! One key is read by the task that asks: that takes about a microsecond from memory, and as long as the disk where the
//! system does not have the page; a value of more than 256 KiB is checked and copied on one of tokio's blocking threads. Pages and
//! batches are read there; so is everything with [`blocking_reads`](EmbeddedOptions::blocking_reads) (in a URL
//! `?blocking_reads=on`), for files on a slow disk or on a network.
//!
//! # Crashes and failures
//! - After a crash, a kill or a power cut, everything that was acknowledged is there, a mutation that was not acknowledged is
//!   there whole or not at all, and so is a transaction. The next opening verifies the whole file, which takes about
//!   as long as reading it (a second for a gigabyte in the system's cache); so does any other opening, unless [`verify`](EmbeddedOptions::verify) is off. A store that is
//!   [closed](StateStore::close) has nothing to repair.
//! - When writing fails, the file is opened again by itself, which finds out what came of the mutations that were under
//!   way: they are answered with success if they were committed, and otherwise with an error that says that nothing was
//!   applied: [`StorageFull`](crate::Error::StorageFull) on a full disk, [`Unavailable`](crate::Error::Unavailable) else. Only if
//!   the file cannot be opened again either is it unknown, and the error says so. Each later call tries to open it again, so
//!   that the store works as soon as the disk does.
//! - After a failed sync, what was not synced is written once more before the file is read again, because
//!   systems forget such writes and show them all the same.
//! - Damage that redb meets with a panic is caught and is [`Corrupt`](crate::Error::Corrupt), too. A program built with
//!   `panic = "abort"` ends there.
//! - Who removes or replaces the file of a store that is open loses what is written from then on. On a file system without
//!   locks nothing keeps two processes from opening one file, which damages it.
//!
//! # Expiry
//! Judged by this machine's clock. Each commit removes up to two expired entries a mutation, and
//! [`sweep`](crate::StateStore::sweep) the rest.

mod codec;
mod config;
mod error;
mod file;
mod reads;
mod tables;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
pub use config::EmbeddedOptions;
use statestore_api::backend::{self, ListQuery, check, expiry};
use statestore_api::{
    Applied, Attempt, Bytes, Capabilities, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions, Page,
    PageToken, Precondition, PutOptions, Resolution, Result, ScanOptions, StateStore, TouchOptions,
    TransactOp, TransactOptions, Ttl, Version, WriteId,
};
use tokio::sync::{RwLock, mpsc, oneshot};
use tokio::task::spawn_blocking;

use self::error::{Failure, Stop};
use self::file::Place;
use self::tables::Change;
use self::writer::{Core, Job, Mutate, Pending, State, Sweep, Transact};

/// A store in one durable file.
///
/// Clones share the file. [`close`](StateStore::close) finishes what was begun before and releases it; the file can be opened
/// again as soon as that returns. A store that is dropped instead does the same on a thread of its own: where the
/// process ends meanwhile nothing is lost, but the next opening has to verify the file.
///
/// Needs a tokio runtime, of any flavour, and may be used from several. See the [module](self) for the file, its limits
/// and what happens at a crash.
#[derive(Clone)]
pub struct EmbeddedStore {
    core: Arc<Core>,
    jobs: mpsc::Sender<Job>,
    capabilities: Arc<Capabilities>,
}

impl EmbeddedStore {
    /// Opens the store in the file at `path`. **A file that is missing is created**; its directory is not.
    ///
    /// # Errors
    /// [`StoreNotFound`](Error::StoreNotFound) when the directory is missing; [`InUse`](Error::InUse) when a store has the
    /// file open, here or in another process; [`Corrupt`](Error::Corrupt) when the file is damaged or is none of a store, and
    /// then it is left as it is; [`Unauthorized`](Error::Unauthorized) when the file system does not let us;
    /// [`Config`](Error::Config) when the path is no file; [`StorageFull`](Error::StorageFull).
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, EmbeddedOptions::default()).await
    }

    /// Opens the store in the file at `path` with `options`.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_with(path: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self> {
        Self::open_at(Place::file(path.as_ref().to_owned(), options.create), options).await
    }

    async fn open_at(place: Place, options: EmbeddedOptions) -> Result<Self> {
        let mut capabilities = Capabilities::portable("embedded");
        capabilities.max_partition_bytes = 2048;
        capabilities.max_id_bytes = 2048;
        capabilities.max_value_bytes = 16 << 20;
        capabilities.remembered_writes = codec::REMEMBERED;
        let path = place.path.clone();
        let opening = spawn_blocking(move || {
            let opened = place.open(&options)?;
            let core = Arc::new(Core {
                place,
                options,
                state: Arc::new(RwLock::new(State::Open(opened, 1))),
            });
            Ok((writer::start(Arc::clone(&core))?, core))
        });
        let opened = opening.await.unwrap_or(Err(Failure::Panicked));
        let (jobs, core) = opened.map_err(|failure: Failure| failure.error(&path, Applied::No))?;
        Ok(Self {
            core,
            jobs,
            capabilities: Arc::new(capabilities),
        })
    }

    fn error(&self, failure: &Failure, applied: Applied) -> Error {
        failure.error(&self.core.place.path, applied)
    }

    /// Has the writer do `job`, and waits for its answer.
    async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        if self.jobs.send(job).await.is_err() {
            return Err(self.error(&Failure::Closed, Applied::No));
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.error(&Failure::NoWriter, Applied::Maybe)),
        }
    }

    async fn mutate(
        &self,
        key: &Key,
        change: Change,
        precondition: Precondition,
        attempt: Option<Attempt>,
    ) -> Result<Version> {
        check::stamp_of(&precondition)?;
        let (pending, answer) = Pending::new(Mutate {
            key: key.clone(),
            change,
            precondition,
            attempt: attempt.unwrap_or_else(|| Attempt::first(WriteId::new())),
        });
        self.ask(Job::Mutate(pending), answer).await
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("path", &self.core.place.path)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateStore for EmbeddedStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn ready(&self) -> Result<()> {
        self.read(|_| Ok(())).await
    }

    async fn get(&self, key: &Key, _options: GetOptions) -> Result<Option<Entry>> {
        check::key(&self.capabilities, key)?;
        self.read_one(key, tables::live_entry).await
    }

    async fn get_many(&self, keys: &[Key], _options: GetOptions) -> Vec<Result<Option<Entry>>> {
        let (capabilities, asked) = (Arc::clone(&self.capabilities), keys.to_vec());
        let read = self.try_read(move |snapshot| {
            let mut results = Vec::with_capacity(asked.len());
            for key in &asked {
                let checked = check::key(&capabilities, key).map_err(Stop::from);
                let found = checked.and_then(|()| snapshot.find(key));
                results.push(
                    match found.and_then(|found| tables::live_entry(found, key, snapshot.now())) {
                        Ok(entry) => Ok(entry),
                        Err(Stop::Refused(error)) => Err(error),
                        Err(Stop::Failed(failure)) => return Err(failure),
                    },
                );
            }
            Ok(results)
        });
        match read.await {
            Ok(results) => results,
            Err(failure) => keys
                .iter()
                .map(|_| Err(self.error(&failure, Applied::No)))
                .collect(),
        }
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        check::key(&self.capabilities, key)?;
        check::value(&self.capabilities, &value)?;
        let expiry = expiry::Expiry::new(options.ttl, self.core.now())?;
        let change = Change::Put(value, expiry);
        self.mutate(key, change, options.precondition, options.attempt)
            .await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        check::key(&self.capabilities, key)?;
        self.mutate(key, Change::Delete, options.precondition, options.attempt)
            .await
            .map(drop)
    }

    async fn touch(&self, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        check::key(&self.capabilities, key)?;
        check::touch(&options.precondition)?;
        let change = Change::Touch(expiry::Expiry::new(ttl, self.core.now())?);
        self.mutate(key, change, options.precondition, options.attempt)
            .await
    }

    async fn resolve(&self, key: &Key, id: WriteId, precondition: &Precondition) -> Result<Resolution> {
        check::key(&self.capabilities, key)?;
        let precondition = precondition.clone();
        self.read_one(key, move |found, _, now| {
            let stored = found.as_ref().map(|(head, _)| head.stored(now));
            Ok(backend::resolve(id, &precondition, stored)?)
        })
        .await
    }

    async fn list_page(&self, partition: &str, options: ListOptions) -> Result<Page> {
        let (capabilities, partition) = (Arc::clone(&self.capabilities), partition.to_owned());
        self.read(move |snapshot| {
            let query = ListQuery::new(&capabilities, &partition, &options)?;
            let place = |id| (partition.as_bytes(), str::as_bytes(id));
            let start = match query.start() {
                Bound::Included(id) => Bound::Included(place(id)),
                Bound::Excluded(id) => Bound::Excluded(place(id)),
                Bound::Unbounded => Bound::Included(place("")),
            };
            let belongs = |key: &Key| key.partition() == partition && query.belongs(key.id());
            let (items, more) = snapshot.page(start, belongs, options.page_size, options.projection)?;
            Ok(Page::new(items, more.map(|last| query.next(last.id()))))
        })
        .await
    }

    async fn scan_page(&self, options: ScanOptions) -> Result<Page> {
        check::page_size(options.page_size)?;
        let token = options.page_token.as_ref();
        let last = token.map(|token| token.open_key(&["scan"])).transpose()?;
        self.read(move |snapshot| {
            let start = last
                .as_ref()
                .map_or(Bound::Unbounded, |last| Bound::Excluded(tables::raw(last)));
            let (items, more) = snapshot.page(start, |_| true, options.page_size, options.projection)?;
            Ok(Page::new(
                items,
                more.map(|last| PageToken::seal_key(&["scan"], &last)),
            ))
        })
        .await
    }

    async fn transact(&self, ops: Vec<TransactOp>, options: TransactOptions) -> Result<Vec<Option<Version>>> {
        check::transaction(&self.capabilities, &ops)?;
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.core.now();
        let changes = ops.iter().map(|op| Change::of(op, now));
        let changes = changes.collect::<Result<Vec<_>>>()?;
        ops.iter().try_for_each(|op| check::stamp_of(&op.precondition))?;
        let (pending, answer) = Pending::new(Transact {
            ops,
            changes,
            attempt: options.attempt.unwrap_or_else(|| Attempt::first(WriteId::new())),
        });
        self.ask(Job::Transact(pending), answer).await
    }

    async fn sweep(&self) -> Result<u64> {
        let mut swept = 0;
        loop {
            let (pending, answer) = Pending::new(Sweep);
            let removed = self.ask(Job::Sweep(pending), answer).await?;
            swept += removed as u64;
            if removed < writer::SWEPT_AT_ONCE {
                return Ok(swept);
            }
        }
    }

    async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Job::Close(reply)).await.is_err() {
            return Ok(());
        }
        // It ended without an answer when it had been closed before.
        answer.await.unwrap_or(Ok(()))
    }
}
