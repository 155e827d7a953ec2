//! The group commit: one thread applies whatever mutations wait, each decided on what is there then, in one transaction of
//! redb, and answers them all after its one sync.
//!
//! While it syncs the next ones gather, so a lone writer never waits for others, and many share the cost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use redb::Database;
use statestore_api::backend::{Stamp, expiry};
use statestore_api::{Applied, Attempt, Key, Precondition, Result, TransactOp, Version};
use tokio::sync::{RwLock, mpsc, oneshot};

use super::config::EmbeddedOptions;
use super::error::{Failure, Stop};
use super::file::{Opened, Place};
use super::tables::{Change, Effect, Snapshot, Tables};

/// The most mutations that share a commit.
const BATCH: usize = 256;

/// The most bytes of values that share one, about: so that a small write does not wait long for large ones.
const BATCH_BYTES: usize = 16 << 20;

/// The most mutations that wait for the writer. Who comes then waits to be let in.
const QUEUE: usize = 256;

/// How many expired entries a mutation removes on its way, at most: more than one, so that they do not pile up.
const SWEPT_PER_WRITE: usize = 2;

/// How many entries one commit of a sweep removes, at most.
pub(super) const SWEPT_AT_ONCE: usize = 1000;

/// What the store and its writer share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) place: Place,
    pub(super) options: EmbeddedOptions,
    /// Readers hold it as long as they read. The writer alone changes it.
    pub(super) state: Arc<RwLock<State>>,
}

impl Core {
    pub(super) fn now(&self) -> u64 {
        expiry::to_ms(self.options.clock.now())
    }
}

/// What became of the file.
#[derive(Debug)]
pub(super) enum State {
    /// It is open, for the n-th time.
    Open(Opened, u64),
    /// Something failed, and it is to be opened again. What redb wrote last is not sure to be on the disk if this still
    /// holds it, and nobody else may have the file until it is.
    Broken(Option<Opened>),
    /// It is closed for good.
    Closed,
}

/// One call that waits for the writer.
#[derive(Debug)]
pub(super) struct Pending<W, T> {
    work: W,
    reply: oneshot::Sender<Result<T>>,
    /// What to answer once it is committed; `None` until it was looked at.
    outcome: Option<Result<T>>,
    /// Whether it wrote something.
    wrote: bool,
}

/// A mutation of one key.
#[derive(Debug)]
pub(super) struct Mutate {
    pub(super) key: Key,
    pub(super) change: Change,
    pub(super) precondition: Precondition,
    pub(super) attempt: Attempt,
}

/// A transaction, with what each of its operations does.
#[derive(Debug)]
pub(super) struct Transact {
    pub(super) ops: Vec<TransactOp>,
    pub(super) changes: Vec<Change>,
    pub(super) attempt: Attempt,
}

/// A step of a sweep.
#[derive(Debug)]
pub(super) struct Sweep;

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Job {
    Mutate(Pending<Mutate, Version>),
    Transact(Pending<Transact, Vec<Option<Version>>>),
    Sweep(Pending<Sweep, usize>),
    /// To open the file again if it still is, or failed to be, open for this time.
    Reopen(u64, oneshot::Sender<Result<(), Failure>>),
    Close(oneshot::Sender<Result<()>>),
}

impl<W, T> Pending<W, T> {
    pub(super) fn new(work: W) -> (Self, oneshot::Receiver<Result<T>>) {
        let (reply, answer) = oneshot::channel();
        let pending = Self {
            work,
            reply,
            outcome: None,
            wrote: false,
        };
        (pending, answer)
    }

    /// Does its work, unless nobody waits for it any more.
    fn apply<'t>(
        &mut self,
        tables: &mut Tables<'t>,
        work: impl FnOnce(&W, &mut Tables<'t>) -> Result<T, Stop>,
    ) -> Result<(), Failure> {
        if self.reply.is_closed() {
            return Ok(());
        }
        let effects = tables.effects();
        let outcome = work(&self.work, tables);
        self.wrote = tables.effects() != effects;
        self.outcome = match outcome {
            Ok(done) => Some(Ok(done)),
            Err(Stop::Refused(error)) => Some(Err(error)),
            Err(Stop::Failed(failure)) => return Err(failure),
        };
        Ok(())
    }

    fn answer(self, place: &Place, committed: &Committed) {
        let answer = match committed {
            Committed::Yes => self.outcome,
            Committed::No(failure) => Some(Err(failure.error(&place.path, Applied::No))),
            Committed::Unknown(failure) => {
                let applied = if self.wrote { Applied::Maybe } else { Applied::No };
                Some(Err(failure.error(&place.path, applied)))
            }
        };
        if let Some(answer) = answer {
            // Who no longer waits does not need it.
            let _ = self.reply.send(answer);
        }
    }
}

