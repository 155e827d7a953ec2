use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use statestore_api::{
    BoxError, Change, DeleteOptions, Entry, Error, Key, Precondition, PutOptions, Result, StateStore,
    StateStoreExt, Ttl, UpdateOptions, Version,
};

use crate::codec::{Codec, Json};

/// Values of a Rust type in any store.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use statestore_api::MemoryStore;
/// use statestore_patterns::Typed;
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Cart {
///     items: Vec<String>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let carts = Typed::<Cart>::new(MemoryStore::new());
/// let key = "user-42/cart".parse()?;
///
/// // However many do this at once, no item is lost.
/// carts
///     .update(&key, |cart| {
///         cart.get_or_insert_default().items.push("lamp".to_owned());
///         Ok(())
///     })
///     .await?;
/// assert_eq!(carts.get(&key).await?.expect("it was just put").value.items, ["lamp"]);
/// # Ok(()) }
/// ```
///
/// A stored value that does not decode is [`Error::Codec`], and left as it is: no `update` overwrites it.
///
/// # Schemas
/// When the type changes in a way that yesterday's values do not fit, count the schema up and say how an old value
/// becomes a new one. Values are upgraded as they are read, and written back by the next `update`:
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use statestore_api::MemoryStore;
/// # use statestore_patterns::Typed;
/// #[derive(Serialize, Deserialize)]
/// struct Cart {
///     items: Vec<(String, u32)>, // with how many
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct CartOfSchema1 {
///     items: Vec<String>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// # let store = MemoryStore::new();
/// # let key = "user-42/cart".parse()?;
/// # Typed::<CartOfSchema1>::new(store.clone())
/// #     .put(&key, &CartOfSchema1 { items: vec!["lamp".to_owned()] }, Default::default()).await?;
/// let carts = Typed::<Cart>::new(store).with_schema(2, |old| {
///     let cart: CartOfSchema1 = old.decode()?; // `old.schema()` tells which, if there are several
///     Ok(Cart { items: cart.items.into_iter().map(|item| (item, 1)).collect() })
/// });
/// assert_eq!(carts.get(&key).await?.expect("it is there").value.items, [("lamp".to_owned(), 1)]);
/// # Ok(()) }
/// ```
///
/// A value of a newer schema than the program knows is [`Error::Codec`] too, so that an old instance, still running beside the new ones,
/// does no damage.
pub struct Typed<T, C = Json> {
    store: Arc<dyn StateStore>,
    codec: C,
    schema: u32,
    upgrade: Option<Arc<Upgrade<T, C>>>,
    ttl: Ttl,
    options: UpdateOptions,
    values: PhantomData<fn(T) -> T>,
}

type Upgrade<T, C> = dyn Fn(Old<'_, C>) -> Result<T, BoxError> + Send + Sync;

/// A typed value, as it was read. `Debug` does not show the value.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct State<T> {
    /// The value.
    pub value: T,
    /// Its version, for [`Typed::compare_and_set`].
    pub version: Version,
    /// When it expires, to the millisecond.
    pub expires_at: Option<SystemTime>,
}

impl<T> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("version", &self.version)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A stored value of an older schema, for the function given to [`Typed::with_schema`].
pub struct Old<'a, C> {
    schema: u32,
    codec: &'a C,
    payload: &'a [u8],
}

impl<C> Old<'_, C> {
    /// Its schema.
    #[must_use]
    pub fn schema(&self) -> u32 {
        self.schema
    }

    /// Its value, of the type that this schema had.
    ///
    /// # Errors
    /// When it is none of that type.
    pub fn decode<U>(&self) -> Result<U, BoxError>
    where
        C: Codec<U>,
    {
        self.codec.decode(self.payload)
    }
}

impl<C: fmt::Debug> fmt::Debug for Old<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Old")
            .field("schema", &self.schema)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

impl<T> Typed<T> {
    /// Values as JSON.
    pub fn new(store: impl StateStore + 'static) -> Self {
        Self::with_codec(store, Json)
    }
}

impl<T, C> Typed<T, C> {
    /// Values in another format.
    pub fn with_codec(store: impl StateStore + 'static, codec: C) -> Self {
        Self {
            store: Arc::new(store),
            codec,
            schema: 1,
            upgrade: None,
            ttl: Ttl::Keep,
            options: UpdateOptions::default(),
            values: PhantomData,
        }
    }

    /// The same where values are written with this schema, from 1, and those of an older one are read through `upgrade`. Without this the
    /// schema is 1.
    #[must_use]
    pub fn with_schema(
        mut self,
        schema: u32,
        upgrade: impl Fn(Old<'_, C>) -> Result<T, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.schema = schema;
        self.upgrade = Some(Arc::new(upgrade));
        self
    }

    /// The same where [`update`](Self::update) gives what it writes this expiry. By default it keeps the one that is there.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }

    /// The same where [`update`](Self::update) goes on for this long.
    #[must_use]
    pub fn with_update_options(mut self, options: UpdateOptions) -> Self {
        self.options = options;
        self
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }
}

impl<T, C: Codec<T>> Typed<T, C> {
    /// The value of `key`, or `None` when it is missing or expired.
    ///
    /// # Errors
    /// [`Codec`](Error::Codec) when it does not decode; else as for [`StateStore::get`].
    pub async fn get(&self, key: &Key) -> Result<Option<State<T>>> {
        let entry = self.store.get(key, Default::default()).await?;
        entry.map(|entry| self.state(key, entry)).transpose()
    }

