//! The commands of the Redis protocol, as a Redis server reads them.

use super::framing::{MAX_HEAD, Piece, Step, Unparsed};

/// The longest name of a command; the longest of Redis itself has 20 bytes.
const MAX_NAME: u64 = 64;

/// The longest line that gives a length: a mark, 19 digits and a sign, the line end.
const MAX_LENGTH_LINE: usize = 23;

/// What a client sends on one connection.
#[derive(Debug, Default)]
pub(super) struct Commands {
    position: Position,
    /// How many commands have begun.
    count: u64,
}

/// Where in the stream of commands the parser is.
#[derive(Debug, Default)]
enum Position {
    #[default]
    Command,
    /// Before the length of an argument, with so many to come, at least 1.
    Length { arguments: u64 },
    /// Before so many bytes of an argument (at 0, before the line end that follows them), with so many
    /// arguments to come after it.
    Argument { bytes: u64, arguments: u64 },
}

impl Commands {
    /// See [`Step`]; `input` is not empty.
    pub(super) fn step(&mut self, input: &[u8]) -> Step {
        let mut request = None;
        let (next, len) = match self.position {
            Position::Command if input[0] == b'*' => {
                let Some((elements, mut len)) = length(b'*', input)? else {
                    return Ok(None);
                };
                // An array without elements, or null, is passed over in silence.
                let mut next = Position::Command;
                if elements > 0 {
                    let Some((name, end)) = bulk_name(&input[len..])? else {
                        return Ok(None);
                    };
                    len += end;
                    request = Some(name);
                    next = before_argument(elements.unsigned_abs() - 1);
                }
                (next, len)
            }
            Position::Command => {
                let Some((name, len)) = inline(input)? else {
                    return Ok(None);
                };
                request = name;
                (Position::Command, len)
            }
            Position::Length { arguments } => {
                let Some((bytes, len)) = length(b'$', input)? else {
                    return Ok(None);
                };
                let bytes = u64::try_from(bytes).map_err(|_| Unparsed)?;
                (
                    Position::Argument {
                        bytes,
                        arguments: arguments - 1,
                    },
                    len,
                )
            }
            Position::Argument { bytes: 0, arguments } => match *input {
                [b'\r', b'\n', ..] => (before_argument(arguments), 2),
                [b'\r'] => return Ok(None),
                _ => return Err(Unparsed),
            },
            Position::Argument { bytes, arguments } => {
                let len = usize::try_from(bytes).map_or(input.len(), |bytes| bytes.min(input.len()));
                (
                    Position::Argument {
                        bytes: bytes - len as u64,
                        arguments,
                    },
                    len,
                )
            }
        };
        self.position = next;
        self.count += u64::from(request.is_some());
        let last = matches!(self.position, Position::Command);
        Ok(Some(Piece {
            len,
            request,
            last,
            of: Some(self.count),
            ends: last,
        }))
    }
}

fn before_argument(arguments: u64) -> Position {
    if arguments == 0 {
        Position::Command
    } else {
        Position::Length { arguments }
    }
}

/// Reads a line such as `*3\r\n`: the number and the length of the line.
fn length(mark: u8, input: &[u8]) -> Result<Option<(i64, usize)>, Unparsed> {
    if input.first().is_some_and(|&first| first != mark) {
        return Err(Unparsed);
    }
    let line = &input[..input.len().min(MAX_LENGTH_LINE)];
    let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
        return if line.len() == MAX_LENGTH_LINE {
            Err(Unparsed)
        } else {
            Ok(None)
        };
    };
    let [_, number @ .., b'\r', b'\n'] = &line[..=end] else {
        return Err(Unparsed);
    };
    // `parse` would take a plus sign, which Redis does not.
    if number.first() == Some(&b'+') {
        return Err(Unparsed);
    }
    let number = str::from_utf8(number)
        .map_err(|_| Unparsed)?
        .parse()
        .map_err(|_| Unparsed)?;
    Ok(Some((number, end + 1)))
}

/// Reads the first element of a command whole: the name and the length of the element.
fn bulk_name(input: &[u8]) -> Result<Option<(String, usize)>, Unparsed> {
    let Some((bytes, start)) = length(b'$', input)? else {
        return Ok(None);
    };
    let bytes = u64::try_from(bytes)
        .ok()
        .filter(|bytes| (1..=MAX_NAME).contains(bytes))
        .ok_or(Unparsed)?;
    let end = start + usize::try_from(bytes).map_err(|_| Unparsed)?;
    let Some(name) = input.get(start..end) else {
        return Ok(None);
    };
    match input[end..] {
        [b'\r', b'\n', ..] => Ok(Some((String::from_utf8_lossy(name).to_uppercase(), end + 2))),
        [] | [b'\r'] => Ok(None),
        _ => Err(Unparsed),
    }
}

