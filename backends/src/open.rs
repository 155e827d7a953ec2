use std::collections::BTreeMap;
use std::collections::btree_map;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use statestore_api::{Error, MemoryStore, Result, StateStore};

#[cfg(feature = "azure-table")]
use crate::azure_table::AzureTableConfig;
#[cfg(feature = "dynamodb")]
use crate::dynamodb::DynamoDbConfig;
#[cfg(feature = "firestore")]
use crate::firestore::FirestoreConfig;
use crate::layers::Layers;
use crate::observed::{Names, Observed};

/// Opens the store of `url`. A store on a network service connects with its first request, or with
/// [`ready`](StateStore::ready).
///
/// | URL | Opens |
/// |---|---|
/// | `memory:` | a new, empty [`MemoryStore`], which ends with its last clone |
/// | `file:state.redb` | the file at this path, relative to the current folder; made if it is missing |
/// | `file:/var/lib/state.redb`, `file:///var/lib/state.redb` | the same at an absolute path |
/// | `redis://host:6379/0`, `rediss://…`, `redis+unix:///run/redis.sock` | Redis or Valkey; see `RedisStore::open` for the options |
/// | `redis-cluster://host1,host2`, `redis-sentinel://host1,host2/service` | the same as a cluster, or watched by sentinels |
/// | `dynamodb://app-state?region=eu-central-1` | the DynamoDB table of this name; options as in the documentation of `dynamodb` |
/// | `firestore://my-project/app-state` | the Firestore collection of this name; options as in the documentation of `firestore` |
/// | `azure-table://account/appstate` | the table of this storage account; options as in the documentation of `azure_table` |
///
/// # A store on a network
/// comes with a [`Retry`](crate::layer::Retry), which also limits the time of each attempt: writes
/// without a condition are thus applied at least once, all others exactly once. These options are the same on each of them:
///
/// | Option | Default | |
/// |---|---|---|
/// | `timeout` | `5s` | how long the answer to one request may take; an attempt of a call may take twice that, and connecting |
/// | `connect_timeout` | `2s` | how long connecting may take, TLS and login included |
/// | `retry` | `on` | `off`: a call is one attempt, and an error that [may have been applied](Error::may_have_applied) is the caller's to resolve |
/// | `retry_deadline` | `20s` | how long a call may take, all its attempts and waits; the two above are half of a shorter one, unless they are given |
/// | `retry_attempts` | 20 | how often a call is tried at most |
/// | `retry_budget` | 100 | how many retries may be made while nothing is answered: see [`RetryPolicy::budget`](crate::RetryPolicy::budget) |
///
/// Times are written as `5s` or `500ms`. `memory:` and `file:` take none of these: there is nothing to wait for.
///
/// # Every store
/// comes with an [`Observe`](crate::layer::Observe) around all that: a `tracing` span for each call, and with the feature `opentelemetry`
/// metrics of the meter provider that was set globally before. It costs next to nothing where nobody listens.
///
/// | Option | Default | |
/// |---|---|---|
/// | `observe` | `on` | `off`: without it |
/// | `observe_keys` | `off` | `on`: spans show keys and partitions, [which may be about people](crate::layer::Observe::with_keys) |
///
/// # Files
/// One store at a time has a file open. It is released soon after the last clone is dropped, not at once: until then it is
/// [`InUse`](Error::InUse). With `blocking_reads=on` single keys, too, are read on tokio's blocking threads: for a slow disk, or
/// a file on a network.
///
/// Options follow behind a `?`, as in `scheme:…?name=value&name=value`. Characters with a meaning in a URL are written
/// percent-encoded in paths and values: a space as `%20`, `#` as `%23`, `?` as `%3F`, `%` as `%25`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore::Result<()> {
/// let store = statestore::open("memory:").await?;
/// assert_eq!(store.capabilities().backend, "memory");
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Config`](Error::Config) when the URL is malformed, or its scheme or an option is unknown to this build: what is not
/// understood is refused, never passed over. The message quotes the scheme and names of options, never the rest of the URL,
/// which may hold a password. Else those of the backend.
pub async fn open(url: &str) -> Result<Arc<dyn StateStore>> {
    open_with(url, BTreeMap::new()).await
}

/// Opens the store of `url` with these options beside those in its query.
pub(crate) async fn open_with(url: &str, options: BTreeMap<String, String>) -> Result<Arc<dyn StateStore>> {
    let written = scheme(url).ok_or_else(|| {
        bad(format!(
            "the store's URL has no scheme: it begins with one of {}",
            schemes()
        ))
    })?;
    let found = BACKENDS.iter().find_map(|backend| {
        let known = backend.schemes.iter();
        let mut same = known.filter(|known| known.eq_ignore_ascii_case(written));
        same.next().map(|scheme| (*scheme, backend))
    });
    let Some((scheme, backend)) = found else {
        return Err(bad(format!(
            "unknown scheme `{written}:`: this build knows {}",
            schemes()
        )));
    };
    let Some(opener) = &backend.opener else {
        return Err(bad(format!(
            "`{scheme}:` URLs need the feature `{}` of the crate `statestore`, which is not switched on",
            backend.feature
        )));
    };
    let mut location = Location::new(scheme, &url[written.len() + 1..], options)?;
    let local = LOCAL.contains(&scheme);
    let layers: &[_] = if local { &[] } else { &Layers::OPTIONS };
    location.check_options(&[opener.options, layers, &Observed::OPTIONS].concat())?;
    let observed = Observed::take(&mut location.options)?;
    let layers = match local {
        true => None,
        false => Some(Layers::take(&mut location.options)?),
    };
    let (store, names) = (opener.open)(location).await?;
    let store = match layers {
        Some(layers) => layers.around(store),
        None => store,
    };
    Ok(observed.around(store, names))
}

/// The schemes of stores that are not on a network: there is nothing to wait for.
const LOCAL: [&str; 2] = ["memory", "file"];

/// A backend, and the feature that compiles it in.
struct Backend {
    schemes: &'static [&'static str],
    feature: &'static str,
    /// `None` without the feature.
    opener: Option<Opener>,
}

/// How to open a backend's stores.
struct Opener {
    /// The names of all its options.
    options: &'static [&'static str],
    open: fn(Location) -> Opening,
}

/// A store, and what it is called.
type Opened = Result<(Arc<dyn StateStore>, Names)>;

type Opening = Pin<Box<dyn Future<Output = Opened> + Send>>;

/// A [`Backend`]: its schemes, the feature that compiles it in (none: always), the names of its options, and the
/// `async fn(Location) -> Opened` that opens it. Without the feature the last two are not looked at.
macro_rules! backend {
    ([$($scheme:literal),+], options: $options:expr, $open:path) => {
        Backend {
            schemes: &[$($scheme),+],
            feature: "",
            opener: Some(Opener { options: &$options, open: |location| Box::pin($open(location)) }),
        }
    };
    ([$($scheme:literal),+], feature: $feature:literal, options: $options:expr, $open:path) => {
        Backend {
            schemes: &[$($scheme),+],
            feature: $feature,
            #[cfg(feature = $feature)]
            opener: Some(Opener { options: &$options, open: |location| Box::pin($open(location)) }),
            #[cfg(not(feature = $feature))]
            opener: None,
        }
    };
}

/// Every backend of this crate, a line each.
const BACKENDS: &[Backend] = &[
    backend!(["memory"], options: [], memory),
    backend!(["file"], feature: "embedded", options: ["blocking_reads"], embedded),
    backend!(
        ["redis", "rediss", "redis+unix", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel"],
        feature: "redis", options: crate::redis::OPTIONS, redis
    ),
    backend!(["dynamodb"], feature: "dynamodb", options: DynamoDbConfig::OPTIONS, dynamodb),
    backend!(["firestore"], feature: "firestore", options: FirestoreConfig::OPTIONS, firestore),
    backend!(["azure-table"], feature: "azure-table", options: AzureTableConfig::OPTIONS, azure_table),
];

async fn memory(location: Location) -> Opened {
    match location.address.as_str() {
        "" => Ok((Arc::new(MemoryStore::new()), Names::new("memory"))),
        _ => Err(bad("`memory:` stands alone: nothing follows the colon".to_owned())),
    }
}

#[cfg(feature = "embedded")]
async fn embedded(location: Location) -> Opened {
    let path = file_path(&location.address, cfg!(windows))?;
    let blocking = location.options.get("blocking_reads").map(String::as_str);
    let blocking = switch("blocking_reads", blocking)?.unwrap_or(false);
    let options = crate::embedded::EmbeddedOptions::default().with_blocking_reads(blocking);
    let store = crate::EmbeddedStore::open_with(path, options).await?;
    Ok((Arc::new(store), Names::new("redb")))
}

#[cfg(feature = "redis")]
async fn redis(location: Location) -> Opened {
    let store = crate::RedisStore::at(&location)?;
    let names = Names::new("redis").with_namespace(store.database().to_string());
    Ok((Arc::new(store), names))
}

#[cfg(feature = "dynamodb")]
async fn dynamodb(location: Location) -> Opened {
    let config = DynamoDbConfig::from_parts(&location.address, location.options)?;
    let names = Names::new("aws.dynamodb").with_collection(&config.table);
    Ok((Arc::new(crate::DynamoDbStore::new(config)?), names))
}

#[cfg(feature = "firestore")]
async fn firestore(location: Location) -> Opened {
    let config = FirestoreConfig::from_parts(&location.address, location.options)?;
    let names = Names::new("gcp.firestore")
        .with_namespace(format!("{}/{}", config.project, config.database))
        .with_collection(&config.collection);
    Ok((Arc::new(crate::FirestoreStore::new(config)?), names))
}

#[cfg(feature = "azure-table")]
async fn azure_table(location: Location) -> Opened {
    let config = AzureTableConfig::from_parts(&location.address, location.options)?;
    let names = Names::new("azure.table")
        .with_namespace(&config.account)
        .with_collection(&config.table);
    Ok((Arc::new(crate::AzureTableStore::new(config)?), names))
}

/// The path that a `file:` URL's address stands for.
#[cfg(feature = "embedded")]
fn file_path(address: &str, windows: bool) -> Result<String> {
    let path = match address.strip_prefix("//") {
        Some(local) if local.is_empty() || local.starts_with('/') => local,
        Some(_) => {
            return Err(bad(
                "a host follows `file://`, and only this machine's files can be opened: \
                 write `file:folder/state.redb` for a relative path, `file:///folder/state.redb` for an absolute one"
                    .to_owned(),
            ));
        }
        None => address,
    };
    if path.is_empty() {
        return Err(bad("`file:` needs a path, as in `file:state.redb`".to_owned()));
    }
    let path = decoded(path).map_err(|problem| bad(format!("the path of the `file:` URL {problem}")))?;
    // `file:///C:/state.redb` has a slash before the drive, which is no part of the path.
    let drive = matches!(path.as_bytes(), [b'/', letter, b':', ..] if letter.is_ascii_alphabetic());
    Ok(if windows && drive {
        path[1..].to_owned()
    } else {
        path
    })
}

