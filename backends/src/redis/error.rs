//! From what Redis and the connection say to the errors of the contract.

use std::time::Duration;

use redis::{RedisError, ServerErrorKind};
use statestore_api::{Applied, Error};

use crate::shared::CutShort;

/// Why a request has no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// It was never sent: there is no connection.
    Connect(RedisError),
    /// It was handed to a connection, which then broke or did not answer in time.
    Lost(RedisError),
    /// The server refused it.
    Refused(RedisError),
    /// What the server answered makes no sense to us.
    Strange(&'static str),
    /// The sentinels know no such service.
    UnknownService,
    /// A sentinel names a server that is no primary: a failover is under way.
    NotPrimary,
    /// No node of the cluster holds the slot.
    NoHolder,
    /// The server is older than 6.2.
    TooOld,
}

impl Failure {
    /// The failure of a request that was handed to a connection.
    pub(super) fn of_sent(error: RedisError) -> Self {
        if code(&error).is_some() {
            Self::Refused(error)
        } else {
            Self::Lost(error)
        }
    }

    /// The failure of what goes before a request: whatever happened, the request itself was not sent.
    pub(super) fn before_sending(self) -> Self {
        match self {
            Self::Lost(error) => Self::Connect(error),
            other => other,
        }
    }

    /// Whether it is certain that the request was not carried out.
    pub(super) fn is_unapplied(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Strange(_) => false,
            Self::Refused(_) => self
                .code()
                .is_some_and(|code| NOT_NOW.iter().any(|(known, _)| *known == code)),
            _ => true,
        }
    }

    /// Whether another server may be the right one by now.
    pub(super) fn is_of_place(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Lost(_) | Self::NotPrimary | Self::NoHolder => true,
            Self::Refused(_) => matches!(
                self.code(),
                Some("MOVED" | "ASK" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN")
            ),
            _ => false,
        }
    }

    /// The first word of the server's refusal.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(error) => code(error),
            _ => None,
        }
    }

    /// The node that a refusal sends us to, and whether it has to be told that we were sent.
    pub(super) fn redirect(&self) -> Option<(&str, bool)> {
        let Self::Refused(error) = self else {
            return None;
        };
        let (address, _) = error.redirect_node()?;
        Some((address, error.kind() == ServerErrorKind::Ask.into()))
    }
}

impl From<CutShort> for Failure {
    fn from(_: CutShort) -> Self {
        Self::Connect(std::io::Error::from(std::io::ErrorKind::Interrupted).into())
    }
}

fn code(error: &RedisError) -> Option<&str> {
    error.code().filter(|code| !code.is_empty())
}

/// What a request was about, as far as its error depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// Whether it may change something.
    pub(super) writes: bool,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    /// The prefix of all keys, for the rights to add.
    pub(super) prefix: &'a str,
}

/// The error of a request.
pub(super) fn error(failure: &Failure, context: Context<'_>) -> Error {
    let maybe = if context.writes {
        Applied::Maybe
    } else {
        Applied::No
    };
    match failure {
        Failure::Connect(error) if error.is_timeout() => Error::Timeout {
            after: context.connect_timeout,
            applied: Applied::No,
            source: Some(Box::new(error.clone())),
        },
        Failure::Connect(error) => match refusal(error, context, Applied::No) {
            Some(refusal) => refusal,
            None => unavailable(error, Applied::No, "no connection to the server".to_owned()),
        },
        Failure::Lost(error) if error.is_timeout() => Error::Timeout {
            after: context.timeout,
            applied: maybe,
            source: Some(Box::new(error.clone())),
        },
        Failure::Lost(error) => unavailable(error, maybe, "the connection broke".to_owned()),
        Failure::Refused(error) => match refusal(error, context, maybe) {
            Some(refusal) => refusal,
            None => unavailable(error, maybe, "the server refused the request".to_owned()),
        },
        Failure::Strange(reason) => of_ours(maybe, reason),
        Failure::NotPrimary => of_ours(Applied::No, "the sentinels name a server that is no primary"),
        Failure::NoHolder => of_ours(Applied::No, "no node of the cluster holds the partition's slot"),
        Failure::UnknownService => Error::StoreNotFound {
            store: "the service of the URL".to_owned(),
            todo: "name one that the sentinels monitor, as in `redis-sentinel://host/service`".to_owned(),
        },
        Failure::TooOld => Error::Config {
            reason: "the server is too old: Redis 6.2 or later, or Valkey, is needed".to_owned(),
            source: None,
        },
    }
}

