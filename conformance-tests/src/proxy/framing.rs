//! Splitting a byte stream into frames.
//!
//! A frame is what the protocol delimits: a request of HTTP/1, a command of RESP, a frame of HTTP/2.
//! Frames are relayed as they arrive, in pieces, since a client may wait in the middle of one for the
//! server (`Expect: 100-continue`). Only the start of a frame is held back until it is all there, so
//! that the first piece of a request always knows its name.

use super::{Protocol, http1, http2, replies, resp};

/// The most bytes of a head (of HTTP/1, or an inline command) to hold back; more does not parse.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// A run of bytes at the front of those not yet relayed, all of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// How many bytes, at least 1.
    pub(super) len: usize,
    /// The name of the request that begins with this piece.
    pub(super) request: Option<String>,
    /// Whether the frame ends with this piece.
    pub(super) last: bool,
    /// Which request of the connection it belongs to: its stream in HTTP/2, else its number, from 1. Nothing where
    /// that is not known or it belongs to none.
    pub(super) of: Option<u64>,
    /// Whether that request ends with this piece.
    pub(super) ends: bool,
}

/// The bytes are not of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unparsed;

/// What a parser makes of the bytes at the front of `input`, which start where its last step ended:
/// a piece, or nothing until there are more bytes. A parser that fails is as it was before.
pub(super) type Step = Result<Option<Piece>, Unparsed>;

/// The framing of one direction of one connection.
#[derive(Debug)]
pub(super) enum Parser {
    Http1(http1::Requests),
    Http2(http2::Requests),
    Resp(resp::Commands),
    Http2Replies(http2::Replies),
    RespReplies(replies::Replies),
    /// Whatever arrives together is a frame.
    Opaque,
}

impl Parser {
    /// For what a client sends.
    pub(super) fn requests(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1(http1::Requests::default()),
            Protocol::Http2 => Self::Http2(http2::Requests::default()),
            Protocol::Resp => Self::Resp(resp::Commands::default()),
        }
    }

    /// For what a server sends.
    pub(super) fn replies(protocol: Protocol) -> Self {
        match protocol {
            // One request at a time: what comes answers the last.
            Protocol::Http1 => Self::Opaque,
            Protocol::Http2 => Self::Http2Replies(http2::Replies::default()),
            Protocol::Resp => Self::RespReplies(replies::Replies::default()),
        }
    }

    fn step(&mut self, input: &[u8]) -> Step {
        if input.is_empty() {
            return Ok(None);
        }
        match self {
            Self::Http1(requests) => requests.step(input),
            Self::Http2(requests) => requests.step(input),
            Self::Resp(commands) => commands.step(input),
            Self::Http2Replies(replies) => replies.step(input),
            Self::RespReplies(replies) => replies.step(input),
            Self::Opaque => Ok(Some(Piece {
                len: input.len(),
                request: None,
                last: true,
                of: None,
                ends: false,
            })),
        }
    }

    /// As much of `input`, the bytes not yet relayed, as is known to be of one frame, in as few writes
    /// as the client took; nothing if that needs more bytes.
    pub(super) fn next_piece(&mut self, input: &[u8]) -> Step {
        let Some(mut piece) = self.step(input)? else {
            return Ok(None);
        };
        // An error further on will be met again, when this piece has been relayed.
        while !piece.last
            && let Ok(Some(more)) = self.step(&input[piece.len..])
        {
            piece.len += more.len;
            piece.last = more.last;
            piece.ends = more.ends;
        }
        Ok(Some(piece))
    }
}

#[cfg(test)]
pub(super) mod testing {
    use proptest::prelude::*;

    use super::*;

    /// What a stream was taken for, however it was cut into reads.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub(in crate::proxy) struct Scan {
        /// The names of the requests, in order.
        pub(in crate::proxy) requests: Vec<String>,
        /// The offsets at which frames ended.
        pub(in crate::proxy) ends: Vec<usize>,
        /// Whether it stopped at something that is not of the protocol.
        pub(in crate::proxy) unparsed: bool,
    }

    /// Feeds `stream` to a new parser as the relay does, in reads that end at the offsets `cuts`.
    pub(in crate::proxy) fn scan(protocol: Protocol, stream: &[u8], cuts: &[usize]) -> Scan {
        let mut parser = Parser::requests(protocol);
        let mut scan = Scan::default();
        let mut relayed = 0;
        for &read in cuts.iter().chain([&stream.len()]) {
            loop {
                match parser.next_piece(&stream[relayed..read]) {
                    Ok(Some(piece)) => {
                        assert!((1..=read - relayed).contains(&piece.len), "{piece:?}");
                        relayed += piece.len;
                        scan.requests.extend(piece.request);
                        scan.ends.extend(piece.last.then_some(relayed));
                    }
                    Ok(None) => break,
                    Err(Unparsed) => {
                        return Scan {
                            unparsed: true,
                            ..scan
                        };
                    }
                }
            }
        }
        scan
    }

    /// Scans in one read and byte by byte, which must come to the same.
    pub(in crate::proxy) fn scan_both_ways(protocol: Protocol, stream: &[u8]) -> Scan {
        let whole = scan(protocol, stream, &[]);
        let bytewise = scan(protocol, stream, &(0..stream.len()).collect::<Vec<_>>());
        assert_eq!(
            whole,
            bytewise,
            "one read and byte by byte, of {:?}",
            stream.escape_ascii().to_string()
        );
        whole
    }

    /// A stream that was built from frames with known ends, and the offsets of a few reads.
    pub(in crate::proxy) fn with_cuts(
        stream: impl Strategy<Value = (Vec<u8>, Scan)>,
    ) -> impl Strategy<Value = (Vec<u8>, Scan, Vec<usize>)> {
        (
            stream,
            proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        )
            .prop_map(|((stream, expected), cuts)| {
                let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
                cuts.sort_unstable();
                (stream, expected, cuts)
            })
    }

    /// Joins frames, each with the name of the request it begins, into a stream and what is to be
    /// found in it.
    pub(in crate::proxy) fn join(frames: Vec<(Vec<u8>, Option<String>)>) -> (Vec<u8>, Scan) {
        let mut stream = Vec::new();
        let mut expected = Scan::default();
        for (bytes, request) in frames {
            stream.extend(bytes);
            expected.ends.push(stream.len());
            expected.requests.extend(request);
        }
        (stream, expected)
    }

    /// Damages one byte of a stream: what is found must still not depend on the cuts.
    pub(in crate::proxy) fn check_damaged(
        protocol: Protocol,
        mut stream: Vec<u8>,
        at: prop::sample::Index,
        byte: u8,
        cuts: &[usize],
    ) -> Result<(), TestCaseError> {
        if !stream.is_empty() {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        prop_assert_eq!(scan(protocol, &stream, cuts), scan_both_ways(protocol, &stream));
        Ok(())
    }
}
