//! The requests of HTTP/2 with prior knowledge (RFC 9113), by the headers of its frames.

use super::framing::{Piece, Step, Unparsed};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const NAME: &str = "HTTP/2 request";

// Frame types and flags, RFC 9113, section 6.
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PUSH_PROMISE: u8 = 0x5;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What a client sends on one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    position: Position,
    /// The stream that was opened last; a client's numbers only rise.
    last_stream: u32,
    /// The stream whose header block is unfinished: nothing but its continuation may follow.
    unfinished: Option<u32>,
    frame: Frame,
}

/// The frame that the parser is in, or was in last.
#[derive(Debug, Default, Clone, Copy)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frame {
    /// The header of a frame, and how long its payload is.
    fn read([l0, l1, l2, kind, flags, s0, s1, s2, s3]: [u8; FRAME_HEADER]) -> (Self, usize) {
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff;
        let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
        (Self { kind, flags, stream }, length)
    }

    fn is_of_a_stream(self) -> bool {
        matches!(self.kind, DATA | HEADERS | CONTINUATION | RST_STREAM)
    }

    /// `len` bytes of it.
    fn piece(self, len: usize, last: bool) -> Piece {
        let ends = matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0;
        Piece {
            len,
            request: None,
            last,
            of: self.is_of_a_stream().then_some(self.stream.into()),
            ends: last && ends,
        }
    }
}

/// What a server sends on one connection.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// How many bytes of the frame are to come.
    left: usize,
    frame: Frame,
}

impl Replies {
    /// See [`Step`]; `input` is not empty.
    pub(super) fn step(&mut self, input: &[u8]) -> Step {
        let len = if self.left == 0 {
            let Some(&header) = input.first_chunk::<FRAME_HEADER>() else {
                return Ok(None);
            };
            (self.frame, self.left) = Frame::read(header);
            FRAME_HEADER
        } else {
            let len = self.left.min(input.len());
            self.left -= len;
            len
        };
        Ok(Some(self.frame.piece(len, self.left == 0)))
    }
}

#[derive(Debug, Default)]
enum Position {
    #[default]
    Preface,
    FirstFrame,
    Frame,
    /// Before so many bytes of a frame's payload, at least 1.
    Payload(usize),
}

impl Requests {
    /// See [`Step`]; `input` is not empty.
    pub(super) fn step(&mut self, input: &[u8]) -> Step {
        let mut request = None;
        let len = match self.position {
            Position::Preface => {
                let len = input.len().min(PREFACE.len());
                if input[..len] != PREFACE[..len] {
                    return Err(Unparsed);
                }
                if len < PREFACE.len() {
                    return Ok(None);
                }
                self.position = Position::FirstFrame;
                len
            }
            Position::FirstFrame | Position::Frame => {
                let Some(&header) = input.first_chunk::<FRAME_HEADER>() else {
                    return Ok(None);
                };
                if self.frame(header)? {
                    request = Some(NAME.to_owned());
                }
                FRAME_HEADER
            }
            Position::Payload(left) => {
                let len = left.min(input.len());
                self.payload(left - len);
                len
            }
        };
        let last = !matches!(self.position, Position::Payload(_));
        Ok(Some(Piece {
            request,
            ..self.frame.piece(len, last)
        }))
    }

    fn payload(&mut self, left: usize) {
        self.position = if left == 0 {
            Position::Frame
        } else {
            Position::Payload(left)
        };
    }

