//! No log line of ours shows a stored value or a credential: the whole suite with every target at `TRACE`, on stores
//! whose values and credentials are canaries.
//!
//! Targets of the SDKs that do show them are those that `docs/logs.md` names.
#![cfg(all(unix, feature = "dynamodb", feature = "firestore", feature = "redis"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "also in the helpers of tests"
)]

mod canary;
mod watch;

use std::process::Command;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use statestore::StateStore;
use statestore_conformance::servers::dynamodb::DynamoDbServer;
use statestore_conformance::servers::firestore::FirestoreServer;
use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
use statestore_conformance::{Subject, contract};

use canary::Canary;
use watch::Watch;

/// What no log may show. The AWS SDK has its secrets from the environment, as a function has.
const SECRETS: [(&str, &str); 3] = [
    ("AWS_SECRET_ACCESS_KEY", "canary-secret-8e0b6f4d"),
    ("AWS_SESSION_TOKEN", "canary-token-51c9aa07"),
    ("STATESTORE_CANARY_PASSWORD", "canary-password-2f7d10e3"),
];

/// How many cases to run at once.
const AT_ONCE: usize = 4;

/// To write all that takes its time.
const PATIENT: &str = "timeout=60s&retry_deadline=170s";

/// Cases that count every byte of a transaction, and so do not hold with canaries in it.
const COUNTS_BYTES: [&str; 1] = ["transactions::more_bytes_are_refused"];

/// The documentation of what is logged.
const DOCUMENTED: &str = include_str!("../../../docs/logs.md");

#[test]
fn no_log_shows_a_value_or_a_credential() {
    // The environment of a process can only be set from outside.
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .envs(SECRETS)
        .env("AWS_ACCESS_KEY_ID", "statestore")
        .status()
        .unwrap();
    assert!(child.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of `no_log_shows_a_value_or_a_credential`"]
async fn child() {
    let secrets = SECRETS.map(|(_, secret)| secret.to_owned());
    let watch = Watch::install(canary::shown(), secrets.to_vec());

    let redis = RedisServer::start(RedisOptions::default().password(SECRETS[2].1))
        .await
        .unwrap();
    suite(&format!("{}?{PATIENT}", redis.url())).await;
    let of_redis = check("Redis", &watch);

    let dynamodb = DynamoDbServer::start().await.unwrap();
    let url = format!(
        "dynamodb://logs?region=eu-central-1&endpoint={}",
        dynamodb.endpoint()
    );
    let config: statestore::dynamodb::DynamoDbConfig = url.parse().unwrap();
    statestore::DynamoDbStore::new(config)
        .unwrap()
        .create_table()
        .await
        .unwrap();
    suite(&format!("{url}&{PATIENT}")).await;
    let of_dynamodb = check("DynamoDB", &watch);

    // (The emulator takes no credentials.)
    let firestore = FirestoreServer::start().await.unwrap();
    suite(&format!(
        "firestore://logs/state?emulator={}&{PATIENT}",
        firestore.addr()
    ))
    .await;
    let of_firestore = check("Firestore", &watch);
    let lines = of_redis + of_dynamodb + of_firestore;
    assert!(lines > 1_000, "everything is logged");
}

/// What a backend has logged is what the documentation says. Returns how many lines it was.
fn check(backend: &str, watch: &Watch) -> u64 {
    let (lines, leaks) = watch.take();
    println!("{backend}: {lines} log lines; canaries in those of {leaks:?}");
    for (target, leak) in &leaks {
        assert!(
            !target.starts_with("statestore"),
            "{target} shows a value or a credential"
        );
        let shows = match (leak.values, leak.credentials) {
            (_, false) => "values",
            (true, true) => "values and credentials",
            (false, true) => "credentials",
        };
        let row = format!("| `{target}` | {backend} | {shows} |");
        assert!(DOCUMENTED.contains(&row), "docs/logs.md has no row `{row}`");
    }
    lines
}

/// The contract on the store of a URL.
async fn suite(url: &str) {
    let store = statestore::open(url).await.unwrap();
    store.ready().await.unwrap();
    let store: Arc<dyn StateStore> = Arc::new(Canary::new(store));
    let cases = contract()
        .into_iter()
        .filter(|case| !COUNTS_BYTES.contains(&case.name));
    let cases = stream::iter(cases).map(|case| {
        let subject = Subject::new(store.clone());
        tokio::spawn(async move { case.run(subject).await })
    });
    cases
        .buffer_unordered(AT_ONCE)
        .for_each(async |case| case.unwrap())
        .await;
}
