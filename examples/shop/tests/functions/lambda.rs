//! The Runtime API of AWS Lambda, as an execution environment speaks it: one invocation at a time, which the function fetches.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>; the events are API Gateway's and function URLs' of version 2.0,
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const FUNCTION: &str = "shop";

/// The execution environment of one instance. Dropping it stops its server.
pub(crate) struct Environment {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    queue: Mutex<Option<mpsc::UnboundedSender<Invocation>>>,
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// The invocations that the function has fetched, by their request ids.
    running: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
}

struct Invocation {
    id: String,
    event: Value,
    answer: oneshot::Sender<Answer>,
}

type Answer = Result<Value, String>;

impl Environment {
    pub(crate) async fn start() -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            queue: Mutex::new(Some(queue)),
            waiting: waiting.into(),
            running: Mutex::default(),
        });
        let api = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, api).await.unwrap() });
        Self { addr, shared, server }
    }

    /// What Lambda puts into the environment of a function.
    pub(crate) fn variables(&self) -> Vec<String> {
        vec![
            format!("AWS_LAMBDA_RUNTIME_API={}", self.addr),
            format!("AWS_LAMBDA_FUNCTION_NAME={FUNCTION}"),
            "AWS_LAMBDA_FUNCTION_VERSION=$LATEST".to_owned(),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128".to_owned(),
            "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/shop".to_owned(),
            "AWS_LAMBDA_LOG_STREAM_NAME=test".to_owned(),
        ]
    }

    /// Sends a visitor's request as an event, and makes the visitor's answer of the function's.
    pub(crate) async fn invoke(&self, request: Request<String>) -> Result<Response<String>, String> {
        self.invoke_with(event(request)).await
    }

    /// Sends an event, and makes a visitor's answer of the function's.
    pub(crate) async fn invoke_with(&self, event: Value) -> Result<Response<String>, String> {
        let (answer, answered) = oneshot::channel();
        let invocation = Invocation {
            id: statestore::WriteId::new().to_string(),
            event,
            answer,
        };
        let queue = self.shared.queue.lock().unwrap().clone();
        let gone = "the instance has ended";
        queue.and_then(|queue| queue.send(invocation).ok()).ok_or(gone)?;
        answered.await.map_err(|_| gone.to_owned())?.map(visible)
    }

    /// Tells those who wait that the instance has ended.
    pub(crate) fn ended(&self) {
        self.shared.queue.lock().unwrap().take();
        self.shared.running.lock().unwrap().clear();
        self.server.abort();
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// `/runtime/invocation/next`, which waits for an invocation.
async fn next(State(shared): State<Arc<Shared>>) -> Response<axum::body::Body> {
    let Some(invocation) = shared.waiting.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = SystemTime::now() + Duration::from_secs(15);
    let deadline = deadline
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", invocation.id.clone()),
        ("Lambda-Runtime-Deadline-Ms", deadline.to_string()),
        (
            "Lambda-Runtime-Invoked-Function-Arn",
            format!("arn:aws:lambda:eu-central-1:123456789012:function:{FUNCTION}"),
        ),
        (
            "Lambda-Runtime-Trace-Id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0".to_owned(),
        ),
    ];
    shared
        .running
        .lock()
        .unwrap()
        .insert(invocation.id, invocation.answer);
    (headers, Json(invocation.event)).into_response()
}

async fn response(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: String,
) -> (StatusCode, Json<Value>) {
    let answer = serde_json::from_str(&body).map_err(|error| error.to_string());
    shared.answer(&id, answer)
}

async fn error(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    let kind = headers.get("lambda-runtime-function-error-type").cloned();
    shared.answer(&id, Err(format!("{kind:?} {body}")))
}

impl Shared {
    fn answer(&self, id: &str, answer: Answer) -> (StatusCode, Json<Value>) {
        let Some(waiting) = self.running.lock().unwrap().remove(id) else {
            let unknown = json!({ "errorMessage": "unknown request", "errorType": "InvalidRequestID" });
            return (StatusCode::BAD_REQUEST, Json(unknown));
        };
        // Whoever asked may not wait any more.
        let _ = waiting.send(answer);
        (StatusCode::ACCEPTED, Json(json!({ "status": "OK" })))
    }
}

/// The event of an HTTP request: headers are in lower case, and cookies apart.
fn event(request: Request<String>) -> Value {
    let (head, body) = request.into_parts();
    let mut headers = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in &head.headers {
        let value = value.to_str().unwrap();
        match name.as_str() {
            "cookie" => cookies.extend(value.split("; ")),
            name => drop(headers.insert(name, value)),
        }
    }
    headers.insert("host", "shop.lambda-url.eu-central-1.on.aws");
    headers.insert("x-forwarded-proto", "https");
    let path = head.uri.path();
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "cookies": cookies,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": FUNCTION,
            "domainName": "shop.lambda-url.eu-central-1.on.aws",
            "domainPrefix": FUNCTION,
            "http": {
                "method": head.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "test",
            },
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390_u64,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// What a visitor gets of a function's answer.
fn visible(answer: Value) -> Response<String> {
    assert_ne!(answer["isBase64Encoded"], true, "what this shop says is text");
    let status = u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap();
    let mut response = Response::builder().status(status);
    for headers in ["headers", "multiValueHeaders"] {
        for (name, value) in answer[headers].as_object().into_iter().flatten() {
            if let Some(value) = value.as_str() {
                response = response.header(name, value);
            }
        }
    }
    for cookie in answer["cookies"].as_array().into_iter().flatten() {
        response = response.header("set-cookie", cookie.as_str().unwrap());
    }
    let body = answer["body"].as_str().unwrap_or_default();
    response.body(body.to_owned()).unwrap()
}
