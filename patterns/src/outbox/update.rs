use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statestore_api::{BoxError, Entry, Error, ErrorKind, Key, Precondition, Result, TransactOp, Ttl};
use tokio::time::Instant;

use super::records::{Waiting, event, mark, next};
use super::{Outbox, OutboxError};
use crate::Typed;

/// What is there before an update.
struct Before {
    entries: HashMap<Key, Entry>,
}

impl Before {
    fn of(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// That it is as it was read.
    fn unchanged(&self, key: &Key) -> Precondition {
        Precondition::from(self.of(key))
    }
}

impl<T, E> Outbox<T, E>
where
    T: Serialize + DeserializeOwned + Send,
    E: Serialize + DeserializeOwned + Send,
{
    /// Reads the state of `key`, lets `change` change it and name the events that this causes, and writes all of it if nobody else wrote in between;
    /// else begins again, as [`Typed::update`] does. Returns what `change` returned the last time.
    ///
    /// # Errors
    /// As for [`Typed::update`], and for [`StateStore::transact`](statestore_api::StateStore::transact):
    /// [`TooManyOps`](Error::TooManyOps) for more events than fit in a transaction (97 fit everywhere).
    pub async fn update<R, F>(&self, key: &Key, mut change: F) -> Result<R, OutboxError>
    where
        F: FnMut(&mut Option<T>, &mut Vec<E>) -> Result<R, BoxError> + Send,
        R: Send,
    {
        let next = next(key.partition())?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let before = self.read(&[key, &next]).await?;
            let (returned, ops) = self.decide(key, &next, &before, &mut change)?;
            let began = Instant::now();
            let error = match self.write(ops).await {
                Ok(()) => return Ok(returned),
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Conflict {
                return Err(error.into());
            }
            self.pause(key, attempts, began.elapsed(), error).await?;
        }
    }

    /// The same for an event that comes in, and may do so again: one with this `id` is applied once in this partition, and what `change` returned then is
    /// returned each time. An id of any length.
    ///
    /// Unlike with [`update`](Self::update), no outcome stays unknown: the mark tells whether it was applied.
    ///
    /// # Errors
    /// As for [`update`](Self::update); [`Codec`](Error::Codec) when what was returned does not decode.
    pub async fn update_once<R, F>(&self, key: &Key, id: &str, mut change: F) -> Result<R, OutboxError>
    where
        F: FnMut(&mut Option<T>, &mut Vec<E>) -> Result<R, BoxError> + Send,
        R: Serialize + DeserializeOwned + Send,
    {
        let marks = Typed::<R>::new(std::sync::Arc::clone(self.states.store()));
        let (next, mark) = (next(key.partition())?, mark(key.partition(), id)?);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let before = self.read(&[key, &next, &mark]).await?;
            if let Some(done) = before.of(&mark) {
                return Ok(marks.decode(&mark, &done.value)?);
            }
            let (returned, mut ops) = self.decide(key, &next, &before, &mut change)?;
            let value = marks.encode(&mark, &returned)?;
            // What could not be told is, by the mark: no attempt is applied beside another.
            ops.push(
                TransactOp::put_expiring(mark.clone(), value, Ttl::After(self.retention))
                    .when(Precondition::Absent),
            );
            let began = Instant::now();
            let error = match self.write(ops).await {
                Ok(()) => return Ok(returned),
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Conflict && !error.is_retryable() && !error.may_have_applied() {
                return Err(error.into());
            }
            self.pause(key, attempts, began.elapsed(), error).await?;
        }
    }

    async fn read(&self, keys: &[&Key]) -> Result<Before> {
        let keys: Vec<Key> = keys.iter().map(|key| (*key).clone()).collect();
        let read = self.states.store().get_many(&keys, Default::default()).await;
        let mut entries = HashMap::new();
        for (key, entry) in keys.into_iter().zip(read) {
            if let Some(entry) = entry? {
                entries.insert(key, entry);
            }
        }
        Ok(Before { entries })
    }

    /// What `change` makes of what is there, as a transaction. It is empty when nothing changes.
    fn decide<R>(
        &self,
        key: &Key,
        next: &Key,
        before: &Before,
        change: &mut impl FnMut(&mut Option<T>, &mut Vec<E>) -> Result<R, BoxError>,
    ) -> Result<(R, Vec<TransactOp>)> {
        let read = before.of(key);
        let mut state = read
            .map(|entry| self.states.decode(key, &entry.value))
            .transpose()?;
        let mut events = Vec::new();
        let returned = change(&mut state, &mut events).map_err(|source| match source.downcast() {
            Ok(own) => *own,
            Err(source) => Error::Aborted { source },
        })?;
        let value = state.map(|state| self.states.encode(key, &state)).transpose()?;
        let mut ops = Vec::with_capacity(events.len() + 3);
        let unchanged = value.as_ref() == read.map(|entry| &entry.value);
        if !unchanged || !events.is_empty() {
            ops.push(state_op(key, value, unchanged).when(before.unchanged(key)));
        }
        if !events.is_empty() {
            let numbers = Typed::<u64>::new(std::sync::Arc::clone(self.states.store()));
            let first = before.of(next).map(|entry| numbers.decode(next, &entry.value));
            let mut number = first.transpose()?.unwrap_or(0);
            for caused in events {
                let key = event(key.partition(), number)?;
                let waiting = Waiting {
                    event: caused,
                    attempts: 0,
                };
                let value = self.waiting.encode(&key, &waiting)?;
                ops.push(TransactOp::put(key, value).when(Precondition::Absent));
                number += 1;
            }
            let value = numbers.encode(next, &number)?;
            ops.push(TransactOp::put(next.clone(), value).when(before.unchanged(next)));
        }
        Ok((returned, ops))
    }

    async fn write(&self, ops: Vec<TransactOp>) -> Result<()> {
        if ops.is_empty() {
            return Ok(());
        }
        self.states
            .store()
            .transact(ops, Default::default())
            .await
            .map(drop)
    }

    /// Waits before the next attempt, or says that there is none.
    async fn pause(&self, key: &Key, attempts: u32, took: Duration, error: Error) -> Result<()> {
        match error {
            Error::Conflict(_) if attempts < self.options.max_attempts => {
                self.options.pause(attempts, took).await;
                Ok(())
            }
            _ if attempts < self.options.max_attempts => {
                tokio::time::sleep(self.options.delay(attempts)).await;
                Ok(())
            }
            conflict @ Error::Conflict(_) => Err(Error::Contended {
                key: key.clone(),
                attempts,
                source: Some(conflict.into()),
            }),
            error => Err(error),
        }
    }
}

/// The state's part of a transaction: a check, where only events are written.
fn state_op(key: &Key, value: Option<Bytes>, unchanged: bool) -> TransactOp {
    match value {
        _ if unchanged => TransactOp::check(key.clone(), Precondition::None),
        Some(value) => TransactOp::put_expiring(key.clone(), value, Ttl::Keep),
        None => TransactOp::delete(key.clone()),
    }
}