/// Reads an inline command: its name, none if the line is empty, and the length of the line.
///
/// Nearly any line would do for Redis; a name of other characters than commands have is more likely
/// another protocol (as Redis itself suspects of `POST` and `Host:`).
fn inline(input: &[u8]) -> Result<Option<(Option<String>, usize)>, Unparsed> {
    if !input[0].is_ascii_alphabetic() && !input[0].is_ascii_whitespace() {
        return Err(Unparsed);
    }
    let line = &input[..input.len().min(MAX_HEAD)];
    let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
        return if line.len() == MAX_HEAD {
            Err(Unparsed)
        } else {
            Ok(None)
        };
    };
    let mut words = line[..end]
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let Some(name) = words.next() else {
        return Ok(Some((None, end + 1)));
    };
    let name = str::from_utf8(name).map_err(|_| Unparsed)?.to_ascii_uppercase();
    let named = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-|".contains(c));
    if !named || name == "POST" {
        return Err(Unparsed);
    }
    Ok(Some((Some(name), end + 1)))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Protocol::Resp;
    use super::super::framing::testing::{Scan, check_damaged, join, scan, scan_both_ways, with_cuts};

    fn names(stream: &[u8]) -> Vec<String> {
        let scan = scan_both_ways(Resp, stream);
        assert!(!scan.unparsed, "{}", stream.escape_ascii());
        assert_eq!(scan.ends.last(), Some(&stream.len()), "{}", stream.escape_ascii());
        scan.requests
    }

    #[test]
    fn commands_are_named_in_upper_case() {
        assert_eq!(names(b"*1\r\n$4\r\nping\r\n"), ["PING"]);
        assert_eq!(
            names(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$8\r\njson.get\r\n"),
            ["GET", "JSON.GET"]
        );
    }

    #[test]
    fn arguments_are_binary() {
        let stream = b"*4\r\n$3\r\nSET\r\n$0\r\n\r\n$14\r\n*1\r\n$4\r\nPING\r\n\r\n$2\r\n\xff\x00\r\n*1\r\n$4\r\nEXEC\r\n";
        assert_eq!(names(stream), ["SET", "EXEC"]);
    }

    #[test]
    fn inline_commands_are_lines() {
        assert_eq!(
            names(b"ping\r\n  set a *3\n\r\n\nGET a\r\n*1\r\n$4\r\nQUIT\r\n"),
            ["PING", "SET", "GET", "QUIT"]
        );
    }

    #[test]
    fn empty_and_null_arrays_are_no_commands() {
        assert_eq!(names(b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n"), ["PING"]);
    }

    #[test]
    fn a_command_broken_off_counts_once_named() {
        let named = Scan {
            requests: vec!["SET".to_owned()],
            ..Scan::default()
        };
        assert_eq!(scan_both_ways(Resp, b"*3\r\n$3\r\nSET\r\n$9\r\nab"), named);
        assert_eq!(scan_both_ways(Resp, b"*3\r\n$3\r\nSET\r"), Scan::default());
    }

    #[test]
    fn what_is_not_a_command_is_unparsed() {
        for stream in [
            &b"\x16\x03\x01"[..],
            b"POST / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\n",
            b"+OK\r\n",
            b"*\r\n",
            b"*+1\r\n",
            b"*x\r\n",
            b"*1\n$4\nPING\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n*1\r\n$4\r\nPING\r\n",
            b"*1\r\n$0\r\n\r\n",
            b"*1\r\n$65\r\n",
            b"*1\r\n$4\r\nPINGX\r\n",
            b"*2\r\n$3\r\nGET\r\n$-1\r\n",
            b"*2\r\n$3\r\nGET\r\n$1\r\nkk\r\n",
            b"*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n",
            b"*1                                ",
        ] {
            assert!(scan_both_ways(Resp, stream).unparsed, "{}", stream.escape_ascii());
        }
        assert!(scan(Resp, &vec![b'a'; 70_000], &[]).unparsed);
    }

    fn command() -> impl Strategy<Value = (Vec<u8>, Option<String>)> {
        let argument = prop_oneof![
            vec(any::<u8>(), 0..30),
            Just(b"*1\r\n$4\r\nPING\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
        ];
        let array = ("[a-zA-Z.]{1,12}", vec(argument, 0..5)).prop_map(|(name, arguments)| {
            let mut command = format!("*{}\r\n", arguments.len() + 1).into_bytes();
            for argument in [name.as_bytes()]
                .into_iter()
                .chain(arguments.iter().map(Vec::as_slice))
            {
                command.extend(format!("${}\r\n", argument.len()).into_bytes());
                command.extend(argument);
                command.extend(b"\r\n");
            }
            (command, Some(name.to_uppercase()))
        });
        let inline = ("[a-oA-O]{1,9}", "( [ -~]{0,20})?", "\r?\n").prop_map(|(name, rest, end)| {
            (
                format!("{name}{rest}{end}").into_bytes(),
                Some(name.to_uppercase()),
            )
        });
        let nothing = prop_oneof![Just("*0\r\n"), Just("*-1\r\n"), Just("\r\n"), Just("\n")]
            .prop_map(|s| (s.into(), None));
        prop_oneof![4 => array, 2 => inline, 1 => nothing]
    }

    proptest! {
        #[test]
        fn any_commands_in_any_reads((stream, expected, cuts) in with_cuts(vec(command(), 0..6).prop_map(join))) {
            prop_assert_eq!(&scan(Resp, &stream, &cuts), &expected);
            prop_assert_eq!(&scan_both_ways(Resp, &stream), &expected);
        }

        #[test]
        fn damage_is_found_however_it_is_read(
            (stream, _, cuts) in with_cuts(vec(command(), 1..4).prop_map(join)),
            at: prop::sample::Index,
            byte: u8,
        ) {
            check_damaged(Resp, stream, at, byte, &cuts)?;
        }
    }
}
