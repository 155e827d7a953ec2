//! A shop as a function: a cart that two clicks at once do not corrupt, an order that a repeated request does not place twice, and a session that
//! survives a cold start.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /` | the page, for a browser |
//! | `GET /cart` | what is in the cart, and its version as `ETag` |
//! | `POST /cart/items` `{"item": "lamp", "quantity": 1}` | the cart with it |
//! | `DELETE /cart/items/{item}` | the cart without it |
//! | `POST /orders`, with an `Idempotency-Key` | 201 and the order of all that is in the cart, or 409 if that is empty |
//! | `POST /orders` `{"items": {"lamp": 1}}` | the same, or 409 if something else is in the cart |
//! | `GET /orders` | the last 20 orders |
//! | `GET /session`, `POST /session`, `PUT /session` `{"name": "Ada"}`, `DELETE /session` | what is known of the visitor; who is known from then on; who is gone then |
//! | `POST /deliveries`, on a schedule | the events that were left by instances that died are delivered, at most every 30 seconds |
//! | `GET /health` | 204 when the store answers |
//!
//! Each answer names its instance as `Shop-Instance`. Each change takes an `Idempotency-Key`. With one it is made once, however often the request is repeated and whichever instance dies.
//!
//! The three programs beside this library differ in how their runtime hands them a request, and in nothing else.

mod account;
mod answers;
mod deliveries;
mod orders;
mod page;
mod server;
mod sessions;
mod visitor;
mod warehouse;

pub use server::{app, listen, log};
