use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use statestore_api::{Result, StateStore};

use crate::open::{bad, open_with, option, scheme};

/// The environment variable that [`Config::from_env`] reads.
const VARIABLE: &str = "STATESTORE_URL";

/// Which store to open: a part of a program's own configuration.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     port: u16,
///     state: statestore::Config,
/// }
///
/// let settings: Settings = toml::from_str(
///     r#"
///         port = 8080
///         [state]
///         url = "file:state.redb"
///     "#,
/// )?;
/// assert_eq!(settings.state.url, "file:state.redb");
/// # assert_eq!(settings.port, 8080);
/// # Ok::<(), toml::de::Error>(())
/// ```
///
/// `Debug` shows the URL's scheme and the names of the options, and nothing of what may be secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The store's URL, as for [`open`](crate::open()).
    pub url: String,
    /// Options, in addition to those in the URL's query; not percent-encoded. In a file a value is a string, an integer or a
    /// boolean.
    #[serde(default, deserialize_with = "options")]
    pub options: BTreeMap<String, String>,
}

impl Config {
    /// The store of `url`, without further options.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            options: BTreeMap::new(),
        }
    }

    /// The store of the URL in the environment variable `STATESTORE_URL`.
    ///
    /// # Errors
    /// [`Config`](crate::Error::Config) when the variable is not set, is empty or is not Unicode.
    pub fn from_env() -> Result<Self> {
        Self::from_variable(env::var(VARIABLE))
    }

    fn from_variable(url: Result<String, VarError>) -> Result<Self> {
        let problem = match url {
            Ok(url) if !url.is_empty() => return Ok(Self::new(url)),
            Ok(_) => "is empty",
            Err(VarError::NotPresent) => "is not set",
            // The error itself would show the value.
            Err(VarError::NotUnicode(_)) => "is not Unicode",
        };
        Err(bad(format!(
            "the environment variable `{VARIABLE}` {problem}: set it to the store's URL, as in \
             `{VARIABLE}=file:state.redb`"
        )))
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Those of [`open`](crate::open()); [`Config`](crate::Error::Config) too when an option is both in the URL and in
    /// [`options`](Self::options).
    pub async fn open(self) -> Result<Arc<dyn StateStore>> {
        open_with(&self.url, self.options).await
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = scheme(&self.url).map_or("…".to_owned(), |scheme| format!("{scheme}:…"));
        let names: Vec<String> = self.options.keys().map(|name| option(name)).collect();
        f.debug_struct("Config")
            .field("url", &scheme)
            .field("options", &names)
            .finish()
    }
}

/// An option's value in a file.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;

        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an integer or a boolean")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }

        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// A map's entries, each name once: JSON does not see to that by itself.
fn options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct OptionsVisitor;

    impl<'de> Visitor<'de> for OptionsVisitor {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of options")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut options = BTreeMap::new();
            while let Some((name, Scalar(value))) = map.next_entry::<String, _>()? {
                if options.contains_key(&name) {
                    return Err(de::Error::custom(format_args!(
                        "{} is there twice",
                        option(&name)
                    )));
                }
                options.insert(name, value);
            }
            Ok(options)
        }
    }

    deserializer.deserialize_map(OptionsVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_holds_the_url() {
        let config = Config::from_variable(Ok("file:a.redb".to_owned())).unwrap();
        assert_eq!(config, Config::new("file:a.redb"));
    }

    #[test]
    fn a_missing_variable_says_what_to_set() {
        for (value, problem) in [
            (Err(VarError::NotPresent), "is not set"),
            (Ok(String::new()), "is empty"),
            (Err(VarError::NotUnicode("hunter2".into())), "is not Unicode"),
        ] {
            let error = Config::from_variable(value).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(&format!("`STATESTORE_URL` {problem}: set it")),
                "{message}"
            );
            assert!(message.contains("`STATESTORE_URL=file:state.redb`"), "{message}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
