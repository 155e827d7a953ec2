//! The cart's and the orders' end points.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use statestore::Key;
use statestore::patterns::{Outbox, State as Stored};
use tower_sessions::Session;

use crate::account::{Account, Items, Order, OrderEvent, Outcome};
use crate::answers::Failure;
use crate::visitor::{customer, customer_or_new};
use crate::warehouse;

pub(crate) type Accounts = Outbox<Account, OrderEvent>;

/// How long a customer's events are those of one instance to deliver, which goes on renewing this while it lives.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
pub(crate) struct Addition {
    item: String,
    #[serde(default = "one")]
    quantity: u32,
}

fn one() -> u32 {
    1
}

/// What the visitor orders: what was to be seen in the cart.
#[derive(Deserialize)]
pub(crate) struct Seen {
    items: Option<Items>,
}

pub(crate) async fn cart(
    State(accounts): State<Accounts>,
    session: Session,
) -> Result<impl IntoResponse, Failure> {
    let stored = read(&accounts, &session).await?;
    let version = stored
        .as_ref()
        .map(|stored| (ETAG, format!("\"{}\"", stored.version)));
    let cart = stored.map(|stored| stored.value.cart).unwrap_or_default();
    Ok((AppendHeaders(version), Json(json!({ "items": cart }))))
}

pub(crate) async fn add(
    State(accounts): State<Accounts>,
    session: Session,
    headers: HeaderMap,
    Json(Addition { item, quantity }): Json<Addition>,
) -> Result<Json<Value>, Failure> {
    if item.is_empty() || item.len() > 100 || quantity == 0 {
        return Err(Failure::BadRequest(
            "an item has a name of 1 to 100 bytes, and there is at least one of it",
        ));
    }
    let request = idempotency_key(&headers)?.map(|key| format!("add {quantity} {item} {key}"));
    let customer = customer_or_new(&session).await?;
    let change = |account: &mut Account, _: &mut Vec<OrderEvent>| account.add(&item, quantity);
    let outcome = change_once(&accounts, &customer, request, change).await?;
    changed_cart(outcome)
}

pub(crate) async fn remove(
    State(accounts): State<Accounts>,
    session: Session,
    headers: HeaderMap,
    Path(item): Path<String>,
) -> Result<Json<Value>, Failure> {
    let request = idempotency_key(&headers)?.map(|key| format!("remove {item} {key}"));
    let Some(customer) = customer(&session).await? else {
        return Ok(Json(json!({ "items": {} })));
    };
    let change = |account: &mut Account, _: &mut Vec<OrderEvent>| account.remove(&item);
    let outcome = change_once(&accounts, &customer, request, change).await?;
    changed_cart(outcome)
}

pub(crate) async fn place(
    State(accounts): State<Accounts>,
    session: Session,
    headers: HeaderMap,
    seen: Option<Json<Seen>>,
) -> Result<(StatusCode, Json<Order>), Failure> {
    let Some(key) = idempotency_key(&headers)? else {
        return Err(Failure::BadRequest("an order needs the header Idempotency-Key"));
    };
    let customer = customer_or_new(&session).await?;
    let request = Some(format!("order {key}"));
    let seen = seen.and_then(|Json(seen)| seen.items);
    let change = |account: &mut Account, events: &mut Vec<OrderEvent>| account.order(seen.as_ref(), events);
    let outcome = change_once(&accounts, &customer, request, change).await?;
    // Also for a repeated request: the instance that had the first may have died before this.
    let store = accounts.states().store();
    if let Err(error) = accounts
        .deliver(&customer, |event| warehouse::take(store, event))
        .await
    {
        tracing::warn!(%error, "an order's event waits for the next delivery");
    }
    match outcome {
        Outcome::Placed(order) => Ok((StatusCode::CREATED, Json(order))),
        Outcome::Refused(refusal) => Err(Failure::Refused(refusal)),
        Outcome::Cart(_) => Err(Failure::Internal),
    }
}

pub(crate) async fn list(State(accounts): State<Accounts>, session: Session) -> Result<Json<Value>, Failure> {
    let stored = read(&accounts, &session).await?;
    let orders = stored.map(|stored| stored.value.orders).unwrap_or_default();
    Ok(Json(json!({ "orders": orders })))
}

/// Reads the account, changes it, and writes it if nobody else wrote in between, else does so again. A request with an id is applied once.
async fn change_once(
    accounts: &Accounts,
    customer: &str,
    request: Option<String>,
    change: impl Fn(&mut Account, &mut Vec<OrderEvent>) -> Outcome + Send + Sync,
) -> Result<Outcome, Failure> {
    let key = account_key(customer)?;
    let change = |account: &mut Option<Account>, events: &mut Vec<OrderEvent>| {
        Ok(change(account.get_or_insert_default(), events))
    };
    Ok(match request {
        Some(id) => accounts.update_once(&key, &id, change).await?,
        None => accounts.update(&key, change).await?,
    })
}

async fn read(accounts: &Accounts, session: &Session) -> Result<Option<Stored<Account>>, Failure> {
    let Some(customer) = customer(session).await? else {
        return Ok(None);
    };
    Ok(accounts.states().get(&account_key(&customer)?).await?)
}

fn account_key(customer: &str) -> statestore::Result<Key> {
    Key::new(customer, "account")
}

fn changed_cart(outcome: Outcome) -> Result<Json<Value>, Failure> {
    match outcome {
        Outcome::Cart(items) => Ok(Json(json!({ "items": items }))),
        Outcome::Refused(refusal) => Err(Failure::Refused(refusal)),
        Outcome::Placed(_) => Err(Failure::Internal),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) => Ok(Some(key)),
        _ => Err(Failure::BadRequest(
            "an Idempotency-Key is a text of 1 to 255 characters",
        )),
    }
}

/// The accounts of this store.
pub(crate) fn accounts(store: impl statestore::StateStore + 'static) -> Accounts {
    // Who finds another delivering does not wait long: the order is placed.
    Outbox::new(store).with_lease(LEASE, Duration::from_secs(1))
}
