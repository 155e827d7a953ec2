//! One connection: two sockets, and a relay in each direction.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::Protocol;
use super::counts::{Direction, Tally};
use super::framing::{Parser, Piece};

const READ_BYTES: usize = 16 * 1024;

/// The side on which a relay came to a premature end.
#[derive(Debug)]
enum Broken {
    Source,
    Sink,
}

/// Relays one client's connection until both directions have ended or one breaks, then closes both
/// sockets. A server that cannot be reached closes the client's.
pub(super) async fn run(mut client: TcpStream, upstream: SocketAddr, protocol: Protocol, tally: &Tally) {
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = async {
        let parser = Parser::requests(protocol);
        match relay(Direction::ToServer, from_client, to_server, parser, tally).await {
            // A server that reads no more may have answered first; its side ends by itself.
            Err(Broken::Sink) => Ok(()),
            ended => ended,
        }
    };
    let replies = relay(Direction::ToClient, from_server, to_client, Parser::Opaque, tally);
    // Either error means that one of the peers is gone, and dropping the sockets tells the other.
    let _ = tokio::try_join!(requests, replies);
}

/// Relays one direction piece by piece until its source ends, and passes the end on.
async fn relay(
    direction: Direction,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut parser: Parser,
    tally: &Tally,
) -> Result<(), Broken> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        let ended = from.read_buf(&mut buffer).await.map_err(|_| Broken::Source)? == 0;
        if ended {
            // What the parser still held back is a request broken off: passed on, not counted.
            parser = Parser::Opaque;
        }
        loop {
            match parser.next_piece(&buffer) {
                Ok(Some(piece)) => {
                    let len = piece.len;
                    forward(direction, &to, piece, &buffer[..len], tally).await?;
                    buffer.advance(len);
                }
                Ok(None) => break,
                Err(_) => {
                    tally.unparsed_connection();
                    parser = Parser::Opaque;
                }
            }
        }
        if ended {
            return to.shutdown().await.map_err(|_| Broken::Sink);
        }
    }
}

/// Passes one piece on. All that crosses the proxy, either way, goes through here, and a piece that
/// begins a request does so before any byte of that request has left: the place to decide on a fault.
async fn forward(
    direction: Direction,
    to: &WriteHalf<'_>,
    piece: Piece,
    mut bytes: &[u8],
    tally: &Tally,
) -> Result<(), Broken> {
    let mut request = piece.request;
    while !bytes.is_empty() {
        to.writable().await.map_err(|_| Broken::Sink)?;
        match tally.write(direction, to, bytes, &mut request) {
            Ok(0) => return Err(Broken::Sink),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Broken::Sink),
        }
    }
    Ok(())
}
