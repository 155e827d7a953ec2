//! A server that gives canned answers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

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
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Http(200, "", body.into())
    }
}

/// What the server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The first line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = headers.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Answer>,
    requests: Vec<Request>,
}

pub(crate) struct CannedServer {
    addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl CannedServer {
    /// Gives these answers in turn, and the last one again and again, each with these header lines.
    pub(crate) async fn start(headers: &'static str, answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script {
            answers: answers.into_iter().collect(),
            requests: Vec::new(),
        }));
        let serving = script.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, headers, serving.clone()));
            }
        });
        Self { addr, script, task }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Each request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.script.lock().unwrap().requests.clone()
    }
}

impl Drop for CannedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut socket: TcpStream, common: &'static str, script: Arc<Mutex<Script>>) {
    let mut bytes = Vec::new();
    while let Some(request) = request(&mut socket, &mut bytes).await {
        let answer = {
            let mut script = script.lock().unwrap();
            script.requests.push(request);
            match script.answers.len() {
                1 => script.answers[0].clone(),
                _ => script.answers.pop_front().unwrap(),
            }
        };
        match answer {
            Answer::Http(status, headers, body) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} canned\r\n{common}{headers}Content-Length: {length}\r\n\r\n");
                if socket.write_all((head + &body).as_bytes()).await.is_err() {
                    return;
                }
            }
            Answer::Close => return,
            Answer::Silence => std::future::pending().await,
        }
    }
}

/// The next request.
async fn request(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Request> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let mut request = Request {
                head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
                body: String::new(),
            };
            let length: usize = request
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
            let start = end + 4;
            if bytes.len() >= start + length {
                request.body = String::from_utf8_lossy(&bytes[start..start + length]).into_owned();
                bytes.drain(..start + length);
                return Some(request);
            }
        }
        let mut more = [0; 4096];
        match socket.read(&mut more).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&more[..count]),
            _ => return None,
        }
    }
}
