//! Both functions on the same DynamoDB Local, two instances of each, which are made to read before either writes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

#[path = "../python.rs"]
mod python;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use statestore::DynamoDbStore;
use statestore::dynamodb::DynamoDbConfig;
use statestore_conformance::servers::dynamodb::DynamoDbServer;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

const INSTANCES: u32 = 2;

/// In front of the server: answers the first reads when all instances have read.
struct Meeting {
    addr: SocketAddr,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: SocketAddr,
    client: Client<HttpConnector, Body>,
    reads: AtomicU32,
    all_have_read: Barrier,
}

impl Meeting {
    async fn start(upstream: SocketAddr) -> Self {
        let shared = Shared {
            upstream,
            client: Client::builder(TokioExecutor::new()).build_http(),
            reads: AtomicU32::new(0),
            all_have_read: Barrier::new(INSTANCES as usize),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = Router::new().fallback(pass_on).with_state(Arc::new(shared));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { addr, server }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let operation = request.headers()["x-amz-target"].to_str().unwrap().to_owned();
    *request.uri_mut() = format!("http://{}/", shared.upstream).parse().unwrap();
    let answer = shared.client.request(request).await.unwrap().map(Body::new);
    if operation.ends_with(".GetItem") && shared.reads.fetch_add(1, Ordering::SeqCst) < INSTANCES {
        shared.all_have_read.wait().await;
    }
    answer
}

/// A program with the function, on the table that is made for it.
#[derive(Clone, Copy)]
enum Program {
    Python,
    Rust,
}

impl Program {
    fn command(self) -> Command {
        let mut command = match self {
            Self::Python => {
                let mut command = Command::new(python::interpreter());
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/cart.py"));
                command
            }
            Self::Rust => Command::new(env!("CARGO_BIN_EXE_cart")),
        };
        command
            .env("STATESTORE_URL", "dynamodb://carts")
            .env("TABLE", "carts")
            .env("AWS_ACCESS_KEY_ID", "made")
            .env("AWS_SECRET_ACCESS_KEY", "up")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1");
        command
    }

    /// Runs an instance, which puts this into the cart. Returns what it says is in the cart then.
    async fn put(self, item: &str, server: SocketAddr) -> Vec<String> {
        let run = self
            .command()
            .env("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{server}"))
            .arg(json!({ "user": "ada", "item": item }).to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_secs(90), run);
        let output = output.await.expect("it ends in time").unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Two instances read before either writes. Returns what is in the cart when both have answered that all is well, and one more has put a vase
    /// into it.
    async fn after_two_at_once(self) -> Vec<String> {
        let server = DynamoDbServer::start().await.unwrap();
        let config = DynamoDbConfig::new("carts")
            .with_endpoint(server.endpoint())
            .with_made_up_credentials();
        DynamoDbStore::new(config).unwrap().create_table().await.unwrap();
        let meeting = Meeting::start(server.addr()).await;
        let (lamp, rug) = tokio::join!(self.put("lamp", meeting.addr), self.put("rug", meeting.addr));
        assert!(lamp.contains(&"lamp".to_owned()), "{lamp:?}");
        assert!(rug.contains(&"rug".to_owned()), "{rug:?}");
        self.put("vase", server.addr()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_function_loses_an_item() {
    let cart = Program::Python.after_two_at_once().await;
    assert!(cart == ["lamp", "vase"] || cart == ["rug", "vase"], "{cart:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_loses_none() {
    let cart = Program::Rust.after_two_at_once().await;
    assert!(
        cart == ["lamp", "rug", "vase"] || cart == ["rug", "lamp", "vase"],
        "{cart:?}"
    );
}

/// The code blocks of a page in this language, whatever else is said of them.
fn quotes<'page>(page: &'page str, language: &str) -> Vec<&'page str> {
    let blocks = page.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.split_once('\n'));
    blocks
        .filter(|(said, _)| said.split(',').next() == Some(language))
        .map(|(_, code)| code)
        .collect()
}

#[test]
fn the_pages_show_what_is_tested() {
    let (python, rust) = (include_str!("../cart.py"), include_str!("../cart.rs"));
    for page in [include_str!("../README.md"), include_str!("../../../README.md")] {
        for (language, file) in [("python", python), ("rust", rust)] {
            let quotes = quotes(page, language);
            let quoted = quotes.iter().filter(|quote| file.contains(**quote)).count();
            assert_eq!(quoted, 1, "{language} on the page: {quotes:?}");
        }
    }
}
