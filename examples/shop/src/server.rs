use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use statestore::patterns::TowerSessions;
use statestore::{BoxError, Config, StateStore, WriteId};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower_sessions::{Expiry, SessionManagerLayer, cookie::time};

use crate::answers::Failure;
use crate::{deliveries, orders, page, sessions};

/// Tells a visitor which instance has answered.
const INSTANCE: HeaderName = HeaderName::from_static("shop-instance");

/// The shop on the store that `STATESTORE_URL` names. Nothing is connected yet: an instance is ready at once, and the first request connects.
///
/// # Errors
/// When the URL is missing or wrong.
pub async fn app() -> statestore::Result<Router> {
    Ok(shop(Config::from_env()?.open().await?))
}

fn shop(store: Arc<dyn StateStore>) -> Router {
    let two_weeks = Expiry::OnInactivity(time::Duration::days(14));
    let sessions = SessionManagerLayer::new(TowerSessions::new(Arc::clone(&store)))
        .with_name("session")
        .with_expiry(two_weeks);
    let accounts = orders::accounts(Arc::clone(&store));
    let instance = instance();
    Router::new()
        .route("/cart", get(orders::cart))
        .route("/cart/items", post(orders::add))
        .route("/cart/items/{item}", delete(orders::remove))
        .route("/orders", get(orders::list).post(orders::place))
        .route(
            "/session",
            get(sessions::get)
                .post(sessions::post)
                .put(sessions::put)
                .delete(sessions::delete),
        )
        .with_state(accounts.clone())
        .layer(sessions)
        .route("/deliveries", post(deliveries::deliver).with_state(accounts))
        .route("/health", get(health).with_state(store))
        .route("/", get(page::html))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .layer(middleware::from_fn(log_request))
        .layer(middleware::map_response(move |mut response: Response| {
            response.headers_mut().insert(INSTANCE, instance.clone());
            async { response }
        }))
}

/// A name for this process, by chance.
fn instance() -> HeaderValue {
    let mut name = WriteId::new().to_string();
    name.truncate(8);
    HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("?"))
}

async fn health(State(store): State<Arc<dyn StateStore>>) -> Result<StatusCode, Failure> {
    store.ready().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One line for each request. It has the route, not the path, which tells what is in a cart.
async fn log_request(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    tracing::info!(
        %method,
        route = route.as_ref().map_or("none", MatchedPath::as_str),
        status = response.status().as_u16(),
        milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

/// Logs as JSON, a line for each event, to the standard output, where all three runtimes collect it.
pub fn log() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::INFO)
        .init();
}

/// Serves the shop on this address and the port that this variable names, until it is told to end.
///
/// # Errors
/// When the variable is missing or wrong, or the port taken.
pub async fn listen(host: IpAddr, port: &str) -> Result<(), BoxError> {
    let app = app().await?;
    let port = std::env::var(port).map_err(|error| format!("{port}: {error}"))?;
    let listener = TcpListener::bind((host, port.parse()?)).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await?;
    Ok(())
}
