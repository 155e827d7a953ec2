use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use statestore_api::{Error, Result};

use crate::open::{Location, bad, duration, scheme};

/// The database that a project has without a name.
const DEFAULT_DATABASE: &str = "(default)";

/// The longest collection, in bytes: enough for any name, and little beside a document's 1 MiB.
const MAX_COLLECTION: usize = 100;

/// Which collection, and how to reach it.
///
/// ```
/// use statestore::firestore::{FirestoreConfig, FirestoreStore};
///
/// // The credentials are those of the environment, as in every Google library.
/// let store = FirestoreStore::new(FirestoreConfig::new("my-project", "app-state"))?;
/// # Ok::<(), statestore::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FirestoreConfig {
    /// The project's id.
    pub project: String,
    /// The collection in the root of the database.
    pub collection: String,
    /// The database's id.
    pub database: String,
    /// The address of an emulator, such as `127.0.0.1:8080`; `None`: that in `FIRESTORE_EMULATOR_HOST`, or else the service.
    pub emulator: Option<String>,
    /// The file with a service account's key; `None`: application default credentials.
    pub credentials: Option<PathBuf>,
    /// How long to wait for the answer to one request, or for the next part of it.
    pub timeout: Duration,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
}

impl FirestoreConfig {
    /// This collection in the default database of this project.
    #[must_use]
    pub fn new(project: impl Into<String>, collection: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            collection: collection.into(),
            database: DEFAULT_DATABASE.to_owned(),
            emulator: None,
            credentials: None,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
        }
    }

    /// The same in this database.
    #[must_use]
    pub fn with_database(mut self, database: impl Into<String>) -> Self {
        self.database = database.into();
        self
    }

    /// The same on the [emulator](Self::emulator) at this address.
    #[must_use]
    pub fn with_emulator(mut self, address: impl Into<String>) -> Self {
        self.emulator = Some(address.into());
        self
    }

    /// The same with the service account whose key is in this file.
    #[must_use]
    pub fn with_credentials(mut self, file: impl Into<PathBuf>) -> Self {
        self.credentials = Some(file.into());
        self
    }

    /// The same with this time-out for each request.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same with this time-out for connecting.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The names of the options in a URL.
    pub(crate) const OPTIONS: [&'static str; 5] = [
        "connect_timeout",
        "credentials",
        "database",
        "emulator",
        "timeout",
    ];

    /// What `firestore://project/collection?…` says: the address behind the colon, and the options, decoded.
    pub(crate) fn from_parts(address: &str, options: BTreeMap<String, String>) -> Result<Self> {
        let path = address.strip_prefix("//").unwrap_or(address);
        let Some((project, collection)) = path.strip_suffix('/').unwrap_or(path).split_once('/') else {
            return Err(bad(
                "a `firestore:` URL names a project and a collection, as in `firestore://my-project/app-state`".to_owned(),
            ));
        };
        let decoded = |text| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .map_err(|_| bad("the project or the collection is no UTF-8".to_owned()))
        };
        let mut config = Self::new(decoded(project)?, decoded(collection)?);
        for (name, value) in options {
            match name.as_str() {
                "database" => config.database = value,
                "emulator" => config.emulator = Some(value),
                "credentials" => config.credentials = Some(value.into()),
                "timeout" => config.timeout = time(&name, &value)?,
                "connect_timeout" => config.connect_timeout = time(&name, &value)?,
                _ => {
                    return Err(bad(format!(
                        "`firestore:` does not take the option `{name}`: it takes `{}`",
                        Self::OPTIONS.join("`, `")
                    )));
                }
            }
        }
        config.check()?;
        Ok(config)
    }

    /// # Errors
    /// [`Error::Config`] when it cannot be meant.
    pub(super) fn check(&self) -> Result<()> {
        check_collection(&self.collection)?;
        let id = |text: &str, also: &[u8]| {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || also.contains(&b);
            (1..=100).contains(&text.len()) && text.bytes().all(allowed)
        };
        if !id(&self.project, b"-.:") {
            return Err(bad(
                "the project is its id, of `a-z 0-9 - . :`, as in `firestore://my-project/app-state`"
                    .to_owned(),
            ));
        }
        if self.database != DEFAULT_DATABASE && !id(&self.database, b"-") {
            return Err(bad(format!(
                "the database is `{DEFAULT_DATABASE}` or an id of `a-z 0-9 -`"
            )));
        }
        if let Some(emulator) = &self.emulator {
            check_emulator(emulator)?;
        }
        if self.timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(bad("a time-out of zero would let nothing through".to_owned()));
        }
        Ok(())
    }
}

