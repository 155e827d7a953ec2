//! One connection: two sockets, and a relay in each direction, with the faults that it meets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{sleep, timeout};

use super::Protocol;
use super::counts::{Direction, PendingFault, Tally};
use super::fault::{ConnectionFaults, Fault};
use super::framing::{Parser, Piece};

const READ_BYTES: usize = 16 * 1024;

/// How often in a second a throttled connection passes something on, at the least.
const THROTTLED_WRITES: u64 = 20;

/// How long a server may take to answer a request that was delivered late.
const LATE_ANSWER: Duration = Duration::from_secs(30);

/// Why a relay came to a premature end.
#[derive(Debug)]
enum Broken {
    /// Where it reads from is gone.
    Source,
    /// Where it writes to is gone.
    Sink,
    /// By a fault.
    Cut,
    /// By a fault: the client has given up, and the server is yet to get this.
    Late(Held),
}

/// A request that was held back.
#[derive(Debug)]
struct Held {
    of: u64,
    name: String,
    bytes: Vec<u8>,
    /// Whether all of it is there.
    whole: bool,
    /// For as long as the server has not answered.
    _pending: PendingFault,
}

/// What the two directions of a connection tell each other.
#[derive(Debug, Default)]
struct Link {
    /// The number of the last request that was passed on.
    last: AtomicU64,
    /// What is to happen to which request's reply.
    replies: Mutex<Vec<(u64, Fault, PendingFault)>>,
    /// How many bytes a second may pass; 0: any.
    throttle: AtomicU64,
    /// Whether the client speaks another protocol.
    unparsed: AtomicBool,
}

impl Link {
    /// What is to happen to the reply to this request, of which the first piece is here.
    fn fault(&self, of: u64) -> Option<(Fault, PendingFault)> {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let place = replies.iter().position(|(marked, ..)| *marked == of)?;
        let (_, fault, pending) = replies.swap_remove(place);
        Some((fault, pending))
    }

    fn mark(&self, of: u64, fault: Fault, pending: PendingFault) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.push((of, fault, pending));
    }
}

/// One direction's bytes that were read and not passed on, and what reads them.
#[derive(Debug)]
struct Incoming {
    buffer: BytesMut,
    parser: Parser,
}

impl Incoming {
    fn new(parser: Parser) -> Self {
        Self {
            buffer: BytesMut::new(),
            parser,
        }
    }

    fn next_opaque(&self) -> Option<Piece> {
        Parser::Opaque.next_piece(&self.buffer).ok().flatten()
    }
}

/// Relays one client's connection until both directions have ended or one breaks, then closes both
/// sockets. A server that cannot be reached closes the client's.
pub(super) async fn run(
    mut client: TcpStream,
    upstream: SocketAddr,
    protocol: Protocol,
    tally: &Tally,
    mut faults: ConnectionFaults,
) {
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let link = Link::default();
    let mut from_client = Incoming::new(Parser::requests(protocol));
    let mut from_server = Incoming::new(Parser::replies(protocol));
    let cut = faults.cut();
    let ended = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let requests = async {
            let relay = Requests {
                link: &link,
                tally,
                faults: &mut faults,
                to: server_writes,
            };
            match relay.run(client_reads, &mut from_client).await {
                // A server that reads no more may have answered first; its side ends by itself.
                Err(Broken::Sink) => Ok(()),
                ended => ended,
            }
        };
        let replies = replies(server_reads, client_writes, &mut from_server, &link, tally);
        // An error means that one of the peers is gone, or has to be.
        tokio::select! {
            ended = async { tokio::try_join!(requests, replies) } => ended.map(drop),
            () = cut => Err(Broken::Cut),
        }
    };
    if let Err(Broken::Late(held)) = ended {
        drop(client);
        let delivery = deliver(held, &mut server, &mut from_server, &link, tally);
        // Whether or not the server answers, that is the end of it.
        let _ = timeout(LATE_ANSWER, delivery).await;
    }
}