/// A store's URL and options, taken apart.
pub(crate) struct Location {
    /// As in [`BACKENDS`].
    pub(crate) scheme: &'static str,
    /// What is between the scheme's colon and the query, still percent-encoded.
    pub(crate) address: String,
    /// From the query and the configuration, percent-decoded.
    pub(crate) options: BTreeMap<String, String>,
}

impl Location {
    /// Takes apart `rest`, which follows the scheme's colon, and adds its options to those `given` elsewhere.
    pub(crate) fn new(scheme: &'static str, rest: &str, given: BTreeMap<String, String>) -> Result<Self> {
        let refuse = |problem: String| Err(bad(format!("the `{scheme}:` URL {problem}")));
        if rest.contains('#') {
            return refuse("has a `#`: write it as `%23`".to_owned());
        }
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        // Without this a password with a `?` would be taken for a query, and its end for the name of an option.
        if query.contains('@') {
            return refuse(
                "has an `@` behind a `?`: write `?` in a password as `%3F`, `@` in an option as `%40`"
                    .to_owned(),
            );
        }
        let mut options = given;
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|_| !query.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return refuse("has an option without a `=`: write `?name=value&name=value`".to_owned());
            };
            let value = match decoded(value) {
                Ok(value) => value,
                Err(problem) => return refuse(format!("has {}, which {problem}", option(name))),
            };
            if seen.contains(&name) {
                return refuse(format!("has {} twice", option(name)));
            }
            seen.push(name);
            match options.entry(name.to_owned()) {
                btree_map::Entry::Vacant(free) => free.insert(value),
                btree_map::Entry::Occupied(_) => {
                    return refuse(format!(
                        "has {}, and `options` has it too: keep one",
                        option(name)
                    ));
                }
            };
        }
        Ok(Self {
            scheme,
            address: address.to_owned(),
            options,
        })
    }

    /// Takes apart `url`, which has to have one of these schemes and no options but these: for a backend's own `open`.
    #[cfg(feature = "redis")]
    pub(crate) fn of(url: &str, schemes: &[&'static str], options: &[&str]) -> Result<Self> {
        let found = scheme(url).and_then(|written| {
            let same = schemes.iter().find(|known| known.eq_ignore_ascii_case(written))?;
            Some((*same, &url[written.len() + 1..]))
        });
        let Some((scheme, rest)) = found else {
            let known = list(schemes.iter().map(|scheme| format!("`{scheme}:`")));
            return Err(bad(format!("the store's URL begins with one of {known}")));
        };
        let location = Self::new(scheme, rest, BTreeMap::new())?;
        location.check_options(options)?;
        Ok(location)
    }

    fn check_options(&self, known: &[&str]) -> Result<()> {
        let scheme = self.scheme;
        let Some(name) = self.options.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let known = match known {
            [] => "it takes none".to_owned(),
            known => format!("it takes {}", list(known.iter().map(|name| format!("`{name}`")))),
        };
        Err(bad(format!(
            "`{scheme}:` does not take {}: {known}",
            option(name)
        )))
    }
}

