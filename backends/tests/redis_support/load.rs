//! Writers that go on through whatever happens to the servers, and remember what they were promised.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statestore::{
    Attempt, ErrorKind, GetOptions, Key, Precondition, PutOptions, RedisStore, StateStore, Version, WriteId,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the writers may be without any success before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writers, each the only one on a key of its own, which it replaces under its version again and again.
pub(crate) struct Load {
    tasks: JoinSet<Written>,
    stop: watch::Sender<bool>,
    successes: Arc<AtomicU64>,
    /// Errors that were met, by kind.
    pub(crate) errors: Arc<Mutex<Vec<ErrorKind>>>,
}

/// What one writer was promised.
pub(crate) struct Written {
    pub(crate) key: Key,
    /// The version and number of the last write that was acknowledged.
    pub(crate) last: (Version, u64),
    /// All versions that were acknowledged, in order.
    pub(crate) versions: Vec<Version>,
    /// How often what was acknowledged was not there any more.
    pub(crate) lost: u64,
}

impl Load {
    /// Starts one writer for each key.
    pub(crate) fn start(store: &RedisStore, keys: impl IntoIterator<Item = Key>) -> Self {
        let (stop, _) = watch::channel(false);
        let successes = Arc::<AtomicU64>::default();
        let errors = Arc::<Mutex<Vec<ErrorKind>>>::default();
        let mut tasks = JoinSet::new();
        for key in keys {
            let writer = Writer {
                store: store.clone(),
                key,
                successes: successes.clone(),
                errors: errors.clone(),
            };
            tasks.spawn(writer.run(stop.subscribe()));
        }
        Self {
            tasks,
            stop,
            successes,
            errors,
        }
    }

    /// Waits for this many more writes than there were when this was called.
    pub(crate) async fn wait_for(&self, more: u64) {
        let goal = self.successes.load(Ordering::Acquire) + more;
        let reached = async {
            while self.successes.load(Ordering::Acquire) < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            let errors = self.errors.lock().unwrap();
            panic!(
                "the writers do not get on; the last errors: {:?}",
                &errors[errors.len().saturating_sub(5)..]
            );
        }
    }

    /// Stops the writers when each has finished the write that it is at, and checks that no version was given out twice.
    pub(crate) async fn finish(self) -> Vec<Written> {
        self.stop.send_replace(true);
        let finished = tokio::time::timeout(PATIENCE, self.tasks.join_all()).await;
        let written = finished.expect("every writer finishes its write");
        let mut seen = HashSet::new();
        for version in written.iter().flat_map(|written| &written.versions) {
            assert!(seen.insert(version.clone()), "{version} was given out twice");
        }
        written
    }
}

struct Writer {
    store: RedisStore,
    key: Key,
    successes: Arc<AtomicU64>,
    errors: Arc<Mutex<Vec<ErrorKind>>>,
}

impl Writer {
    async fn run(self, stop: watch::Receiver<bool>) -> Written {
        let mut written: Option<Written> = None;
        let mut number = 0;
        while !*stop.borrow() || written.is_none() {
            let current = self.current().await;
            if let Some(written) = &mut written {
                // This is the only writer: anything else is a lost write, or one of its own that was not acknowledged.
                let there = current.as_ref().map(|(version, _)| version);
                if there != Some(&written.last.0)
                    && current.as_ref().is_none_or(|(_, at)| *at < written.last.1)
                {
                    written.lost += 1;
                }
            }
            number += 1;
            let expected = current.map(|(version, _)| version);
            let Some(version) = self.write(number, expected.as_ref()).await else {
                continue;
            };
            let before = written.take().map(|written| (written.versions, written.lost));
            let (mut versions, lost) = before.unwrap_or_default();
            versions.push(version.clone());
            written = Some(Written {
                key: self.key.clone(),
                last: (version, number),
                versions,
                lost,
            });
            self.successes.fetch_add(1, Ordering::AcqRel);
        }
        written.expect("it has written")
    }

    /// The version that is there, and the number in it.
    async fn current(&self) -> Option<(Version, u64)> {
        loop {
            match self.store.get(&self.key, GetOptions::default()).await {
                Ok(entry) => {
                    return entry.map(|entry| {
                        let number = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                        (entry.version, number)
                    });
                }
                Err(error) => self.met(&error).await,
            }
        }
    }

    /// Repeats one write until its outcome is known; `None` when it was not applied, or cannot be told.
    async fn write(&self, number: u64, expected: Option<&Version>) -> Option<Version> {
        let mut attempt = Attempt::first(WriteId::new());
        loop {
            let options = PutOptions::from(Precondition::from(expected)).with_attempt(attempt);
            let error = match self
                .store
                .put(&self.key, number.to_string().into(), options)
                .await
            {
                Ok(version) => return Some(version),
                Err(error) => error,
            };
            self.met(&error).await;
            match error.kind() {
                ErrorKind::Conflict => return None,
                // Too few replicas, or a lost answer: both are settled by asking again, unless others have come in between.
                ErrorKind::Indeterminate if !error.to_string().contains("replicas") => return None,
                _ => {}
            }
            if error.may_have_applied() {
                attempt = attempt.next();
            }
        }
    }

    async fn met(&self, error: &statestore::Error) {
        self.errors.lock().unwrap().push(error.kind());
        let expected =
            error.is_retryable() || error.may_have_applied() || error.kind() == ErrorKind::Conflict;
        assert!(expected, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
