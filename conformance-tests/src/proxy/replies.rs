//! The replies of the Redis protocol, RESP2 and RESP3, as far as is needed to tell where each ends.

use super::framing::{Piece, Step, Unparsed};

/// The longest line to hold back. Errors are the longest that there are.
const MAX_LINE: usize = 64 * 1024;

/// What a server sends on one connection.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// How many elements are to come on each level that is open.
    open: Vec<u64>,
    /// How many bytes of a string are to come, with the line end.
    string: u64,
    /// How many replies have begun.
    count: u64,
    /// Whether this is a message that answers nothing.
    push: bool,
}

impl Replies {
    /// See [`Step`]; `input` is not empty.
    pub(super) fn step(&mut self, input: &[u8]) -> Step {
        let len = if self.string > 0 {
            let len = usize::try_from(self.string).map_or(input.len(), |left| left.min(input.len()));
            self.string -= len as u64;
            len
        } else {
            let line = &input[..input.len().min(MAX_LINE)];
            let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
                return if line.len() == MAX_LINE {
                    Err(Unparsed)
                } else {
                    Ok(None)
                };
            };
            self.line(&line[..end])?;
            end + 1
        };
        if self.string == 0 {
            // What is complete may complete what it is in.
            while self.open.last() == Some(&0) {
                self.open.pop();
            }
        }
        let last = self.open.is_empty() && self.string == 0;
        let of = (!self.push).then_some(self.count);
        self.push &= !last;
        Ok(Some(Piece {
            len,
            request: None,
            last,
            of,
            ends: last,
        }))
    }

    /// Takes in the line that an element begins with.
    fn line(&mut self, line: &[u8]) -> Result<(), Unparsed> {
        let [kind, rest @ .., b'\r'] = line else {
            return Err(Unparsed);
        };
        let length = || -> Result<Option<u64>, Unparsed> {
            let text = str::from_utf8(rest).map_err(|_| Unparsed)?;
            match text.parse::<i64>() {
                Ok(length) => Ok(u64::try_from(length).ok()),
                Err(_) => Err(Unparsed),
            }
        };
        match self.open.last_mut() {
            Some(left) => *left -= 1,
            None if *kind == b'>' => self.push = true,
            None => self.count += 1,
        }
        match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {}
            b'$' | b'=' | b'!' => self.string = length()?.map_or(0, |length| length + 2),
            b'*' | b'~' | b'>' => self.open.push(length()?.unwrap_or(0)),
            b'%' => self.open.push(length()?.unwrap_or(0).saturating_mul(2)),
            _ => return Err(Unparsed),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The replies that each piece belongs to, in one read and byte by byte.
    fn replies(stream: &[u8]) -> Vec<(usize, Option<u64>)> {
        let scan = |reads: &mut dyn Iterator<Item = usize>| {
            let (mut parser, mut at, mut ends) = (Replies::default(), 0, Vec::new());
            for read in reads {
                while at < read {
                    match parser.step(&stream[at..read]) {
                        Ok(Some(piece)) => {
                            at += piece.len;
                            if piece.last {
                                ends.push((at, piece.of));
                            }
                        }
                        Ok(None) => break,
                        Err(Unparsed) => panic!("{}", stream.escape_ascii()),
                    }
                }
            }
            assert_eq!(at, stream.len(), "{}", stream.escape_ascii());
            ends
        };
        let whole = scan(&mut std::iter::once(stream.len()));
        assert_eq!(whole, scan(&mut (1..=stream.len())));
        whole
    }

    #[test]
    fn each_reply_is_counted_once_whatever_is_in_it() {
        let parts: [&[u8]; 9] = [
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":12\r\n",
            b"$5\r\n*1\r\n$\r\n",
            b"$-1\r\n",
            b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n$-1\r\n",
            b"*-1\r\n",
            b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
            b"*0\r\n",
        ];
        let mut end = 0;
        let expected: Vec<_> = (1..)
            .zip(parts)
            .map(|(number, part)| {
                end += part.len();
                (end, Some(number))
            })
            .collect();
        assert_eq!(replies(&parts.concat()), expected);
    }

    #[test]
    fn a_push_answers_nothing() {
        assert_eq!(
            replies(b">2\r\n+invalidate\r\n:1\r\n+OK\r\n"),
            [(21, None), (26, Some(1))]
        );
    }

    #[test]
    fn what_is_no_reply_is_unparsed() {
        for stream in [&b"HTTP/1.1 200 OK\r\n"[..], b"+OK\n", b"$x\r\n", b"\r\n"] {
            assert!(
                Replies::default().step(stream).is_err(),
                "{}",
                stream.escape_ascii()
            );
        }
    }
}
