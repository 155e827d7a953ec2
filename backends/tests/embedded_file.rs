//! What is special to a store in a file: opening, closing, damage, restarts. The contract is the conformance suite's.

#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use statestore::EmbeddedStore;
use statestore::embedded::EmbeddedOptions;
use statestore::{
    Applied, Attempt, Bytes, Clock, Error, ErrorKind, Key, ListOptions, ManualClock, Precondition,
    Projection, PutOptions, Resolution, ScanOptions, StateStore, StateStoreExt, TransactOp, Ttl, Version,
    WriteId,
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

mod opening {
    use super::*;

    #[tokio::test]
    async fn a_missing_file_is_created_and_nothing_else() {
        let place = Place::new();
        let store = place.open().await;
        has(&store, 0).await;
        assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_missing_file_is_refused_without_create() {
        let place = Place::new();
        let options = EmbeddedOptions::default().with_create(false);
        let error = EmbeddedStore::open_with(place.path(), options.clone())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StoreNotFound, "{error}");
        assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0);
        place.open().await.close().await.unwrap();
        EmbeddedStore::open_with(place.path(), options).await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let place = Place::new();
        let path = place.directory.path().join("no").join("state.redb");
        let todo = format!(
            "create the directory `{}`",
            place.directory.path().join("no").display()
        );
        refused(&path, ErrorKind::StoreNotFound, &todo).await;
    }

    #[tokio::test]
    async fn a_file_for_a_directory_is_named() {
        let place = Place::with_entries(1).await;
        let path = place.path().join("state.redb");
        refused(&path, ErrorKind::StoreNotFound, "create the directory").await;
    }

    #[tokio::test]
    async fn a_directory_is_no_file() {
        let place = Place::new();
        refused(place.directory.path(), ErrorKind::Config, "name a file").await;
        let error = EmbeddedStore::open("").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }

    #[tokio::test]
    async fn a_second_store_is_in_use_until_the_first_is_closed() {
        let place = Place::new();
        let store = place.open().await;
        fill(&store, 3).await;
        refused(&place.path(), ErrorKind::InUse, "close the store").await;
        has(&store, 3).await;
        store.close().await.unwrap();
        has(&place.open().await, 3).await;
    }

    #[tokio::test]
    async fn of_many_who_create_the_file_one_gets_it() {
        for _ in 0..10 {
            let place = Place::new();
            let path = Arc::new(place.path());
            let all: Vec<_> = (0..8)
                .map(|_| {
                    let path = Arc::clone(&path);
                    tokio::spawn(async move { EmbeddedStore::open(&*path).await })
                })
                .collect();
            let mut opened = Vec::new();
            for one in all {
                match one.await.unwrap() {
                    Ok(store) => opened.push(store),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::InUse, "{error}"),
                }
            }
            assert_eq!(opened.len(), 1);
            fill(&opened[0], 1).await;
            assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 1);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_to_nowhere_is_not_followed_for_ever() {
        let place = Place::new();
        std::os::unix::fs::symlink(place.directory.path().join("gone"), place.path()).unwrap();
        let error = EmbeddedStore::open(place.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StoreNotFound, "{error}");
    }

    /// Run as nobody by `permissions_are_named`.
    #[test]
    #[ignore = "the other half of `permissions_are_named`"]
    fn as_nobody() {
        let Some(path) = std::env::var_os("STATESTORE_TEST_AS_NOBODY") else {
            return;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime
            .block_on(EmbeddedStore::open(PathBuf::from(path)))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        println!("refused as it should be");
    }

    /// Root may do anything, so another user has to try.
    #[cfg(unix)]
    #[tokio::test]
    async fn permissions_are_named() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        use std::os::unix::process::CommandExt;

        let place = Place::with_entries(1).await;
        // A copy of the test where another user gets at it.
        let program = place.directory.path().join("test");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        allow(place.directory.path(), 0o755);
        allow(&program, 0o755);
        let root = fs::metadata(&program).unwrap().uid() == 0;
        let new = place.directory.path().join("new.redb");
        // No reading, no writing, and no creating.
        for (path, mode, directory) in [
            (place.path(), 0o000, 0o755),
            (place.path(), 0o444, 0o755),
            (new, 0o444, 0o555),
        ] {
            allow(&place.path(), mode);
            allow(place.directory.path(), directory);
            let before = fs::metadata(place.path()).unwrap().modified().unwrap();
            let mut command = std::process::Command::new(&program);
            command
                .args(["--ignored", "--exact", "opening::as_nobody", "--nocapture"])
                .env("STATESTORE_TEST_AS_NOBODY", path)
                .current_dir("/");
            if root {
                command.uid(65_534).gid(65_534);
            }
            let output = command.output().unwrap();
            allow(place.directory.path(), 0o755);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("refused as it should be"),
                "{output:?}"
            );
            assert_eq!(fs::metadata(place.path()).unwrap().modified().unwrap(), before);
        }
        allow(&place.path(), 0o644);
    }
}