/// The client's side of a connection.
struct Requests<'a> {
    link: &'a Link,
    tally: &'a Tally,
    faults: &'a mut ConnectionFaults,
    to: WriteHalf<'a>,
}

impl Requests<'_> {
    /// Relays piece by piece until the client ends, and passes the end on.
    async fn run(mut self, mut from: ReadHalf<'_>, incoming: &mut Incoming) -> Result<(), Broken> {
        loop {
            let ended = read(&mut from, incoming).await?;
            while let Some(piece) = next_of_client(incoming, self.link, self.tally) {
                if let Some((held, time)) = self.pass(piece, incoming).await? {
                    return hold(held, time, &mut from, incoming, self.link, self.tally).await;
                }
            }
            if ended {
                return self.to.shutdown().await.map_err(|_| Broken::Sink);
            }
        }
    }

    /// Passes one piece on. A piece that begins a request comes here before any byte of that request has left: this is
    /// where it meets its fault. Returns the request if it is to be held back, and for how long.
    async fn pass(
        &mut self,
        mut piece: Piece,
        incoming: &mut Incoming,
    ) -> Result<Option<(Held, Duration)>, Broken> {
        if let (Some(name), Some(of)) = (&piece.request, piece.of) {
            let fault = self.faults.decide(name);
            self.link.last.store(of, Ordering::SeqCst);
            if let Some(fault) = fault {
                let pending = self.tally.fault();
                match fault {
                    Fault::Delay(delay) => sleep(delay).await,
                    Fault::Refuse | Fault::CutRequest => return Err(Broken::Cut),
                    Fault::LoseReply | Fault::CutReply | Fault::Stall(_) => {
                        self.link.mark(of, fault, pending)
                    }
                    Fault::Throttle(rate) => {
                        self.link
                            .throttle
                            .store(rate.max(THROTTLED_WRITES), Ordering::SeqCst);
                    }
                    Fault::Late(time) => {
                        let held = Held {
                            of,
                            name: piece.request.take().unwrap_or_default(),
                            bytes: incoming.buffer.split_to(piece.len).to_vec(),
                            whole: piece.ends,
                            _pending: pending,
                        };
                        return Ok(Some((held, time)));
                    }
                }
            }
        }
        let bytes = incoming.buffer.split_to(piece.len);
        let direction = Direction::ToServer;
        forward(direction, &self.to, piece.request, &bytes, self.link, self.tally).await?;
        Ok(None)
    }
}

/// Reads what there is. Returns whether the source has ended.
async fn read(from: &mut ReadHalf<'_>, incoming: &mut Incoming) -> Result<bool, Broken> {
    incoming.buffer.reserve(READ_BYTES);
    let count = from.read_buf(&mut incoming.buffer).await;
    let ended = count.map_err(|_| Broken::Source)? == 0;
    if ended {
        // What the parser still held back is a request broken off: passed on, not counted.
        incoming.parser = Parser::Opaque;
    }
    Ok(ended)
}

/// The next piece of what the client sent, which stays in the buffer.
fn next_of_client(incoming: &mut Incoming, link: &Link, tally: &Tally) -> Option<Piece> {
    incoming.parser.next_piece(&incoming.buffer).unwrap_or_else(|_| {
        tally.unparsed_connection();
        link.unparsed.store(true, Ordering::SeqCst);
        incoming.parser = Parser::Opaque;
        incoming.next_opaque()
    })
}

/// The next piece of what the server sent. It is not parsed where the client's side is not.
fn next_of_server(incoming: &mut Incoming, link: &Link) -> Option<Piece> {
    if link.unparsed.load(Ordering::SeqCst) {
        incoming.parser = Parser::Opaque;
    }
    incoming.parser.next_piece(&incoming.buffer).unwrap_or_else(|_| {
        incoming.parser = Parser::Opaque;
        incoming.next_opaque()
    })
}

