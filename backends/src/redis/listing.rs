//! Listing and scanning.

use std::collections::{HashSet, VecDeque};
use std::ops::Bound;

use redis::Value;
use statestore_api::backend::{ListQuery, check};
use statestore_api::{
    Entry, Error, Item, Key, ListOptions, Page, PageToken, Projection, Result, ScanOptions,
};

use super::codec::{self, Place};
use super::conn::Call;
use super::error::Failure;
use super::{RedisStore, scripts};

/// How often a page of a scan asks the server before it is handed out with what there is.
const ROUNDS: usize = 32;
/// How many buckets of its table a server looks at, at the least.
const LEAST_COUNT: usize = 10;

impl RedisStore {
    pub(super) async fn list(&self, partition: &str, options: ListOptions) -> Result<Page> {
        self.listing("list_page without its index (`index=off`)")?;
        let query = ListQuery::new(self.limits(), partition, &options)?;
        let place = Place::new(self.prefix(), partition);
        let (mut start, end) = range(query.start(), &options.prefix);
        // Pages of nothing but what has expired are not worth handing out.
        loop {
            let call = self.scripts().list(&place, (&start, &end), options.page_size);
            let answer = self.read(&call).await?;
            let (more, ids) = scripts::listed(answer).map_err(|failure| self.error(&failure, false))?;
            let keys = ids.into_iter().map(|id| Key::new(partition, id));
            let items = self
                .items(keys.collect::<Result<_>>()?, options.projection)
                .await?;
            match more {
                Some(last) if items.is_empty() => start = bound(b'(', last.as_bytes()),
                more => return Ok(Page::new(items, more.map(|last| query.next(&last)))),
            }
        }
    }

    pub(super) async fn scan(&self, options: ScanOptions) -> Result<Page> {
        self.listing("scan_page without its index (`index=off`)")?;
        check::page_size(options.page_size)?;
        let from = match &options.page_token {
            Some(token) => Some(Position::open(token)?),
            None => None,
        };
        let primaries = self.servers().primaries().await;
        let (primaries, fingerprint) = primaries.map_err(|failure| self.error(&failure, false))?;
        let mut at = from.unwrap_or_else(|| Position::start(fingerprint));
        // A cursor is a place in one server's table, and the order of the servers says which are done.
        if at.fingerprint != fingerprint {
            return Err(Error::InvalidToken);
        }
        let pattern = codec::pattern(self.prefix());
        let mut keys: Vec<Key> = at.pending.drain(..).collect();
        let mut seen: HashSet<Key> = keys.iter().cloned().collect();
        for round in 0.. {
            let Some(node) = primaries.get(at.node) else { break };
            if keys.len() >= options.page_size || (round >= ROUNDS && !keys.is_empty()) {
                break;
            }
            let count = (options.page_size - keys.len()).max(LEAST_COUNT);
            let mut command = redis::cmd("SCAN");
            command
                .arg(at.cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(count);
            let found = node.scan(&Call::command(0, command)).await;
            let (cursor, found) = found.map_err(|failure| self.error(&failure, false))?;
            let found = found.iter().filter_map(|data| codec::key(self.prefix(), data));
            keys.extend(found.filter(|key| seen.insert(key.clone())));
            at.cursor = cursor;
            if cursor == 0 {
                at.node += 1;
            }
        }
        at.pending = keys.split_off(keys.len().min(options.page_size)).into();
        let done = at.node >= primaries.len() && at.pending.is_empty();
        let items = self.items(keys, options.projection).await?;
        Ok(Page::new(items, (!done).then(|| at.seal())))
    }

    fn listing(&self, what: &'static str) -> Result<()> {
        if self.limits().listing {
            Ok(())
        } else {
            Err(Error::Unsupported {
                backend: self.limits().backend,
                what,
            })
        }
    }

    /// The lines of a listing, without what has gone in between.
    async fn items(&self, keys: Vec<Key>, projection: Projection) -> Result<Vec<Item>> {
        if projection == Projection::Keys {
            return Ok(keys.into_iter().map(|key| Item::new(key, None)).collect());
        }
        let entries: Vec<Result<Option<Entry>>> = self.read_many(&keys).await;
        let mut items = Vec::with_capacity(keys.len());
        for (key, entry) in keys.into_iter().zip(entries) {
            if let Some(entry) = entry? {
                items.push(Item::new(key, Some(entry)));
            }
        }
        Ok(items)
    }
}

impl super::conn::Node {
    /// The next cursor and the keys found.
    async fn scan(&self, call: &Call) -> Result<(u64, Vec<Vec<u8>>), Failure> {
        let strange = || Failure::Strange("the server's answer to SCAN is malformed");
        let Value::Array(parts) = self.call(call, false).await?.value else {
            return Err(strange());
        };
        let [cursor, keys] = <[Value; 2]>::try_from(parts).map_err(|_| strange())?;
        let cursor = redis::from_redis_value(cursor).map_err(|_| strange())?;
        let keys = redis::from_redis_value(keys).map_err(|_| strange())?;
        Ok((cursor, keys))
    }
}

/// The bounds, as `ZRANGEBYLEX` takes them, of the ids from `start` on that begin with `prefix`.
fn range(start: Bound<&str>, prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let start = match start {
        Bound::Included(id) => bound(b'[', id.as_bytes()),
        Bound::Excluded(id) => bound(b'(', id.as_bytes()),
        Bound::Unbounded => b"-".to_vec(),
    };
    let mut end = bound(b'(', prefix.as_bytes());
    match end.last_mut() {
        // The next byte string that does not begin so; the last byte of UTF-8 is below 0xff.
        Some(last) if !prefix.is_empty() => *last += 1,
        _ => end = b"+".to_vec(),
    }
    (start, end)
}

fn bound(kind: u8, text: &[u8]) -> Vec<u8> {
    [&[kind], text].concat()
}

/// Where a scan goes on.
#[derive(Debug, PartialEq, Eq)]
struct Position {
    /// Of the servers it began with.
    fingerprint: u64,
    node: usize,
    cursor: u64,
    /// What a server gave beyond the page: it gives whole buckets of its table.
    pending: VecDeque<Key>,
}

const QUERY: [&str; 1] = ["scan"];

impl Position {
    fn start(fingerprint: u64) -> Self {
        Self {
            fingerprint,
            node: 0,
            cursor: 0,
            pending: VecDeque::new(),
        }
    }

