use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use statestore_api::{
    Clock as _, Entry, GetOptions, Key, ManualClock, Precondition, PutOptions, StateStore, StateStoreExt,
    Ttl, Version,
};

/// How much later than its expiry an entry may still be seen, for clocks that are a little apart.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(30);

type Reopen = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn StateStore>> + Send + Sync>;

/// A store under test, for one case.
///
/// All its keys are in partitions with a random prefix of 19 bytes, so that cases run side by side on one table, a
/// used one too. On a [durable](statestore_api::Capabilities::durable) store they are deleted when the case ends.
pub struct Subject {
    store: Arc<dyn StateStore>,
    prefix: String,
    tolerance: Duration,
    reopen: Option<Reopen>,
    clock: Option<ManualClock>,
    used: Mutex<HashSet<Key>>,
}

impl Subject {
    /// A store to be tested.
    #[must_use]
    pub fn new(store: impl StateStore + 'static) -> Self {
        Self {
            store: Arc::new(store),
            prefix: format!("ct-{:016x}", fastrand::u64(..)),
            tolerance: CLOCK_TOLERANCE,
            reopen: None,
            clock: None,
            used: Mutex::default(),
        }
    }

    /// The same with a way to open the store again after it was closed, as another process would. Needed by the
    /// cases of `restart`.
    #[must_use]
    pub fn with_reopen<F, R>(mut self, reopen: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Arc<dyn StateStore>> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || Box::pin(reopen())));
        self
    }

    /// The same where the store judges expiry by this clock. Needed by the cases of `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The same where an expired entry may still be seen for this long: for a service whose clock is further from
    /// this machine's than 30 ms.
    #[must_use]
    pub fn with_clock_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// The clock that the store judges expiry by.
    ///
    /// # Panics
    /// Without [`with_clock`](Self::with_clock).
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        self.clock
            .as_ref()
            .expect("the cases of `clock` need `Subject::with_clock`")
    }

    /// Closes the store and opens it again.
    ///
    /// # Panics
    /// Without [`with_reopen`](Self::with_reopen).
    pub async fn restart(&mut self) {
        let reopen = self
            .reopen
            .as_ref()
            .expect("the cases of `restart` need `Subject::with_reopen`");
        let closed = self.store.close().await;
        closed.unwrap_or_else(|error| panic!("closing failed: {error}"));
        self.store = reopen().await;
    }

    /// A partition of this case's own: 19 bytes and `name`.
    #[must_use]
    pub fn partition(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The key of `id` in the partition without a name.
    #[must_use]
    pub fn key(&self, id: &str) -> Key {
        self.key_in("", id)
    }

    /// The key of `id` in the partition with this name.
    ///
    /// # Panics
    /// When the id is empty.
    #[must_use]
    pub fn key_in(&self, partition: &str, id: &str) -> Key {
        let key = Key::new(self.partition(partition), id).expect("neither part is empty");
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone());
        key
    }

    /// A put that has to succeed.
    pub async fn put(&self, key: &Key, value: &str) -> Version {
        self.put_with(key, value, PutOptions::default()).await
    }

    /// A put under options that has to succeed.
    pub async fn put_with(&self, key: &Key, value: &str, options: impl Into<PutOptions>) -> Version {
        let put = self.store.put(key, value.to_owned().into(), options.into()).await;
        put.unwrap_or_else(|error| panic!("putting `{key}` failed: {error}"))
    }

    /// A read that has to succeed.
    pub async fn get(&self, key: &Key) -> Option<Entry> {
        let got = self.store.get(key, GetOptions::default()).await;
        got.unwrap_or_else(|error| panic!("reading `{key}` failed: {error}"))
    }

    /// A read that has to find an entry.
    pub async fn entry(&self, key: &Key) -> Entry {
        self.get(key)
            .await
            .unwrap_or_else(|| panic!("`{key}` is not there"))
    }

    /// A read that has to find this value.
    pub async fn assert_value(&self, key: &Key, value: &str) -> Entry {
        let entry = self.entry(key).await;
        assert_eq!(entry.value, value, "the value of `{key}`");
        entry
    }

    /// A read that has to find nothing.
    pub async fn assert_absent(&self, key: &Key) {
        assert_eq!(self.get(key).await, None, "`{key}` should not be there");
    }

    /// A delete without a condition that has to succeed.
    pub async fn delete(&self, key: &Key) {
        let deleted = self.store.delete(key, Default::default()).await;
        deleted.unwrap_or_else(|error| panic!("deleting `{key}` failed: {error}"));
    }

    /// Puts a value and waits until it has expired. Returns the version it had.
    pub async fn put_expired(&self, key: &Key, value: &str) -> Version {
        let version = self
            .put_with(
                key,
                value,
                PutOptions::expiring(Ttl::After(Duration::from_millis(150))),
            )
            .await;
        self.wait_until(self.now() + Duration::from_millis(150)).await;
        version
    }

    /// A key in each state that a precondition can meet: never written, deleted, and expired.
    pub async fn gone(&self) -> [(&'static str, Key); 3] {
        let [missing, deleted, expired] = ["missing", "deleted", "expired"].map(|id| (id, self.key(id)));
        self.put(&deleted.1, "old").await;
        self.delete(&deleted.1).await;
        self.put_expired(&expired.1, "old").await;
        [missing, deleted, expired]
    }

    /// The time by the clock that the store judges expiry by, as far as is known here.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock
            .as_ref()
            .map_or_else(SystemTime::now, |clock| clock.now())
    }

    /// Waits until `time` has passed by every clock.
    pub async fn wait_until(&self, time: SystemTime) {
        let time = time + self.tolerance;
        while let Ok(left) = time.duration_since(self.now()) {
            let left = left + Duration::from_millis(1);
            match &self.clock {
                Some(clock) => clock.set(clock.now() + left),
                None => tokio::time::sleep(left).await,
            }
        }
    }

    /// Deletes what the case wrote, from a store that would keep it.
    pub(crate) async fn clean_up(&self) {
        if !self.store.capabilities().durable {
            return;
        }
        let keys: Vec<_> = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.drain().map(|key| (key, Precondition::None.into())).collect()
        };
        for result in self.store.delete_many(keys).await {
            // A case about keys that are refused has used some that cannot be deleted either.
            if let Err(error) = result
                && !matches!(error.kind(), statestore_api::ErrorKind::InvalidKey)
            {
                panic!("cleaning up failed: {error}");
            }
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("store", &self.store)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
