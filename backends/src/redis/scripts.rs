//! The scripts: how they are called and what they answer.

use redis::{Cmd, Script, Value};
use statestore_api::backend::Stamp;
use statestore_api::backend::expiry::{self, Expiry};
use statestore_api::{Clock as _, Precondition, Result, SystemClock, Ttl};

use super::codec::Place;
use super::conn::{Call, Wait};
use super::error::Failure;

const MUTATE: &str = include_str!("mutate.lua");
const LIST: &str = include_str!("list.lua");

/// The scripts' hashes, by which they are called.
#[derive(Debug)]
pub(super) struct Scripts {
    mutate: String,
    list: String,
}

/// One operation of a mutation.
pub(super) struct Op<'a> {
    pub(super) id: &'a str,
    pub(super) action: Action<'a>,
    pub(super) precondition: &'a Precondition,
    /// The one this write makes.
    pub(super) stamp: Stamp,
}

#[derive(Clone, Copy)]
pub(super) enum Action<'a> {
    Put(&'a [u8], Moment),
    Touch(Moment),
    Delete,
    Check,
}

/// An expiry as the script takes it: relative ones count from the server's time, at the write.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    kind: &'static str,
    ms: u64,
}

impl Moment {
    const NONE: Self = Self { kind: "n", ms: 0 };

    /// Whether it is in the past is judged by the server.
    pub(super) fn new(ttl: Ttl) -> Result<Self> {
        let now = match ttl {
            Ttl::After(_) => expiry::to_ms(SystemClock.now()),
            _ => 0,
        };
        Ok(match Expiry::new(ttl, now)? {
            Expiry::Keep => Self { kind: "k", ms: 0 },
            Expiry::Set(None) => Self::NONE,
            Expiry::Set(Some(at)) => match ttl {
                Ttl::After(_) => Self {
                    kind: "a",
                    ms: at - now,
                },
                _ => Self { kind: "@", ms: at },
            },
        })
    }
}

impl Scripts {
    pub(super) fn new() -> Self {
        let hash = |source| Script::new(source).get_hash().to_owned();
        Self {
            mutate: hash(MUTATE),
            list: hash(LIST),
        }
    }

    /// All operations, or none.
    pub(super) fn mutate(&self, place: &Place, ops: &[Op<'_>], index: bool, wait: Option<Wait>) -> Call {
        let values = ops.iter().map(|op| match op.action {
            Action::Put(value, _) => value.len() + 256,
            _ => 256,
        });
        let mut command = Cmd::with_capacity(6 + 8 * ops.len(), 256 + values.sum::<usize>());
        command.arg("EVALSHA").arg(&self.mutate);
        if index {
            command.arg(ops.len() + 2).arg(place.ids()).arg(place.expiries());
        } else {
            command.arg(ops.len());
        }
        for op in ops {
            command.arg(place.data(op.id));
        }
        command.arg(match (index, wait) {
            (true, Some(_)) => "iw",
            (true, None) => "i",
            (false, Some(_)) => "w",
            (false, None) => "-",
        });
        for op in ops {
            let (action, moment, value) = match op.action {
                Action::Put(value, moment) => ("p", moment, value),
                Action::Touch(moment) => ("t", moment, &[][..]),
                Action::Delete => ("d", Moment::NONE, &[][..]),
                Action::Check => ("c", Moment::NONE, &[][..]),
            };
            let expected = match op.precondition {
                Precondition::Matches(version) => version.stamp().ok().map(Stamp::to_bytes),
                _ => None,
            };
            let precondition = match op.precondition {
                Precondition::None => "n",
                Precondition::Absent => "a",
                Precondition::Exists => "e",
                Precondition::Matches(_) => "m",
            };
            command.arg(action).arg(precondition);
            command.arg(expected.as_ref().map_or(&[][..], |bytes| &bytes[..]));
            command.arg(&op.stamp.to_bytes()[..]);
            command.arg(moment.kind).arg(moment.ms).arg(value);
        }
        Call::script(place.slot, command, MUTATE, wait)
    }

    /// A mutation of nothing, so that the server knows the script.
    pub(super) fn warm_up(&self) -> Call {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.mutate).arg(0).arg("-");
        Call::script(0, command, MUTATE, None)
    }

    /// The ids of a partition that are in a range of `ZRANGEBYLEX`; at most `limit` are looked at.
    pub(super) fn list(&self, place: &Place, range: (&[u8], &[u8]), limit: usize) -> Call {
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(&self.list)
            .arg(2)
            .arg(place.ids())
            .arg(place.expiries());
        command.arg(range.0).arg(range.1).arg(limit);
        Call::script(place.slot, command, LIST, None)
    }
}

/// What the mutation's script answers. Places are from 0.
#[derive(Debug)]
pub(super) enum Reply {
    Applied,
    Already {
        place: usize,
        stamp: Stamp,
    },
    Refused {
        place: usize,
        entry: Option<Vec<u8>>,
        heads: Vec<Vec<u8>>,
    },
    Ttl {
        reason: &'static str,
    },
    Corrupt {
        place: usize,
    },
}

impl Reply {
    pub(super) fn read(answer: Value) -> Result<Self, Failure> {
        let read = match answer {
            Value::Int(1) => Some(Self::Applied),
            Value::Array(parts) => Self::of(parts),
            _ => None,
        };
        read.ok_or(Failure::Strange("the script's answer is malformed"))
    }

    fn of(parts: Vec<Value>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let (Some(Value::BulkString(what)), Some(Value::Int(op))) = (parts.next(), parts.next()) else {
            return None;
        };
        let place = usize::try_from(op).ok()?.checked_sub(1)?;
        let mut next = || match parts.next() {
            Some(Value::BulkString(bytes)) => Some(bytes),
            _ => None,
        };
        Some(match &what[..] {
            b"already" => Self::Already {
                place,
                stamp: Stamp::from_bytes(next()?.try_into().ok()?),
            },
            b"ttl" => Self::Ttl {
                reason: match &next()?[..] {
                    b"past" => "is in the past",
                    _ => "is too far in the future",
                },
            },
            b"corrupt" => Self::Corrupt { place },
            b"refused" => Self::Refused {
                place,
                entry: next(),
                heads: std::iter::from_fn(next).collect(),
            },
            _ => return None,
        })
    }
}

/// What the list's script answers: the last id looked at if there are more, and the ids.
pub(super) fn listed(answer: Value) -> Result<(Option<String>, Vec<String>), Failure> {
    redis::from_redis_value(answer).map_err(|_| Failure::Strange("the script's answer is malformed"))
}
