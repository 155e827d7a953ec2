//! The counting proxy between small real clients and servers.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use statestore_conformance::proxy::{Counts, Protocol, Proxy};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Starts a server that lives as long as the test's runtime.
async fn server<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    addr
}

/// A server that sends back what it gets, and then the end.
async fn echo(mut socket: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = socket.split();
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// Fails rather than hangs.
async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("within 30 seconds")
}

async fn all_closed(proxy: &Proxy) -> Counts {
    in_time(proxy.wait_until(|counts| counts.open_connections == 0)).await
}

async fn read_exactly(socket: &mut TcpStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    in_time(socket.read_exact(&mut read)).await.unwrap();
    assert_eq!(
        read.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

/// Reads until the end, which may also be a reset.
async fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let _ = in_time(socket.read_to_end(&mut read)).await;
    read
}

mod http1 {
    use super::*;

    /// Answers each request with its body, which it reads by length or by chunks.
    async fn serve(socket: TcpStream) -> io::Result<()> {
        let mut socket = BufReader::new(socket);
        loop {
            let (mut length, mut chunked, mut expects) = (0, false, false);
            loop {
                let mut line = String::new();
                if socket.read_line(&mut line).await? == 0 {
                    return Ok(());
                }
                let line = line.trim_end().to_ascii_lowercase();
                match line.split_once(": ") {
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    Some(("transfer-encoding", _)) => chunked = true,
                    Some(("expect", _)) => expects = true,
                    _ if line.is_empty() => break,
                    _ => {}
                }
            }
            if expects {
                socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            let mut body = vec![0; length];
            socket.read_exact(&mut body).await?;
            while chunked {
                let mut line = String::new();
                socket.read_line(&mut line).await?;
                let size = usize::from_str_radix(line.trim_end().split(';').next().unwrap(), 16).unwrap();
                let mut chunk = vec![0; size];
                socket.read_exact(&mut chunk).await?;
                body.extend(chunk);
                // The line end after the chunk; after the last, the trailers up to an empty line.
                while socket.read_line(&mut line).await? > 2 && size == 0 {}
                chunked = size > 0;
            }
            socket.write_all(&reply(&body)).await?;
        }
    }

    fn reply(body: &[u8]) -> Vec<u8> {
        [
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
            body,
        ]
        .concat()
    }

    fn put(path: &str, body: &str) -> String {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    const CHUNKED: &str = "POST /chunked?q=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                           7;x=\"y\"\r\nGET / H\r\n1\r\n!\r\n0\r\nTrailer: GET /no HTTP/1.1\r\n\r\n";

    #[tokio::test]
    async fn keep_alive_and_a_body_that_resembles_a_request() {
        let proxy = Proxy::start(server(serve).await, Protocol::Http1).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        let inner = put("/inner", "x");
        for (request, body) in [
            (put("/a", ""), ""),
            (put("/b", &inner), &*inner),
            (CHUNKED.to_owned(), "GET / H!"),
        ] {
            let before = proxy.counts();
            client.write_all(request.as_bytes()).await.unwrap();
            let reply = reply(body.as_bytes());
            read_exactly(&mut client, &reply).await;
            let spent = proxy.counts() - before;
            assert_eq!(spent.requests, 1, "{spent}");
            assert_eq!(spent.bytes_to_server, request.len() as u64, "{spent}");
            assert_eq!(spent.bytes_to_client, reply.len() as u64, "{spent}");
        }
        let counts = proxy.counts();
        assert_eq!((counts.connections, counts.open_connections), (1, 1), "{counts}");
        assert_eq!(counts.unparsed_connections, 0, "{counts}");
        let names: Vec<_> = counts.requests_by_name().keys().collect();
        assert_eq!(names, ["POST /chunked", "PUT /a", "PUT /b"]);
    }

    #[tokio::test]
    async fn pipelined_in_one_write() {
        let proxy = Proxy::start(server(serve).await, Protocol::Http1).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        client
            .write_all([&put("/a", "1"), CHUNKED, &put("/a", "2")].concat().as_bytes())
            .await
            .unwrap();
        read_exactly(
            &mut client,
            &[reply(b"1"), reply(b"GET / H!"), reply(b"2")].concat(),
        )
        .await;
        let counts = proxy.counts();
        assert_eq!(
            (counts.requests, counts.requests_named("PUT /a")),
            (3, 2),
            "{counts}"
        );
        assert_eq!(counts.unparsed_connections, 0, "{counts}");
    }

    #[tokio::test]
    async fn split_at_every_byte() {
        let proxy = Proxy::start(server(serve).await, Protocol::Http1).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        client.set_nodelay(true).unwrap();
        for byte in [CHUNKED, &put("/a", "body")].concat().into_bytes() {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        read_exactly(&mut client, &[reply(b"GET / H!"), reply(b"body")].concat()).await;
        let counts = proxy.counts();
        assert_eq!((counts.requests, counts.unparsed_connections), (2, 0), "{counts}");
    }

    #[tokio::test]
    async fn a_client_that_waits_for_100_continue() {
        let proxy = Proxy::start(server(serve).await, Protocol::Http1).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        let head = b"PUT /a HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
        client.write_all(head).await.unwrap();
        read_exactly(&mut client, b"HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(proxy.counts().requests, 1);
        client.write_all(b"body").await.unwrap();
        read_exactly(&mut client, &reply(b"body")).await;
        let counts = proxy.counts();
        assert_eq!((counts.requests, counts.unparsed_connections), (1, 0), "{counts}");
    }
}

mod resp {
    use super::*;

    /// Answers each array of bulk strings with `+OK`.
    async fn serve(socket: TcpStream) -> io::Result<()> {
        async fn number(socket: &mut BufReader<TcpStream>) -> io::Result<Option<usize>> {
            let mut line = String::new();
            let read = socket.read_line(&mut line).await?;
            Ok((read > 0).then(|| line[1..].trim_end().parse().unwrap()))
        }
        let mut socket = BufReader::new(socket);
        while let Some(elements) = number(&mut socket).await? {
            for _ in 0..elements {
                let bytes = number(&mut socket).await?.unwrap();
                socket.read_exact(&mut vec![0; bytes + 2]).await?;
            }
            socket.write_all(b"+OK\r\n").await?;
        }
        Ok(())
    }

    fn command(words: &[&[u8]]) -> Vec<u8> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend(format!("${}\r\n", word.len()).into_bytes());
            command.extend(*word);
            command.extend(b"\r\n");
        }
        command
    }

    #[tokio::test]
    async fn commands_by_name_and_the_handshake_apart() {
        let proxy = Proxy::start(server(serve).await, Protocol::Resp).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        let handshake = [
            command(&[b"HELLO", b"3"]),
            command(&[b"CLIENT", b"SETINFO", b"LIB-NAME", b"x"]),
        ];
        client.write_all(&handshake.concat()).await.unwrap();
        client
            .write_all(&command(&[
                b"evalsha",
                b"abc",
                b"1",
                b"k",
                b"*1\r\n$3\r\nGET\r\n\xff",
            ]))
            .await
            .unwrap();
        read_exactly(&mut client, b"+OK\r\n+OK\r\n+OK\r\n").await;
        let counts = proxy.counts();
        assert_eq!(counts.requests, 3, "{counts}");
        assert_eq!(counts.requests_named("EVALSHA"), 1, "{counts}");
        assert_eq!(
            counts.requests_named("HELLO") + counts.requests_named("CLIENT"),
            2,
            "{counts}"
        );
        assert_eq!(counts.unparsed_connections, 0, "{counts}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn an_answered_command_is_counted_already() {
        let proxy = Proxy::start(server(serve).await, Protocol::Resp).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let get = command(&[b"GET", b"k"]);
        for _ in 0..2_000 {
            let before = proxy.counts();
            client.write_all(&get).await.unwrap();
            read_exactly(&mut client, b"+OK\r\n").await;
            let spent = proxy.counts() - before;
            assert_eq!(spent.requests_named("GET"), 1, "{spent}");
            assert_eq!(
                (spent.bytes_to_server, spent.bytes_to_client),
                (get.len() as u64, 5),
                "{spent}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_connections_at_once() {
        const CLIENTS: u64 = 100;
        let proxy = Proxy::start(server(serve).await, Protocol::Resp).await.unwrap();
        let addr = proxy.addr();
        let clients = (0..CLIENTS).map(|client| {
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(addr).await.unwrap();
                // Larger than the sockets' buffers together, for some.
                let value = vec![b'\n'; if client % 10 == 0 { 8 << 20 } else { 100 }];
                for _ in 0..3 {
                    socket.write_all(&command(&[b"SET", b"k", &value])).await.unwrap();
                    read_exactly(&mut socket, b"+OK\r\n").await;
                }
                3 * command(&[b"SET", b"k", &value]).len() as u64
            })
        });
        let mut sent = 0;
        for client in clients.collect::<Vec<_>>() {
            sent += client.await.unwrap();
        }
        let counts = all_closed(&proxy).await;
        assert_eq!(counts.connections, CLIENTS, "{counts}");
        assert_eq!(counts.requests, 3 * CLIENTS, "{counts}");
        assert_eq!(
            (counts.bytes_to_server, counts.bytes_to_client),
            (sent, 15 * CLIENTS),
            "{counts}"
        );
        assert_eq!(counts.unparsed_connections, 0, "{counts}");
    }

    #[tokio::test]
    async fn proxies_count_apart() {
        let upstream = server(serve).await;
        let one = Proxy::start(upstream, Protocol::Resp).await.unwrap();
        let two = Proxy::start(upstream, Protocol::Resp).await.unwrap();
        let mut client = TcpStream::connect(two.addr()).await.unwrap();
        client.write_all(&command(&[b"PING"])).await.unwrap();
        read_exactly(&mut client, b"+OK\r\n").await;
        assert_eq!((one.counts().requests, two.counts().requests), (0, 1));
    }
}

mod http2 {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Request, Response};

    use super::*;

    /// Reads each request to its end and answers it with a body and trailers, as gRPC does.
    async fn serve(socket: TcpStream) -> io::Result<()> {
        let mut connection = h2::server::handshake(socket).await.map_err(io::Error::other)?;
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request.map_err(io::Error::other)?;
            tokio::spawn(async move {
                let mut body = request.into_body();
                let mut length = 0;
                while let Some(data) = body.data().await {
                    let data = data.unwrap();
                    length += data.len();
                    body.flow_control().release_capacity(data.len()).unwrap();
                }
                body.trailers().await.unwrap();
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(length.to_string().into(), false).unwrap();
                stream.send_trailers(trailers()).unwrap();
            });
        }
        Ok(())
    }

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("0"))])
    }

    #[tokio::test]
    async fn streams_with_bodies_trailers_and_continuations() {
        let proxy = Proxy::start(server(serve).await, Protocol::Http2).await.unwrap();
        let socket = TcpStream::connect(proxy.addr()).await.unwrap();
        let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);

        let mut replies = Vec::new();
        for size in [0, 10, 200_000] {
            // Too much for one frame of headers.
            let headers = (0..30).map(|i| (format!("x-{i}"), "v".repeat(if size == 10 { 1_000 } else { 1 })));
            let request = headers.fold(Request::post("http://h/"), |request, (name, value)| {
                request.header(name, value)
            });
            client = in_time(client.ready()).await.unwrap();
            let (reply, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from(vec![0; size]), false).unwrap();
            stream.send_trailers(trailers()).unwrap();
            replies.push((size, reply));
        }
        for (size, reply) in replies {
            let mut body = in_time(reply).await.unwrap().into_body();
            assert_eq!(in_time(body.data()).await.unwrap().unwrap(), size.to_string());
            assert_eq!(in_time(body.trailers()).await.unwrap(), Some(trailers()));
        }
        let counts = proxy.counts();
        assert_eq!((counts.requests, counts.connections), (3, 1), "{counts}");
        assert_eq!(counts.requests_named("HTTP/2 request"), 3, "{counts}");
        assert!(counts.bytes_to_server > 200_000 + 20_000, "{counts}");

        drop(client);
        assert_eq!(all_closed(&proxy).await.unparsed_connections, 0);
    }
}

