mod deliver;
mod error;
mod event;
mod records;
mod update;

pub use error::OutboxError;
pub use event::{Delivered, Event, Failed, OnFailure};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use statestore_api::{StateStore, UpdateOptions};

use crate::Typed;
use records::Waiting;

/// A state and the events that its changes cause, each change in one step with its events: an order and what has to be done about it.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use statestore_api::{BoxError, MemoryStore};
/// use statestore_patterns::{Outbox, OutboxError};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Order {
///     item: String,
/// }
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// enum OrderEvent {
///     Placed { item: String },
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), OutboxError> {
/// let orders = Outbox::<Order, OrderEvent>::new(MemoryStore::new());
/// let key = "user-42/order-7".parse()?;
///
/// for _delivery in 0..2 {
///     // The queue delivers `event-1` twice. It is applied once.
///     orders
///         .update_once(&key, "event-1", |order, events| {
///             *order = Some(Order { item: "lamp".to_owned() });
///             events.push(OrderEvent::Placed { item: "lamp".to_owned() });
///             Ok(())
///         })
///         .await?;
/// }
///
/// let delivered = orders
///     .deliver("user-42", async |event| {
///         println!("{}: {:?}", event.id, event.event); // call the warehouse …
///         Ok::<_, BoxError>(())
///     })
///     .await?;
/// assert_eq!(delivered.handled, 1);
/// # Ok(()) }
/// ```
///
/// # What it promises
/// - The state, its events and the mark of the event that came in are written in one transaction: all, or nothing.
/// - **An event that comes in** with an id, by [`update_once`](Self::update_once), is applied exactly once, however often it is delivered, whatever
///   process dies and whatever reply is lost, for as long as its mark is kept.
/// - **An event that goes out** is handed to the handler at least once, and those of a partition in the order of their changes, by one deliverer at a time
///   (a [`Lease`](crate::Lease) sees to that). Who gets it may get it twice, and can tell by its id:
///   [`Idempotency`](crate::Idempotency) does.
/// - **When a handler fails**, a [hook](Self::on_error) decides: the event stays first and is tried again by the next delivery, or it is given up. The hook is where to notify
///   somebody, or to compensate: to undo what was done, by another update.
///
/// Nothing runs by itself. Call [`deliver`](Self::deliver) after an update, in the same function, and, for those that died in between, on a
/// schedule, for each of the [partitions with waiting events](Self::waiting).
///
/// In each partition it keeps its own entries under ids that begin with `~outbox/`. All changes with events of a partition count the same number up, and so wait for each other:
/// make the partition what belongs together, an order or a customer.
pub struct Outbox<T, E> {
    states: Typed<T>,
    waiting: Typed<Waiting<E>>,
    options: UpdateOptions,
    retention: Duration,
    lease: Duration,
    patience: Duration,
    hook: Option<Arc<Hook<E>>>,
}

type Hook<E> = dyn Fn(Failed<E>) -> BoxFuture<'static, OnFailure> + Send + Sync;

impl<T, E> Outbox<T, E> {
    /// States and events in this store, as JSON.
    pub fn new(store: impl StateStore + 'static) -> Self {
        let store: Arc<dyn StateStore> = Arc::new(store);
        Self {
            states: Typed::new(Arc::clone(&store)),
            waiting: Typed::new(store),
            options: UpdateOptions::default(),
            retention: Duration::from_secs(7 * 24 * 3600),
            lease: Duration::from_secs(4),
            patience: Duration::from_secs(5),
            hook: None,
        }
    }

    /// The same where an event that came in is known again for this long, a week by default: longer than it may be repeated. At least 10 ms.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = retention.max(Duration::from_millis(10));
        self
    }

    /// The same where an update goes on for this long.
    #[must_use]
    pub fn with_update_options(mut self, options: UpdateOptions) -> Self {
        self.options = options;
        self
    }

    /// The same where a deliverer that died is replaced after `length` (by default 4 s; one that lives renews its lease), and a delivery waits up to
    /// `patience` for another (5 s). Only a delivery whose patience is longer than `length` can replace one that died, since it has to watch for as long: let
    /// at least those on a schedule have it.
    #[must_use]
    pub fn with_lease(mut self, length: Duration, patience: Duration) -> Self {
        (self.lease, self.patience) = (length, patience);
        self
    }

    /// The same where this is asked what is to be done when a handler fails. Without it the event is tried again by the next delivery, for ever.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use statestore_api::{BoxError, MemoryStore};
    /// # use statestore_patterns::{OnFailure, Outbox, OutboxError};
    /// # #[derive(Clone, Debug, Serialize, Deserialize)] enum OrderEvent { Placed, Refused }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), OutboxError> {
    /// # let store = MemoryStore::new();
    /// # let key: statestore_api::Key = "user-42/order-7".parse()?;
    /// # let order = key.clone();
    /// let orders = Outbox::<String, OrderEvent>::new(store);
    /// let compensating = orders.clone();
    /// let orders = orders.on_error(move |failed| {
    ///     let (orders, order) = (compensating.clone(), order.clone());
    ///     async move {
    ///         if failed.event.attempts < 3 {
    ///             return OnFailure::Retry;
    ///         }
    ///         // It will not work: undo the order, and tell the customer.
    ///         let id = format!("refuse {}", failed.event.id);
    ///         let undone = orders.update_once(&order, &id, |order, events| {
    ///             *order = None;
    ///             events.push(OrderEvent::Refused);
    ///             Ok(())
    ///         });
    ///         if undone.await.is_ok() { OnFailure::GiveUp } else { OnFailure::Retry }
    ///     }
    /// });
    /// # orders.update_once(&key, "event-1", |order, events| {
    /// #     *order = Some("lamp".to_owned());
    /// #     events.push(OrderEvent::Placed);
    /// #     Ok(())
    /// # }).await?;
    /// # let told = std::sync::atomic::AtomicU32::new(0);
    /// # let deliver = || orders.deliver("user-42", async |event| match event.event {
    /// #     OrderEvent::Placed => Err(BoxError::from("sold out")),
    /// #     OrderEvent::Refused => { told.fetch_add(1, std::sync::atomic::Ordering::SeqCst); Ok(()) }
    /// # });
    /// # assert!(deliver().await.is_err());
    /// # assert!(deliver().await.is_err());
    /// # let delivered = deliver().await?;
    /// # assert_eq!((delivered.handled, delivered.given_up), (1, 1));
    /// # assert_eq!(told.into_inner(), 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn on_error<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Failed<E>) -> R + Send + Sync + 'static,
        R: Future<Output = OnFailure> + Send + 'static,
    {
        self.hook = Some(Arc::new(move |failed| Box::pin(hook(failed))));
        self
    }

    /// The states, to be read, and written where no event is caused.
    #[must_use]
    pub fn states(&self) -> &Typed<T> {
        &self.states
    }
}

impl<T, E> Clone for Outbox<T, E> {
    fn clone(&self) -> Self {
        Self {
            states: self.states.clone(),
            waiting: self.waiting.clone(),
            options: self.options,
            retention: self.retention,
            lease: self.lease,
            patience: self.patience,
            hook: self.hook.clone(),
        }
    }
}

impl<T, E> fmt::Debug for Outbox<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("store", self.states.store())
            .field("hook", &self.hook.is_some())
            .finish_non_exhaustive()
    }
}
