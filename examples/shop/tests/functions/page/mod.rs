//! The page, in a real browser that talks to the instance on Cloud Run.

mod chromium;
mod tab;

use std::time::Duration;

use statestore_conformance::proxy::{Fault, Protocol, Proxy};
use statestore_conformance::servers::Group;
use statestore_conformance::servers::redis::{RedisOptions, RedisServer};

use crate::instance::{Instance, Runtime};
use chromium::Chromium;
use tab::Tab;

const LAMP: &str = "[aria-label='Add a lamp']";
const RUG: &str = "[aria-label='Add a rug']";
const VASE: &str = "[aria-label='Add a vase']";
const ORDER: &str = "#order";

macro_rules! on_stores_that_survive_a_process {
    ($($case:ident)+) => {
        #[cfg(feature = "embedded")]
        mod file {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let folder = super::Group::new("page").unwrap();
                    super::$case(&format!("file:{}", folder.folder().join("shop.redb").display())).await;
                }
            )+
        }
        #[cfg(feature = "redis")]
        mod redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::stores::redis().await).await;
                }
            )+
        }
    };
}

on_stores_that_survive_a_process! {
    a_killed_instance_is_replaced_before_the_visitors_eyes
    clicks_in_two_tabs_at_once_are_both_kept
    what_another_has_changed_is_shown_before_it_is_ordered
    an_order_is_placed_once
    a_click_counts_once
    a_removed_item_is_gone
}

async fn a_killed_instance_is_replaced_before_the_visitors_eyes(store: &str) {
    let shop = Instance::start(Runtime::CloudRun, store).await;
    let tab = Tab::open(&Chromium::get().context().await, &shop.url()).await;
    for item in [LAMP, RUG, LAMP] {
        tab.click(item).await;
    }
    let before = tab.until_cart(&["lamp × 2", "rug × 1"]).await;
    assert_eq!(before.instances, "1");
    assert_eq!(before.problem, None);

    shop.kill();
    tab.click(VASE).await;
    tab.until("the page says that it tries again", |seen| {
        seen.news.contains("trying again")
    })
    .await;
    shop.start_again().await;
    let after = tab.until_cart(&["lamp × 2", "rug × 1", "vase × 1"]).await;
    assert_ne!(after.instance, before.instance);
    assert_ne!(after.version, before.version);
    assert_eq!(after.instances, "2");
    let takeover = format!("taken over: {} after {}", after.instance, before.instance);
    assert!(after.news.contains(&takeover), "{after:?}");

    tab.reload().await;
    let reloaded = tab.until_cart(&["lamp × 2", "rug × 1", "vase × 1"]).await;
    assert_eq!(
        (reloaded.instance, reloaded.version),
        (after.instance, after.version)
    );
}

async fn clicks_in_two_tabs_at_once_are_both_kept(store: &str) {
    let shop = Instance::start(Runtime::CloudRun, store).await;
    let (url, context) = (shop.url(), Chromium::get().context().await);
    let (one, other) = tokio::join!(Tab::open(&context, &url), Tab::open(&context, &url));
    for round in 1..=3 {
        tokio::join!(one.click(LAMP), other.click(RUG));
        let cart = [format!("lamp × {round}"), format!("rug × {round}")];
        let cart = cart.each_ref().map(String::as_str);
        let (one, other) = tokio::join!(one.until_cart(&cart), other.until_cart(&cart));
        assert_eq!((one.problem, other.problem), (None, None));
    }
}

async fn what_another_has_changed_is_shown_before_it_is_ordered(store: &str) {
    let shop = Instance::start(Runtime::CloudRun, store).await;
    let tab = Tab::open(&Chromium::get().context().await, &shop.url()).await;
    tab.click(LAMP).await;
    tab.until_cart(&["lamp × 1"]).await;
    // The same visitor on another device, of which this page knows nothing.
    let elsewhere = r#"fetch("cart/items", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ item: "chair" }),
    }).then((answer) => answer.status)"#;
    assert_eq!(tab.evaluate(elsewhere).await, 200);

    tab.click(ORDER).await;
    let refused = tab.until_cart(&["chair × 1", "lamp × 1"]).await;
    assert_eq!(
        refused.news,
        "The shop says: the cart has changed meanwhile; look at it, and order again."
    );
    assert!(refused.orders.is_empty(), "{refused:?}");
    tab.click(ORDER).await;
    let placed = tab.until_orders(&["1 × chair, 1 × lamp No. 1"]).await;
    assert_eq!(placed.news, "Your order is placed.");
}

