//! The requests of HTTP/1.0 and HTTP/1.1 (RFC 9112).

use super::framing::{MAX_HEAD, Piece, Step, Unparsed};

const MAX_HEADERS: usize = 128;

/// What a client sends on one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    position: Position,
    /// How many requests have begun.
    count: u64,
}

/// Where in the stream of requests the parser is.
#[derive(Debug, Default)]
enum Position {
    /// Before a request line, or an empty line before it.
    #[default]
    Head,
    /// Before so many bytes of a body, at least 1, that ends the request.
    Body(u64),
    /// Before the line that gives the size of a chunk.
    ChunkSize,
    /// Before so many bytes of a chunk; at 0, before the line end that follows them.
    Chunk(u64),
    /// After the last chunk, before the trailer fields and the empty line that ends the request.
    Trailers,
}

impl Requests {
    /// See [`Step`]; `input` is not empty.
    pub(super) fn step(&mut self, input: &[u8]) -> Step {
        let (next, len, request) = match self.position {
            Position::Head => {
                let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
                let mut head = httparse::Request::new(&mut headers);
                let status = head.parse(input).map_err(|_| Unparsed)?;
                let Some(len) = complete(status, input, MAX_HEAD, |len| *len)? else {
                    return Ok(None);
                };
                (body(head.headers)?, len, Some(name(&head)))
            }
            Position::Body(left) => {
                let len = at_most(left, input);
                let left = left - len as u64;
                (
                    if left == 0 {
                        Position::Head
                    } else {
                        Position::Body(left)
                    },
                    len,
                    None,
                )
            }
            Position::ChunkSize => {
                // httparse takes a line without digits for a size of 0.
                if !input[0].is_ascii_hexdigit() {
                    return Err(Unparsed);
                }
                let status = httparse::parse_chunk_size(input).map_err(|_| Unparsed)?;
                let Some((len, size)) = complete(status, input, MAX_HEAD, |(len, _)| *len)? else {
                    return Ok(None);
                };
                // Some servers end the line at a bare line feed in an extension, others do not.
                if input[..len - 1].contains(&b'\n') {
                    return Err(Unparsed);
                }
                (
                    if size == 0 {
                        Position::Trailers
                    } else {
                        Position::Chunk(size)
                    },
                    len,
                    None,
                )
            }
            Position::Chunk(0) => match *input {
                [b'\r', b'\n', ..] => (Position::ChunkSize, 2, None),
                [b'\r'] => return Ok(None),
                _ => return Err(Unparsed),
            },
            Position::Chunk(left) => {
                let len = at_most(left, input);
                (Position::Chunk(left - len as u64), len, None)
            }
            Position::Trailers => {
                let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
                let status = httparse::parse_headers(input, &mut fields).map_err(|_| Unparsed)?;
                let Some((len, _)) = complete(status, input, MAX_HEAD, |(len, _)| *len)? else {
                    return Ok(None);
                };
                (Position::Head, len, None)
            }
        };
        self.position = next;
        self.count += u64::from(request.is_some());
        let last = matches!(self.position, Position::Head);
        Ok(Some(Piece {
            len,
            request,
            last,
            of: Some(self.count),
            ends: last,
        }))
    }
}

/// What httparse found in `input`, if it is all there and its length not beyond the limit, which must
/// not depend on how much was read at once.
fn complete<T>(
    status: httparse::Status<T>,
    input: &[u8],
    max: usize,
    len: impl Fn(&T) -> usize,
) -> Result<Option<T>, Unparsed> {
    match status {
        httparse::Status::Complete(found) if len(&found) <= max => Ok(Some(found)),
        httparse::Status::Partial if input.len() < max => Ok(None),
        _ => Err(Unparsed),
    }
}

/// How much of `input` belongs to something of which `left` bytes are to come.
fn at_most(left: u64, input: &[u8]) -> usize {
    usize::try_from(left).map_or(input.len(), |left| left.min(input.len()))
}