mod damage {
    use super::*;

    #[tokio::test]
    async fn an_empty_file_is_refused() {
        let place = Place::new();
        fs::write(place.path(), b"").unwrap();
        refused(&place.path(), ErrorKind::Corrupt, "remove it").await;
    }

    #[tokio::test]
    async fn what_is_no_database_is_refused() {
        let text = b"[store]\nurl = \"memory:\"\n".repeat(500);
        for content in [
            &b"x"[..],
            b"redb",
            b"redb\x1a\x0a\xa9\x0d\x0a",
            b"\0",
            &[0; 100_000],
            &text,
        ] {
            let place = Place::new();
            fs::write(place.path(), content).unwrap();
            refused(&place.path(), ErrorKind::Corrupt, "").await;
        }
    }

    #[tokio::test]
    async fn a_database_of_something_else_is_refused() {
        const TABLE: TableDefinition<'_, &str, u64> = TableDefinition::new("entries");
        for crash in [false, true] {
            let place = Place::new();
            let database = Database::create(place.path()).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction
                .open_table(TABLE)
                .unwrap()
                .insert("format", 1)
                .unwrap();
            transaction.commit().unwrap();
            let path = match crash {
                // As a crash leaves it, so that opening it would repair it.
                true => {
                    let copy = place.directory.path().join("copy.redb");
                    fs::copy(place.path(), &copy).unwrap();
                    copy
                }
                false => place.path(),
            };
            drop(database);
            refused(&path, ErrorKind::Corrupt, "something else").await;
            Database::open(path).unwrap();
        }
    }

