//! What is special to a store in a file: opening, closing, damage, restarts. The contract is the conformance suite's.

#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod closing;
mod damage;
mod expiry;
mod listing;
mod opening;
mod reads;
mod restarts;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use statestore::EmbeddedStore;
use statestore::embedded::EmbeddedOptions;
use statestore::{
    Attempt, Bytes, Clock, Entry, Error, ErrorKind, Key, ListOptions, ManualClock, Precondition, Projection,
    PutOptions, Resolution, ScanOptions, StateStore, StateStoreExt, TransactOp, Ttl, Version, WriteId,
};
use tempfile::TempDir;

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("state.redb")
    }

    async fn open(&self) -> EmbeddedStore {
        EmbeddedStore::open(self.path()).await.unwrap()
    }

    /// A closed file with the keys `p/0000` and so on.
    async fn with_entries(count: usize) -> Self {
        let place = Self::new();
        let store = place.open().await;
        fill(&store, count).await;
        store.close().await.unwrap();
        place
    }
}

fn key(n: usize) -> Key {
    Key::new("p", format!("{n:05}")).unwrap()
}

fn value(n: usize) -> Bytes {
    format!("secret value {n}").into()
}

async fn fill(store: &EmbeddedStore, count: usize) {
    for start in (0..count).step_by(100) {
        let ops = (start..count.min(start + 100)).map(|n| TransactOp::put(key(n), value(n)));
        store.transact(ops.collect(), Default::default()).await.unwrap();
    }
}

async fn has(store: &EmbeddedStore, count: usize) {
    for n in 0..count {
        let entry = store.get(&key(n), Default::default()).await.unwrap();
        assert_eq!(entry.unwrap().value, value(n));
    }
}

/// Opens the file, which has to be refused with an error of this `kind` that says `todo`, and left as it is.
async fn refused(path: &Path, kind: ErrorKind, todo: &str) -> Error {
    let before = fs::read(path).ok();
    let names = |path: &Path| fs::read_dir(path.parent().unwrap()).map(Iterator::count).ok();
    let files = names(path);
    let error = EmbeddedStore::open(path).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.contains(todo), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(fs::read(path).ok() == before, "the file was changed");
    assert_eq!(names(path), files, "something was left behind");
    error
}

#[tokio::test]
async fn no_value_is_shown() {
    let place = Place::with_entries(1).await;
    let store = place.open().await;
    let error = store.create(&key(0), "secret too").await.unwrap_err();
    for text in [format!("{store:?}"), format!("{error:?}"), error.to_string()] {
        assert!(!text.contains("secret"), "{text}");
    }
}
