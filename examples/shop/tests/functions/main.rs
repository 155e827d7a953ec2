//! The shop on each runtime and each store, as programs that are started as their runtime starts them: `redis::aws_lambda::…`.
//!
//! Not on the embedded store: one process at a time has its file open, and here there are two.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod browser;
mod deliveries;
mod instance;
mod lambda;
mod page;
#[macro_use]
mod stores;

use std::time::{Duration, Instant};

use browser::Browser;
use instance::{Instance, Runtime};
use serde_json::json;

on_every_store_and_runtime! {
    clicks_at_once_are_all_kept
    a_repeated_request_places_one_order
    a_killed_instance_is_replaced
    a_cold_start_finds_everything
    what_is_wrong_is_refused
    logs_are_json_and_tell_no_value
    the_page_is_served
}

async fn clicks_at_once_are_all_kept(runtime: Runtime, url: &str) {
    let (one, other) = two_instances(runtime, url).await;
    let mut first = Browser::new();
    first
        .post(&one, "/cart/items", json!({ "item": "vase" }))
        .await
        .assert_is(200);
    let mut second = first.clone();
    let clicks = async |browser: &mut Browser, instance: &Instance| {
        for _ in 0..8 {
            let added = browser
                .post(instance, "/cart/items", json!({ "item": "lamp" }))
                .await;
            added.assert_is(200);
        }
    };
    tokio::join!(clicks(&mut first, &one), clicks(&mut second, &other));
    let (removed, added) = tokio::join!(
        first.delete(&one, "/cart/items/vase"),
        second.post(&other, "/cart/items", json!({ "item": "rug", "quantity": 3 })),
    );
    removed.assert_is(200);
    added.assert_is(200);
    for instance in [&one, &other] {
        let cart = first.get(instance, "/cart").await;
        assert_eq!(cart.json(), json!({ "items": { "lamp": 16, "rug": 3 } }));
    }
    // Who is not the same visitor has another cart.
    assert_eq!(
        Browser::new().get(&one, "/cart").await.json(),
        json!({ "items": {} })
    );
}

async fn a_repeated_request_places_one_order(runtime: Runtime, url: &str) {
    let (one, other) = two_instances(runtime, url).await;
    let mut browser = Browser::new();
    let lamps = json!({ "item": "lamp", "quantity": 2 });
    browser.post(&one, "/cart/items", lamps).await.assert_is(200);

    let order = async |instance: &Instance| browser.clone().order(instance, "order-1").await;
    let (a, b, c, d) = tokio::join!(order(&one), order(&other), order(&one), order(&other));
    let placed = json!({ "number": 1, "items": { "lamp": 2 } });
    for answer in [a, b, c, d] {
        answer.assert_is(201);
        assert_eq!(answer.json(), placed);
    }
    // It comes again when there is something in the cart that is not its.
    browser
        .post(&one, "/cart/items", json!({ "item": "rug" }))
        .await
        .assert_is(200);
    assert_eq!(browser.order(&other, "order-1").await.json(), placed);
    assert_eq!(
        browser.get(&one, "/cart").await.json(),
        json!({ "items": { "rug": 1 } })
    );
    assert_eq!(
        browser.get(&other, "/orders").await.json(),
        json!({ "orders": [placed] })
    );
    // Another order is another.
    let second = browser.order(&one, "order-2").await;
    assert_eq!(second.json(), json!({ "number": 2, "items": { "rug": 1 } }));

    let handed_over = |instance: &Instance| instance.logged("order handed over").len();
    assert_eq!(handed_over(&one) + handed_over(&other), 2);
}

async fn a_killed_instance_is_replaced(runtime: Runtime, url: &str) {
    let survivor = Instance::start(runtime, url).await;
    let mut browser = Browser::new();
    browser
        .post(&survivor, "/cart/items", json!({ "item": "vase" }))
        .await
        .assert_is(200);

    // Whether it dies before its write, in it or behind it: the request is repeated, and counts once.
    for (click, after) in [0, 2, 5, 10].into_iter().enumerate() {
        let victim = Instance::start(runtime, url).await;
        browser.get(&victim, "/cart").await.assert_is(200);
        let key = format!("click-{click}");
        let body = json!({ "item": "lamp" });
        let kill = async {
            tokio::time::sleep(Duration::from_millis(after)).await;
            victim.kill();
        };
        let mut lost = browser.clone();
        let _ = tokio::join!(lost.try_click(&victim, &key, &body), kill);
        let again = browser.try_click(&survivor, &key, &body).await;
        again.expect("the other lives").assert_is(200);
    }
    let cart = browser.get(&survivor, "/cart").await;
    assert_eq!(cart.json(), json!({ "items": { "lamp": 4, "vase": 1 } }));

    let victim = Instance::start(runtime, url).await;
    let (mut lost, mut other) = (browser.clone(), browser.clone());
    let kill = async {
        // It is killed when its order is there, which is before it has answered or just after.
        let deadline = Instant::now() + Duration::from_secs(20);
        while other.get(&survivor, "/orders").await.json()["orders"] == json!([]) {
            assert!(Instant::now() < deadline, "no order came");
        }
        victim.kill();
    };
    let _ = tokio::join!(lost.try_order(&victim, "order"), kill);
    let again = browser.order(&survivor, "order").await;
    again.assert_is(201);
    let placed = json!({ "number": 1, "items": { "lamp": 4, "vase": 1 } });
    assert_eq!(again.json(), placed);
    let orders = browser.get(&survivor, "/orders").await;
    assert_eq!(orders.json(), json!({ "orders": [placed] }));
}

