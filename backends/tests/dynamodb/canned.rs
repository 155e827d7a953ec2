//! A server that gives canned answers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statestore::DynamoDbStore;
use statestore::dynamodb::DynamoDbConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status, header lines and body.
    Http(u16, &'static str, String),
    /// Closes the connection.
    Close,
    /// Says nothing.
    Silence,
}

impl Answer {
    /// DynamoDB's answer with this error.
    pub(crate) fn error(code: &str) -> Self {
        let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"as canned"}}"#);
        Self::Http(400, "", body)
    }

    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Http(200, "", body.into())
    }
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Answer>,
    /// The `X-Amz-Target` of each request, and its body.
    requests: Vec<(String, String)>,
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

    pub(crate) fn store(&self) -> DynamoDbStore {
        DynamoDbStore::new(self.config()).unwrap()
    }

    pub(crate) fn config(&self) -> DynamoDbConfig {
        DynamoDbConfig::new("canned")
            .with_endpoint(format!("http://{}", self.addr))
            .with_made_up_credentials()
            .with_timeout(Duration::from_secs(20))
    }

    /// The name of each request so far, and its body.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        self.script.lock().unwrap().requests.clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut socket: TcpStream, script: Arc<Mutex<Script>>) {
    let mut bytes = Vec::new();
    while let Some((target, body)) = request(&mut socket, &mut bytes).await {
        let answer = {
            let mut script = script.lock().unwrap();
            script.requests.push((target, body));
            match script.answers.len() {
                1 => script.answers[0].clone(),
                _ => script.answers.pop_front().unwrap(),
            }
        };
        match answer {
            Answer::Http(status, headers, body) => {
                let head = format!(
                    "HTTP/1.1 {status} canned\r\nContent-Type: application/x-amz-json-1.0\r\n\
                     x-amzn-RequestId: canned\r\n{headers}Content-Length: {}\r\n\r\n",
                    body.len()
                );
                if socket.write_all((head + &body).as_bytes()).await.is_err() {
                    return;
                }
            }
            Answer::Close => return,
            Answer::Silence => std::future::pending().await,
        }
    }
}

/// The target and body of the next request.
async fn request(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let header = |name: &str| {
                head.lines()
                    .filter_map(|line| line.split_once(": "))
                    .find(|(found, _)| found.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.to_owned())
            };
            let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
            let start = end + 4;
            if bytes.len() >= start + length {
                let body = String::from_utf8_lossy(&bytes[start..start + length]).into_owned();
                bytes.drain(..start + length);
                let target = header("x-amz-target").unwrap_or_default();
                return Some((target.rsplit('.').next().unwrap_or_default().to_owned(), body));
            }
        }
        let mut more = [0; 4096];
        match socket.read(&mut more).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&more[..count]),
            _ => return None,
        }
    }
}