/// The scheme of `url`, as written; `None` where what is before the colon cannot be one.
pub(crate) fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let mut bytes = scheme.bytes();
    let begins = bytes.next().is_some_and(|first| first.is_ascii_alphabetic());
    let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    (begins && goes_on).then_some(scheme)
}

/// Quotes the name of an option, if it looks like one: else it may be a part of a secret.
pub(crate) fn option(name: &str) -> String {
    let regular = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if !name.is_empty() && name.len() <= 40 && name.bytes().all(regular) {
        format!("the option `{name}`")
    } else {
        "an option whose name has other characters than `a-z`, `0-9`, `_`, `-`".to_owned()
    }
}

/// The value of an option that is on or off.
pub(crate) fn switch(name: &str, value: Option<&str>) -> Result<Option<bool>> {
    match value {
        None => Ok(None),
        Some("on" | "true") => Ok(Some(true)),
        Some("off" | "false") => Ok(Some(false)),
        Some(_) => Err(bad(format!("the option `{name}` is `on` or `off`"))),
    }
}

/// The schemes that are compiled in.
fn schemes() -> String {
    let compiled = BACKENDS.iter().filter(|backend| backend.opener.is_some());
    let schemes = compiled.flat_map(|backend| backend.schemes);
    list(schemes.map(|scheme| format!("`{scheme}:`")))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// `text` without its percent-encoding, or what is wrong with it.
fn decoded(text: &str) -> Result<String, &'static str> {
    let broken = |(place, _)| {
        let digits = text.as_bytes().get(place + 1..place + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if text.match_indices('%').any(broken) {
        return Err("has a `%` without two hexadecimal digits behind it: write `%` as `%25`");
    }
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into)
        .map_err(|_| "is not UTF-8 when it is percent-decoded")
}

/// A time in an option: `5s`, `500ms`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit): (&str, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis),
        None => (text.strip_suffix('s')?, Duration::from_secs),
    };
    number.parse().ok().map(unit)
}

