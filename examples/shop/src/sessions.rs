//! The session's end points.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tower_sessions::Session;

use crate::answers::Failure;
use crate::visitor::customer_or_new;

const NAME: &str = "name";

#[derive(Serialize, Deserialize)]
pub(crate) struct Visitor {
    name: Option<String>,
}

pub(crate) async fn get(session: Session) -> Result<Json<Visitor>, Failure> {
    let name = session.get(NAME).await?;
    Ok(Json(Visitor { name }))
}

/// Makes the visitor known, before the first click: of two at once, in two tabs, each would make a visitor of its own.
pub(crate) async fn post(session: Session) -> Result<StatusCode, Failure> {
    customer_or_new(&session).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn put(session: Session, Json(visitor): Json<Visitor>) -> Result<Json<Visitor>, Failure> {
    if visitor.name.as_ref().is_some_and(|name| name.len() > 100) {
        return Err(Failure::BadRequest("a name has up to 100 bytes"));
    }
    customer_or_new(&session).await?;
    session.insert(NAME, &visitor.name).await?;
    Ok(Json(visitor))
}

pub(crate) async fn delete(session: Session) -> Result<StatusCode, Failure> {
    session.flush().await?;
    Ok(StatusCode::NO_CONTENT)
}