async fn a_cold_start_finds_everything(runtime: Runtime, url: &str) {
    let mut browser = Browser::new();
    {
        let first = Instance::start(runtime, url).await;
        browser
            .put(&first, "/session", json!({ "name": "Ada" }))
            .await
            .assert_is(200);
        browser
            .post(&first, "/cart/items", json!({ "item": "lamp" }))
            .await
            .assert_is(200);
    } // and it ends, as nobody comes for a while
    let second = Instance::start(runtime, url).await;
    let cart = browser
        .post(&second, "/cart/items", json!({ "item": "lamp" }))
        .await;
    assert_eq!(cart.json(), json!({ "items": { "lamp": 2 } }));
    assert_eq!(
        browser.get(&second, "/session").await.json(),
        json!({ "name": "Ada" })
    );

    browser.delete(&second, "/session").await.assert_is(204);
    assert_eq!(
        browser.get(&second, "/session").await.json(),
        json!({ "name": null })
    );
    assert_eq!(browser.get(&second, "/cart").await.json(), json!({ "items": {} }));
}

async fn what_is_wrong_is_refused(runtime: Runtime, url: &str) {
    let shop = Instance::start(runtime, url).await;
    let mut browser = Browser::new();
    browser.get(&shop, "/health").await.assert_is(204);
    browser.get(&shop, "/nothing").await.assert_is(404);
    let empty = browser.order(&shop, "order").await;
    empty.assert_is(409);
    assert_eq!(
        empty.json(),
        json!({ "title": "the cart is empty", "status": 409 })
    );
    browser.post(&shop, "/orders", json!({})).await.assert_is(400);
    for wrong in [json!({ "item": "" }), json!({ "item": "lamp", "quantity": 0 })] {
        browser.post(&shop, "/cart/items", wrong).await.assert_is(400);
    }
    let too_many = json!({ "item": "lamp", "quantity": 100 });
    browser.post(&shop, "/cart/items", too_many).await.assert_is(409);
}

async fn the_page_is_served(runtime: Runtime, url: &str) {
    let (one, other) = two_instances(runtime, url).await;
    let mut browser = Browser::new();
    let page = browser.get(&one, "/").await;
    page.assert_is(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'self';")
    );
    for (file, content_type) in [("page.css", "text/css"), ("page.js", "text/javascript")] {
        assert!(
            page.text().contains(&format!("\"{file}\"")),
            "the page has no {file}"
        );
        let file = browser.get(&one, &format!("/{file}")).await;
        file.assert_is(200);
        assert!(file.header("content-type").starts_with(content_type));
    }
    // It tells who has answered, and which version the cart has.
    browser
        .post(&one, "/cart/items", json!({ "item": "lamp" }))
        .await
        .assert_is(200);
    let (first, second) = (
        browser.get(&one, "/cart").await,
        browser.get(&other, "/cart").await,
    );
    assert_eq!(first.header("shop-instance"), page.header("shop-instance"));
    assert_ne!(first.header("shop-instance"), second.header("shop-instance"));
    assert_eq!(first.header("etag"), second.header("etag"));
    browser
        .post(&other, "/cart/items", json!({ "item": "lamp" }))
        .await
        .assert_is(200);
    let third = browser.get(&one, "/cart").await;
    assert_ne!(third.header("etag"), first.header("etag"));
}

async fn logs_are_json_and_tell_no_value(runtime: Runtime, url: &str) {
    let shop = Instance::start(runtime, url).await;
    let mut browser = Browser::new();
    browser
        .put(&shop, "/session", json!({ "name": "hunter2" }))
        .await
        .assert_is(200);
    browser
        .post(&shop, "/cart/items", json!({ "item": "hunter2" }))
        .await
        .assert_is(200);
    browser.order(&shop, "hunter2").await.assert_is(201);
    browser.delete(&shop, "/cart/items/hunter2").await.assert_is(200);
    let requests = shop.logged("request");
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert_eq!(requests[3]["method"], "DELETE");
    assert_eq!(requests[3]["route"], "/cart/items/{item}");
    assert_eq!(requests[3]["status"], 200);
    let output = shop.output();
    assert!(!output.contains("hunter2"), "{output}");
    assert!(!output.contains(browser.session().unwrap()), "{output}");
}

async fn two_instances(runtime: Runtime, url: &str) -> (Instance, Instance) {
    tokio::join!(Instance::start(runtime, url), Instance::start(runtime, url))
}
