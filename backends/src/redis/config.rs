//! From a URL and its options to what the connections need.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use statestore_api::{Error, Result};

use crate::open::{bad, duration, switch};

/// The names of all options, as in the documentation of [`RedisStore::open`](super::RedisStore::open).
pub(crate) const OPTIONS: [&str; 13] = [
    "ca_file",
    "client_cert_file",
    "client_key_file",
    "connect_timeout",
    "db",
    "index",
    "min_replicas",
    "prefix",
    "replica_timeout",
    "sentinel_password",
    "sentinel_user",
    "timeout",
    "user",
];

pub(super) const SCHEMES: [&str; 7] = [
    "redis",
    "rediss",
    "redis+unix",
    "redis-cluster",
    "rediss-cluster",
    "redis-sentinel",
    "rediss-sentinel",
];

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Address {
    /// `host`, `host:port` or `[v6]:port`.
    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                match rest {
                    "" => (host, None),
                    _ => (host, Some(rest.strip_prefix(':')?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok()?,
            None => default_port,
        };
        (!host.is_empty()).then(|| Self::Tcp(host.to_owned(), port))
    }

    /// The address as a cluster's nodes write it: `host:port`, where the host of IPv6 is in no brackets.
    pub(super) fn of_node(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self::Tcp(host.to_owned(), port.parse().ok()?))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    Single(Address),
    Cluster(Vec<Address>),
    Sentinel {
        sentinels: Vec<Address>,
        service: String,
    },
}

/// User and password. `Debug` shows neither.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |part: &Option<String>| if part.is_some() { "set" } else { "none" };
        f.debug_struct("Credentials")
            .field("user", &set(&self.user))
            .field("password", &set(&self.password))
            .finish()
    }
}

/// How to check the server's certificate, and which one to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// Roots in place of the system's.
    pub(super) ca: Option<PathBuf>,
    /// Certificate and key, in PEM.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// All there is to know of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) topology: Topology,
    pub(super) credentials: Credentials,
    pub(super) sentinel_credentials: Credentials,
    pub(super) tls: Option<Tls>,
    pub(super) db: u32,
    pub(super) prefix: String,
    pub(super) index: bool,
    pub(super) min_replicas: u32,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) replica_timeout: Duration,
}

/// The default port of a server.
const PORT: u16 = 6379;
/// That of a sentinel.
const SENTINEL_PORT: u16 = 26379;

impl Config {
    /// The configuration of `scheme:address` with these options; the address is still percent-encoded.
    pub(super) fn new(scheme: &str, address: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        let options = Options(options);
        let (kind, tls) = match scheme {
            "redis" => (Kind::Single, false),
            "rediss" => (Kind::Single, true),
            "redis+unix" => (Kind::Unix, false),
            "redis-cluster" => (Kind::Cluster, false),
            "rediss-cluster" => (Kind::Cluster, true),
            "redis-sentinel" => (Kind::Sentinel, false),
            "rediss-sentinel" => (Kind::Sentinel, true),
            other => return Err(bad(format!("`{other}:` is no scheme of Redis"))),
        };
        let rest = address
            .strip_prefix("//")
            .ok_or_else(|| bad(format!("`//` follows `{scheme}:`, as in `{}`", kind.example())))?;
        let (mut credentials, hosts, path) = match kind {
            Kind::Unix => (Credentials::default(), "", rest),
            _ => split(rest)?,
        };
        if let Some(user) = options.text("user") {
            credentials.user = Some(user);
        }
        let (topology, db) = match kind {
            Kind::Unix => {
                let path = decoded(path)?;
                if !path.starts_with('/') {
                    return Err(malformed(kind));
                }
                (Topology::Single(Address::Unix(path.into())), None)
            }
            Kind::Single => {
                let address = Address::parse(hosts, PORT).ok_or_else(|| malformed(kind))?;
                let db = match path {
                    "" => None,
                    number => Some(number.parse().map_err(|_| malformed(kind))?),
                };
                (Topology::Single(address), db)
            }
            Kind::Cluster => {
                if !path.is_empty() {
                    return Err(malformed(kind));
                }
                (Topology::Cluster(addresses(hosts, PORT, kind)?), None)
            }
            Kind::Sentinel => {
                let service = decoded(path)?;
                if service.is_empty() {
                    return Err(malformed(kind));
                }
                let sentinels = addresses(hosts, SENTINEL_PORT, kind)?;
                (Topology::Sentinel { sentinels, service }, None)
            }
        };
        let timeout = options.time("timeout", Duration::from_secs(5))?;
        let config = Self {
            topology,
            credentials,
            sentinel_credentials: Credentials {
                user: options.text("sentinel_user"),
                password: options.text("sentinel_password"),
            },
            tls: options.tls(tls)?,
            db: match (db, options.number("db", u32::MAX)?) {
                (Some(_), Some(_)) => {
                    return Err(bad("the database's number is there twice: keep one".to_owned()));
                }
                (path, option) => path.or(option).unwrap_or(0),
            },
            prefix: options.prefix()?,
            index: options.index()?,
            min_replicas: options.number("min_replicas", 100)?.unwrap_or(0),
            connect_timeout: options.time("connect_timeout", Duration::from_secs(2))?,
            timeout,
            replica_timeout: options.time("replica_timeout", Duration::from_secs(1).min(timeout / 2))?,
        };
        config.check(kind)?;
        Ok(config)
    }