async fn an_order_is_placed_once(store: &str) {
    let shop = Instance::start(Runtime::CloudRun, store).await;
    let network = Proxy::start(shop.addr(), Protocol::Http1).await.unwrap();
    let url = format!("http://{}/", network.addr());
    let tab = Tab::open(&Chromium::get().context().await, &url).await;

    // On a double click …
    tab.click(LAMP).await;
    tab.until_cart(&["lamp × 1"]).await;
    tab.double_click(ORDER).await;
    tab.until_orders(&["1 × lamp No. 1"]).await;

    // … when the answer is lost, …
    tab.click(RUG).await;
    tab.until_cart(&["rug × 1"]).await;
    network.inject([Fault::LoseReply]);
    tab.click(ORDER).await;
    let second = ["1 × rug No. 2", "1 × lamp No. 1"];
    let lost = tab.until_orders(&second).await;
    assert_eq!(network.injected(), 0);
    assert!(lost.cart.is_empty(), "{lost:?}");

    // … and when the page is loaded anew before there is one.
    tab.click(VASE).await;
    tab.until_cart(&["vase × 1"]).await;
    network.inject([Fault::Stall(Duration::from_secs(60))]);
    tab.click(ORDER).await;
    let stalled = network.wait_until(|counts| counts.pending_faults == 1);
    tokio::time::timeout(Duration::from_secs(20), stalled)
        .await
        .expect("the order is on its way");
    tab.reload().await;
    let third = ["1 × vase No. 3", "1 × rug No. 2", "1 × lamp No. 1"];
    tab.until_orders(&third).await;

    tab.reload().await;
    let reloaded = tab.until_orders(&third).await;
    assert!(reloaded.cart.is_empty(), "{reloaded:?}");
}

async fn a_click_counts_once(store: &str) {
    let shop = Instance::start(Runtime::CloudRun, store).await;
    let network = Proxy::start(shop.addr(), Protocol::Http1).await.unwrap();
    let url = format!("http://{}/", network.addr());
    let tab = Tab::open(&Chromium::get().context().await, &url).await;
    tab.click(LAMP).await;
    tab.until_cart(&["lamp × 1"]).await;

    // When its answer is lost, …
    network.inject([Fault::LoseReply]);
    tab.click(RUG).await;
    tab.until_cart(&["lamp × 1", "rug × 1"]).await;
    assert_eq!(network.injected(), 0);

    // … and when nobody was there to answer it, and the page is loaded anew.
    shop.kill();
    tab.click(VASE).await;
    tab.until("the page says that it tries again", |seen| {
        seen.news.contains("trying again")
    })
    .await;
    shop.start_again().await;
    tab.reload().await;
    tab.until_cart(&["lamp × 1", "rug × 1", "vase × 1"]).await;
}

async fn a_removed_item_is_gone(store: &str) {
    let shop = Instance::start(Runtime::CloudRun, store).await;
    let tab = Tab::open(&Chromium::get().context().await, &shop.url()).await;
    for item in [LAMP, RUG] {
        tab.click(item).await;
    }
    tab.until_cart(&["lamp × 1", "rug × 1"]).await;
    tab.click("[aria-label='Remove the lamp']").await;
    tab.until_cart(&["rug × 1"]).await;
    // Whatever the width of the screen, all is on it.
    for width in [360, 1200] {
        tab.resize(width).await;
        let wide = tab.evaluate("document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().unwrap() <= width.into(), "{wide}");
    }
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_is_said_and_the_change_is_kept() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let store = format!("{}?retry_deadline=400ms", server.url());
    let shop = Instance::start(Runtime::CloudRun, &store).await;
    let tab = Tab::open(&Chromium::get().context().await, &shop.url()).await;
    tab.click(LAMP).await;
    tab.until_cart(&["lamp × 1"]).await;

    server.suspend().unwrap();
    tab.click(RUG).await;
    let told = tab
        .until("the page says what is wrong", |seen| seen.problem.is_some())
        .await;
    let problem = told.problem.unwrap();
    assert!(problem.contains("try again in a moment"), "{problem}");
    assert!(problem.contains("Your change is kept"), "{problem}");
    assert_eq!(told.cart, ["lamp × 1"]);

    server.resume().unwrap();
    tab.click("#retry").await;
    let done = tab.until_cart(&["lamp × 1", "rug × 1"]).await;
    assert_eq!(done.problem, None);
}
