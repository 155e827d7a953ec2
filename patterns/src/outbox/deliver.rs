use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::future::{Either, select};
use serde::Serialize;
use serde::de::DeserializeOwned;
use statestore_api::{
    BoxError, Current, Error, Item, Key, ListOptions, Precondition, Projection, Result, ScanOptions,
    StateStoreExt, TransactOp,
};

use super::records::{EVENTS, Waiting, lease, number};
use super::{Delivered, Event, Failed, OnFailure, Outbox, OutboxError};
use crate::{Lease, LeaseError, LeaseGuard};

impl<T, E> Outbox<T, E>
where
    E: Serialize + DeserializeOwned + Clone + Send + Sync,
{
    /// Hands the waiting events of `partition` to `handler`, one after the other in their order, and takes out each that it has handled.
    ///
    /// # Errors
    /// [`Handler`](OutboxError::Handler) when it failed, and the [hook](Self::on_error) did not give the event up: it is the next delivery's first.
    /// [`Lease`](OutboxError::Lease) when another is delivering, or has taken over from this one, whose handler was ended; else the store's. An event that does not
    /// decode is [`Codec`](Error::Codec), and holds up those behind it: delete it, or deliver it with a program that reads it.
    pub async fn deliver<F, R>(&self, partition: &str, handler: F) -> Result<Delivered, OutboxError>
    where
        F: Fn(Event<E>) -> R,
        R: Future<Output = Result<(), BoxError>>,
    {
        let store = Arc::clone(self.waiting.store());
        let guard = Lease::new(store, lease(partition)?, self.lease)
            .acquire(self.patience)
            .await?;
        let delivered = self.deliver_all(partition, &guard, handler).await;
        match guard.release().await {
            Err(error) if delivered.is_ok() => Err(error.into()),
            _ => delivered,
        }
    }

    /// The partitions in which events wait: for a delivery on a schedule. It walks all keys of the store.
    ///
    /// # Errors
    /// As for [`StateStore::scan_page`](statestore_api::StateStore::scan_page).
    pub async fn waiting(&self) -> Result<Vec<String>> {
        let options = ScanOptions::default().with_projection(Projection::Keys);
        let partitions: BTreeSet<String> = self
            .waiting
            .store()
            .scan(options)
            .try_filter_map(|item| async move {
                let waits = number(&item.key).is_some();
                Ok(waits.then(|| item.key.partition().to_owned()))
            })
            .try_collect()
            .await?;
        Ok(partitions.into_iter().collect())
    }

    async fn deliver_all<F, R>(
        &self,
        partition: &str,
        guard: &LeaseGuard,
        handler: F,
    ) -> Result<Delivered, OutboxError>
    where
        F: Fn(Event<E>) -> R,
        R: Future<Output = Result<(), BoxError>>,
    {
        let mut delivered = Delivered::default();
        loop {
            // Again from the first, until none has come behind the last.
            let before = delivered;
            let options = ListOptions::default().with_prefix(EVENTS);
            let mut items = self.waiting.store().list(partition, options);
            while let Some(item) = items.try_next().await? {
                self.deliver_one(item, guard, &handler, &mut delivered).await?;
            }
            if delivered == before {
                return Ok(delivered);
            }
        }
    }

    async fn deliver_one<F, R>(
        &self,
        item: Item,
        guard: &LeaseGuard,
        handler: &F,
        delivered: &mut Delivered,
    ) -> Result<(), OutboxError>
    where
        F: Fn(Event<E>) -> R,
        R: Future<Output = Result<(), BoxError>>,
    {
        let (Some(number), Some(entry)) = (number(&item.key), item.entry) else {
            return Ok(());
        };
        let key = item.key;
        let waiting = self.waiting.decode(&key, &entry.value)?;
        let event = Event {
            id: format!("{}/{number}", key.partition()),
            partition: key.partition().to_owned(),
            number,
            attempts: waiting.attempts.saturating_add(1),
            event: waiting.event.clone(),
        };
        let handled = match select(pin!(handler(event.clone())), pin!(guard.lost())).await {
            Either::Left((handled, _)) => handled,
            Either::Right(_) => {
                let token = guard.token();
                return Err(LeaseError::Lost { token }.into());
            }
        };
        let unchanged = Precondition::Matches(entry.version);
        let Err(error) = handled else {
            take_out(&key, unchanged, guard).await?;
            delivered.handled += 1;
            return Ok(());
        };
        let error: Arc<dyn std::error::Error + Send + Sync> = Arc::from(error);
        let (id, attempts) = (event.id.clone(), event.attempts);
        let decided = match &self.hook {
            Some(hook) => {
                let error = Arc::clone(&error);
                hook(Failed { event, error }).await
            }
            None => OnFailure::Retry,
        };
        if decided == OnFailure::GiveUp {
            take_out(&key, unchanged, guard).await?;
            delivered.given_up += 1;
            return Ok(());
        }
        let waiting = Waiting { attempts, ..waiting };
        let value = self.waiting.encode(&key, &waiting)?;
        guard
            .transact(vec![TransactOp::put(key, value).when(unchanged)])
            .await?;
        Err(OutboxError::Handler {
            id,
            attempts,
            source: error,
        })
    }
}

/// Takes out an event, unless the lease was lost. It may be that somebody has done so by hand.
async fn take_out(key: &Key, unchanged: Precondition, guard: &LeaseGuard) -> Result<(), LeaseError> {
    let taken = guard
        .transact(vec![TransactOp::delete(key.clone()).when(unchanged)])
        .await;
    match taken {
        Err(LeaseError::Store(Error::Conflict(conflict)))
            if conflict.key == *key && conflict.current == Current::Absent =>
        {
            Ok(())
        }
        taken => taken.map(drop),
    }
}