/// Keeps a request, and what belongs to it, for so long. Whatever else the client sends meanwhile is lost.
async fn hold(
    mut held: Held,
    time: Duration,
    from: &mut ReadHalf<'_>,
    incoming: &mut Incoming,
    link: &Link,
    tally: &Tally,
) -> Result<(), Broken> {
    let reads = async {
        loop {
            while let Some(piece) = next_of_client(incoming, link, tally) {
                let bytes = incoming.buffer.split_to(piece.len);
                if !held.whole {
                    held.bytes.extend_from_slice(&bytes);
                    held.whole = piece.of == Some(held.of) && piece.ends;
                }
            }
            if !matches!(read(from, incoming).await, Ok(false)) {
                // The client has given up. The request is still under way.
                return std::future::pending::<()>().await;
            }
        }
    };
    let _ = timeout(time, reads).await;
    Err(if held.whole {
        Broken::Late(held)
    } else {
        Broken::Cut
    })
}

/// Passes a request on that was held back, and waits until the server answers it.
async fn deliver(
    held: Held,
    server: &mut TcpStream,
    incoming: &mut Incoming,
    link: &Link,
    tally: &Tally,
) -> Result<(), Broken> {
    let (mut from, to) = server.split();
    let name = Some(held.name);
    forward(Direction::ToServer, &to, name, &held.bytes, link, tally).await?;
    loop {
        while let Some(piece) = next_of_server(incoming, link) {
            incoming.buffer.advance(piece.len);
            if reply_of(&piece, incoming, link) == Some(held.of) {
                return Ok(());
            }
        }
        if read(&mut from, incoming).await? {
            return Ok(());
        }
    }
}

/// The request that a piece of the server's answers.
fn reply_of(piece: &Piece, incoming: &Incoming, link: &Link) -> Option<u64> {
    match incoming.parser {
        // Without a protocol's numbers it is the last.
        Parser::Opaque => Some(link.last.load(Ordering::SeqCst)),
        _ => piece.of,
    }
}

/// Relays what the server sends until it ends, and passes the end on.
async fn replies(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    incoming: &mut Incoming,
    link: &Link,
    tally: &Tally,
) -> Result<(), Broken> {
    loop {
        let ended = read(&mut from, incoming).await?;
        while let Some(piece) = next_of_server(incoming, link) {
            let bytes = incoming.buffer.split_to(piece.len);
            // Pending until what is passed on of the reply has been.
            let met = reply_of(&piece, incoming, link).and_then(|of| link.fault(of));
            let fault = met.as_ref().map(|(fault, _)| *fault);
            let passed = match fault {
                Some(Fault::LoseReply) => &[],
                Some(Fault::CutReply) => &bytes[..bytes.len() / 2],
                _ => &bytes[..],
            };
            if let Some(Fault::Stall(time)) = fault {
                sleep(time).await;
            }
            forward(Direction::ToClient, &to, None, passed, link, tally).await?;
            if matches!(fault, Some(Fault::LoseReply | Fault::CutReply)) {
                return Err(Broken::Cut);
            }
        }
        if ended {
            return to.shutdown().await.map_err(|_| Broken::Sink);
        }
    }
}

/// Passes bytes on, at the connection's pace. All that crosses the proxy, either way, goes through here.
async fn forward(
    direction: Direction,
    to: &WriteHalf<'_>,
    mut request: Option<String>,
    mut bytes: &[u8],
    link: &Link,
    tally: &Tally,
) -> Result<(), Broken> {
    while !bytes.is_empty() {
        to.writable().await.map_err(|_| Broken::Sink)?;
        let rate = link.throttle.load(Ordering::SeqCst);
        let most = match rate {
            0 => bytes.len(),
            rate => {
                usize::try_from(rate / THROTTLED_WRITES).map_or(bytes.len(), |most| most.min(bytes.len()))
            }
        };
        if let Some(micros) = (most as u64 * 1_000_000).checked_div(rate) {
            sleep(Duration::from_micros(micros)).await;
        }
        match tally.write(direction, to, &bytes[..most], &mut request) {
            Ok(0) => return Err(Broken::Sink),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Broken::Sink),
        }
    }
    Ok(())
}
