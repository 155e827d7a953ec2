use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use statestore::patterns::TowerSessions;
use statestore::{BoxError, Config, StateStore};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower_sessions::{Expiry, SessionManagerLayer, cookie::time};

use crate::answers::Failure;
use crate::{orders, sessions};

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
    Router::new()
        .route("/cart", get(orders::cart))
        .route("/cart/items", post(orders::add))
        .route("/cart/items/{item}", delete(orders::remove))
        .route("/orders", get(orders::list).post(orders::place))
        .route(
            "/session",
            get(sessions::get).put(sessions::put).delete(sessions::delete),
        )
        .with_state(orders::accounts(Arc::clone(&store)))
        .layer(sessions)
        .route("/health", get(health).with_state(store))
        .layer(middleware::from_fn(log_request))
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