    #[tokio::test]
    async fn a_format_of_the_future_is_refused() {
        const META: TableDefinition<'_, &str, u64> = TableDefinition::new("statestore");
        let place = Place::with_entries(3).await;
        let database = Database::open(place.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", 2).unwrap();
        transaction.commit().unwrap();
        drop(database);
        refused(&place.path(), ErrorKind::Corrupt, "format 2").await;
    }

    #[tokio::test]
    async fn other_tables_are_refused() {
        const ENTRIES: TableDefinition<'_, &str, u64> = TableDefinition::new("entries");
        const OURS: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("entries");
        for other in [false, true] {
            let place = Place::with_entries(3).await;
            let database = Database::open(place.path()).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction.delete_table(OURS).unwrap();
            if other {
                transaction.open_table(ENTRIES).unwrap().insert("x", 1).unwrap();
            }
            transaction.commit().unwrap();
            drop(database);
            refused(&place.path(), ErrorKind::Corrupt, "other tables").await;
        }
    }

    #[tokio::test]
    async fn an_entry_of_an_unknown_format_is_refused_and_left_as_it_is() {
        const ENTRIES: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("entries");
        let place = Place::with_entries(3).await;
        let database = Database::open(place.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        let strange = (&b"p"[..], &b"00001"[..]);
        transaction
            .open_table(ENTRIES)
            .unwrap()
            .insert(strange, &b"\x09secret"[..])
            .unwrap();
        transaction.commit().unwrap();
        drop(database);

        let store = place.open().await;
        let strange_key = key(1);
        let put = || store.put(&strange_key, value(1), Default::default());
        let errors = [
            store.get(&strange_key, Default::default()).await.unwrap_err(),
            put().await.unwrap_err(),
            store.delete(&strange_key, Default::default()).await.unwrap_err(),
            store.list_page("p", Default::default()).await.unwrap_err(),
            store
                .resolve(&strange_key, WriteId::new(), &Precondition::None)
                .await
                .unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(
                error.to_string().contains("`p/00001`") && error.to_string().contains("format 9"),
                "{error}"
            );
            assert!(!format!("{error:?}").contains("secret"));
        }
        // The others are not touched by it.
        for n in [0, 2] {
            assert_eq!(
                store
                    .get(&key(n), Default::default())
                    .await
                    .unwrap()
                    .unwrap()
                    .value,
                value(n)
            );
        }
        store.close().await.unwrap();
        let database = Database::open(place.path()).unwrap();
        let entries = database.begin_read().unwrap().open_table(ENTRIES).unwrap();
        assert_eq!(entries.get(strange).unwrap().unwrap().value(), b"\x09secret");
    }

    #[tokio::test]
    async fn a_truncated_file_is_refused() {
        let place = Place::with_entries(300).await;
        let whole = fs::read(place.path()).unwrap();
        let mut rng = Rng::with_seed(3);
        let lengths = [
            1,
            9,
            10,
            320,
            4095,
            4096,
            4097,
            whole.len() - 4096,
            whole.len() - 1,
        ];
        for len in lengths
            .into_iter()
            .chain((0..20).map(|_| rng.usize(1..whole.len())))
        {
            fs::write(place.path(), &whole[..len]).unwrap();
            refused(&place.path(), ErrorKind::Corrupt, "").await;
        }
        fs::write(place.path(), &whole).unwrap();
        has(&place.open().await, 300).await;
    }

    #[tokio::test]
    async fn a_damaged_file_is_refused_or_whole() {
        let place = Place::with_entries(300).await;
        let whole = fs::read(place.path()).unwrap();
        let mut refusals = 0;
        for seed in 0..150 {
            let mut rng = Rng::with_seed(seed);
            let mut damaged = whole.clone();
            // Mostly in the header and the first pages, where there is something to damage.
            let end = [400, 4096 * 8, whole.len()][rng.usize(..3)];
            match rng.bool() {
                true => damaged[rng.usize(..end)] ^= 1 << rng.u8(..8),
                false => {
                    let start = rng.usize(..end);
                    let end = whole.len().min(start + 512);
                    rng.fill(&mut damaged[start..end]);
                }
            }
            fs::write(place.path(), &damaged).unwrap();
            match EmbeddedStore::open(place.path()).await {
                Ok(store) => {
                    has(&store, 300).await;
                    let page = store
                        .list_page("p", ListOptions::default().with_page_size(1000))
                        .await
                        .unwrap();
                    assert_eq!(page.items.len(), 300);
                    store.close().await.unwrap();
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{seed}: {error}");
                    assert!(
                        fs::read(place.path()).unwrap() == damaged,
                        "{seed}: the file was changed"
                    );
                    refusals += 1;
                }
            }
        }
        assert!(refusals > 20, "{refusals}");
    }

    #[tokio::test]
    async fn damage_that_was_not_looked_for_is_met_without_a_panic() {
        let place = Place::with_entries(300).await;
        let whole = fs::read(place.path()).unwrap();
        let mut refusals = 0;
        for seed in 0..60 {
            let mut rng = Rng::with_seed(seed);
            let mut damaged = whole.clone();
            for _ in 0..4 {
                let start = rng.usize(4096..whole.len() - 256);
                rng.fill(&mut damaged[start..start + 256]);
            }
            fs::write(place.path(), &damaged).unwrap();
            let options = EmbeddedOptions::default().with_verify(false).with_cache_bytes(0);
            let mut check = |error: Error| {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{seed}: {error}");
                refusals += 1;
            };
            let store = match EmbeddedStore::open_with(place.path(), options).await {
                Ok(store) => store,
                Err(error) => {
                    check(error);
                    continue;
                }
            };
            for n in (0..300).step_by(10) {
                match store.get(&key(n), Default::default()).await {
                    Ok(entry) => assert!(entry.is_none_or(|entry| entry.value == value(n))),
                    Err(error) => check(error),
                }
                if let Err(error) = store.put(&key(n), value(n), Default::default()).await {
                    check(error);
                }
            }
            let _ = store.close().await;
        }
        assert!(refusals > 20, "{refusals}");
    }

    #[tokio::test]
    async fn a_damaged_entry_is_found_without_verifying_the_file() {
        let place = Place::with_entries(50).await;
        let mut bytes = fs::read(place.path()).unwrap();
        let secret = value(7);
        let places: Vec<usize> = bytes
            .windows(secret.len())
            .enumerate()
            .filter(|(_, part)| *part == secret)
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at] ^= 1;
        }
        fs::write(place.path(), &bytes).unwrap();
        refused(&place.path(), ErrorKind::Corrupt, "restore it").await;
        let options = EmbeddedOptions::default().with_verify(false);
        let store = EmbeddedStore::open_with(place.path(), options).await.unwrap();
        let error = store.get(&key(7), Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(
            store
                .get(&key(8), Default::default())
                .await
                .unwrap()
                .unwrap()
                .value,
            value(8)
        );
    }
}

mod closing {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn close_finishes_what_is_under_way_and_releases_the_file() {
        for round in 0..20 {
            let place = Place::new();
            let store = place.open().await;
            let puts: Vec<_> = (0..50)
                .map(|n| {
                    let store = store.clone();
                    tokio::spawn(async move { store.put(&key(n), value(n), Default::default()).await })
                })
                .collect();
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            store.close().await.unwrap();
            let again = place.open().await;
            for (n, put) in puts.into_iter().enumerate() {
                let there = again.get(&key(n), Default::default()).await.unwrap();
                match put.await.unwrap() {
                    Ok(version) => assert_eq!(there.unwrap().version, version),
                    Err(error) => {
                        assert!(
                            matches!(
                                error,
                                Error::Unavailable {
                                    applied: Applied::No,
                                    ..
                                }
                            ),
                            "{error}"
                        );
                        assert!(there.is_none());
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_closed_store_refuses_each_call_and_closes_again() {
        let place = Place::new();
        let store = place.open().await;
        let clone = store.clone();
        let (first, second) = (store.clone(), store.clone());
        let both = (
            tokio::spawn(async move { first.close().await }),
            tokio::spawn(async move { second.close().await }),
        );
        both.0.await.unwrap().unwrap();
        both.1.await.unwrap().unwrap();
        clone.close().await.unwrap();
        let key = key(0);
        let errors = [
            clone.ready().await.unwrap_err(),
            clone.get(&key, Default::default()).await.unwrap_err(),
            clone
                .get_many(&[key.clone()], Default::default())
                .await
                .remove(0)
                .unwrap_err(),
            clone.put(&key, value(0), Default::default()).await.unwrap_err(),
            clone.delete(&key, Default::default()).await.unwrap_err(),
            clone
                .touch(&key, Ttl::None, Default::default())
                .await
                .unwrap_err(),
            clone
                .resolve(&key, WriteId::new(), &Precondition::None)
                .await
                .unwrap_err(),
            clone.list_page("p", Default::default()).await.unwrap_err(),
            clone.scan_page(Default::default()).await.unwrap_err(),
            clone
                .transact(vec![TransactOp::delete(key.clone())], Default::default())
                .await
                .unwrap_err(),
            clone.sweep().await.unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(
                    error,
                    Error::Unavailable {
                        applied: Applied::No,
                        ..
                    }
                ),
                "{error:?}"
            );
            assert!(error.to_string().contains("closed"), "{error}");
        }
    }

    #[tokio::test]
    async fn dropping_the_last_clone_releases_the_file() {
        let place = Place::new();
        let store = place.open().await;
        let clone = store.clone();
        fill(&store, 3).await;
        drop(store);
        has(&clone, 3).await;
        refused(&place.path(), ErrorKind::InUse, "").await;
        drop(clone);
        let deadline = Instant::now() + Duration::from_secs(10);
        let again = loop {
            match EmbeddedStore::open(place.path()).await {
                Ok(store) => break store,
                Err(error) => assert!(
                    error.kind() == ErrorKind::InUse && Instant::now() < deadline,
                    "{error}"
                ),
            }
        };
        has(&again, 3).await;
    }

    #[test]
    fn a_store_outlives_the_runtime_that_opened_it() {
        let place = Place::new();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = runtime().block_on(async {
            let store = place.open().await;
            // Dropped half way by the end of the runtime.
            for n in 100..120 {
                let store = store.clone();
                tokio::spawn(async move { store.put(&key(n), value(n), Default::default()).await });
            }
            fill(&store, 3).await;
            store
        });
        runtime().block_on(has(&store, 3));
        runtime().block_on(store.close()).unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn calls_dropped_half_way_poison_nothing() {
        let place = Place::new();
        let store = place.open().await;
        let mut rng = Rng::with_seed(5);
        for n in 0..300 {
            let store = store.clone();
            let polls = rng.usize(0..4);
            let call = async move {
                let _ = store.put(&key(n % 10), value(n), Default::default()).await;
                let _ = store.get(&key(n % 10), Default::default()).await;
                let _ = store.list_page("p", Default::default()).await;
                let _ = store.sweep().await;
            };
            let mut call = Box::pin(call);
            for _ in 0..polls {
                let polled = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(call.as_mut().poll(context).is_ready())
                });
                if polled.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        fill(&store, 20).await;
        has(&store, 20).await;
        store.close().await.unwrap();
        has(&place.open().await, 20).await;
    }
}

mod restarts {
    use super::*;

    #[tokio::test]
    async fn versions_never_repeat() {
        let place = Place::new();
        let mut seen = std::collections::HashSet::<Version>::new();
        let id = WriteId::new();
        for _ in 0..5 {
            let store = place.open().await;
            for n in 0..5 {
                assert!(seen.insert(store.put(&key(n), value(n), Default::default()).await.unwrap()));
                store.delete(&key(n), Default::default()).await.unwrap();
                // One write id, and each time a new write: the key was deleted in between.
                let options = PutOptions::from(Precondition::Absent).with_write_id(id);
                assert!(seen.insert(store.put(&key(n), value(n), options).await.unwrap()));
                store.delete(&key(n), Default::default()).await.unwrap();
            }
            store.close().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_retry_after_a_restart_is_answered_with_the_same_version() {
        let place = Place::new();
        let store = place.open().await;
        let first = store.create(&key(0), value(0)).await.unwrap();
        let (id, transaction) = (WriteId::new(), WriteId::new());
        let options = PutOptions::from(first.clone()).with_attempt(Attempt::first(id));
        let version = store.put(&key(0), value(1), options.clone()).await.unwrap();
        let ops = vec![
            TransactOp::put(key(1), value(1)).when(Precondition::Absent),
            TransactOp::put(key(2), value(2)),
        ];
        let in_transaction = statestore::TransactOptions::default().with_write_id(transaction);
        let versions = store.transact(ops.clone(), in_transaction.clone()).await.unwrap();
        store.close().await.unwrap();

        let store = place.open().await;
        let retry = options.with_attempt(Attempt::first(id).next());
        assert_eq!(
            store.put(&key(0), value(1), retry.clone()).await.unwrap(),
            version
        );
        let again = in_transaction.with_attempt(Attempt::first(transaction).next());
        assert_eq!(
            store.transact(ops.clone(), again.clone()).await.unwrap(),
            versions
        );
        // And once others have written over it, as long as it is remembered.
        store.put(&key(0), value(2), Default::default()).await.unwrap();
        store.close().await.unwrap();
        let store = place.open().await;
        let precondition = Precondition::Matches(first.clone());
        let became = store.resolve(&key(0), id, &precondition).await.unwrap();
        assert_eq!(became, Resolution::Applied(version.clone()));
        for n in 0..3 {
            store.put(&key(0), value(n), Default::default()).await.unwrap();
            assert_eq!(
                store.put(&key(0), value(1), retry.clone()).await.unwrap(),
                version
            );
        }
        store.put(&key(0), value(9), Default::default()).await.unwrap();
        let error = store.put(&key(0), value(1), retry).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        assert_eq!(store.transact(ops, again).await.unwrap(), versions);
    }

    #[tokio::test]
    async fn the_largest_entries_survive() {
        let place = Place::new();
        let store = place.open().await;
        let key = Key::new("p".repeat(2048), "i".repeat(2048)).unwrap();
        let value: Bytes = vec![0xa5; 16 << 20].into();
        let version = store
            .put(&key, value.clone(), Precondition::Absent.into())
            .await
            .unwrap();
        store.close().await.unwrap();
        let store = place.open().await;
        let entry = store.get(&key, Default::default()).await.unwrap().unwrap();
        assert!(entry.value == value && entry.version == version);
        // A page of large values ends early, and skips nothing.
        let partition = "large";
        for n in 0..6 {
            let key = Key::new(partition, n.to_string()).unwrap();
            store.put(&key, value.clone(), Default::default()).await.unwrap();
        }
        let (mut options, mut ids, mut pages) = (ListOptions::default(), Vec::new(), 0);
        loop {
            let page = store.list_page(partition, options.clone()).await.unwrap();
            assert!(page.items.len() <= 3);
            pages += 1;
            ids.extend(page.items.into_iter().map(|item| item.key.id().to_owned()));
            match page.next {
                Some(token) => options = options.with_page_token(token),
                None => break,
            }
        }
        assert_eq!((ids.concat().as_str(), pages), ("012345", 3));
        let page = store
            .list_page(
                partition,
                ListOptions::default().with_projection(Projection::Keys),
            )
            .await
            .unwrap();
        assert_eq!(page.items.len(), 6);
    }
}

mod expiry {
    use super::*;

    const ENTRIES: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("entries");
    const EXPIRING: TableDefinition<'_, (u64, &[u8], &[u8]), ()> = TableDefinition::new("expiring");

    async fn open(place: &Place, clock: &ManualClock) -> EmbeddedStore {
        let options = EmbeddedOptions::default().with_clock(clock.clone());
        EmbeddedStore::open_with(place.path(), options).await.unwrap()
    }

    fn advance(clock: &ManualClock) {
        clock.set(clock.now() + Duration::from_secs(10));
    }

    /// How many entries and expiries are in the closed file.
    fn rows(place: &Place) -> (u64, u64) {
        let database = Database::open(place.path()).unwrap();
        let transaction = database.begin_read().unwrap();
        let entries = transaction.open_table(ENTRIES).unwrap();
        let expiring = transaction.open_table(EXPIRING).unwrap();
        (entries.len().unwrap(), expiring.len().unwrap())
    }

    async fn fill_expiring(store: &EmbeddedStore, count: usize) {
        for start in (0..count).step_by(100) {
            let ttl = Ttl::After(Duration::from_secs(10));
            let ops = (start..start + 100).map(|n| TransactOp::put_expiring(key(n), value(n), ttl));
            store.transact(ops.collect(), Default::default()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn sweep_removes_all_that_has_expired_and_nothing_else() {
        let (place, clock) = (Place::new(), ManualClock::new());
        let store = open(&place, &clock).await;
        fill_expiring(&store, 2500).await;
        let stays = Key::new("q", "stays").unwrap();
        store.put(&stays, value(0), Default::default()).await.unwrap();
        assert_eq!(store.sweep().await.unwrap(), 0);
        advance(&clock);
        assert!(
            store
                .list_page("p", Default::default())
                .await
                .unwrap()
                .items
                .is_empty()
        );
        assert!(store.get(&key(0), Default::default()).await.unwrap().is_none());
        assert_eq!(store.sweep().await.unwrap(), 2500);
        assert_eq!(store.sweep().await.unwrap(), 0);
        assert_eq!(
            store.scan_page(ScanOptions::default()).await.unwrap().items.len(),
            1
        );
        store.close().await.unwrap();
        assert_eq!(rows(&place), (1, 0));
    }

    #[tokio::test]
    async fn writes_sweep_as_they_go() {
        let (place, clock) = (Place::new(), ManualClock::new());
        let store = open(&place, &clock).await;
        fill_expiring(&store, 100).await;
        advance(&clock);
        let live = Key::new("q", "live").unwrap();
        for n in 0..50 {
            store.put(&live, value(n), Default::default()).await.unwrap();
        }
        store.close().await.unwrap();
        assert_eq!(rows(&place), (1, 0));
    }

    #[tokio::test]
    async fn the_index_follows_each_change_of_an_expiry() {
        let (place, clock) = (Place::new(), ManualClock::new());
        let store = open(&place, &clock).await;
        let after = |seconds| Ttl::After(Duration::from_secs(seconds));
        for n in 0..6 {
            store
                .put(&key(n), value(n), PutOptions::expiring(after(10)))
                .await
                .unwrap();
        }
        store
            .put(&key(0), value(0), PutOptions::expiring(Ttl::Keep))
            .await
            .unwrap();
        store.put(&key(1), value(1), Default::default()).await.unwrap();
        store
            .put(&key(2), value(2), PutOptions::expiring(after(20)))
            .await
            .unwrap();
        store.touch(&key(3), after(20), Default::default()).await.unwrap();
        store.touch(&key(4), Ttl::None, Default::default()).await.unwrap();
        store.delete(&key(5), Default::default()).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(rows(&place), (5, 3));
        let store = open(&place, &clock).await;
        advance(&clock);
        assert_eq!(store.sweep().await.unwrap(), 1);
        advance(&clock);
        assert_eq!(store.sweep().await.unwrap(), 2);
        for n in [1, 4] {
            assert_eq!(
                store
                    .get(&key(n), Default::default())
                    .await
                    .unwrap()
                    .unwrap()
                    .value,
                value(n)
            );
        }
        store.close().await.unwrap();
        assert_eq!(rows(&place), (2, 0));
    }
}

mod listing {
    use super::*;

    #[tokio::test]
    async fn the_last_page_of_10_000_costs_no_more_than_the_first() {
        let place = Place::new();
        let store = place.open().await;
        fill(&store, 10_000).await;
        let cost = async |from: usize| {
            let mut best = Duration::MAX;
            for _ in 0..20 {
                let after = key(from);
                let options = ListOptions::default().with_start_after(after.id());
                let start = Instant::now();
                let page = store.list_page("p", options).await.unwrap();
                best = best.min(start.elapsed());
                assert_eq!(page.items.len(), 100);
            }
            best
        };
        let (first, last) = (cost(0).await, cost(9_800).await);
        assert!(last < first * 3, "{first:?} at the start, {last:?} at the end");
    }

    #[tokio::test]
    async fn a_scan_walks_the_table_in_key_order_and_its_tokens_survive_a_restart() {
        let place = Place::new();
        let mut store = place.open().await;
        let mut keys = Vec::new();
        for partition in ["a", "a/b", "ab", "b\0", "é", "e\u{301}"] {
            for id in ["1", "/", "10", "\u{7f}", "日"] {
                let key = Key::new(partition, id).unwrap();
                store.put(&key, value(0), Default::default()).await.unwrap();
                keys.push(key);
            }
        }
        keys.sort();
        let (mut options, mut found) = (ScanOptions::default().with_page_size(7), Vec::new());
        loop {
            let page = store.scan_page(options.clone()).await.unwrap();
            found.extend(page.items.into_iter().map(|item| item.key));
            let Some(token) = page.next else { break };
            options = options.with_page_token(token);
            store.close().await.unwrap();
            store = place.open().await;
        }
        assert_eq!(found, keys);
    }
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
