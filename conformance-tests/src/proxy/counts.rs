//! What the proxy has counted.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Sub;

use tokio::net::tcp::WriteHalf;
use tokio::sync::watch;

/// What a [`Proxy`](super::Proxy) has counted, since its start or, as a difference, in between.
///
/// In `later - earlier`, [`open_connections`](Self::open_connections), [`pending_faults`](Self::pending_faults) and
/// [`unparsed_connections`](Self::unparsed_connections) are those of `later`: the first two are levels,
/// and of the third any one, however old, makes the other numbers doubtful.
///
/// [`Display`](fmt::Display) gives all of it on one line, for the message of a failed assertion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections accepted from clients, including those that the server then refused.
    pub connections: u64,
    /// Connections of which either direction is still open.
    pub open_connections: u64,
    /// Requests of which at least the head (HTTP/1), the name (RESP) or the first byte (HTTP/2) was
    /// passed to the server. One that the client breaks off before that is not counted.
    pub requests: u64,
    /// Bytes passed to the server.
    pub bytes_to_server: u64,
    /// Bytes passed to clients.
    pub bytes_to_client: u64,
    /// Connections on which the client sent something that is not the proxy's
    /// [`Protocol`](super::Protocol), from where on it was relayed without counting requests. Unless
    /// this is 0, the other numbers say nothing about requests.
    pub unparsed_connections: u64,
    /// Faults that connections have met.
    pub faults: u64,
    /// Faults of which the effect is yet to come: a reply that will be lost, a request that is held back.
    pub pending_faults: u64,
    by_name: BTreeMap<String, u64>,
}

impl Counts {
    /// How often a request of each name was passed to the server; no name has 0, and together they
    /// are [`requests`](Self::requests). [`Protocol`](super::Protocol) says how requests are named.
    #[must_use]
    pub fn requests_by_name(&self) -> &BTreeMap<String, u64> {
        &self.by_name
    }

    /// How often a request of exactly this name was passed to the server.
    #[must_use]
    pub fn requests_named(&self, name: &str) -> u64 {
        self.by_name.get(name).copied().unwrap_or(0)
    }
}

impl Sub<&Self> for Counts {
    type Output = Self;

    /// What was counted after `earlier`.
    ///
    /// # Panics
    /// If `earlier` is not an earlier count of the same proxy: it has more of something.
    fn sub(self, earlier: &Self) -> Self {
        let since = |later: u64, earlier: u64| {
            later
                .checked_sub(earlier)
                .expect("subtract an earlier count of the same proxy")
        };
        let mut by_name = self.by_name;
        for (name, &count) in &earlier.by_name {
            let later = by_name.entry(name.clone()).or_default();
            *later = since(*later, count);
        }
        by_name.retain(|_, count| *count > 0);
        Self {
            connections: since(self.connections, earlier.connections),
            open_connections: self.open_connections,
            requests: since(self.requests, earlier.requests),
            bytes_to_server: since(self.bytes_to_server, earlier.bytes_to_server),
            bytes_to_client: since(self.bytes_to_client, earlier.bytes_to_client),
            unparsed_connections: self.unparsed_connections,
            faults: since(self.faults, earlier.faults),
            pending_faults: self.pending_faults,
            by_name,
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    /// As for a reference.
    fn sub(self, earlier: Self) -> Self {
        self - &earlier
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests", self.requests)?;
        for (i, (name, count)) in self.by_name.iter().enumerate() {
            write!(f, "{}{count} × {name}", if i == 0 { " (" } else { ", " })?;
        }
        write!(
            f,
            "{}, {} bytes to the server, {} to clients, {} connections ({} open, {} unparsed)",
            if self.by_name.is_empty() { "" } else { ")" },
            self.bytes_to_server,
            self.bytes_to_client,
            self.connections,
            self.open_connections,
            self.unparsed_connections,
        )
    }
}

/// The way that bytes take through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

/// The counts of a running proxy, shared by its relays.
///
/// Every change is made under the channel's lock, and [`Tally::write`] holds it over the write as
/// well: whoever has seen the effect of a write and then looks here finds it counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(watch::Sender<Counts>);

impl Tally {
    pub(super) fn counts(&self) -> Counts {
        self.0.borrow().clone()
    }

    pub(super) async fn wait_until(&self, condition: impl Fn(&Counts) -> bool) -> Counts {
        let mut changes = self.0.subscribe();
        loop {
            // Not `wait_for`, which would call the condition with the lock held.
            let counts = changes.borrow_and_update().clone();
            if condition(&counts) || changes.changed().await.is_err() {
                return counts;
            }
        }
    }

    pub(super) fn open_connection(&self) -> OpenConnection {
        self.0.send_modify(|counts| {
            counts.connections += 1;
            counts.open_connections += 1;
        });
        OpenConnection(self.clone())
    }

    pub(super) fn unparsed_connection(&self) {
        self.0.send_modify(|counts| counts.unparsed_connections += 1);
    }

    pub(super) fn fault(&self) -> PendingFault {
        self.0.send_modify(|counts| {
            counts.faults += 1;
            counts.pending_faults += 1;
        });
        PendingFault(self.clone())
    }

    /// Writes what the socket takes of `bytes` without waiting, and counts that. If it takes any, the
    /// name is taken out of `request` and counted too. Returns how much was written.
    pub(super) fn write(
        &self,
        direction: Direction,
        to: &WriteHalf<'_>,
        bytes: &[u8],
        request: &mut Option<String>,
    ) -> io::Result<usize> {
        let mut written = Ok(0);
        self.0.send_if_modified(|counts| {
            written = to.try_write(bytes);
            let Ok(len @ 1..) = written else { return false };
            match direction {
                Direction::ToServer => counts.bytes_to_server += len as u64,
                Direction::ToClient => counts.bytes_to_client += len as u64,
            }
            if let Some(name) = request.take() {
                counts.requests += 1;
                *counts.by_name.entry(name).or_default() += 1;
            }
            true
        });
        written
    }
}

/// A connection that counts as open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection(Tally);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.send_modify(|counts| counts.open_connections -= 1);
    }
}

