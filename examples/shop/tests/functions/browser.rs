//! A visitor: keeps the session's cookie, and sends it along.

use axum::http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{Method, Request, Response};
use serde_json::Value;

use crate::instance::Instance;

#[derive(Clone)]
pub(crate) struct Browser {
    /// The cookie's name and value.
    cookie: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Answer(Response<String>);

impl Answer {
    #[track_caller]
    pub(crate) fn assert_is(&self, status: u16) {
        assert_eq!(self.0.status(), status, "{:?}", self.0.body());
    }

    /// The value of a header that is to be there.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.0.headers().get(name);
        let value = value.unwrap_or_else(|| panic!("it has no {name}: {:?}", self.0.headers()));
        value.to_str().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        self.0.body()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.0.body()).unwrap_or_else(|_| panic!("it is no JSON: {:?}", self.0))
    }
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self { cookie: None }
    }

    /// The session's id.
    pub(crate) fn session(&self) -> Option<&str> {
        let (_, value) = self.cookie.as_ref()?.split_once('=')?;
        Some(value)
    }

    pub(crate) async fn get(&mut self, shop: &Instance, path: &str) -> Answer {
        self.send(shop, Method::GET, path, None, None).await.unwrap()
    }

    pub(crate) async fn delete(&mut self, shop: &Instance, path: &str) -> Answer {
        self.send(shop, Method::DELETE, path, None, None).await.unwrap()
    }

    pub(crate) async fn post(&mut self, shop: &Instance, path: &str, body: Value) -> Answer {
        self.send(shop, Method::POST, path, None, Some(&body))
            .await
            .unwrap()
    }

    pub(crate) async fn put(&mut self, shop: &Instance, path: &str, body: Value) -> Answer {
        self.send(shop, Method::PUT, path, None, Some(&body))
            .await
            .unwrap()
    }

    pub(crate) async fn order(&mut self, shop: &Instance, key: &str) -> Answer {
        self.try_order(shop, key).await.unwrap()
    }

    /// An order at an instance that may die.
    pub(crate) async fn try_order(&mut self, shop: &Instance, key: &str) -> Result<Answer, String> {
        self.send(shop, Method::POST, "/orders", Some(key), None).await
    }

    /// A click on "into the cart" at an instance that may die.
    pub(crate) async fn try_click(
        &mut self,
        shop: &Instance,
        key: &str,
        body: &Value,
    ) -> Result<Answer, String> {
        self.send(shop, Method::POST, "/cart/items", Some(key), Some(body))
            .await
    }

    async fn send(
        &mut self,
        shop: &Instance,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = shop.send(request.body(body).unwrap()).await?;
        if let Some(cookie) = answer.headers().get(SET_COOKIE) {
            let (cookie, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            self.cookie = Some(cookie.to_owned());
        }
        Ok(Answer(answer))
    }
}