    /// Writes `value`, if the precondition holds, and returns its version.
    ///
    /// # Errors
    /// [`Codec`](Error::Codec) when it does not encode; else as for [`StateStore::put`].
    pub async fn put(&self, key: &Key, value: &T, options: PutOptions) -> Result<Version> {
        let value = self.encode(key, value)?;
        self.store.put(key, value, options).await
    }

    /// Writes `value` if the key has the version `expected`, or, for `None`, if it is missing or expired.
    ///
    /// # Errors
    /// [`Conflict`](Error::Conflict) when it has not; else as for [`put`](Self::put).
    pub async fn compare_and_set(&self, key: &Key, expected: Option<&Version>, value: &T) -> Result<Version> {
        self.put(key, value, Precondition::from(expected).into()).await
    }

    /// Deletes `key`, whether or not its value decodes, if the precondition holds.
    ///
    /// # Errors
    /// As for [`StateStore::delete`].
    pub async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.store.delete(key, options).await
    }

    /// Reads the value, lets `change` change it, and writes it back if nobody else wrote in between; else begins again. Returns what
    /// `change` returned the last time.
    ///
    /// `change` gets `None` for a missing key, and leaves `None` to delete it. What it leaves as it was is not written. It may be called several
    /// times, and should do nothing but decide; its own error ends the update.
    ///
    /// # Errors
    /// [`Codec`](Error::Codec) when the value there does not decode, which is then left as it is; else as for
    /// [`StateStoreExt::update`].
    pub async fn update<R, F>(&self, key: &Key, mut change: F) -> Result<R>
    where
        F: FnMut(&mut Option<T>) -> Result<R, BoxError> + Send,
        R: Send,
        T: Send,
    {
        let mut returned = None;
        self.store
            .update(key, self.options, |entry| {
                let mut value = entry.map(|entry| self.decode(key, &entry.value)).transpose()?;
                returned = Some(change(&mut value)?);
                let Some(value) = value else {
                    return Ok(Change::Delete);
                };
                let value = self.encode(key, &value)?;
                Ok(match entry {
                    Some(entry) if entry.value == value && self.ttl == Ttl::Keep => Change::Leave,
                    _ => Change::Put { value, ttl: self.ttl },
                })
            })
            .await?;
        // An update that succeeds has called the function.
        returned.ok_or_else(|| Error::Aborted {
            source: "the store did not call the update's function".into(),
        })
    }

    /// What is stored for `value`, for a [`TransactOp`](statestore_api::TransactOp). The key is for the error.
    ///
    /// # Errors
    /// [`Codec`](Error::Codec).
    pub fn encode(&self, key: &Key, value: &T) -> Result<Bytes> {
        let payload = self.codec.encode(value);
        let stored = payload.and_then(|payload| self.codec.frame(self.schema, payload));
        stored
            .map(Bytes::from)
            .map_err(|source| self.problem(key, "encoded", source))
    }

    /// The value of what is stored, upgraded if it is of an older schema. The key is for the error.
    ///
    /// # Errors
    /// [`Codec`](Error::Codec).
    pub fn decode(&self, key: &Key, stored: &[u8]) -> Result<T> {
        let decoded = self
            .codec
            .unframe(stored)
            .and_then(|(schema, payload)| self.of_schema(schema, payload));
        decoded.map_err(|source| self.problem(key, "decoded", source))
    }

    fn of_schema(&self, schema: u32, payload: &[u8]) -> Result<T, BoxError> {
        match &self.upgrade {
            _ if schema == self.schema => self.codec.decode(payload),
            Some(upgrade) if schema < self.schema => upgrade(Old {
                schema,
                codec: &self.codec,
                payload,
            }),
            _ => Err(format!(
                "it is of schema {schema}, and this program knows {}: {}",
                self.schema,
                if schema > self.schema {
                    "a newer program wrote it"
                } else {
                    "it has no upgrade"
                }
            )
            .into()),
        }
    }

    pub(crate) fn state(&self, key: &Key, entry: Entry) -> Result<State<T>> {
        Ok(State {
            value: self.decode(key, &entry.value)?,
            version: entry.version,
            expires_at: entry.expires_at,
        })
    }

    fn problem(&self, key: &Key, action: &'static str, source: BoxError) -> Error {
        Error::Codec {
            action,
            source: Some(Box::new(Problem {
                key: key.clone(),
                codec: self.codec.name(),
                source,
            })),
        }
    }
}

/// Where a value did not encode or decode.
#[derive(Debug, thiserror::Error)]
#[error("the value of `{key}`, as {codec}")]
struct Problem {
    key: Key,
    codec: &'static str,
    source: BoxError,
}

impl<T, C: Clone> Clone for Typed<T, C> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            codec: self.codec.clone(),
            schema: self.schema,
            upgrade: self.upgrade.clone(),
            ttl: self.ttl,
            options: self.options,
            values: PhantomData,
        }
    }
}

impl<T, C: fmt::Debug> fmt::Debug for Typed<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed")
            .field("store", &self.store)
            .field("codec", &self.codec)
            .field("schema", &self.schema)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
