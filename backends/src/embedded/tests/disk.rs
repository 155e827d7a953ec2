//! A disk that fails on request, and forgets what was not synced when its power is cut.

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use redb::{BackendError, StorageBackend};

use crate::embedded::file::{Place, initialize};

/// What a disk writes at once, whole or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// What is read: with what was not synced.
    cache: Vec<u8>,
    log: Vec<Op>,
    locked: bool,
    /// The n-th write from now on fails, and those after it as long as `stays_full`.
    pub(super) writes_left: Option<u64>,
    pub(super) stays_full: bool,
    /// No byte from here on has room.
    pub(super) capacity: Option<u64>,
    /// The next sync fails, and forgets what it was to write.
    pub(super) fail_sync: bool,
    /// The next read fails.
    pub(super) fail_read: bool,
}

#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
    /// A write that a failed sync forgot: it is read, and never gets to the disk.
    Forgotten,
}

impl Disk {
    /// An empty store.
    pub(super) fn new() -> Self {
        let disk = Self::default();
        initialize(disk.handle()).unwrap();
        Self::of(disk.state().cache.clone())
    }

    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.state().log = vec![
            Op::SetLen(bytes.len() as u64),
            Op::Write(0, bytes.clone()),
            Op::Sync,
        ];
        disk.state().cache = bytes;
        disk
    }

    pub(super) fn place(&self) -> Place {
        let disk = self.clone();
        Place::backend("disk", move || disk.handle())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn handle(&self) -> Handle {
        Handle {
            disk: self.clone(),
            locks: AtomicBool::new(false),
        }
    }

    /// How much happened to it.
    pub(super) fn age(&self) -> usize {
        self.state().log.len()
    }

    /// The ages right behind each sync.
    pub(super) fn syncs(&self) -> Vec<usize> {
        let state = self.state();
        let syncs = state.log.iter().enumerate();
        syncs
            .filter(|(_, op)| matches!(op, Op::Sync))
            .map(|(place, _)| place + 1)
            .collect()
    }

    /// Damages a few sectors behind the header.
    pub(super) fn scramble(&self, rng: &mut Rng) {
        let cache = &mut self.state().cache;
        for _ in 0..6 {
            let start = rng.usize(4096..cache.len() - SECTOR);
            rng.fill(&mut cache[start..start + SECTOR]);
        }
    }

    /// The disk after its power was cut at `age`: with all that was synced by then, and of the rest whatever sectors `rng`
    /// says.
    pub(super) fn after_power_cut(&self, age: usize, rng: &mut Rng) -> Self {
        let state = self.state();
        let happened = &state.log[..age];
        let synced = happened
            .iter()
            .rposition(|op| matches!(op, Op::Sync))
            .unwrap_or(0);
        let mut bytes = Vec::new();
        for op in &happened[..synced] {
            match op {
                Op::Write(offset, data) => write(&mut bytes, *offset, data),
                Op::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
                Op::Sync | Op::Forgotten => {}
            }
        }
        // The length is the file system's, which keeps its order; the sectors come in any.
        let mut resizes = true;
        for op in &happened[synced..] {
            match op {
                Op::SetLen(len) => {
                    resizes &= rng.bool();
                    if resizes {
                        bytes.resize(usize::try_from(*len).unwrap(), 0);
                    }
                }
                Op::Write(offset, data) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate() {
                        let offset = offset + (n * SECTOR) as u64;
                        if rng.bool() && offset + sector.len() as u64 <= bytes.len() as u64 {
                            write(&mut bytes, offset, sector);
                        }
                    }
                }
                Op::Sync | Op::Forgotten => {}
            }
        }
        drop(state);
        Self::of(bytes)
    }
}

fn write(bytes: &mut [u8], offset: u64, data: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

/// The disk as one process has it open.
#[derive(Debug)]
struct Handle {
    disk: Disk,
    locks: AtomicBool,
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().cache.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        if std::mem::take(&mut state.fail_read) {
            return Err(io::Error::other("the disk does not read"));
        }
        let start = usize::try_from(offset).unwrap();
        let there = state.cache.get(start..start + out.len());
        out.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.cache.resize(usize::try_from(len).unwrap(), 0);
        state.log.push(Op::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if std::mem::take(&mut state.fail_sync) {
            for op in state
                .log
                .iter_mut()
                .rev()
                .take_while(|op| !matches!(op, Op::Sync))
            {
                if matches!(op, Op::Write(..)) {
                    *op = Op::Forgotten;
                }
            }
            return Err(io::Error::other("the disk does not write"));
        }
        state.log.push(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let end = offset + data.len() as u64;
        if state.capacity.is_some_and(|capacity| end > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match state.writes_left {
            Some(0 | 1) => {
                state.writes_left = state.stays_full.then_some(0);
                return Err(io::ErrorKind::StorageFull.into());
            }
            Some(n) => state.writes_left = Some(n - 1),
            None => {}
        }
        write(&mut state.cache, offset, data);
        state.log.push(Op::Write(offset, data.to_vec()));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        if self.locks.swap(false, Ordering::SeqCst) {
            self.disk.state().locked = false;
        }
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if (start, end) != (Bound::Unbounded, Bound::Unbounded) {
            return Err(BackendError::Unsupported);
        }
        let taken = std::mem::replace(&mut self.disk.state().locked, true);
        if !taken {
            self.locks.store(true, Ordering::SeqCst);
        }
        Ok(!taken)
    }
}
