//! The file: creating it, opening it, and what stands between it and redb.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, Database, ReadableDatabase, StorageBackend, TableError};

use super::config::EmbeddedOptions;
use super::error::Failure;
use super::tables::{ENTRIES, EXPIRING, FORMAT, FORMAT_KEY, META};

/// Where a store is, and how to get at its bytes.
pub(super) struct Place {
    pub(super) path: PathBuf,
    connect: Box<Connect>,
}

type Connect = dyn Fn() -> Result<Box<dyn StorageBackend>, Failure> + Send + Sync;

impl Place {
    /// The file at `path`, which is created when it is missing and `create` says so.
    pub(super) fn file(path: PathBuf, create: bool) -> Self {
        let file = path.clone();
        Self {
            path,
            connect: Box::new(move || Ok(Box::new(FileBackend::new(open_or_create(&file, create)?)?))),
        }
    }

    /// Something else with bytes, under this name.
    #[cfg(test)]
    pub(super) fn backend<B: StorageBackend>(
        name: &str,
        connect: impl Fn() -> B + Send + Sync + 'static,
    ) -> Self {
        Self {
            path: name.into(),
            connect: Box::new(move || Ok(Box::new(connect()))),
        }
    }

    /// Opens the database, and repairs it if it was not closed. Nothing is written unless it is sound and ours.
    pub(super) fn open(&self, options: &EmbeddedOptions) -> Result<Opened, Failure> {
        let gate = Gate::new((self.connect)()?);
        if StorageBackend::len(&gate).map_err(Failure::io)? == 0 {
            return Err(Failure::Empty);
        }
        // redb trusts most of what it reads, and an index out of range is a panic there. The gate has held back all
        // that it wrote until then, and what it leaves in memory is dropped with it.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = Database::builder()
                .set_cache_size(options.cache_bytes)
                .set_check_integrity_on_open(options.verify)
                .create_with_backend(gate.clone())?;
            check_format(&database)?;
            Ok(database)
        }));
        let database = opened.unwrap_or(Err(Failure::Panicked))?;
        let path = self.path.display();
        if gate.was_not_closed() {
            tracing::warn!(%path, "the file was not closed; it was verified, and what was not committed is dropped");
        }
        gate.release().map_err(Failure::io)?;
        tracing::debug!(%path, "opened");
        Ok(Opened { database, gate })
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.path).finish()
    }
}

/// A database that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) database: Database,
    gate: Gate,
}

impl Opened {
    /// Makes sure of what redb wrote, before anybody reads the file again after a failure.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        self.gate.settle().map_err(Failure::io)
    }

    /// Closes the file as redb likes to find it: the next one to open it has nothing to repair.
    pub(super) fn close(self) -> Result<(), Failure> {
        let Self { database, gate } = self;
        let closed = catch_unwind(AssertUnwindSafe(|| database.close()));
        gate.cut();
        Ok(closed.map_err(|_| Failure::Panicked)??)
    }

    /// Lets go of the file, and writes nothing more to it.
    pub(super) fn abandon(self) {
        self.gate.cut();
        // A panic may have left it in a state that it cannot be dropped in.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.database)));
    }
}

/// Whether it is a store of ours, in a format that is known.
fn check_format(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => return Err(Failure::Foreign),
        meta => meta?,
    };
    match meta.get(FORMAT_KEY)?.map(|format| format.value()) {
        Some(FORMAT) => {}
        Some(format) => return Err(Failure::Format(format)),
        None => return Err(Failure::Foreign),
    }
    transaction.open_table(ENTRIES)?;
    transaction.open_table(EXPIRING)?;
    Ok(())
}

fn open_or_create(path: &Path, create: bool) -> Result<File, Failure> {
    // A second time, for who finds that the file was created in between, by us or by others.
    for last in [false, true] {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => return Err(Failure::NotAFile),
            Ok(_) => {
                return OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(path)
                    .map_err(Failure::io);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !last => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(Failure::NoDirectory),
            Err(error) => return Err(Failure::io(error)),
        }
        if !create {
            return Err(Failure::NoFile);
        }
        self::create(path)?;
    }
    Err(Failure::NoFile)
}

/// Creates a new store at `path`, unless something appears there meanwhile.
///
/// It is made whole under another name first: redb cannot open a file whose making was interrupted, and nobody sees this
/// one half made.
fn create(path: &Path) -> Result<(), Failure> {
    let Some(name) = path.file_name() else {
        return Err(Failure::NotAFile);
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".new-{}", statestore_api::WriteId::new()));
    let temporary = Temporary(directory.join(temporary));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&temporary.0)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::NoDirectory,
            _ => Failure::io(error),
        })?;
    initialize(FileBackend::new(file)?)?;
    match fs::hard_link(&temporary.0, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        // A file system without links. Renaming would replace what is there, but nothing was a moment ago.
        Err(_) => fs::rename(&temporary.0, path).map_err(Failure::io)?,
    }
    sync_directory(directory).map_err(Failure::io)
}

/// Makes the empty `backend` an empty store.
pub(super) fn initialize(backend: impl StorageBackend) -> Result<(), Failure> {
    let database = Database::builder().create_with_backend(backend)?;
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(EXPIRING)?;
    transaction.commit()?;
    Ok(database.close()?)
}

/// A file that is removed in the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already where it was renamed.
        let _ = fs::remove_file(&self.0);
    }
}

