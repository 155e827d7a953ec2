//! Each fault of the proxy, between a client that waits so long and a server that counts what it has acted on, in each
//! protocol.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use statestore_conformance::proxy::{Fault, Protocol, Proxy, RandomFaults};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PROTOCOLS: [Protocol; 3] = [Protocol::Http1, Protocol::Http2, Protocol::Resp];

/// How long the client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(300);

const HTTP1_REQUEST: &[u8] = b"POST /act HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy";
const HTTP1_REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nacted";
const RESP_REQUEST: &[u8] = b"*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n";
const RESP_REPLY: &[u8] = b"*2\r\n:1\r\n$5\r\nacted\r\n";

/// A server, its proxy, and how often the server has acted.
struct Bench {
    protocol: Protocol,
    proxy: Proxy,
    acted: Arc<AtomicU64>,
}

impl Bench {
    async fn new(protocol: Protocol) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let acted = Arc::new(AtomicU64::new(0));
        let acts = acted.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acts = acts.clone();
                match protocol {
                    Protocol::Http1 => drop(tokio::spawn(serve(socket, HTTP1_REQUEST, HTTP1_REPLY, acts))),
                    Protocol::Resp => drop(tokio::spawn(serve(socket, RESP_REQUEST, RESP_REPLY, acts))),
                    Protocol::Http2 => drop(tokio::spawn(serve_http2(socket, acts))),
                }
            }
        });
        let proxy = Proxy::start(addr, protocol).await.unwrap();
        Self {
            protocol,
            proxy,
            acted,
        }
    }

    /// One request on a connection of its own: the reply, or what came of it.
    async fn call(&self) -> Result<Vec<u8>, Vec<u8>> {
        let addr = self.proxy.addr();
        match self.protocol {
            Protocol::Http1 => call(addr, HTTP1_REQUEST, HTTP1_REPLY.len()).await,
            Protocol::Resp => call(addr, RESP_REQUEST, RESP_REPLY.len()).await,
            Protocol::Http2 => call_http2(addr).await,
        }
    }

    fn acted(&self) -> u64 {
        self.acted.load(Ordering::SeqCst)
    }

    async fn settled(&self) {
        let settled = self.proxy.settled();
        timeout(Duration::from_secs(30), settled).await.expect("in time");
    }
}

/// Reads requests that are all the same, and acts on each.
async fn serve(mut socket: TcpStream, request: &[u8], reply: &[u8], acted: Arc<AtomicU64>) {
    let mut read = vec![0; request.len()];
    while socket.read_exact(&mut read).await.is_ok() {
        assert_eq!(read, request);
        acted.fetch_add(1, Ordering::SeqCst);
        if socket.write_all(reply).await.is_err() {
            return;
        }
    }
}

async fn serve_http2(socket: TcpStream, acted: Arc<AtomicU64>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let acted = acted.clone();
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
            acted.fetch_add(1, Ordering::SeqCst);
            if let Ok(mut stream) = respond.send_response(http::Response::new(()), false) {
                let _ = stream.send_data("acted".into(), true);
            }
        });
    }
}

/// Sends a request, waits for the reply, and closes the connection in any case.
async fn call(addr: SocketAddr, request: &[u8], expects: usize) -> Result<Vec<u8>, Vec<u8>> {
    let mut read = Vec::new();
    let exchange = async {
        let mut socket = TcpStream::connect(addr).await.ok()?;
        socket.write_all(request).await.ok()?;
        while read.len() < expects {
            if socket.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        Some(())
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Some(())) => Ok(read),
        _ => Err(read),
    }
}

async fn call_http2(addr: SocketAddr) -> Result<Vec<u8>, Vec<u8>> {
    let exchange = async {
        let socket = TcpStream::connect(addr).await.ok()?;
        let (client, connection) = h2::client::handshake(socket).await.ok()?;
        let connection = tokio::spawn(connection);
        let mut client = client.ready().await.ok()?;
        let request = http::Request::post("http://h/act").body(()).ok()?;
        let (reply, mut stream) = client.send_request(request, false).ok()?;
        stream.send_data("xy".into(), true).ok()?;
        let mut body = reply.await.ok()?.into_body();
        let data = body.data().await?.ok()?;
        drop((client, body));
        connection.abort();
        Some(data.to_vec())
    };
    // Giving up drops the request, which resets its stream, and in a moment the connection.
    timeout(PATIENCE, exchange)
        .await
        .ok()
        .flatten()
        .ok_or_else(Vec::new)
}