/// One row for each thing that a server says; `None` when it said nothing.
fn refusal(error: &RedisError, context: Context<'_>, maybe: Applied) -> Option<Error> {
    let detail = error.detail().unwrap_or_default();
    let unauthorized = |todo: String| Error::Unauthorized {
        todo,
        source: Some(Box::new(error.clone())),
    };
    // All but the last row are said before anything is applied: the script's first write is the one that is refused.
    if detail.contains("max number of clients") {
        return Some(Error::Throttled {
            retry_after: None,
            source: Some(Box::new(error.clone())),
        });
    }
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return Some(unauthorized(CREDENTIALS.to_owned()));
    }
    let code = code(error)?;
    if let Some((_, reason)) = NOT_NOW.iter().find(|(known, _)| *known == code) {
        return Some(unavailable(error, Applied::No, (*reason).to_owned()));
    }
    Some(match code {
        "OOM" => Error::StorageFull {
            todo: "raise the server's `maxmemory`, or delete entries or let them expire".to_owned(),
            source: Some(Box::new(error.clone())),
        },
        "WRONGTYPE" => Error::Corrupt {
            what: "the key".to_owned(),
            reason: "it holds another type than a string".to_owned(),
            source: Some(Box::new(error.clone())),
        },
        "NOAUTH" => unauthorized(PASSWORD.to_owned()),
        "WRONGPASS" => unauthorized(CREDENTIALS.to_owned()),
        "NOPERM" => unauthorized(rights(context.prefix)),
        // In the place of NOAUTH and NOPERM: for a long command, and for one in a script.
        "ERR" if detail.contains("unauthenticated") => unauthorized(PASSWORD.to_owned()),
        "ERR" if detail.contains("user executing the script can't") => unauthorized(rights(context.prefix)),
        "ERR" if detail.contains("DB index is out of range") => Error::StoreNotFound {
            store: "the database with this number".to_owned(),
            todo: "raise `databases` in the server's configuration, or choose a lower number".to_owned(),
        },
        "ERR" if detail.contains("cluster support disabled") => Error::Config {
            reason: "the server is no node of a cluster: write `redis://` for it".to_owned(),
            source: Some(Box::new(error.clone())),
        },
        "ERR" if detail.contains("SELECT is not allowed in cluster mode") => Error::Config {
            reason: "a cluster has no databases with numbers: leave the number out".to_owned(),
            source: Some(Box::new(error.clone())),
        },
        // The server repeats the arguments behind this, and among them is the value.
        "ERR" if detail.contains("unknown command") => Error::Unauthorized {
            todo: format!("the server does not know a command: {}", rights(context.prefix)),
            source: None,
        },
        other => unavailable(error, maybe, format!("the server refused with {other}")),
    })
}

/// What a server says when it cannot serve now, before anything is applied.
const NOT_NOW: &[(&str, &str)] = &[
    (
        "MOVED",
        "the key is on another node: a cluster is named with `redis-cluster://`, and one that moves slots settles by itself",
    ),
    ("ASK", "the partition's slot is being moved to another node"),
    ("TRYAGAIN", "the partition's slot is being moved to another node"),
    (
        "CLUSTERDOWN",
        "the cluster is down, or nobody holds the partition's slot",
    ),
    ("LOADING", "the server is loading its data"),
    ("MASTERDOWN", "the replica has lost its primary"),
    (
        "READONLY",
        "the server is a replica: there is a failover, or the URL names a replica",
    ),
    ("BUSY", "the server is busy with somebody's script"),
    (
        "NOREPLICAS",
        "the server has fewer replicas than its `min-replicas-to-write`",
    ),
    (
        "MISCONF",
        "the server cannot save to its disk and takes no writes",
    ),
    ("NOSCRIPT", "the server forgot its scripts in between"),
];

const PASSWORD: &str = "the server asks for a password: put it into the URL";
const CREDENTIALS: &str = "the server does not know this user and password: correct them in the URL";

/// The commands that the user needs, as rules of an ACL; the same as in the documentation.
pub(super) const COMMANDS: &str = "+get +mget +exists +evalsha +eval +set +del +getrange +setrange +zadd +zrem +zcard \
     +zrangebyscore +zrangebylex +zrevrange +zmscore +pexpireat +persist +time +scan +wait +asking +cluster|slots";

fn rights(prefix: &str) -> String {
    let pattern: String = super::codec::pattern(prefix)
        .strip_suffix("{*}/*")
        .unwrap_or_default()
        .to_owned();
    format!("give the user these rights: `ACL SETUSER <name> on ~{pattern}* {COMMANDS}`")
}

fn of_ours(applied: Applied, reason: &str) -> Error {
    Error::Unavailable {
        applied,
        reason: reason.to_owned(),
        source: None,
    }
}