    /// What fits together badly.
    fn check(&self, kind: Kind) -> Result<()> {
        let refuse = |reason: &str| Err(bad(reason.to_owned()));
        if self.db > 0 && matches!(kind, Kind::Cluster) {
            return refuse("a cluster has no databases with numbers: leave `db` out");
        }
        if self.sentinel_credentials != Credentials::default() && !matches!(kind, Kind::Sentinel) {
            return refuse("`sentinel_user` and `sentinel_password` are for sentinels alone");
        }
        if self.credentials.user.is_some() && self.credentials.password.is_none() {
            return refuse("there is a user, and no password for it");
        }
        if self.replica_timeout >= self.timeout {
            return refuse(
                "`replica_timeout` has to be below `timeout`, \
                 or the answer of the replicas is never waited for",
            );
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Single,
    Unix,
    Cluster,
    Sentinel,
}

impl Kind {
    fn example(self) -> &'static str {
        match self {
            Self::Single => "redis://user:password@host:6379/0",
            Self::Unix => "redis+unix:///run/redis.sock",
            Self::Cluster => "redis-cluster://user:password@host1:6379,host2:6379",
            Self::Sentinel => "redis-sentinel://user:password@host1:26379,host2:26379/service",
        }
    }
}

/// What is before the hosts, the hosts, and what follows their slash.
fn split(rest: &str) -> Result<(Credentials, &str, &str)> {
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (Some(login), rest),
        None => (None, rest),
    };
    let credentials = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => {
            let part = |text: &str| Ok::<_, Error>(Some(decoded(text)?).filter(|text| !text.is_empty()));
            Credentials {
                user: part(user)?,
                password: part(password)?,
            }
        }
        None => Credentials::default(),
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((credentials, hosts, path))
}

fn addresses(hosts: &str, port: u16, kind: Kind) -> Result<Vec<Address>> {
    hosts
        .split(',')
        .map(|host| Address::parse(host, port).ok_or_else(|| malformed(kind)))
        .collect()
}

fn decoded(text: &str) -> Result<String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into)
        .map_err(|_| bad("the URL is not UTF-8 when it is percent-decoded".to_owned()))
}

fn malformed(kind: Kind) -> Error {
    bad(format!(
        "the URL is malformed: it looks like `{}`",
        kind.example()
    ))
}

/// The options, percent-decoded.
struct Options<'a>(&'a BTreeMap<String, String>);