mod connection {
    use super::*;

    #[tokio::test]
    async fn a_client_that_has_ended_still_gets_its_reply() {
        let upstream = server(|mut socket| async move {
            let mut read = Vec::new();
            socket.read_to_end(&mut read).await?;
            socket.write_all(&read).await
        });
        let proxy = Proxy::start(upstream.await, Protocol::Resp).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        client.write_all(b"PING\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"PING\r\n");
        let counts = all_closed(&proxy).await;
        assert_eq!((counts.requests, counts.bytes_to_client), (1, 6), "{counts}");
    }

    #[tokio::test]
    async fn a_server_that_has_ended_still_gets_the_rest() {
        let (sender, mut rest) = tokio::sync::mpsc::unbounded_channel();
        let upstream = server(move |mut socket| {
            let sender = sender.clone();
            async move {
                socket.shutdown().await?;
                let mut read = Vec::new();
                socket.read_to_end(&mut read).await?;
                sender.send(read).map_err(io::Error::other)
            }
        });
        let proxy = Proxy::start(upstream.await, Protocol::Resp).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"");
        assert_eq!(proxy.counts().open_connections, 1);
        client.write_all(b"PING\r\n").await.unwrap();
        drop(client);
        assert_eq!(in_time(rest.recv()).await.unwrap(), b"PING\r\n");
        assert_eq!(all_closed(&proxy).await.requests, 1);
    }

