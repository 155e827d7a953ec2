//! The client: connected with the first request, and used without retries of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll, ready};
use std::time::Duration;

use firestore::FirestoreDb;
use firestore::gcloud_sdk::google::firestore::admin::v1::firestore_admin_client::FirestoreAdminClient;
use firestore::gcloud_sdk::google::firestore::v1::firestore_client::FirestoreClient;
use firestore::gcloud_sdk::google_cloud_auth::credentials::{
    CacheableResource, Credentials, CredentialsProvider, EntityTag,
};
use firestore::gcloud_sdk::google_cloud_auth::errors::CredentialsError;
use firestore::gcloud_sdk::tonic::Request;
use firestore::gcloud_sdk::{
    GCP_DEFAULT_SCOPES, GoogleApi, GoogleAuthHeaders, GoogleAuthMiddleware, GoogleAuthMiddlewareLayer,
    HeaderMap, RequestTimeouts,
};
use http::header::{AUTHORIZATION, HeaderValue};
use statestore_api::{Error, Result};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::config::{self, FirestoreConfig};
use super::error;
use crate::open::bad;
use crate::shared::{Failed, Shared};

const SERVICE: &str = "https://firestore.googleapis.com";

/// Where every emulator is looked for.
const EMULATOR: &str = "FIRESTORE_EMULATOR_HOST";

/// A connected client. One request of it is one request on the wire: it retries nothing.
pub(super) type Client = FirestoreClient<GoogleAuthMiddleware>;

type Api = GoogleApi<Client>;

/// A client that is there or can be made.
pub(super) struct Connection {
    config: FirestoreConfig,
    /// Whether the client is the application's own.
    given: bool,
    live: Shared<Arc<Live>, Failed>,
}

/// A client that was connected at a time.
struct Live {
    api: Api,
    since: Instant,
    /// Whether requests on it are not answered.
    stuck: AtomicBool,
}

impl Live {
    fn new(api: Api) -> Arc<Self> {
        Arc::new(Self {
            api,
            since: Instant::now(),
            stuck: AtomicBool::new(false),
        })
    }
}

impl Connection {
    pub(super) fn new(config: FirestoreConfig) -> Self {
        Self {
            config,
            given: false,
            live: Shared::default(),
        }
    }

    /// The application's own client.
    pub(super) fn from_client(db: &FirestoreDb, config: FirestoreConfig) -> Self {
        Self {
            config,
            given: true,
            live: Shared::of(Live::new(db.client().clone())),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unauthorized`] and [`Error::Config`] when it cannot connect.
    pub(super) async fn client(&self) -> Result<Client> {
        Ok(self.live().await?.api.get())
    }

    /// The client of the administration's API.
    pub(super) async fn admin(&self) -> Result<FirestoreAdminClient<GoogleAuthMiddleware>> {
        Ok(self.live().await?.api.get_with(FirestoreAdminClient::new))
    }

    async fn live(&self) -> Result<Arc<Live>> {
        let usable = |live: &Arc<Live>| !live.stuck.load(Ordering::Relaxed);
        let connect = || {
            let config = self.config.clone();
            async move { Ok(Live::new(connect(&config).await?)) }
        };
        let live = self.live.get(usable, connect).await;
        live.map_err(|failed| failed.error())
    }

    /// A request that was sent at this time was not answered: the next takes a new connection. Of a connection to a machine that is
    /// gone the client by itself learns after minutes, and all requests on it would wait in vain.
    pub(super) fn retire(&self, sent: Instant) {
        if let Some(live) = self.live.peek()
            && live.since <= sent
            && !self.given
        {
            live.stuck.store(true, Ordering::Relaxed);
        }
    }
}

async fn connect(config: &FirestoreConfig) -> Result<Api> {
    let limit = config.connect_timeout;
    match tokio::time::timeout(limit, connect_at_last(config)).await {
        Ok(connected) => connected,
        Err(_) => Err(error::not_connected(limit)),
    }
}

async fn connect_at_last(config: &FirestoreConfig) -> Result<Api> {
    let database = format!("projects/{}/databases/{}", config.project, config.database);
    let emulator = match &config.emulator {
        Some(address) => Some(address.clone()),
        None => std::env::var(EMULATOR).ok().filter(|address| !address.is_empty()),
    };
    if let Some(address) = emulator {
        config::check_emulator(&address)?;
        let auth = GoogleAuthHeaders::from(Credentials::from(Owner::default()));
        let url = format!("http://{address}");
        return with_auth(&url, database, auth).await.map_err(error::connecting);
    }
    let connected = match &config.credentials {
        // The channel comes before the credentials, which may need the cryptography that its TLS sets up.
        None => {
            let scopes = GCP_DEFAULT_SCOPES.clone();
            GoogleApi::from_function_with_scopes(FirestoreClient::new, SERVICE, Some(database), scopes).await
        }
        Some(file) => {
            let key = tokio::fs::read(file).await.map_err(|error| Error::Config {
                reason: format!(
                    "the file with the credentials, {}, cannot be read",
                    file.display()
                ),
                source: Some(error.into()),
            })?;
            // The error of a parser might quote the key.
            let key = serde_json::from_slice(&key).map_err(|_| {
                bad(format!(
                    "the file with the credentials, {}, is not JSON",
                    file.display()
                ))
            })?;
            match GoogleAuthHeaders::from_service_account_key(key, GCP_DEFAULT_SCOPES.clone()).await {
                Ok(auth) => with_auth(SERVICE, database, auth).await,
                Err(error) => Err(error),
            }
        }
    };
    connected.map_err(error::connecting)
}

async fn with_auth(
    url: &str,
    database: String,
    auth: GoogleAuthHeaders,
) -> firestore::gcloud_sdk::error::Result<Api> {
    let middleware = GoogleAuthMiddlewareLayer::new(auth, Some(database))?;
    GoogleApi::from_function_with_middleware(FirestoreClient::new, url, middleware).await
}

/// Runs `task` to its end, also when its caller is dropped.
///
/// To drop a request would reset its stream, and a server that sees many streams reset ends the connection ("rapid reset"), with all
/// other requests on it; to drop a transaction would leave its locks.
pub(super) fn to_its_end<F: Future<Output: Send> + Send + 'static>(task: F) -> ToItsEnd<F> {
    ToItsEnd(Some(Box::pin(task)))
}

/// See [`to_its_end`].
pub(super) struct ToItsEnd<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for ToItsEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let Some(task) = &mut self.0 else {
            return Poll::Pending;
        };
        let output = ready!(task.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToItsEnd<F> {
    fn drop(&mut self) {
        if let Some(task) = self.0.take()
            && !std::thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(task.in_current_span());
        }
    }
}

/// A request that is answered at once, within `limit`.
pub(super) fn unary<M>(message: M, limit: Duration) -> Request<M> {
    limited(message, RequestTimeouts::new().with_total(limit))
}

/// A request that is answered in parts, each within `limit` of the one before.
pub(super) fn streamed<M>(message: M, limit: Duration) -> Request<M> {
    limited(message, RequestTimeouts::new().with_idle(limit))
}

fn limited<M>(message: M, timeouts: RequestTimeouts) -> Request<M> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(timeouts);
    request
}

/// What the emulators take for an administrator, whom no security rules hold back.
#[derive(Debug, Default)]
struct Owner(EntityTag);

impl CredentialsProvider for Owner {
    async fn headers(
        &self,
        extensions: http::Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        if extensions.get() == Some(&self.0) {
            return Ok(CacheableResource::NotModified);
        }
        let data = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer owner"))]);
        Ok(CacheableResource::New {
            entity_tag: self.0.clone(),
            data,
        })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}