/// A test in each protocol.
async fn in_each(test: impl AsyncFn(&Bench)) {
    for protocol in PROTOCOLS {
        let bench = Bench::new(protocol).await;
        test(&bench).await;
        bench.settled().await;
        assert_eq!(bench.proxy.counts().unparsed_connections, 0, "{protocol:?}");
        let acted = bench.acted();
        assert!(bench.call().await.is_ok(), "{protocol:?}: it works again");
        assert_eq!(bench.acted(), acted + 1, "{protocol:?}");
    }
}

/// The next request fails, and the server has acted on so many.
async fn fails(bench: &Bench, fault: Fault, acted: u64) {
    bench.proxy.inject([fault]);
    let (before, faults) = (bench.acted(), bench.proxy.counts().faults);
    let protocol = bench.protocol;
    assert!(bench.call().await.is_err(), "{protocol:?}, {fault:?}");
    bench.settled().await;
    assert_eq!(bench.acted() - before, acted, "{protocol:?}, {fault:?}");
    assert_eq!(bench.proxy.counts().faults - faults, 1, "{protocol:?}, {fault:?}");
    assert_eq!(bench.proxy.injected(), 0);
}

#[tokio::test]
async fn a_refused_connection_reaches_nobody() {
    in_each(async |bench| fails(bench, Fault::Refuse, 0).await).await;
}

#[tokio::test]
async fn a_request_that_is_cut_reaches_nobody_and_is_not_counted() {
    in_each(async |bench| {
        let before = bench.proxy.counts();
        fails(bench, Fault::CutRequest, 0).await;
        assert_eq!((bench.proxy.counts() - before).requests, 0);
    })
    .await;
}

#[tokio::test]
async fn a_lost_reply_is_one_to_what_the_server_has_done() {
    in_each(async |bench| fails(bench, Fault::LoseReply, 1).await).await;
}

#[tokio::test]
async fn a_reply_is_cut_in_its_middle() {
    in_each(async |bench| {
        fails(bench, Fault::CutReply, 1).await;
        if bench.protocol != Protocol::Http2 {
            bench.proxy.inject([Fault::CutReply]);
            let part = bench.call().await.unwrap_err();
            assert!(!part.is_empty(), "{:?}", bench.protocol);
        }
    })
    .await;
}

