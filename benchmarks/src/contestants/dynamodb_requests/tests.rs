use std::sync::Arc;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use serde_json::{Value, json};
use statestore::DynamoDbStore;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::contestants::ours::Ours;

/// A request: its name, and its body without what is another each time.
type Sent = (String, Value);

/// Answers each request with `{}`, which is a success of every one, and passes it on.
async fn answer(stream: TcpStream, sent: mpsc::UnboundedSender<Sent>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut name, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            match line.trim_end().split_once(": ") {
                Some((head, value)) if head.eq_ignore_ascii_case("x-amz-target") => name = value.to_owned(),
                Some((head, value)) if head.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().expect("a length");
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let mut body: Value = serde_json::from_slice(&body).expect("JSON");
        forget(&mut body);
        sent.send((name, body)).expect("the test goes on");
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(head.as_bytes()).await.ok()?;
    }
}

/// Versions, times and tokens become their lengths.
fn forget(body: &mut Value) {
    match body {
        Value::Object(fields) => {
            for (name, value) in fields {
                let text = match name.as_str() {
                    ":ver" | ":w" | ":is" | "ver1" => value["S"].as_str(),
                    ":now" => value["N"].as_str(),
                    "ClientRequestToken" => value.as_str(),
                    _ => None,
                };
                match text.map(str::len) {
                    Some(length) => *value = json!(length),
                    None => forget(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(forget),
        _ => {}
    }
}

/// What these calls send.
async fn sent_by<C: Contestant<Key = Key>>(
    one: C,
    partition: &str,
    sent: &mut mpsc::UnboundedReceiver<Sent>,
) -> Vec<Sent> {
    let key = |id| Key::new("P", id).expect("a key");
    let keys = [key("a"), key("b"), key("c")];
    let value = Bytes::from_static(b"{\"a\":\"text\"}");
    one.get(&keys[0]).await;
    one.put(&keys[0], value.clone()).await;
    let mut version = one.create(&keys[0], value.clone()).await;
    // As often as it takes to have replaced more than an item remembers.
    for _ in 0..REMEMBERED + 2 {
        version = one.compare_and_set(&keys[0], version, value.clone()).await;
    }
    one.page(partition, 100).await;
    one.get_many(&keys).await;
    one.transact(&keys, value).await;
    let mut all = Vec::new();
    while let Ok(one) = sent.try_recv() {
        all.push(one);
    }
    all
}

#[tokio::test]
async fn the_requests_are_those_of_the_store() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (sender, mut sent) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, sender.clone()));
        }
    });
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("made", "up", None, None, "bench"))
        .endpoint_url(format!("http://{addr}"));
    let client = Client::from_conf(config.build());
    let store = DynamoDbStore::from_client(client.clone(), "bench").expect("a store");
    let ours = sent_by(Ours(Arc::new(store)), "P", &mut sent).await;
    let same = sent_by(Requests::new(client, "bench"), "p", &mut sent).await;
    assert_eq!(ours.len(), 3 + REMEMBERED + 2 + 3);
    assert_eq!(ours, same);
}