impl Job {
    /// About how much it writes.
    fn bytes(&self) -> usize {
        match self {
            Self::Mutate(pending) => pending.work.change.bytes(),
            Self::Transact(pending) => pending.work.changes.iter().map(Change::bytes).sum(),
            Self::Sweep(_) | Self::Reopen(..) | Self::Close(_) => 0,
        }
    }

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), Failure> {
        match self {
            Self::Mutate(pending) => pending.apply(tables, |work, tables| {
                let Mutate {
                    key,
                    change,
                    precondition,
                    attempt,
                } = work;
                tables.mutate(key, change, precondition, *attempt, Stamp::new_nonce())
            }),
            Self::Transact(pending) => pending.apply(tables, |work, tables| {
                tables.transact(&work.ops, &work.changes, work.attempt, Stamp::new_nonce())
            }),
            Self::Sweep(pending) => pending.apply(tables, |_, tables| tables.sweep(SWEPT_AT_ONCE)),
            Self::Reopen(..) | Self::Close(_) => Ok(()),
        }
    }

    fn answer(self, place: &Place, committed: &Committed) {
        match self {
            Self::Mutate(pending) => pending.answer(place, committed),
            Self::Transact(pending) => pending.answer(place, committed),
            Self::Sweep(pending) => pending.answer(place, committed),
            Self::Reopen(_, reply) => drop(reply.send(committed.answer())),
            Self::Close(reply) => {
                let answer = committed.answer();
                let _ = reply.send(answer.map_err(|failure| failure.error(&place.path, Applied::No)));
            }
        }
    }
}

/// Whether a batch is on the disk.
enum Committed {
    Yes,
    No(Failure),
    Unknown(Failure),
}

impl Committed {
    fn answer(&self) -> Result<(), Failure> {
        match self {
            Self::Yes => Ok(()),
            Self::No(failure) | Self::Unknown(failure) => Err(failure.clone()),
        }
    }
}

/// Starts the thread that writes. It ends when it is asked to, or when nobody can ask any more, and closes the file.
pub(super) fn start(core: Arc<Core>) -> Result<mpsc::Sender<Job>, Failure> {
    let (jobs, queue) = mpsc::channel(QUEUE);
    let writer = Writer { core, opened: 1 };
    thread::Builder::new()
        .name("statestore-embedded".to_owned())
        .spawn(move || writer.run(queue))
        .map_err(Failure::io)?;
    Ok(jobs)
}