/// The error about a configuration.
pub(crate) fn bad(reason: String) -> Error {
    Error::Config { reason, source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKES_TWO: &[&str] = &["region", "table"];

    fn location(rest: &str, given: &[(&str, &str)]) -> Result<Location> {
        let given = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let location = Location::new("test", rest, given.collect())?;
        location.check_options(TAKES_TWO)?;
        Ok(location)
    }

    fn refused(rest: &str, given: &[(&str, &str)]) -> String {
        location(rest, given).err().expect("it is refused").to_string()
    }

    #[test]
    fn options_come_from_the_query_and_the_configuration() {
        let found = location("//host/a%20b?table=a%26b=c%3D", &[("region", "eu")]).unwrap();
        assert_eq!(found.address, "//host/a%20b");
        let options = found
            .options
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(
            options.collect::<Vec<_>>(),
            [("region", "eu"), ("table", "a&b=c=")]
        );
        assert!(location("?", &[]).unwrap().options.is_empty());
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        for text in ["", "s", "5", "5m", "-5s", "1.5s", "5 s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (rest, given, expected) in [
            (
                "?regoin=eu",
                &[][..],
                "`test:` does not take the option `regoin`: it takes `region`, `table`",
            ),
            (
                "",
                &[("regoin", "eu")],
                "`test:` does not take the option `regoin`: it takes `region`, `table`",
            ),
            (
                "?region=eu&region=us",
                &[],
                "the `test:` URL has the option `region` twice",
            ),
            (
                "?region=eu",
                &[("region", "eu")],
                "has the option `region`, and `options` has it too: keep one",
            ),
            ("?region", &[], "has an option without a `=`"),
            ("?region=eu&", &[], "has an option without a `=`"),
            (
                "?region=%e",
                &[],
                "the option `region`, which has a `%` without two hexadecimal digits",
            ),
            ("?region=%ff", &[], "the option `region`, which is not UTF-8"),
            ("/path#part", &[], "has a `#`: write it as `%23`"),
        ] {
            let message = refused(rest, given);
            assert!(message.contains(expected), "{rest}: {message}");
        }
    }

    #[test]
    fn no_part_of_a_password_is_quoted() {
        for rest in [
            "//user:hunter2@host?region=hunter2&table=%",
            "//user:pass?hunter2@host",
            "//user:pass?hunter2=x@host",
            "//user:pass#hunter2@host",
            "//host?Hunter2/hunter2=x",
            "//host?hunter2",
        ] {
            let message = refused(rest, &[]).to_lowercase();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn a_scheme_is_known_in_any_case_and_by_its_form() {
        assert_eq!(scheme("redis+tls:x"), Some("redis+tls"));
        for url in ["", "no-colon", ":memory", "1a:", "a b:", "AccountKey=secret;x:"] {
            assert_eq!(scheme(url), None, "{url}");
        }
    }

    #[cfg(feature = "embedded")]
    #[test]
    fn paths() {
        for (address, windows, expected) in [
            ("state.redb", false, "state.redb"),
            ("./a/b.redb", false, "./a/b.redb"),
            ("/a/b.redb", false, "/a/b.redb"),
            ("///a/b.redb", false, "/a/b.redb"),
            ("a%20b%3F%23%25.redb", false, "a b?#%.redb"),
            ("%C3%A9.redb", false, "é.redb"),
            ("///C:/state.redb", false, "/C:/state.redb"),
            ("///C:/state.redb", true, "C:/state.redb"),
            ("/C:/state.redb", true, "C:/state.redb"),
            ("C:\\state.redb", true, "C:\\state.redb"),
        ] {
            assert_eq!(file_path(address, windows).unwrap(), expected, "{address}");
        }
    }
}
