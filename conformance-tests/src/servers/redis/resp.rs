//! As much of the Redis protocol as it takes to see whether a server is ready and to tell it what to do.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::servers::ServerError;

/// How long a server may take to accept a connection, or to answer a command. One that is suspended never does.
const LIMIT: Duration = Duration::from_secs(2);

/// A Redis server's answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// A status, such as `OK`.
    Status(String),
    /// A number.
    Int(i64),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// No value.
    Nil,
    /// A list of answers.
    Array(Vec<Reply>),
    /// An error. As the whole of an answer it is an `Err`, so that this is found only in a list.
    Error(String),
}

impl Reply {
    /// A status or string as text; other answers as they print.
    #[must_use]
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// The bytes of a string; none for other answers.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bulk(bytes) => bytes,
            _ => &[],
        }
    }

    /// The answers of a list; none for other answers.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(text) | Self::Error(text) => f.write_str(text),
            Self::Int(number) => number.fmt(f),
            Self::Bulk(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Nil => f.write_str("(nil)"),
            Self::Array(items) => f.debug_list().entries(items.iter().map(Self::text)).finish(),
        }
    }
}

/// A connection that sends one command at a time.
pub(super) struct Connection {
    socket: TcpStream,
    /// What has been read and not yet been understood.
    read: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(addr: SocketAddr) -> Result<Self, ServerError> {
        let socket = in_time(TcpStream::connect(addr))
            .await
            .map_err(ServerError::io(format!("connecting to {addr}")))?;
        Ok(Self {
            socket,
            read: Vec::new(),
        })
    }

    pub(super) async fn command<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Reply, ServerError> {
        let name = name(command);
        match in_time(self.exchange(command)).await {
            Ok(Reply::Error(answer)) => Err(ServerError::Command {
                command: name,
                answer,
            }),
            Ok(reply) => Ok(reply),
            Err(source) => Err(ServerError::io(format!("waiting for the answer to `{name}`"))(
                source,
            )),
        }
    }

    async fn exchange<A: AsRef<[u8]>>(&mut self, command: &[A]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command {
            let argument = argument.as_ref();
            request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            request.extend_from_slice(argument);
            request.extend_from_slice(b"\r\n");
        }
        self.socket.write_all(&request).await?;
        loop {
            let mut rest = &self.read[..];
            if let Some(reply) = parse(&mut rest)? {
                self.read = rest.to_vec();
                return Ok(reply);
            }
            if self.socket.read_buf(&mut self.read).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// What to call a command in an error: its first word, or two where the first says little; no argument.
fn name<A: AsRef<[u8]>>(command: &[A]) -> String {
    let word = |place: usize| command.get(place).map_or(&b""[..], AsRef::as_ref);
    let says_little = [b"CLUSTER", &b"SENTINEL"[..], b"CONFIG"].contains(&word(0));
    let words = [word(0), word(1)];
    let name = &words[..if says_little { 2 } else { 1 }].join(&b' ');
    String::from_utf8_lossy(name).into_owned()
}

async fn in_time<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(LIMIT, future).await?
}

/// Takes one answer off the front, or nothing when it is not all there yet.
fn parse(input: &mut &[u8]) -> io::Result<Option<Reply>> {
    let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let (line, rest) = (&input[..end], &input[end + 2..]);
    let Some((kind, line)) = line.split_first() else {
        return Err(malformed(line));
    };
    let text = String::from_utf8_lossy(line).into_owned();
    let number = || text.parse::<i64>().map_err(|_| malformed(line));
    *input = rest;
    Ok(Some(match kind {
        b'+' => Reply::Status(text),
        b'-' => Reply::Error(text),
        b':' => Reply::Int(number()?),
        b'$' => match usize::try_from(number()?) {
            Err(_) => Reply::Nil,
            Ok(length) if rest.len() < length + 2 => return Ok(None),
            Ok(length) => {
                *input = &rest[length + 2..];
                Reply::Bulk(rest[..length].to_vec())
            }
        },
        b'*' => match usize::try_from(number()?) {
            Err(_) => Reply::Nil,
            Ok(count) => {
                let mut items = Vec::new();
                for _ in 0..count {
                    match parse(input)? {
                        Some(item) => items.push(item),
                        None => return Ok(None),
                    }
                }
                Reply::Array(items)
            }
        },
        _ => return Err(malformed(line)),
    }))
}

fn malformed(line: &[u8]) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("no answer of a Redis server: {}", line.escape_ascii()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_all_of_it_is_there() {
        let whole = b"*6\r\n+OK\r\n:-3\r\n$4\r\na\r\nb\r\n$-1\r\n*-1\r\n*2\r\n-ERR no\r\n$0\r\n\r\n+next\r\n";
        let expected = Reply::Array(vec![
            Reply::Status("OK".into()),
            Reply::Int(-3),
            Reply::Bulk(b"a\r\nb".into()),
            Reply::Nil,
            Reply::Nil,
            Reply::Array(vec![Reply::Error("ERR no".into()), Reply::Bulk(Vec::new())]),
        ]);
        let answer_ends = whole.len() - b"+next\r\n".len();
        for length in 0..whole.len() {
            let mut input = &whole[..length];
            let read = parse(&mut input).unwrap();
            assert_eq!(
                read,
                (length >= answer_ends).then(|| expected.clone()),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for wrong in ["HTTP/1.1 400\r\n", "\r\n", ":x\r\n", "*1\r\n?\r\n"] {
            assert!(parse(&mut wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
