//! What each cloud's schedule calls, and what it finds: an instance is killed at each request that an order makes to its store.
#![cfg(feature = "redis")]

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{Request, Response};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use statestore::patterns::Outbox;
use statestore::{ScanOptions, StateStoreExt as _};
use statestore_conformance::proxy::{Fault, Protocol, Proxy};
use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
use statestore_conformance::servers::wait_for;

use crate::browser::Browser;
use crate::instance::{Instance, Runtime};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_lambda() {
    what_killed_instances_left_is_delivered_once(Runtime::AwsLambda).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_functions() {
    what_killed_instances_left_is_delivered_once(Runtime::AzureFunctions).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloud_run() {
    what_killed_instances_left_is_delivered_once(Runtime::CloudRun).await;
}

async fn what_killed_instances_left_is_delivered_once(runtime: Runtime) {
    // A server of its own: the schedule sees to all that is in it.
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let network = Proxy::start(server.addr(), Protocol::Resp).await.unwrap();
    let through = format!("redis://{}", network.addr());

    let mut browsers = Vec::new();
    loop {
        let victim = Instance::start(runtime, &through).await;
        let mut browser = Browser::new();
        let lamp = json!({ "item": "lamp" });
        browser.post(&victim, "/cart/items", lamp).await.assert_is(200);
        // So many requests pass, and the next one does not come to the server before the instance is dead.
        let pass = browsers.iter().map(|_| Fault::Delay(Duration::ZERO));
        network.inject(pass.chain([Fault::Late(Duration::from_secs(3600))]));
        let reached = wait_for("the order comes to its request", LIMIT, async || {
            match network.injected() {
                0 => Ok(()),
                left => Err(left),
            }
        });
        let mut lost = browser.clone();
        let answered = tokio::select! {
            reached = reached => reached.map(|()| None).unwrap(),
            answer = lost.try_order(&victim, "order") => Some(answer.unwrap()),
        };
        victim.kill();
        browsers.push(browser);
        if let Some(answer) = answered {
            // That was all that an order does.
            answer.assert_is(201);
            break;
        }
    }
    network.inject_randomly(None);

    let survivor = Instance::start(runtime, &through).await;
    let store = statestore::open(&server.url()).await.unwrap();
    let waiting = async || {
        Outbox::<Value, Value>::new(store.clone())
            .waiting()
            .await
            .unwrap()
            .len()
    };
    let left = waiting().await;
    assert!(
        left > 1,
        "too few died between the order and the end of its delivery"
    );
    let report = schedule(&survivor, runtime).await;
    assert_eq!(report.status(), 200, "{report:?}");
    let report: Value = serde_json::from_str(report.body()).unwrap();
    assert_eq!(report, json!({ "handled": left, "failed": 0, "left": 0 }));
    assert_eq!(waiting().await, 0);
    assert_shipped_once(&store).await;

    // The next call comes too early, as anybody's would; and to repeat the requests changes nothing.
    assert_eq!(schedule(&survivor, runtime).await.status(), 429);
    for browser in &mut browsers {
        let order = browser.order(&survivor, "order").await;
        order.assert_is(201);
        assert_eq!(order.json(), json!({ "number": 1, "items": { "lamp": 1 } }));
    }
    assert_eq!(waiting().await, 0);
    assert_eq!(assert_shipped_once(&store).await, browsers.len());
}

/// As this cloud's schedule does it.
async fn schedule(shop: &Instance, runtime: Runtime) -> Response<String> {
    let request = Request::post("/deliveries");
    let answer = match runtime {
        Runtime::AwsLambda => {
            let template = include_str!("../../aws-lambda/template.yaml");
            let input = template
                .lines()
                .find_map(|line| line.trim().strip_prefix("Input: '"));
            let input = input.and_then(|input| input.strip_suffix('\'')).unwrap();
            shop.send_event(serde_json::from_str(input).unwrap()).await
        }
        Runtime::AzureFunctions => {
            let timer: Value =
                serde_json::from_str(include_str!("../../azure-functions/deliveries/function.json")).unwrap();
            assert_eq!(timer["bindings"][0]["type"], "timerTrigger");
            let body = json!({ "Data": { "timer": { "IsPastDue": false } }, "Metadata": { "sys": {} } });
            let request = request.header("content-type", "application/json");
            shop.send(request.body(body.to_string()).unwrap()).await
        }
        Runtime::CloudRun => shop.send(request.body(String::new()).unwrap()).await,
    };
    answer.unwrap()
}

/// That for each order there is one shipment. Returns how many.
async fn assert_shipped_once(store: &std::sync::Arc<dyn statestore::StateStore>) -> usize {
    let mut customers: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut items = store.scan(ScanOptions::default());
    while let Some(item) = items.try_next().await.unwrap() {
        let (orders, shipments) = customers.entry(item.key.partition().to_owned()).or_default();
        if item.key.id() == "account" {
            let account: Value = serde_json::from_slice(&item.entry.unwrap().value).unwrap();
            *orders = account["orders"].as_array().unwrap().len();
        } else if item.key.id().starts_with("shipments/") {
            *shipments += 1;
        }
    }
    for (customer, (orders, shipments)) in &customers {
        assert_eq!(orders, shipments, "{customer}");
    }
    customers.values().map(|(_, shipments)| shipments).sum()
}