    #[tokio::test]
    async fn a_request_broken_off_is_relayed_and_not_counted() {
        let proxy = Proxy::start(server(echo).await, Protocol::Http1).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"GET / HTTP/1.1\r\nhost");
        let counts = proxy.counts();
        assert_eq!((counts.requests, counts.unparsed_connections), (0, 0), "{counts}");
        assert_eq!(counts.bytes_to_server, 20, "{counts}");
    }

    #[tokio::test]
    async fn another_protocol_is_relayed_and_reported() {
        for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Resp] {
            let proxy = Proxy::start(server(echo).await, protocol).await.unwrap();
            let before = proxy.counts();
            let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
            let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
            client.write_all(hello).await.unwrap();
            read_exactly(&mut client, hello).await;
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            read_exactly(&mut client, b"GET / HTTP/1.1\r\n\r\n").await;
            let spent = proxy.counts() - before;
            assert_eq!(
                (spent.unparsed_connections, spent.requests),
                (1, 0),
                "{protocol:?}: {spent}"
            );
            assert_eq!(
                (spent.bytes_to_server, spent.bytes_to_client),
                (29, 29),
                "{protocol:?}: {spent}"
            );
        }
    }

    #[tokio::test]
    async fn what_parsed_before_the_damage_counts() {
        let proxy = Proxy::start(server(echo).await, Protocol::Resp).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        let sent = b"PING\r\n*2\r\n$3\r\nGET\r\n:1\r\nPING\r\n";
        client.write_all(sent).await.unwrap();
        read_exactly(&mut client, sent).await;
        let counts = proxy.counts();
        assert_eq!((counts.requests, counts.unparsed_connections), (2, 1), "{counts}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_closes_the_client() {
        let upstream = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let proxy = Proxy::start(upstream, Protocol::Http1).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"");
        let counts = all_closed(&proxy).await;
        assert_eq!((counts.connections, counts.bytes_to_server), (1, 0), "{counts}");
    }

    #[tokio::test]
    async fn a_server_beyond_loopback_is_refused() {
        for upstream in [
            "192.0.2.1:80",
            "0.0.0.0:80",
            "[2001:db8::1]:80",
            "[::ffff:192.0.2.1]:80",
        ] {
            let refused = Proxy::start(upstream.parse().unwrap(), Protocol::Http1)
                .await
                .unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{upstream}");
        }
        for upstream in ["127.0.0.2:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(
                Proxy::start(upstream.parse().unwrap(), Protocol::Http1)
                    .await
                    .is_ok(),
                "{upstream}"
            );
        }
    }

    #[tokio::test]
    async fn a_client_that_vanishes_closes_the_server() {
        let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let upstream = server(move |mut socket| {
            let sender = sender.clone();
            async move {
                // Never reads, so that the client leaves with bytes still on their way.
                let written = socket.write_all(&vec![0; 64 << 20]).await;
                sender.send(written.is_err()).map_err(io::Error::other)
            }
        });
        let proxy = Proxy::start(upstream.await, Protocol::Resp).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        client.read_exact(&mut [0; 10]).await.unwrap();
        drop(client);
        assert!(
            in_time(ended.recv()).await.unwrap(),
            "the server could not write all"
        );
        all_closed(&proxy).await;
    }

    #[tokio::test]
    async fn a_server_that_answers_and_closes_early_is_heard() {
        let upstream = server(|mut socket| async move {
            socket.read_exact(&mut [0; 4]).await?;
            socket.write_all(b"+NO\r\n").await?;
            socket.shutdown().await?;
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await.map(drop)
        });
        let proxy = Proxy::start(upstream.await, Protocol::Resp).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        client.write_all(b"*2\r\n$3\r\nSET\r\n$9\r\n").await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"+NO\r\n");
        drop(client);
        assert_eq!(all_closed(&proxy).await.requests_named("SET"), 1);
    }

    #[tokio::test]
    async fn dropping_the_proxy_closes_everything_and_leaves_no_task() {
        let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let upstream = server(move |socket| {
            let sender = sender.clone();
            async move {
                let _ = echo(socket).await;
                sender.send(()).map_err(io::Error::other)
            }
        })
        .await;
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();

        let proxy = Proxy::start(upstream, Protocol::Resp).await.unwrap();
        let addr = proxy.addr();
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = TcpStream::connect(addr).await.unwrap();
            client.write_all(b"PING\r\n").await.unwrap();
            read_exactly(&mut client, b"PING\r\n").await;
            clients.push(client);
        }
        assert_eq!(proxy.counts().open_connections, 10);

        drop(proxy);
        for client in &mut clients {
            assert_eq!(read_to_end(client).await, b"");
            in_time(ended.recv()).await.unwrap();
        }
        in_time(async {
            while TcpStream::connect(addr).await.is_ok()
                || tokio::runtime::Handle::current().metrics().num_alive_tasks() > tasks
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
