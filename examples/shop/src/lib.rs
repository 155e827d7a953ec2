//! A shop as a function: a cart that two clicks at once do not corrupt, an order that a repeated request does not place twice, and a session that
//! survives a cold start.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /cart` | what is in the cart |
//! | `POST /cart/items` `{"item": "lamp", "quantity": 1}` | the cart with it |
//! | `DELETE /cart/items/{item}` | the cart without it |
//! | `POST /orders`, with an `Idempotency-Key` | 201 and the order of all that is in the cart, or 409 if that is empty |
//! | `GET /orders` | the last 20 orders |
//! | `GET /session`, `PUT /session` `{"name": "Ada"}`, `DELETE /session` | what is known of the visitor; who is gone then |
//! | `GET /health` | 204 when the store answers |
//!
//! Each change takes an `Idempotency-Key`. With one it is made once, however often the request is repeated and whichever instance dies.
//!
//! The three programs beside this library differ in how their runtime hands them a request, and in nothing else.

mod account;
mod answers;
mod orders;
mod server;
mod sessions;
mod visitor;

pub use server::{app, listen, log};