impl FromStr for FirestoreConfig {
    type Err = Error;

    /// Reads a URL as [`open`](crate::open()) takes it, such as `firestore://my-project/app-state`.
    ///
    /// # Errors
    /// [`Error::Config`] when it is another one or has an unknown option.
    fn from_str(url: &str) -> Result<Self> {
        let Some(scheme) = scheme(url).filter(|scheme| scheme.eq_ignore_ascii_case("firestore")) else {
            return Err(bad(
                "a `firestore:` URL is needed, as in `firestore://my-project/app-state`".to_owned(),
            ));
        };
        let location = Location::new("firestore", &url[scheme.len() + 1..], BTreeMap::new())?;
        Self::from_parts(&location.address, location.options)
    }
}

/// # Errors
/// [`Error::Config`] when this is no collection's name.
pub(super) fn check_collection(collection: &str) -> Result<()> {
    let reserved = collection.starts_with("__") && collection.ends_with("__");
    let printable = !collection.chars().any(char::is_control);
    if (1..=MAX_COLLECTION).contains(&collection.len())
        && printable
        && !collection.contains('/')
        && !matches!(collection, "." | "..")
        && !reserved
    {
        return Ok(());
    }
    Err(bad(format!(
        "the collection has 1 to {MAX_COLLECTION} bytes, no `/` and no control characters, and is not `.`, `..` or `__…__`, as in \
         `firestore://my-project/app-state`"
    )))
}

/// # Errors
/// [`Error::Config`] when this is no address.
pub(super) fn check_emulator(address: &str) -> Result<()> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    if port.is_some_and(|(_, port)| port.parse::<u16>().is_ok()) && !address.contains(['/', '@', '?', ' ']) {
        return Ok(());
    }
    Err(bad(
        "the emulator is a host and a port, as in `127.0.0.1:8080`".to_owned()
    ))
}

fn time(name: &str, text: &str) -> Result<Duration> {
    duration(text).ok_or_else(|| bad(format!("the option `{name}` is a time such as `5s` or `500ms`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_read() {
        let found: FirestoreConfig = "firestore://my-project/app%20state?database=eu&emulator=127.0.0.1:8080\
                                      &credentials=/run/key.json&timeout=500ms&connect_timeout=1s"
            .parse()
            .unwrap();
        let expected = FirestoreConfig::new("my-project", "app state")
            .with_database("eu")
            .with_emulator("127.0.0.1:8080")
            .with_credentials("/run/key.json")
            .with_timeout(Duration::from_millis(500))
            .with_connect_timeout(Duration::from_secs(1));
        assert_eq!(found, expected);
        let plain: FirestoreConfig = "Firestore:my-project/app-state/".parse().unwrap();
        assert_eq!(plain, FirestoreConfig::new("my-project", "app-state"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (rest, expected) in [
            ("//my-project", "names a project and a collection"),
            ("//my-project/", "names a project and a collection"),
            ("//My_Project/app", "the project is its id"),
            ("///app", "the project is its id"),
            ("//my-project/a/b", "the collection has"),
            ("//my-project/__a__", "the collection has"),
            ("//my-project/app?database=A", "the database is"),
            (
                "//my-project/app?emulator=http://localhost:80",
                "a host and a port",
            ),
            ("//my-project/app?emulator=localhost", "a host and a port"),
            ("//my-project/app?timeout=5", "`timeout` is a time such as `5s`"),
            ("//my-project/app?timeout=0s", "a time-out of zero"),
            (
                "//my-project/app?databse=eu",
                "does not take the option `databse`",
            ),
        ] {
            let error = format!("firestore:{rest}")
                .parse::<FirestoreConfig>()
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{rest}: {error}");
        }
        let error = "redis://x/y".parse::<FirestoreConfig>().unwrap_err();
        assert!(error.to_string().contains("a `firestore:` URL is needed"));
    }
}
