//! A gRPC server that gives canned answers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use firestore::gcloud_sdk::prost::Message;
use firestore::gcloud_sdk::tonic::Code;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use statestore::FirestoreStore;
use statestore::firestore::FirestoreConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This status and no message, with these details.
    Status(Code, String, Vec<u8>),
    /// These messages.
    Messages(Vec<Vec<u8>>),
    /// Closes the connection.
    Close,
    /// Says nothing.
    Silence,
}

impl Answer {
    pub(crate) fn status(code: Code, message: impl Into<String>) -> Self {
        Self::Status(code, message.into(), Vec::new())
    }

    pub(crate) fn message(message: &impl Message) -> Self {
        Self::Messages(vec![message.encode_to_vec()])
    }
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Answer>,
    /// The method of each request, and its message.
    requests: Vec<(String, Vec<u8>)>,
}

pub(crate) struct Canned {
    addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl Canned {
    /// Gives these answers in turn, and the last one again and again.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script {
            answers: answers.into_iter().collect(),
            requests: Vec::new(),
        }));
        let serving = script.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, serving.clone()));
            }
        });
        Self { addr, script, task }
    }

    pub(crate) fn store(&self) -> FirestoreStore {
        FirestoreStore::new(self.config()).unwrap()
    }

    pub(crate) fn config(&self) -> FirestoreConfig {
        FirestoreConfig::new("canned", "state")
            .with_emulator(self.addr.to_string())
            .with_timeout(Duration::from_secs(20))
    }

    /// The method of each request so far, and its message.
    pub(crate) fn requests(&self) -> Vec<(String, Vec<u8>)> {
        self.script.lock().unwrap().requests.clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: TcpStream, script: Arc<Mutex<Script>>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        // The connection is read on while the message comes.
        let message = tokio::select! {
            message = read(request) => message,
            _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => return,
        };
        let answer = {
            let mut script = script.lock().unwrap();
            script.requests.push(message);
            match script.answers.len() {
                1 => script.answers[0].clone(),
                _ => script.answers.pop_front().unwrap(),
            }
        };
        match answer {
            Answer::Status(code, message, details) => status(&mut respond, code, &message, &details),
            Answer::Messages(messages) => send(&mut respond, messages),
            Answer::Close => return,
            // Held, lest it is reset.
            Answer::Silence => std::mem::forget(respond),
        }
    }
}

async fn read(request: Request<h2::RecvStream>) -> (String, Vec<u8>) {
    let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
    let (mut body, mut bytes) = (request.into_body(), Vec::new());
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        bytes.extend_from_slice(&chunk);
    }
    // Behind a byte for compression and four for the length.
    (method, bytes.split_off(5))
}

fn head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

fn status(respond: &mut SendResponse<Bytes>, code: Code, message: &str, details: &[u8]) {
    use base64::Engine as _;
    let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(details);
    let head = head()
        .header("grpc-status", i32::from(code))
        .header("grpc-message", message)
        .header("grpc-status-details-bin", details);
    respond.send_response(head.body(()).unwrap(), true).unwrap();
}

fn send(respond: &mut SendResponse<Bytes>, messages: Vec<Vec<u8>>) {
    let mut body = respond.send_response(head().body(()).unwrap(), false).unwrap();
    for message in messages {
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(message);
        body.send_data(framed.into(), false).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", 0.into());
    body.send_trailers(trailers).unwrap();
}