impl Options<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn number(&self, name: &str, max: u32) -> Result<Option<u32>> {
        let Some(text) = self.0.get(name) else {
            return Ok(None);
        };
        match text.parse::<u32>() {
            Ok(number) if number <= max => Ok(Some(number)),
            _ => Err(bad(format!("the option `{name}` is a whole number up to {max}"))),
        }
    }

    fn time(&self, name: &str, default: Duration) -> Result<Duration> {
        let Some(text) = self.0.get(name) else {
            return Ok(default);
        };
        match duration(text) {
            Some(time) if !time.is_zero() => Ok(time),
            _ => Err(bad(format!(
                "the option `{name}` is a time such as `5s` or `500ms`"
            ))),
        }
    }

    fn index(&self) -> Result<bool> {
        Ok(switch("index", self.0.get("index").map(String::as_str))?.unwrap_or(true))
    }

    fn prefix(&self) -> Result<String> {
        let prefix = self.text("prefix").unwrap_or_else(|| "ss:".to_owned());
        if prefix.contains(['{', '}']) {
            return Err(bad(
                "the option `prefix` has no braces: they mark the partition in a key".to_owned(),
            ));
        }
        if prefix.len() > 128 {
            return Err(bad("the option `prefix` has at most 128 bytes".to_owned()));
        }
        Ok(prefix)
    }

    fn tls(&self, on: bool) -> Result<Option<Tls>> {
        let path = |name| self.text(name).map(PathBuf::from);
        let client = match (path("client_cert_file"), path("client_key_file")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(bad(
                    "`client_cert_file` and `client_key_file` go together".to_owned()
                ));
            }
        };
        let tls = Tls {
            ca: path("ca_file"),
            client,
        };
        if !on && tls != Tls::default() {
            return Err(bad(
                "there are certificates, and TLS is off: write `rediss` in place of `redis`".to_owned(),
            ));
        }
        Ok(on.then_some(tls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::Location;

    fn config(url: &str) -> Result<Config> {
        let location = Location::of(url, &SCHEMES, &OPTIONS)?;
        Config::new(location.scheme, &location.address, &location.options)
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_owned(), port)
    }

    #[test]
    fn urls() {
        for (url, topology, db) in [
            ("redis://h", Topology::Single(tcp("h", 6379)), 0),
            ("rediss://h:7/3", Topology::Single(tcp("h", 7)), 3),
            ("redis://[::1]:7?db=3", Topology::Single(tcp("::1", 7)), 3),
            (
                "redis+unix:///run/r%20s.sock?db=1",
                Topology::Single(Address::Unix("/run/r s.sock".into())),
                1,
            ),
            (
                "redis-cluster://a,b:7",
                Topology::Cluster(vec![tcp("a", 6379), tcp("b", 7)]),
                0,
            ),
            (
                "redis-sentinel://a,b:7/main?db=2",
                Topology::Sentinel {
                    sentinels: vec![tcp("a", 26379), tcp("b", 7)],
                    service: "main".to_owned(),
                },
                2,
            ),
        ] {
            let config = config(url).unwrap();
            assert_eq!((config.topology, config.db), (topology, db), "{url}");
            assert_eq!(config.tls.is_some(), url.starts_with("rediss"), "{url}");
        }
    }

    #[test]
    fn options() {
        let defaults = config("redis://h").unwrap();
        assert_eq!((defaults.prefix.as_str(), defaults.index), ("ss:", true));
        assert_eq!(defaults.min_replicas, 0);
        let set = config(
            "rediss-cluster://h?prefix=&index=off&min_replicas=2&ca_file=/ca&connect_timeout=1s\
             &timeout=3s&replica_timeout=2s",
        )
        .unwrap();
        assert_eq!((set.prefix.as_str(), set.index, set.min_replicas), ("", false, 2));
        assert_eq!(set.tls.unwrap().ca, Some("/ca".into()));
        let short = config("redis://h?timeout=1s").unwrap();
        assert_eq!(short.replica_timeout, Duration::from_millis(500));
        let times = [set.connect_timeout, set.replica_timeout, set.timeout];
        assert_eq!(times, [1, 2, 3].map(Duration::from_secs));
    }

    #[test]
    fn logins_are_decoded_and_never_shown() {
        for (url, user, password) in [
            ("redis://me:hunter%402@h", Some("me"), "hunter@2"),
            ("redis://:hunter2@h", None, "hunter2"),
            ("redis://:hunter2@h?user=me", Some("me"), "hunter2"),
            (
                "redis-sentinel://:hunter@2@h/s?sentinel_password=hunter2",
                None,
                "hunter@2",
            ),
        ] {
            let config = config(url).unwrap();
            assert_eq!(config.credentials.user.as_deref(), user, "{url}");
            assert_eq!(config.credentials.password.as_deref(), Some(password), "{url}");
            assert!(!format!("{config:?}").contains("hunter"), "{config:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for url in [
            "redis:h",
            "redis://",
            "redis://h/x",
            "redis://h:x",
            "redis://[::1",
            "redis://a,b:",
            "redis+unix://relative",
            "redis-cluster://a,,b",
            "redis-cluster://a/1",
            "redis-cluster://a?db=1",
            "redis-sentinel://a",
            "redis-sentinel://a/",
            "redis://h/1?db=1",
            "redis://h?regoin=eu",
            "redis://h?index=yes",
            "redis://h?min_replicas=-1",
            "redis://h?connect_timeout=0s",
            "redis://h?connect_timeout=1",
            "redis://h?replica_timeout=5s",
            "redis://h?prefix={x}",
            "redis://h?ca_file=/ca",
            "redis://h?tls=off",
            "rediss://h?client_key_file=/key",
            "redis://h?sentinel_user=x",
            "redis://me@h",
            "redis-other://h",
        ] {
            let refused = config(url).unwrap_err();
            assert!(matches!(refused, Error::Config { .. }), "{url}: {refused}");
        }
        let message = config("redis://h?regoin=eu").unwrap_err().to_string();
        assert!(message.contains("`regoin`"), "{message}");
    }
}