struct Writer {
    core: Arc<Core>,
    /// How often the file was opened.
    opened: u64,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        let closing = loop {
            let last = self.gather(&mut queue, &mut batch);
            if !batch.is_empty() {
                self.write(&mut batch);
            }
            match last {
                Last::Job => {}
                Last::Reopen(time, reply) => {
                    // Who no longer waits does not need it.
                    let _ = reply.send(self.reopen(Some(time)));
                }
                Last::Close(reply) => break Some(reply),
                Last::Nobody => break None,
            }
        };
        let closed = self.close().map_or_else(Committed::No, |()| Committed::Yes);
        if let Some(reply) = closing {
            Job::Close(reply).answer(&self.core.place, &closed);
        }
        queue.close();
        while let Some(job) = queue.blocking_recv() {
            let answer = match job {
                Job::Close(_) => Committed::Yes,
                _ => Committed::No(Failure::Closed),
            };
            job.answer(&self.core.place, &answer);
        }
    }

    /// Waits for a first job and takes what is there besides. Only the last is none of a batch.
    fn gather(&self, queue: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) -> Last {
        let Some(mut job) = queue.blocking_recv() else {
            return Last::Nobody;
        };
        let mut bytes = 0;
        loop {
            match job {
                Job::Reopen(time, reply) => return Last::Reopen(time, reply),
                Job::Close(reply) => return Last::Close(reply),
                _ => {}
            }
            bytes += job.bytes();
            batch.push(job);
            if batch.len() == BATCH || bytes >= BATCH_BYTES {
                return Last::Job;
            }
            job = match queue.try_recv() {
                Ok(job) => job,
                Err(_) => return Last::Job,
            };
        }
    }

    fn write(&mut self, batch: &mut Vec<Job>) {
        let committed = self
            .reopen(None)
            .map_or_else(Committed::No, |()| self.commit(batch));
        for job in batch.drain(..) {
            job.answer(&self.core.place, &committed);
        }
    }

    /// Applies the batch and commits it. After a failure the file is opened again, which tells what came of it.
    fn commit(&mut self, batch: &mut [Job]) -> Committed {
        let mut effect = None;
        let applied = {
            let state = self.core.state.blocking_read();
            let State::Open(opened, _) = &*state else {
                return Committed::No(Failure::Closed);
            };
            // redb may panic on a page that is damaged.
            let apply = || apply(&opened.database, self.core.now(), batch, &mut effect);
            catch_unwind(AssertUnwindSafe(apply)).unwrap_or(Err(Failure::Panicked))
        };
        let Err(failure) = applied else {
            return Committed::Yes;
        };
        tracing::warn!(path = %self.core.place.path.display(), ?failure, "writing failed; the file is opened again");
        let reopened = self.reopen(Some(self.opened));
        let Some(effect) = effect else {
            return Committed::No(failure);
        };
        match reopened.and_then(|()| self.has(&effect)) {
            Ok(true) => Committed::Yes,
            Ok(false) => Committed::No(failure),
            Err(_) => Committed::Unknown(failure),
        }
    }

    /// Whether the batch whose last effect this is was committed. A batch is committed as one, and nobody else writes.
    fn has(&self, effect: &Effect) -> Result<bool, Failure> {
        let state = self.core.state.blocking_read();
        let State::Open(opened, _) = &*state else {
            return Err(Failure::Closed);
        };
        let read = || match Snapshot::of(&opened.database, 0)?.find(&effect.key) {
            Ok(found) => Ok(found.map(|(head, _)| head.stamp) == effect.stamp),
            Err(Stop::Failed(failure)) => Err(failure),
            Err(Stop::Refused(_)) => Err(Failure::Panicked),
        };
        catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Failure::Panicked))
    }

    /// Opens the file again if something failed, or if it failed for someone who had it open for the n-th `time`.
    fn reopen(&mut self, time: Option<u64>) -> Result<(), Failure> {
        {
            let state = self.core.state.blocking_read();
            match &*state {
                State::Open(_, opened) if time != Some(*opened) => return Ok(()),
                State::Closed => return Err(Failure::Closed),
                State::Open(..) | State::Broken(_) => {}
            }
        }
        let mut state = self.core.state.blocking_write();
        let before = match std::mem::replace(&mut *state, State::Broken(None)) {
            State::Open(opened, _) => Some(opened),
            State::Broken(opened) => opened,
            State::Closed => None,
        };
        if let Some(opened) = before {
            if let Err(failure) = opened.settle() {
                *state = State::Broken(Some(opened));
                return Err(failure);
            }
            opened.abandon();
        }
        let opened = self.core.place.open(&self.core.options)?;
        self.opened += 1;
        *state = State::Open(opened, self.opened);
        Ok(())
    }

    /// Closes the file once nobody reads it any more.
    fn close(&mut self) -> Result<(), Failure> {
        let mut state = self.core.state.blocking_write();
        match std::mem::replace(&mut *state, State::Closed) {
            State::Open(opened, _) => opened.close().inspect_err(|failure| {
                let path = self.core.place.path.display();
                tracing::warn!(%path, ?failure, "closing failed; the next opening repairs the file");
            }),
            State::Broken(Some(opened)) => {
                opened.abandon();
                Ok(())
            }
            State::Broken(None) | State::Closed => Ok(()),
        }
    }
}

/// What came last.
enum Last {
    /// One of the batch.
    Job,
    Reopen(u64, oneshot::Sender<Result<(), Failure>>),
    Close(oneshot::Sender<Result<()>>),
    /// Nobody can ask any more.
    Nobody,
}

/// Applies `batch` in one transaction. `effect` is what tells later whether that was committed, and is there only if it
/// may have been.
fn apply(
    database: &Database,
    now: u64,
    batch: &mut [Job],
    effect: &mut Option<Effect>,
) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    let mut tables = Tables::open(&transaction, now)?;
    for job in batch.iter_mut() {
        job.apply(&mut tables)?;
    }
    if tables.effects() == 0 {
        drop(tables);
        return Ok(transaction.abort()?);
    }
    let writes = batch.iter().filter(|job| !matches!(job, Job::Sweep(_))).count();
    match tables.sweep(writes * SWEPT_PER_WRITE) {
        Ok(_) => {}
        // An expired key that cannot be read stays, and is nobody's of this batch.
        Err(Stop::Refused(error)) => tracing::warn!(%error, "could not sweep"),
        Err(Stop::Failed(failure)) => return Err(failure),
    }
    *effect = tables.effect();
    drop(tables);
    Ok(transaction.commit()?)
}
