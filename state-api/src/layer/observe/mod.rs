mod answer;
mod call;
mod failure;
#[cfg(feature = "opentelemetry")]
mod metrics;
mod watch;

pub use failure::Failure;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use self::call::{About, Call};
use crate::error::Result;
use crate::{
    Capabilities, DeleteOptions, Entry, GetOptions, Key, ListOptions, Page, Precondition, PutOptions,
    Resolution, ScanOptions, StateStore, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

/// Tells of each call: a `tracing` span, OpenTelemetry metrics, a function for errors.
///
/// Names and attributes are those of OpenTelemetry's
/// [semantic conventions for databases](https://opentelemetry.io/docs/specs/semconv/db/), and where these have none, begin with
/// `statestore.`. The page `docs/observability.md` of the repository lists them all.
///
/// ```
/// use statestore_api::layer::{Observe, Retry, RetryPolicy};
/// use statestore_api::{MemoryStore, StateStoreExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let store = Retry::new(MemoryStore::new(), RetryPolicy::default());
/// let store = Observe::new(store).with_collection("app-state").on_error(|failure| {
///     eprintln!("{failure}"); // "put failed: Unavailable (attempts: 3)": no key, no value
/// });
/// store.create(&"user-42/cart".parse()?, "one apple").await?;
/// # Ok(()) }
/// ```
///
/// # Spans
/// Each call is a span at `INFO` under the target `statestore::observe`, of kind client, with the operation, the
/// store's names, the error's kind, the attempts, and the sizes of what was read and written. What is logged meanwhile is in it, the
/// retries among that. A [`Conflict`](crate::Error::Conflict) is told as `error.type`, but leaves the span's status unset, since it is an
/// answer and no failure of the store. A call that is dropped before its answer is told as `Cancelled`.
///
/// # Metrics
/// With the feature `opentelemetry` and `with_meter`: the durations, as `db.client.operation.duration` in seconds, from which the
/// numbers of conflicts and other errors follow by `error.type`; retries; bytes read and written; calls under way.
///
/// # What is never told
/// Values. Keys, partitions and the texts of errors, which may name a key, are told if [asked for](Self::with_keys).
///
/// # Order
/// Outermost, as in `Observe(Retry(store))`: a span is then a call as its caller sees it, with all its attempts.
/// Inside of a [`Retry`](super::Retry) each attempt is a span, and 1 attempt; both may be had.
///
/// # Cost
/// Where nobody listens (no subscriber that wants the spans, no meter, no function for errors), a call costs a look at that, and no
/// allocation.
pub struct Observe<S> {
    store: S,
    settings: Arc<Settings>,
}

/// What is told, and to whom.
#[derive(Clone)]
struct Settings {
    system: Arc<str>,
    namespace: Option<Arc<str>>,
    collection: Option<Arc<str>>,
    spans: bool,
    keys: bool,
    on_error: Option<OnError>,
    #[cfg(feature = "opentelemetry")]
    metrics: Option<metrics::Metrics>,
}

type OnError = Arc<dyn Fn(&Failure<'_>) + Send + Sync>;

impl<S: StateStore> Observe<S> {
    /// `store`, with a span for each call.
    #[must_use]
    pub fn new(store: S) -> Self {
        let settings = Settings {
            system: store.capabilities().backend.into(),
            namespace: None,
            collection: None,
            spans: true,
            keys: false,
            on_error: None,
            #[cfg(feature = "opentelemetry")]
            metrics: None,
        };
        Self {
            store,
            settings: Arc::new(settings),
        }
    }

    /// The store inside.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// The same with this `db.system.name`, such as `aws.dynamodb`. Without it: [`Capabilities::backend`].
    #[must_use]
    pub fn with_system(self, system: impl Into<Arc<str>>) -> Self {
        self.with(|settings| settings.system = system.into())
    }

    /// The same with this `db.namespace`: the database, the account.
    #[must_use]
    pub fn with_namespace(self, namespace: impl Into<Arc<str>>) -> Self {
        self.with(|settings| settings.namespace = Some(namespace.into()))
    }

    /// The same with this `db.collection.name`: the table, the collection.
    #[must_use]
    pub fn with_collection(self, collection: impl Into<Arc<str>>) -> Self {
        self.with(|settings| settings.collection = Some(collection.into()))
    }

    /// The same without spans: around a store that has them already.
    #[must_use]
    pub fn without_spans(self) -> Self {
        self.with(|settings| settings.spans = false)
    }

    /// The same, telling keys and partitions too, and the texts of errors, which may name them: in spans and to the function for errors,
    /// never in metrics.
    ///
    /// **Keys are often about people**: who sees the traces then sees whose state is read and when, for as long as traces are kept, and
    /// a request to be forgotten reaches as far as they do. Ask for it where keys are nobody's, or in a test.
    #[must_use]
    pub fn with_keys(self) -> Self {
        self.with(|settings| settings.keys = true)
    }

    /// The same, calling `hook` with each call that failed, [conflicts](crate::Error::Conflict) included, before its caller is answered.
    ///
    /// It is called in the call's span and holds up the call: it should count, log or send on, and not wait. A call that is dropped before its answer has no error.
    #[must_use]
    pub fn on_error(self, hook: impl Fn(&Failure<'_>) + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.on_error = Some(Arc::new(hook)))
    }

    /// The same with instruments of this meter, such as `opentelemetry::global::meter("statestore")`, which has to be taken after the
    /// program has set its meter provider.
    #[cfg(feature = "opentelemetry")]
    #[must_use]
    pub fn with_meter(self, meter: &opentelemetry::metrics::Meter) -> Self {
        self.with(|settings| settings.metrics = Some(metrics::Metrics::new(meter)))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S: Clone> Clone for Observe<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            settings: self.settings.clone(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Observe<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        f.debug_struct("Observe")
            .field("store", &self.store)
            .field("system", &settings.system)
            .field("namespace", &settings.namespace)
            .field("collection", &settings.collection)
            .field("spans", &settings.spans)
            .field("keys", &settings.keys)
            .finish_non_exhaustive()
    }
}

/// Written out as `async_trait` would do it, so that the future of the store inside is handed on as it is where nobody listens.
#[deny(clippy::missing_trait_methods)]
impl<S: StateStore> StateStore for Observe<S> {
    fn capabilities(&self) -> &Capabilities {
        self.store.capabilities()
    }

    fn ready<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, Result<()>> {
        let call = Call::new("ready", About::Store);
        self.settings.watch(call, self.store.ready())
    }

    fn get<'s: 'f, 'k: 'f, 'f>(
        &'s self,
        key: &'k Key,
        options: GetOptions,
    ) -> BoxFuture<'f, Result<Option<Entry>>> {
        let call = Call::new("get", About::Key(key));
        self.settings.watch(call, self.store.get(key, options))
    }

    fn get_many<'s: 'f, 'k: 'f, 'f>(
        &'s self,
        keys: &'k [Key],
        options: GetOptions,
    ) -> BoxFuture<'f, Vec<Result<Option<Entry>>>> {
        let call = Call::get_many(keys);
        self.settings.watch(call, self.store.get_many(keys, options))
    }

    fn put<'s: 'f, 'k: 'f, 'f>(
        &'s self,
        key: &'k Key,
        value: Bytes,
        options: PutOptions,
    ) -> BoxFuture<'f, Result<Version>> {
        let call = Call::put(key, value.len());
        self.settings.watch(call, self.store.put(key, value, options))
    }

    fn delete<'s: 'f, 'k: 'f, 'f>(
        &'s self,
        key: &'k Key,
        options: DeleteOptions,
    ) -> BoxFuture<'f, Result<()>> {
        let call = Call::new("delete", About::Key(key));
        self.settings.watch(call, self.store.delete(key, options))
    }

    fn touch<'s: 'f, 'k: 'f, 'f>(
        &'s self,
        key: &'k Key,
        ttl: Ttl,
        options: TouchOptions,
    ) -> BoxFuture<'f, Result<Version>> {
        let call = Call::new("touch", About::Key(key));
        self.settings.watch(call, self.store.touch(key, ttl, options))
    }

    fn resolve<'s: 'f, 'k: 'f, 'p: 'f, 'f>(
        &'s self,
        key: &'k Key,
        id: WriteId,
        precondition: &'p Precondition,
    ) -> BoxFuture<'f, Result<Resolution>> {
        let call = Call::new("resolve", About::Key(key));
        self.settings
            .watch(call, self.store.resolve(key, id, precondition))
    }

    fn list_page<'s: 'f, 'p: 'f, 'f>(
        &'s self,
        partition: &'p str,
        options: ListOptions,
    ) -> BoxFuture<'f, Result<Page>> {
        let call = Call::new("list_page", About::Partition(partition));
        self.settings
            .watch(call, self.store.list_page(partition, options))
    }

    fn scan_page<'s: 'f, 'f>(&'s self, options: ScanOptions) -> BoxFuture<'f, Result<Page>> {
        let call = Call::new("scan_page", About::Store);
        self.settings.watch(call, self.store.scan_page(options))
    }

    fn transact<'s: 'f, 'f>(
        &'s self,
        ops: Vec<TransactOp>,
        options: TransactOptions,
    ) -> BoxFuture<'f, Result<Vec<Option<Version>>>> {
        let call = Call::transact(&ops, self.settings.keys);
        self.settings.watch(call, self.store.transact(ops, options))
    }

    fn sweep<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, Result<u64>> {
        let call = Call::new("sweep", About::Store);
        self.settings.watch(call, self.store.sweep())
    }

    fn close<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, Result<()>> {
        let call = Call::new("close", About::Store);
        self.settings.watch(call, self.store.close())
    }
}
