//! A TCP proxy in the test's own process that counts what a store sends to its server, and disturbs it.
//!
//! It stands between a store and a server on loopback, passes every byte on unchanged, and counts
//! connections, bytes and requests by reading the client's side of the [`Protocol`]. That makes a
//! sentence such as "a compare-and-set is one request" something a test can check:
//!
//! ```
//! use statestore_conformance::proxy::{Protocol, Proxy};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! // A server that answers one PING.
//! let server = TcpListener::bind("127.0.0.1:0").await?;
//! let proxy = Proxy::start(server.local_addr()?, Protocol::Resp).await?;
//! tokio::spawn(async move {
//!     let (mut socket, _) = server.accept().await?;
//!     socket.read_exact(&mut [0; 14]).await?;
//!     socket.write_all(b"+PONG\r\n").await
//! });
//!
//! let before = proxy.counts();
//! let mut client = TcpStream::connect(proxy.addr()).await?;
//! client.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
//! client.read_exact(&mut [0; 7]).await?;
//! let spent = proxy.counts() - before;
//!
//! assert_eq!(spent.requests, 1, "{spent}");
//! assert_eq!(spent.requests_named("PING"), 1, "{spent}");
//! assert_eq!((spent.bytes_to_server, spent.bytes_to_client), (14, 7), "{spent}");
//! assert_eq!(spent.unparsed_connections, 0, "{spent}");
//! # Ok(())
//! # }
//! ```
//!
//! What a client has had an answer to is counted: bytes are counted in the same step that hands
//! them to the socket, and a request with its first byte. A test need not wait before it looks,
//! except for connections to close, for which there is [`Proxy::wait_until`].
//!
//! # Faults
//! Told to, it makes [`Fault`]s: each the next request or connection, in the order of a script ([`Proxy::inject`]), or
//! by chance ([`Proxy::inject_randomly`]). Which reply answers which request it reads from the protocol, so that a lost
//! reply is one to a request that the server has acted on, also where requests share a connection.
//!
//! Only names are kept of a request (a method and path, a command), never its arguments or body.

mod counts;
mod fault;
mod framing;
mod http1;
mod http2;
mod relay;
mod replies;
mod resp;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use self::counts::Counts;
use self::counts::Tally;
use self::fault::Faults;
pub use self::fault::{Fault, RandomFaults};

/// The protocol by which a [`Proxy`] tells the client's requests apart. All are read in plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    ///
    /// A request is named by its method and path without the query, `GET /a/b`, followed by the
    /// `X-Amz-Target` header if there is one, since all of DynamoDB's requests are `POST /`:
    /// `POST / DynamoDB_20120810.GetItem`.
    Http1,
    /// HTTP/2 with prior knowledge, as gRPC speaks it to an emulator.
    ///
    /// A request is a stream that the client opens. Its path is compressed together with the
    /// requests before it, so all are named `HTTP/2 request`.
    Http2,
    /// The Redis protocol: arrays of bulk strings, and inline commands.
    ///
    /// A request is a command, named by its first word in upper case: `EVALSHA`. Those that client
    /// libraries send on connecting (`HELLO`, `CLIENT`, `AUTH`, `SELECT`, `PING`) count like any
    /// other; warm the connection up first, or subtract them with [`Counts::requests_named`].
    Resp,
}

/// A proxy on a port of its own, which relays every connection it accepts to one server.
///
/// Dropping it stops it: the port is closed and so are both sides of every open connection, as soon
/// as the runtime comes to it.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    tally: Tally,
    faults: Faults,
    /// Owns the listener and all relays, which end with it.
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy on a free port of 127.0.0.1. It connects to `upstream` once for each
    /// connection of a client, and not before; if the server then refuses, the client's connection
    /// is closed.
    ///
    /// Must be called within a Tokio runtime, which also runs the proxy.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if `upstream` is not a loopback address, so that no test
    /// comes to count, or to disturb, what goes to a real service; else the error of binding a port.
    pub async fn start(upstream: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        if !upstream.ip().to_canonical().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the proxy relays to loopback only, not to {upstream}"),
            ));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let tally = Tally::default();
        let faults = Faults::new();
        let task = accept(listener, upstream, protocol, tally.clone(), faults.clone());
        let task = tokio::spawn(task);
        Ok(Self {
            addr,
            tally,
            faults,
            task,
        })
    }

    /// The address that clients connect to in place of the server's.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Has each of the next requests meet one of these faults, in this order, behind those that are still to come. A
    /// [`Fault::Refuse`] waits for the next connection, and those behind it for it.
    ///
    /// The commands by which clients of Redis set up a connection (`HELLO`, `CLIENT` and the like) meet none.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.script(faults);
    }

    /// How many of the faults that were [injected](Self::inject) are still to come.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.faults.scripted()
    }

    /// Has connections that are made from now on meet faults by chance; with `None` no more. Drops those that were
    /// [injected](Self::inject).
    pub fn inject_randomly(&self, faults: Option<RandomFaults>) {
        self.faults.randomly(faults);
    }

    /// Closes every connection that is open, at once.
    pub fn cut_all(&self) {
        self.faults.cut_all();
    }

    /// Waits until the effect of every fault that was met has come: until what was held back has been answered.
    pub async fn settled(&self) -> Counts {
        self.wait_until(|counts| counts.pending_faults == 0).await
    }

    /// What has been counted since the start, at one instant.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// Waits until the counts meet `condition`, and returns those that did.
    ///
    /// There is no time limit: if it may never be met, wrap the call in a timeout.
    pub async fn wait_until(&self, condition: impl Fn(&Counts) -> bool) -> Counts {
        self.tally.wait_until(condition).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts until aborted. An error that says more than that one client went away ends the listening
/// (the next clients are refused, which a test notices) but not the connections that are open.
async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    protocol: Protocol,
    tally: Tally,
    faults: Faults,
) {
    let mut relays = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let open = tally.open_connection();
                    let tally = tally.clone();
                    let (faults, refused) = faults.connection();
                    if refused {
                        drop(tally.fault());
                        continue;
                    }
                    relays.spawn(async move {
                        relay::run(client, upstream, protocol, &tally, faults).await;
                        drop(open);
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => break,
            },
            Some(_) = relays.join_next() => {}
        }
    }
    drop(listener);
    while relays.join_next().await.is_some() {}
}
