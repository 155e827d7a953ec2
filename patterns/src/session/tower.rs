use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use serde_json::{Map, Value};
use statestore_api::{
    Change, Current, Error, Key, Precondition, PutOptions, StateStore, StateStoreExt, Ttl, UpdateOptions,
    Version, WriteId,
};
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{self, SessionStore};

use super::key;
use super::merge::merge_maps;
use crate::Typed;

/// A store for `tower-sessions` that loses no concurrent update.
///
/// ```
/// use axum::Router;
/// use axum::http::StatusCode;
/// use axum::routing::post;
/// use statestore_api::MemoryStore;
/// use statestore_patterns::TowerSessions;
/// use tower_sessions::{Session, SessionManagerLayer};
///
/// async fn add(session: Session) -> Result<(), StatusCode> {
///     let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
///     let mut cart = session.get::<Vec<String>>("cart").await.map_err(failed)?.unwrap_or_default();
///     cart.push("lamp".to_owned());
///     session.insert("cart", cart).await.map_err(failed) // of two clicks at once, both are kept
/// }
///
/// let app: Router = Router::new()
///     .route("/cart", post(add))
///     .layer(SessionManagerLayer::new(TowerSessions::new(MemoryStore::new())));
/// ```
///
/// That crate's record of a session has no version, so that its stores write back whatever a request has in hand, over what another has written in
/// between. This one keeps the version and the content that it loaded in the record itself, under a name that no program uses. On a conflict it merges
/// three ways: what only one side changed is as that side left it, maps are merged by their members, and lists by their elements. Of a single value that
/// both changed the later one is kept.
///
/// - A session that was ended or has expired since it was loaded is not brought back: saving it is an error, a response of 500.
/// - A save that changes nothing moves the expiry by [`touch`](StateStore::touch), and sends no data.
/// - The key is a hash of the session's id, so that the id, which is a secret, is in no error, log or key.
/// - Do not put that crate's `CachingSessionStore` before it: what is loaded has to be what is stored.
#[derive(Clone)]
pub struct TowerSessions {
    data: Typed<Map<String, Value>>,
    options: UpdateOptions,
    saved: Arc<Mutex<Saved>>,
}

/// The name in a record's data of what was loaded. It begins with a character that nobody types.
const LOADED: &str = "\u{0}statestore";

/// How many loaded records that were saved more than once are remembered.
const REMEMBERED: usize = 4096;

/// What a session's data was when it was loaded, or last saved by the same request.
#[derive(Clone)]
struct Base {
    /// The version that has this content; none when what is stored is more than that, since it was merged.
    version: Option<Version>,
    data: Map<String, Value>,
}

/// By a number for each load: what its request has saved since. A save cannot write that into the record, which it only sees.
#[derive(Default)]
struct Saved {
    bases: HashMap<WriteId, Base>,
    order: VecDeque<WriteId>,
}

impl Saved {
    fn insert(&mut self, load: WriteId, base: Base) {
        if self.bases.insert(load, base).is_none() {
            self.order.push_back(load);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.bases.remove(&oldest);
        }
    }
}

impl TowerSessions {
    /// Sessions in this store.
    pub fn new(store: impl StateStore + 'static) -> Self {
        Self {
            data: Typed::new(store),
            options: UpdateOptions::default(),
            saved: Arc::default(),
        }
    }

    /// The same where a save goes on for this long while others write.
    #[must_use]
    pub fn with_update_options(mut self, options: UpdateOptions) -> Self {
        self.options = options;
        self
    }

    async fn put(
        &self,
        key: &Key,
        data: &Map<String, Value>,
        ttl: Ttl,
        condition: Precondition,
    ) -> Result<Version, Error> {
        let options = PutOptions::from(condition).with_ttl(ttl);
        self.data.put(key, data, options).await
    }

    async fn save(&self, record: &Record) -> Result<(), Error> {
        let key = session_key(&record.id)?;
        if expired(record) {
            return self.data.delete(&key, Precondition::None.into()).await;
        }
        let ttl = Ttl::At(record.expiry_date.into());
        let (data, loaded) = split(record);
        let Some((load, base)) = loaded else {
            // It was cleared without being read.
            self.put(&key, &data, ttl, Precondition::Exists)
                .await
                .map_err(ended)?;
            return Ok(());
        };
        let saved = {
            let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
            saved.bases.get(&load).cloned()
        };
        let base = saved.unwrap_or(base);
        if data == base.data {
            let touched = self.data.store().touch(&key, ttl, Precondition::None.into());
            return touched.await.map(drop).map_err(ended);
        }
        let direct = match &base.version {
            Some(version) => {
                let condition = Precondition::Matches(version.clone());
                Some(self.put(&key, &data, ttl, condition).await)
            }
            None => None,
        };
        let version = match direct {
            Some(Ok(version)) => Some(version),
            Some(Err(Error::Conflict(conflict))) if conflict.current == Current::Absent => {
                return Err(no_session());
            }
            Some(Err(error)) if !matches!(error, Error::Conflict(_)) => return Err(error),
            _ => {
                self.merge(&key, &data, &base.data, ttl).await?;
                None
            }
        };
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.insert(load, Base { version, data });
        Ok(())
    }