    fn seal(&self) -> PageToken {
        let mut bytes = Vec::new();
        for number in [self.fingerprint, self.node as u64, self.cursor] {
            bytes.extend(number.to_be_bytes());
        }
        for key in &self.pending {
            for part in [key.partition(), key.id()] {
                bytes.extend((part.len() as u64).to_be_bytes());
                bytes.extend(part.as_bytes());
            }
        }
        PageToken::seal(&QUERY, &bytes)
    }

    fn open(token: &PageToken) -> Result<Self> {
        let bytes = token.open(&QUERY)?;
        Self::read(&bytes).ok_or(Error::InvalidToken)
    }

    fn read(mut rest: &[u8]) -> Option<Self> {
        let (fingerprint, node, cursor) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
        let mut pending = VecDeque::new();
        while !rest.is_empty() {
            let (partition, id) = (text(&mut rest)?, text(&mut rest)?);
            pending.push_back(Key::new(partition, id).ok()?);
        }
        Some(Self {
            fingerprint,
            node: usize::try_from(node).ok()?,
            cursor,
            pending,
        })
    }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u64::from_be_bytes(*bytes))
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (start, prefix, first, end) in [
            (Bound::Unbounded, "", &b"-"[..], &b"+"[..]),
            (Bound::Excluded("b"), "", b"(b", b"+"),
            (Bound::Included("a"), "a", b"[a", b"(b"),
            (
                Bound::Included("\u{10ffff}"),
                "\u{10ffff}",
                b"[\xf4\x8f\xbf\xbf",
                b"(\xf4\x8f\xbf\xc0",
            ),
        ] {
            assert_eq!(
                range(start, prefix),
                (first.to_vec(), end.to_vec()),
                "{start:?} {prefix}"
            );
        }
    }

    #[test]
    fn a_position_survives_its_token() {
        let position = Position {
            fingerprint: 7,
            node: 2,
            cursor: u64::MAX,
            pending: ["p/a", "q/\u{10ffff}"].map(|key| key.parse().unwrap()).into(),
        };
        assert_eq!(Position::open(&position.seal()).unwrap(), position);
        let damaged = PageToken::seal(&QUERY, b"short");
        assert!(matches!(Position::open(&damaged), Err(Error::InvalidToken)));
    }
}