    /// Takes in the header of a frame and says whether the frame opens a stream. Refuses what no
    /// client may send, since the streams that follow would be miscounted.
    fn frame(&mut self, header: [u8; FRAME_HEADER]) -> Result<bool, Unparsed> {
        let (frame, length) = Frame::read(header);
        let Frame { kind, flags, stream } = frame;
        if matches!(self.position, Position::FirstFrame) && kind != SETTINGS {
            return Err(Unparsed);
        }
        let allowed = match kind {
            _ if self.unfinished.is_some() => kind == CONTINUATION && self.unfinished == Some(stream),
            HEADERS => stream % 2 == 1,
            DATA => stream % 2 == 1 && stream <= self.last_stream,
            SETTINGS => stream == 0,
            PUSH_PROMISE | CONTINUATION => false,
            _ => true,
        };
        if !allowed {
            return Err(Unparsed);
        }
        if kind == HEADERS || kind == CONTINUATION {
            self.unfinished = (flags & END_HEADERS == 0).then_some(stream);
        }
        // Headers on a stream that is open already are its trailers.
        let opens = kind == HEADERS && stream > self.last_stream;
        if opens {
            self.last_stream = stream;
        }
        self.frame = frame;
        self.payload(length);
        Ok(opens)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Protocol::Http2;
    use super::super::framing::testing::{Scan, check_damaged, join, scan, scan_both_ways, with_cuts};
    use super::*;

    const PRIORITY: u8 = 0x2;
    const PING: u8 = 0x6;
    const WINDOW_UPDATE: u8 = 0x8;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// A connection that begins as it should and goes on with `frames`.
    fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
        [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[0; 6])]
            .iter()
            .chain(frames)
            .flatten()
            .copied()
            .collect()
    }

    fn count(frames: &[Vec<u8>]) -> usize {
        let stream = connection(frames);
        let scan = scan_both_ways(Http2, &stream);
        assert!(!scan.unparsed);
        assert_eq!(scan.ends.last(), Some(&stream.len()));
        scan.requests.len()
    }

    #[test]
    fn a_request_is_a_stream_opened() {
        let open = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x82");
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[open(1)]), 1);
        assert_eq!(
            count(&[open(1), open(3), frame(WINDOW_UPDATE, 0, 0, &[0; 4]), open(9)]),
            3
        );
    }

    #[test]
    fn continuations_and_trailers_are_not_counted() {
        let frames = [
            frame(HEADERS, 0, 1, b"\x82"),
            frame(CONTINUATION, 0, 1, b""),
            frame(CONTINUATION, END_HEADERS, 1, b"\x84"),
            frame(HEADERS, END_HEADERS, 3, b"\x82"),
            frame(DATA, 0, 1, &frame(HEADERS, END_HEADERS, 5, b"")),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82"),
            frame(DATA, END_STREAM, 3, b""),
        ];
        assert_eq!(count(&frames), 2);
    }

    #[test]
    fn unknown_frames_and_the_reserved_bit_are_ignored() {
        let open = |stream| frame(HEADERS, END_HEADERS, stream, b"\x82");
        assert_eq!(
            count(&[frame(0xfa, 0xff, 7, b"x"), open(1 | 1 << 31), open(3)]),
            2
        );
    }

    #[test]
    fn what_no_client_sends_is_unparsed() {
        assert!(scan_both_ways(Http2, b"GET / HTTP/1.1\r\n\r\n").unparsed);
        assert!(scan_both_ways(Http2, b"PRI * HTTP/2.0\r\n\r\nXX").unparsed);
        assert!(scan_both_ways(Http2, &[PREFACE, &frame(PING, 0, 0, &[0; 8])].concat()).unparsed);
        let headers = |flags, stream| frame(HEADERS, flags, stream, b"");
        for frames in [
            vec![headers(END_HEADERS, 0)],
            vec![headers(END_HEADERS, 2)],
            vec![headers(0, 1), headers(END_HEADERS, 3)],
            vec![headers(0, 1), frame(CONTINUATION, END_HEADERS, 3, b"")],
            vec![frame(CONTINUATION, END_HEADERS, 1, b"")],
            vec![frame(DATA, 0, 1, b"")],
            vec![frame(DATA, 0, 0, b"")],
            vec![frame(PUSH_PROMISE, END_HEADERS, 1, b"")],
            vec![frame(SETTINGS, 0, 1, b"")],
        ] {
            assert!(scan_both_ways(Http2, &connection(&frames)).unparsed, "{frames:?}");
        }
    }

    #[derive(Debug, Clone)]
    enum Act {
        Open {
            skip: u32,
            blocks: Vec<Vec<u8>>,
            flags: u8,
        },
        Data {
            of: prop::sample::Index,
            payload: Vec<u8>,
        },
        Trailers {
            of: prop::sample::Index,
            blocks: Vec<Vec<u8>>,
        },
        Other {
            kind: u8,
            flags: u8,
            payload: Vec<u8>,
        },
    }

    fn act() -> impl Strategy<Value = Act> {
        let payload = || vec(any::<u8>(), 0..30);
        let blocks = move || vec(payload(), 1..4);
        prop_oneof![
            (
                0..3_u32,
                blocks(),
                prop_oneof![Just(0), Just(END_STREAM), Just(PRIORITY)]
            )
                .prop_map(|(skip, blocks, flags)| Act::Open { skip, blocks, flags }),
            (any::<prop::sample::Index>(), payload()).prop_map(|(of, payload)| Act::Data { of, payload }),
            (any::<prop::sample::Index>(), blocks()).prop_map(|(of, blocks)| Act::Trailers { of, blocks }),
            (
                prop_oneof![Just(SETTINGS), Just(PING), Just(WINDOW_UPDATE), 0x0a..0xff_u8],
                any::<u8>(),
                payload()
            )
                .prop_map(|(kind, flags, payload)| Act::Other { kind, flags, payload }),
        ]
    }

    fn stream() -> impl Strategy<Value = (Vec<u8>, Scan)> {
        vec(act(), 0..12).prop_map(|acts| {
            let mut frames = vec![(PREFACE.to_vec(), None), (frame(SETTINGS, 0, 0, b""), None)];
            let mut streams: Vec<u32> = Vec::new();
            let header_block = |stream, blocks: &[Vec<u8>], flags: u8| {
                let kinds = [HEADERS].into_iter().chain(std::iter::repeat(CONTINUATION));
                let last = blocks.len() - 1;
                let block = kinds.zip(blocks).enumerate().map(move |(i, (kind, payload))| {
                    let flags = if kind == HEADERS { flags } else { 0 };
                    frame(
                        kind,
                        if i == last { flags | END_HEADERS } else { flags },
                        stream,
                        payload,
                    )
                });
                block.collect::<Vec<_>>()
            };
            for act in acts {
                match act {
                    Act::Open { skip, blocks, flags } => {
                        let stream = streams.last().map_or(1, |last| last + 2) + 2 * skip;
                        streams.push(stream);
                        let mut name = Some(NAME.to_owned());
                        frames.extend(
                            header_block(stream, &blocks, flags)
                                .into_iter()
                                .map(|f| (f, name.take())),
                        );
                    }
                    Act::Data { of, payload } if !streams.is_empty() => {
                        frames.push((frame(DATA, 0, *of.get(&streams), &payload), None));
                    }
                    Act::Trailers { of, blocks } if !streams.is_empty() => {
                        let trailers = header_block(*of.get(&streams), &blocks, END_STREAM);
                        frames.extend(trailers.into_iter().map(|f| (f, None)));
                    }
                    Act::Other { kind, flags, payload } => {
                        frames.push((frame(kind, flags, 0, &payload), None))
                    }
                    Act::Data { .. } | Act::Trailers { .. } => {}
                }
            }
            join(frames)
        })
    }

    proptest! {
        #[test]
        fn any_frames_in_any_reads((stream, expected, cuts) in with_cuts(stream())) {
            prop_assert_eq!(&scan(Http2, &stream, &cuts), &expected);
            prop_assert_eq!(&scan_both_ways(Http2, &stream), &expected);
        }

        #[test]
        fn damage_is_found_however_it_is_read(
            (stream, _, cuts) in with_cuts(stream()),
            at: prop::sample::Index,
            byte: u8,
        ) {
            check_damaged(Http2, stream, at, byte, &cuts)?;
        }
    }
}