/// What follows the head, by RFC 9112, section 6.3. Where servers are known to differ (both a length
/// and chunks, lengths that disagree, another coding last) a count would be a guess: unparsed.
fn body(headers: &[httparse::Header<'_>]) -> Result<Position, Unparsed> {
    let values = |name: &'static str| {
        headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    let mut length = None;
    for value in values("content-length") {
        let digits = value.trim_ascii();
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Unparsed);
        }
        let value: u64 = str::from_utf8(digits)
            .map_err(|_| Unparsed)?
            .parse()
            .map_err(|_| Unparsed)?;
        if length.replace(value).is_some_and(|other| other != value) {
            return Err(Unparsed);
        }
    }
    let coding = values("transfer-encoding").next_back().map(|value| {
        let last = value.rsplit(|&byte| byte == b',').next().unwrap_or(value);
        last.trim_ascii().eq_ignore_ascii_case(b"chunked")
    });
    match (coding, length) {
        (None, None | Some(0)) => Ok(Position::Head),
        (None, Some(length)) => Ok(Position::Body(length)),
        (Some(true), None) => Ok(Position::ChunkSize),
        (Some(_), _) => Err(Unparsed),
    }
}

fn name(head: &httparse::Request<'_, '_>) -> String {
    let path = head.path.unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let mut name = format!("{} {path}", head.method.unwrap_or_default());
    if let Some(target) = head
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("x-amz-target"))
    {
        name.push(' ');
        name.push_str(&String::from_utf8_lossy(target.value));
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Protocol::Http1;
    use super::super::framing::testing::{Scan, check_damaged, join, scan, scan_both_ways, with_cuts};

    fn names(stream: &str) -> Vec<String> {
        let scan = scan_both_ways(Http1, stream.as_bytes());
        assert!(!scan.unparsed, "{stream:?}");
        assert_eq!(scan.ends.last(), Some(&stream.len()), "{stream:?}");
        scan.requests
    }

    fn assert_unparsed(stream: &str) {
        assert!(scan_both_ways(Http1, stream.as_bytes()).unparsed, "{stream:?}");
    }

    #[test]
    fn the_name_is_method_and_path_without_query() {
        assert_eq!(names("GET /a/b?c=d HTTP/1.1\r\nhost: h\r\n\r\n"), ["GET /a/b"]);
        assert_eq!(names("GET / HTTP/1.0\r\n\r\n"), ["GET /"]);
        assert_eq!(
            names("POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\n\r\n"),
            ["POST / DynamoDB_20120810.GetItem"],
        );
    }

    #[test]
    fn requests_follow_one_another() {
        let stream = "PUT /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\n\r\n\
                      \r\nGET /3 HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(names(stream), ["PUT /1", "GET /2", "GET /3"]);
    }

    #[test]
    fn chunks_with_extensions_and_trailers() {
        let stream = "POST /1 HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n\
                      5;a=\"b\"\r\nGET /\r\n00a ;x\r\n0\r\n\r\n01234\r\n0\r\nt: GET / HTTP/1.1\r\nu: 2\r\n\r\n\
                      GET /2 HTTP/1.1\r\n\r\n";
        assert_eq!(names(stream), ["POST /1", "GET /2"]);
    }

    #[test]
    fn a_body_that_resembles_a_request() {
        let body = "GET /no HTTP/1.1\r\nhost: h\r\n\r\n";
        let stream = format!(
            "PUT /1 HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}{body}",
            body.len()
        );
        assert_eq!(names(&stream), ["PUT /1", "GET /no"]);
    }

    #[test]
    fn a_head_is_relayed_before_its_body_is_there() {
        let head = b"PUT /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
        let expected = Scan {
            requests: vec!["PUT /1".to_owned()],
            ..Scan::default()
        };
        assert_eq!(scan(Http1, head, &[]), expected);
    }

    #[test]
    fn part_of_a_head_is_no_request() {
        assert_eq!(
            scan_both_ways(Http1, b"GET / HTTP/1.1\r\nhost: h\r\n"),
            Scan::default()
        );
    }

    #[test]
    fn what_is_not_a_request_is_unparsed() {
        assert_unparsed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_unparsed("\x16\x03\x01");
        assert_unparsed("GET / HTTP/1.1\r\n\r\n*1\r\n$4\r\nPING\r\n");
        assert_unparsed("GET / HTTP/1.1\r\nno field\r\n\r\n");
        assert_unparsed(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200)));
    }

    #[test]
    fn a_head_has_a_limit_however_it_is_read() {
        for head in [
            "GET / HTTP/1.1\r\na: ",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;",
        ] {
            let stream = format!("{head}{}\r\n\r\n", "x".repeat(70_000));
            let reads: Vec<_> = (0..stream.len()).step_by(9_000).collect();
            for cuts in [&reads[..], &[]] {
                assert!(
                    scan(Http1, stream.as_bytes(), cuts).unparsed,
                    "{head:?} in {} reads",
                    cuts.len() + 1
                );
            }
        }
    }

    #[test]
    fn a_body_whose_end_is_in_doubt_is_unparsed() {
        let post =
            |fields: &str, body: &str| assert_unparsed(&format!("POST / HTTP/1.1\r\n{fields}\r\n{body}"));
        post("content-length: 1\r\ncontent-length: 2\r\n", "a");
        post("content-length: +1\r\n", "a");
        post("content-length: \r\n", "a");
        post("content-length: 99999999999999999999\r\n", "a");
        post("content-length: 1\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n");
        post("transfer-encoding: gzip\r\n", "a");
        let chunks = |body: &str| post("transfer-encoding: chunked\r\n", body);
        chunks("\r\n");
        chunks("g\r\n");
        chunks("1\nab");
        chunks("1;\n1\r\n");
        chunks("1\r\nabc");
        chunks("0\r\nGET / HTTP/1.1\r\n\r\n");
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..40),
            Just(b"GET /no HTTP/1.1\r\ncontent-length: 7\r\n\r\n".to_vec()),
            Just(b"\r\n0\r\n\r\n".to_vec()),
        ]
    }

    fn request() -> impl Strategy<Value = (Vec<u8>, Option<String>)> {
        let framing = prop_oneof![
            Just((Vec::new(), Vec::new())),
            content().prop_map(|body| (format!("Content-Length: {}\r\n", body.len()).into_bytes(), body)),
            (
                vec((content(), "(;[a-z]{1,4}(=\"?[0-9]\"?)?)?"), 0..4),
                vec("[a-z]{1,5}: [ -~]{0,9}", 0..3)
            )
                .prop_map(|(chunks, trailers)| {
                    let mut body = Vec::new();
                    for (data, extension) in chunks.iter().filter(|(data, _)| !data.is_empty()) {
                        body.extend(format!("{:x}{extension}\r\n", data.len()).into_bytes());
                        body.extend(data);
                        body.extend(b"\r\n");
                    }
                    body.extend(b"0\r\n");
                    for trailer in trailers {
                        body.extend(trailer.into_bytes());
                        body.extend(b"\r\n");
                    }
                    body.extend(b"\r\n");
                    (b"transfer-encoding: chunked\r\n".to_vec(), body)
                }),
        ];
        (
            "GET|PUT|POST|DELETE",
            "/[a-z%0-9/]{0,12}",
            "(\\?[a-z=&/]{0,9})?",
            framing,
        )
            .prop_map(|(method, path, query, (field, body))| {
                let mut request = format!("{method} {path}{query} HTTP/1.1\r\nhost: h\r\n").into_bytes();
                request.extend(field);
                request.extend(b"\r\n");
                request.extend(body);
                (request, Some(format!("{method} {path}")))
            })
    }

    proptest! {
        #[test]
        fn any_requests_in_any_reads((stream, expected, cuts) in with_cuts(vec(request(), 0..5).prop_map(join))) {
            prop_assert_eq!(&scan(Http1, &stream, &cuts), &expected);
            prop_assert_eq!(&scan_both_ways(Http1, &stream), &expected);
        }

        #[test]
        fn damage_is_found_however_it_is_read(
            (stream, _, cuts) in with_cuts(vec(request(), 1..3).prop_map(join)),
            at: prop::sample::Index,
            byte: u8,
        ) {
            check_damaged(Http1, stream, at, byte, &cuts)?;
        }
    }
}