/// A fault that was met and counts as pending until this is dropped.
#[derive(Debug)]
pub(super) struct PendingFault(Tally);

impl Drop for PendingFault {
    fn drop(&mut self) {
        self.0.0.send_modify(|counts| counts.pending_faults -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(names: &[(&str, u64)]) -> Counts {
        Counts {
            requests: names.iter().map(|(_, count)| count).sum(),
            by_name: names
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            ..Counts::default()
        }
    }

    #[test]
    fn a_difference_names_only_what_came_after() {
        let before = counts(&[("HELLO", 1), ("GET", 2)]);
        let spent = counts(&[("HELLO", 1), ("GET", 3), ("SET", 1)]) - &before;
        assert_eq!(spent, counts(&[("GET", 1), ("SET", 1)]));
        assert_eq!(spent.requests_named("HELLO"), 0);
    }

    #[test]
    fn a_difference_keeps_levels_and_doubts() {
        let before = Counts {
            open_connections: 3,
            unparsed_connections: 1,
            ..Counts::default()
        };
        let after = Counts {
            open_connections: 1,
            unparsed_connections: 1,
            ..Counts::default()
        };
        assert_eq!(after.clone() - before, after);
    }

    #[test]
    #[should_panic(expected = "an earlier count")]
    fn a_difference_the_wrong_way_round_panics() {
        let _ = counts(&[]) - counts(&[("GET", 1)]);
    }

    #[test]
    fn display_is_one_line_with_the_names() {
        assert_eq!(
            counts(&[("GET", 1), ("SET", 2)]).to_string(),
            "3 requests (1 × GET, 2 × SET), 0 bytes to the server, 0 to clients, \
             0 connections (0 open, 0 unparsed)",
        );
        assert!(Counts::default().to_string().starts_with("0 requests, 0 bytes"));
    }

    #[tokio::test]
    async fn a_request_that_takes_several_writes_counts_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut socket = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (_, to) = socket.split();
        to.writable().await.unwrap();

        let tally = Tally::default();
        let mut request = Some("SET".to_owned());
        // Nobody reads, so that the socket takes a little at a time and in the end nothing.
        let mut written = 0;
        while let Ok(len) = tally.write(Direction::ToServer, &to, &[0; 1000], &mut request) {
            written += len as u64;
            assert_eq!(
                (tally.counts().requests, tally.counts().bytes_to_server),
                (1, written)
            );
        }
        assert!(written > 1000);
        assert_eq!(tally.counts().requests_named("SET"), 1);

        let mut another = Some("GET".to_owned());
        tally
            .write(Direction::ToServer, &to, b"x", &mut another)
            .unwrap_err();
        assert_eq!(another.as_deref(), Some("GET"));
        assert_eq!(tally.counts().requests, 1);
    }
}