fn unavailable(error: &RedisError, applied: Applied, reason: String) -> Error {
    Error::Unavailable {
        applied,
        reason,
        source: Some(Box::new(error.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::{ErrorKind as Kind, make_extension_error};
    use statestore_api::ErrorKind;

    use super::*;

    fn context(writes: bool) -> Context<'static> {
        Context {
            writes,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            prefix: "ss:",
        }
    }

    /// What the client makes of this line of the server's.
    fn said(line: &str) -> RedisError {
        let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        reply.extract_error().unwrap_err()
    }

    #[test]
    fn every_refusal_has_its_kind_and_was_not_applied() {
        for (line, kind) in [
            ("MOVED 1 127.0.0.1:7000", ErrorKind::Unavailable),
            ("ASK 1 127.0.0.1:7000", ErrorKind::Unavailable),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                ErrorKind::Unavailable,
            ),
            ("CLUSTERDOWN The cluster is down", ErrorKind::Unavailable),
            (
                "LOADING Redis is loading the dataset in memory",
                ErrorKind::Unavailable,
            ),
            (
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                ErrorKind::Unavailable,
            ),
            (
                "READONLY You can't write against a read only replica.",
                ErrorKind::Unavailable,
            ),
            (
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
                ErrorKind::Unavailable,
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                ErrorKind::Unavailable,
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots, but …",
                ErrorKind::Unavailable,
            ),
            (
                "NOSCRIPT No matching script. Please use EVAL.",
                ErrorKind::Unavailable,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                ErrorKind::StorageFull,
            ),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                ErrorKind::Corrupt,
            ),
            ("NOAUTH Authentication required.", ErrorKind::Unauthorized),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                ErrorKind::Unauthorized,
            ),
            (
                "NOPERM this user has no permissions to run the 'get' command",
                ErrorKind::Unauthorized,
            ),
            (
                "ERR Protocol error: unauthenticated multibulk length",
                ErrorKind::Unauthorized,
            ),
            (
                "ERR The user executing the script can't run this command or subcommand script: x",
                ErrorKind::Unauthorized,
            ),
            ("ERR max number of clients reached", ErrorKind::Throttled),
            ("ERR DB index is out of range", ErrorKind::StoreNotFound),
            (
                "ERR This instance has cluster support disabled",
                ErrorKind::Config,
            ),
            ("ERR SELECT is not allowed in cluster mode", ErrorKind::Config),
            (
                "ERR unknown command 'EVALSHA', with args beginning with: 'x'",
                ErrorKind::Unauthorized,
            ),
        ] {
            let error = error(&Failure::of_sent(said(line)), context(true));
            assert_eq!(error.kind(), kind, "{line}: {error}");
            assert!(!error.may_have_applied(), "{line}: {error}");
        }
    }

    #[test]
    fn another_refusal_of_a_write_leaves_it_open() {
        for line in ["ERR something else", "UNBLOCKED force unblock", "PARTIAL OOM"] {
            let failure = Failure::of_sent(said(line));
            assert!(error(&failure, context(true)).may_have_applied(), "{line}");
            assert!(error(&failure, context(false)).is_retryable(), "{line}");
        }
    }

    #[test]
    fn a_broken_connection_leaves_only_what_was_sent_open() {
        let broken = || RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let late = || RedisError::from(io::Error::from(io::ErrorKind::TimedOut));
        for (failure, kind, open) in [
            (Failure::Connect(broken()), ErrorKind::Unavailable, false),
            (Failure::Connect(late()), ErrorKind::Timeout, false),
            (Failure::of_sent(broken()), ErrorKind::Unavailable, true),
            (Failure::of_sent(late()), ErrorKind::Timeout, true),
            (Failure::Strange("odd"), ErrorKind::Unavailable, true),
        ] {
            let write = error(&failure, context(true));
            assert_eq!(
                (write.kind(), write.may_have_applied()),
                (kind, open),
                "{failure:?}"
            );
            assert!(error(&failure, context(false)).is_retryable(), "{failure:?}");
        }
    }

    #[test]
    fn failing_to_log_in_is_unauthorized() {
        let refused = RedisError::from((Kind::AuthenticationFailed, "Password authentication failed"));
        let error = error(&Failure::Connect(refused), context(true));
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
    }

    #[test]
    fn a_missing_right_is_named_with_the_rule_that_gives_it() {
        let error = error(&Failure::of_sent(said("NOPERM no")), context(false));
        assert!(error.to_string().contains("~ss:* +get"), "{error}");
    }

    #[test]
    fn no_argument_is_repeated() {
        let line = "ERR unknown command 'EVALSHA', with args beginning with: 'hunter2'";
        let error = error(&Failure::of_sent(said(line)), context(true));
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn redirections_are_read() {
        let moved = Failure::of_sent(said("MOVED 3999 127.0.0.1:6381"));
        assert_eq!(moved.redirect(), Some(("127.0.0.1:6381", false)));
        let ask = Failure::of_sent(said("ASK 3999 127.0.0.1:6381"));
        assert_eq!(ask.redirect(), Some(("127.0.0.1:6381", true)));
        let other = Failure::of_sent(make_extension_error("BUSY".to_owned(), None));
        assert_eq!((other.redirect(), other.code()), (None, Some("BUSY")));
    }
}
