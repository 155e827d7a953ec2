//! A tab with the shop's page: clicks where a visitor clicks, and reads what a visitor reads.

use std::time::Duration;

use serde_json::{Value, json};
use statestore_conformance::servers::wait_for;

use super::chromium::Chromium;

/// How long the page may take on a machine that has much else to do. The page itself gives up after some ten seconds.
const LIMIT: Duration = Duration::from_secs(40);

/// What is to be read on the page.
const READ: &str = r#"
    (() => {
        const text = (id) => document.getElementById(id).textContent;
        const rows = (id) => [...document.querySelectorAll(`#${id} li`)]
            .map((row) => [...row.querySelectorAll("span")].map((span) => span.textContent).join(" "));
        return {
            instance: text("instance"),
            instances: text("instances"),
            version: text("version"),
            news: text("news"),
            problem: document.getElementById("trouble").hidden ? null : text("problem"),
            cart: rows("cart"),
            orders: rows("orders"),
        };
    })()
"#;

pub(super) struct Tab {
    session: String,
}

/// What a visitor reads.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Seen {
    pub(super) instance: String,
    pub(super) instances: String,
    pub(super) version: String,
    pub(super) news: String,
    pub(super) problem: Option<String>,
    pub(super) cart: Vec<String>,
    pub(super) orders: Vec<String>,
}

impl Tab {
    /// Opens the page in a tab, which is in the front of a window of its own.
    pub(super) async fn open(context: &str, url: &str) -> Self {
        let browser = Chromium::get();
        let blank = json!({ "url": "about:blank", "browserContextId": context, "newWindow": true });
        let target = browser.call(None, "Target.createTarget", blank).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call(None, "Target.attachToTarget", attach).await;
        let session = session["sessionId"].as_str().unwrap().to_owned();
        let tab = Self { session };
        tab.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }))
            .await;
        tab.go(url).await;
        tab
    }

    pub(super) async fn go(&self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(gone["errorText"].is_null(), "{gone}");
        self.wait(
            "the page is there",
            "document.querySelector('#shelf li') !== null",
        )
        .await;
    }

    /// Loads the page anew, as F5 does.
    pub(super) async fn reload(&self) {
        // By this it is known when the new page is there.
        self.evaluate("window.old = true").await;
        self.call("Page.reload", json!({})).await;
        let new = "window.old === undefined && document.querySelector('#shelf li') !== null";
        self.wait("the page is there again", new).await;
    }

    pub(super) async fn click(&self, selector: &str) {
        let place = self.place_of(selector).await;
        self.press(&place, 1).await;
    }

    pub(super) async fn double_click(&self, selector: &str) {
        let place = self.place_of(selector).await;
        self.press(&place, 1).await;
        self.press(&place, 2).await;
    }

    /// Waits until the page shows what is wanted, and returns all that it shows then.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let look = async || {
            let seen = serde_json::from_value::<Seen>(self.evaluate(READ).await)
                .map_err(|_| "nothing".to_owned())?;
            if wanted(&seen) {
                Ok(seen)
            } else {
                Err(format!("{seen:?}"))
            }
        };
        wait_for(what, LIMIT, look).await.unwrap()
    }

    /// Waits until this is in the cart.
    pub(super) async fn until_cart(&self, cart: &[&str]) -> Seen {
        self.until(&format!("{cart:?} is in the cart"), |seen| seen.cart == cart)
            .await
    }

    /// Waits until these orders are shown, the last first.
    pub(super) async fn until_orders(&self, orders: &[&str]) -> Seen {
        self.until(&format!("the orders are {orders:?}"), |seen| {
            seen.orders == orders
        })
        .await
    }

    pub(super) async fn evaluate(&self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut evaluated = self.call("Runtime.evaluate", params).await;
        if evaluated["exceptionDetails"].is_null() {
            evaluated["result"]["value"].take()
        } else {
            Value::Null
        }
    }

    /// Makes the page this wide, in pixels.
    pub(super) async fn resize(&self, width: u32) {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    async fn wait(&self, what: &str, condition: &str) {
        let look = async || match self.evaluate(condition).await {
            Value::Bool(true) => Ok(()),
            other => Err(other),
        };
        wait_for(what, LIMIT, look).await.unwrap();
    }

    /// Where it can be clicked on, once it can.
    async fn place_of(&self, selector: &str) -> Value {
        self.wait(
            &format!("{selector} can be clicked on"),
            &format!("document.querySelector({selector:?})?.matches(':enabled') === true"),
        )
        .await;
        self.evaluate(&format!(
            "(() => {{
                const it = document.querySelector({selector:?});
                it.scrollIntoView({{ block: 'center' }});
                const box = it.getBoundingClientRect();
                return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
            }})()"
        ))
        .await
    }

    async fn press(&self, place: &Value, count: u32) {
        for kind in ["mousePressed", "mouseReleased"] {
            let mut event = json!({ "type": kind, "button": "left", "clickCount": count });
            event["x"] = place["x"].clone();
            event["y"] = place["y"].clone();
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        Chromium::get().call(Some(&self.session), method, params).await
    }
}
