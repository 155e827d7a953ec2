use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use statestore::StateStore;
use statestore::patterns::{Idempotency, IdempotencyLayer, TowerSessions};
use tower_sessions::{Session, SessionManagerLayer};

/// Two clicks at once are both kept, and a request that is repeated is handled once.
pub(crate) fn app(store: Arc<dyn StateStore>) -> Router {
    Router::new()
        .route("/cart", post(add))
        .layer(IdempotencyLayer::new(Idempotency::new(store.clone(), "cart")))
        .layer(SessionManagerLayer::new(TowerSessions::new(store)))
}

async fn add(session: Session, item: String) -> Result<(), StatusCode> {
    let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
    let mut cart: Vec<String> = session.get("cart").await.map_err(failed)?.unwrap_or_default();
    cart.push(item);
    session.insert("cart", cart).await.map_err(failed)
}