/// So that a new file's name survives a power cut, too.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Stands between redb and the file.
///
/// Opening a database writes to it: at least that it is open, at most a repair. A file that turns out not to be ours, or to
/// be damaged, is to stay as it is, so at first everything that redb writes is held in memory, where it reads it back. Once the
/// file is accepted it is carried out in the same order.
#[derive(Clone)]
struct Gate(Arc<Inner>);

struct Inner {
    file: Box<dyn StorageBackend>,
    /// [`HOLDS`], [`PASSES`] or [`CUT`].
    mode: AtomicU8,
    log: Mutex<Log>,
}

/// What redb does goes into memory.
const HOLDS: u8 = 0;
/// It goes to the file.
const PASSES: u8 = 1;
/// Nothing is written any more.
const CUT: u8 = 2;

#[derive(Default)]
struct Log {
    held: Vec<Held>,
    /// The ranges that were written since the file was last synced.
    unsynced: Vec<(u64, usize)>,
    sync_failed: bool,
}

enum Held {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

impl Gate {
    fn new(file: Box<dyn StorageBackend>) -> Self {
        Self(Arc::new(Inner {
            file,
            mode: AtomicU8::new(HOLDS),
            log: Mutex::default(),
        }))
    }

    fn mode(&self) -> u8 {
        self.0.mode.load(Ordering::Acquire)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file's header says that the last one to open it did not close it: bit 1 of byte 9, as redb's
    /// `docs/design.md` has it. For the log alone.
    fn was_not_closed(&self) -> bool {
        let mut header = [0; 10];
        self.0.file.read(0, &mut header).is_ok() && header.starts_with(b"redb") && header[9] & 2 != 0
    }

    /// Carries out what was held, and holds nothing more.
    fn release(&self) -> io::Result<()> {
        let held = std::mem::take(&mut self.log().held);
        let carry_out = |held| match held {
            Held::Write(offset, data) => self.write_file(offset, &data),
            Held::SetLen(len) => self.0.file.set_len(len),
            Held::Sync => self.sync_file(),
        };
        let result = held.into_iter().try_for_each(carry_out);
        self.0
            .mode
            .store(if result.is_ok() { PASSES } else { CUT }, Ordering::Release);
        result
    }

    fn cut(&self) {
        self.0.mode.store(CUT, Ordering::Release);
    }

    fn write_file(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.log().unsynced.push((offset, data.len()));
        self.0.file.write(offset, data)
    }

    fn sync_file(&self) -> io::Result<()> {
        let result = self.0.file.sync_data();
        let mut log = self.log();
        match result {
            Ok(()) => {
                log.unsynced.clear();
                log.sync_failed = false;
            }
            Err(_) => log.sync_failed = true,
        }
        result
    }

    /// After a sync that failed the system may take what it could not write for written: it still reads it, and never
    /// writes it again. So it is written once more, whatever it is; without that, a later sync would vouch for nothing.
    fn settle(&self) -> io::Result<()> {
        let unsynced = match self.log() {
            log if log.sync_failed => log.unsynced.clone(),
            _ => return Ok(()),
        };
        let len = self.0.file.len()?;
        for (offset, size) in unsynced {
            let size = usize::try_from(len.saturating_sub(offset)).map_or(size, |rest| size.min(rest));
            let mut data = vec![0; size];
            self.0.file.read(offset, &mut data)?;
            self.0.file.write(offset, &data)?;
        }
        self.sync_file()
    }

    fn refused() -> io::Error {
        io::Error::other("the file is not written to after a failure")
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl StorageBackend for Gate {
    fn len(&self) -> io::Result<u64> {
        if self.mode() == HOLDS {
            let resized = |held: &Held| match held {
                Held::SetLen(len) => Some(*len),
                _ => None,
            };
            if let Some(len) = self.log().held.iter().rev().find_map(resized) {
                return Ok(len);
            }
        }
        self.0.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.mode() != HOLDS {
            return self.0.file.read(offset, out);
        }
        let end = offset + out.len() as u64;
        if end > StorageBackend::len(self)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let within = |len: u64| usize::try_from(len.clamp(offset, end) - offset).unwrap_or(out.len());
        let there = within(self.0.file.len()?);
        out[there..].fill(0);
        self.0.file.read(offset, &mut out[..there])?;
        for held in &self.log().held {
            match held {
                Held::SetLen(len) => {
                    let kept = usize::try_from((*len).clamp(offset, end) - offset).unwrap_or(out.len());
                    out[kept..].fill(0);
                }
                Held::Write(start, data) => {
                    let (from, to) = (offset.max(*start), end.min(start + data.len() as u64));
                    if let (true, Ok(from_out), Ok(from_data), Ok(len)) = (
                        from < to,
                        usize::try_from(from.wrapping_sub(offset)),
                        usize::try_from(from.wrapping_sub(*start)),
                        usize::try_from(to.wrapping_sub(from)),
                    ) {
                        out[from_out..from_out + len].copy_from_slice(&data[from_data..from_data + len]);
                    }
                }
                Held::Sync => {}
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.mode() {
            HOLDS => self.log().held.push(Held::SetLen(len)),
            PASSES => return self.0.file.set_len(len),
            _ => return Err(Self::refused()),
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.mode() {
            HOLDS => self.log().held.push(Held::Sync),
            PASSES => return self.sync_file(),
            _ => return Err(Self::refused()),
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.mode() {
            HOLDS => self.log().held.push(Held::Write(offset, data.to_vec())),
            PASSES => return self.write_file(offset, data),
            _ => return Err(Self::refused()),
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}