#[tokio::test]
async fn a_delayed_request_takes_longer() {
    in_each(async |bench| {
        let delay = PATIENCE / 4;
        bench.proxy.inject([Fault::Delay(delay)]);
        let start = Instant::now();
        bench.call().await.unwrap();
        assert!(start.elapsed() >= delay, "{:?}", bench.protocol);
        assert_eq!(bench.acted(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_stalled_reply_comes_when_the_client_has_given_up() {
    in_each(async |bench| fails(bench, Fault::Stall(PATIENCE * 2), 1).await).await;
}

#[tokio::test]
async fn a_request_that_is_held_back_is_delivered_when_the_client_has_given_up() {
    in_each(async |bench| {
        bench.proxy.inject([Fault::Late(PATIENCE * 2)]);
        let before = bench.proxy.counts();
        bench.call().await.unwrap_err();
        assert_eq!(bench.acted(), 0, "{:?}", bench.protocol);
        bench.settled().await;
        assert_eq!(bench.acted(), 1, "{:?}", bench.protocol);
        assert_eq!(
            (bench.proxy.counts() - before).requests,
            1,
            "{:?}",
            bench.protocol
        );
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_give_up_is_cut_when_its_request_is_delivered() {
    in_each(async |bench| fails(bench, Fault::Late(PATIENCE / 3), 1).await).await;
}

#[tokio::test]
async fn a_throttled_connection_is_slow_both_ways() {
    in_each(async |bench| {
        let rate = 1_000;
        bench.proxy.inject([Fault::Throttle(rate)]);
        let (start, before) = (Instant::now(), bench.proxy.counts());
        bench
            .call()
            .await
            .unwrap_or_else(|_| panic!("{:?}", bench.protocol));
        // What came before the request is not throttled.
        let bytes = match bench.protocol {
            Protocol::Http1 => HTTP1_REQUEST.len() + HTTP1_REPLY.len(),
            Protocol::Resp => RESP_REQUEST.len() + RESP_REPLY.len(),
            Protocol::Http2 => 60,
        };
        let least = Duration::from_secs_f64(bytes as f64 / rate as f64) / 2;
        let spent = bench.proxy.counts() - before;
        assert!(
            start.elapsed() >= least,
            "{:?}: {:?} for {spent}",
            bench.protocol,
            start.elapsed()
        );
    })
    .await;
}

#[tokio::test]
async fn faults_come_in_the_order_of_the_script() {
    let bench = Bench::new(Protocol::Http1).await;
    bench.proxy.inject([
        Fault::CutRequest,
        Fault::Refuse,
        Fault::Delay(Duration::ZERO),
        Fault::LoseReply,
    ]);
    let mut worked = Vec::new();
    for _ in 0..5 {
        worked.push(bench.call().await.is_ok());
    }
    assert_eq!(worked, [false, false, true, false, true]);
    assert_eq!(bench.acted(), 3);
}

#[tokio::test]
async fn a_lost_reply_is_the_one_to_its_request_where_several_are_under_way() {
    let bench = Bench::new(Protocol::Resp).await;
    // The first two pass, the third's reply is lost.
    let nothing = Fault::Delay(Duration::ZERO);
    bench.proxy.inject([nothing, nothing, Fault::LoseReply]);
    let mut socket = TcpStream::connect(bench.proxy.addr()).await.unwrap();
    socket.write_all(&RESP_REQUEST.repeat(3)).await.unwrap();
    let mut read = Vec::new();
    let _ = timeout(Duration::from_secs(30), socket.read_to_end(&mut read))
        .await
        .unwrap();
    assert_eq!(read, RESP_REPLY.repeat(2));
    assert_eq!(bench.acted(), 3);
}

#[tokio::test]
async fn commands_that_set_up_a_connection_meet_no_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap(), Protocol::Resp)
        .await
        .unwrap();
    proxy.inject([Fault::LoseReply]);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let hello = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
    client.write_all(hello).await.unwrap();
    server.read_exact(&mut vec![0; hello.len()]).await.unwrap();
    server.write_all(b"%1\r\n+proto\r\n:3\r\n").await.unwrap();
    client.read_exact(&mut [0; 16]).await.unwrap();
    assert_eq!(proxy.injected(), 1);
}

#[tokio::test]
async fn all_connections_are_cut_at_once() {
    let bench = Bench::new(Protocol::Resp).await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        let mut socket = TcpStream::connect(bench.proxy.addr()).await.unwrap();
        socket.write_all(RESP_REQUEST).await.unwrap();
        socket.read_exact(&mut vec![0; RESP_REPLY.len()]).await.unwrap();
        sockets.push(socket);
    }
    bench.proxy.cut_all();
    for mut socket in sockets {
        let end = timeout(Duration::from_secs(30), socket.read(&mut [0; 1]))
            .await
            .unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    bench.call().await.unwrap();
}

#[tokio::test]
async fn a_seed_repeats_which_connections_meet_which_fault() {
    let run = async |seed, percent| {
        let bench = Bench::new(Protocol::Http1).await;
        bench.proxy.inject_randomly(Some(RandomFaults {
            seed,
            percent,
            within: 1,
            faults: vec![Fault::CutRequest, Fault::LoseReply, Fault::Refuse],
        }));
        let mut met = Vec::new();
        for _ in 0..100 {
            let (acted, faults) = (bench.acted(), bench.proxy.counts().faults);
            let worked = bench.call().await.is_ok();
            met.push((
                worked,
                bench.acted() - acted,
                bench.proxy.counts().faults - faults,
            ));
        }
        met
    };
    let first = run(1, 30).await;
    assert_eq!(first, run(1, 30).await);
    assert_ne!(first, run(2, 30).await);
    let faults: u64 = first.iter().map(|(.., faults)| faults).sum();
    assert!((15..=45).contains(&faults), "{faults}");
    assert!(run(1, 0).await.iter().all(|met| *met == (true, 1, 0)));
}