    /// Applies what `ours` changed of `base` to what is stored.
    async fn merge(
        &self,
        key: &Key,
        ours: &Map<String, Value>,
        base: &Map<String, Value>,
        ttl: Ttl,
    ) -> Result<(), Error> {
        let merged = self.data.store().update(key, self.options, |entry| {
            let entry = entry.ok_or_else(no_session)?;
            let theirs = self.data.decode(key, &entry.value)?;
            let value = self.data.encode(key, &merge_maps(base, ours, &theirs))?;
            Ok(Change::Put { value, ttl })
        });
        merged.await.map(drop)
    }
}

#[async_trait]
impl SessionStore for TowerSessions {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        // A session that gets a new id has what was loaded under the old one.
        let (data, _) = split(record);
        let ttl = Ttl::At(record.expiry_date.into());
        loop {
            let key = session_key(&record.id).map_err(problem)?;
            match self.put(&key, &data, ttl, Precondition::Absent).await {
                Ok(version) => {
                    *record = joined(record.id, record.expiry_date, data, version);
                    return Ok(());
                }
                Err(Error::Conflict(_)) => record.id = Id::default(),
                Err(error) => return Err(problem(error)),
            }
        }
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        self.save(record).await.map_err(problem)
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let key = session_key(id).map_err(problem)?;
        let state = self.data.get(&key).await.map_err(problem)?;
        Ok(state.map(|state| {
            let expires_at = state.expires_at.map_or_else(last_day, OffsetDateTime::from);
            joined(*id, expires_at, state.value, state.version)
        }))
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        let key = session_key(id).map_err(problem)?;
        let deleted = self.data.delete(&key, Precondition::None.into()).await;
        deleted.map_err(problem)
    }
}

impl fmt::Debug for TowerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessions")
            .field("store", self.data.store())
            .finish_non_exhaustive()
    }
}

fn session_key(id: &Id) -> Result<Key, Error> {
    key(&id.to_string(), "tower-session")
}

/// A record with what was loaded beside the data.
fn joined(id: Id, expiry_date: OffsetDateTime, data: Map<String, Value>, version: Version) -> Record {
    let loaded = Value::Array(vec![
        Value::String(WriteId::new().to_string()),
        Value::String(version.to_string()),
        Value::Object(data.clone()),
    ]);
    let mut data: HashMap<_, _> = data.into_iter().collect();
    data.insert(LOADED.to_owned(), loaded);
    Record {
        id,
        data,
        expiry_date,
    }
}

/// A record's data, and the number of its load with what was loaded.
fn split(record: &Record) -> (Map<String, Value>, Option<(WriteId, Base)>) {
    let mut data: Map<String, Value> = record.data.clone().into_iter().collect();
    let loaded = data.remove(LOADED).and_then(|loaded| {
        let Value::Array(parts) = loaded else {
            return None;
        };
        let [Value::String(load), Value::String(version), Value::Object(data)] =
            <[Value; 3]>::try_from(parts).ok()?
        else {
            return None;
        };
        let version = Some(version.parse().ok()?);
        Some((load.parse().ok()?, Base { version, data }))
    });
    (data, loaded)
}

fn expired(record: &Record) -> bool {
    SystemTime::from(record.expiry_date) <= SystemTime::now()
}

/// The end of the last day that an expiry can be on.
fn last_day() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(253_402_300_799).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// What a conflict means where the session has to be there.
fn ended(error: Error) -> Error {
    match error {
        Error::Conflict(_) => no_session(),
        error => error,
    }
}

fn no_session() -> Error {
    Error::Aborted {
        source: "the session was ended or has expired since it was loaded".into(),
    }
}

fn problem(error: Error) -> session_store::Error {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    match error {
        Error::Codec {
            action: "encoded", ..
        } => session_store::Error::Encode(text),
        Error::Codec { .. } => session_store::Error::Decode(text),
        _ => session_store::Error::Backend(text),
    }
}
