use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use statestore_api::{Error, Result};

use crate::open::{Location, duration, scheme, switch};

/// Which table, and how to reach it.
///
/// ```
/// use statestore::dynamodb::{DynamoDbConfig, DynamoDbStore};
///
/// // The region and the credentials come from the environment, as in every AWS SDK.
/// let store = DynamoDbStore::new(DynamoDbConfig::new("app-state"))?;
/// # Ok::<(), statestore::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamoDbConfig {
    /// The table's name, or its ARN.
    pub table: String,
    /// The region; `None`: that of the environment or the profile.
    pub region: Option<String>,
    /// Another endpoint than AWS's, such as that of DynamoDB Local.
    pub endpoint: Option<String>,
    /// A profile of the shared AWS configuration; `None`: that of the environment.
    pub profile: Option<String>,
    /// Whether unconditional puts and deletes go through a transaction with a token, too, so that a retry is applied
    /// once however often the entry was overwritten or deleted since: at twice the write cost.
    pub exactly_once: bool,
    /// How long to wait for the answer to one request.
    pub timeout: Duration,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// Sign with made-up credentials, for DynamoDB Local, which wants some and checks none. Only with an
    /// [`endpoint`](Self::endpoint).
    pub made_up_credentials: bool,
}

impl DynamoDbConfig {
    /// The table of this name, in the region of the environment or profile.
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            region: None,
            endpoint: None,
            profile: None,
            exactly_once: false,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            made_up_credentials: false,
        }
    }

    /// The same in this region.
    #[must_use]
    pub fn with_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The same at this endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// The same with the credentials and region of this profile.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }

    /// The same with or without [`exactly_once`](Self::exactly_once).
    #[must_use]
    pub fn with_exactly_once(mut self, exactly_once: bool) -> Self {
        self.exactly_once = exactly_once;
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

    /// The same with [made-up credentials](Self::made_up_credentials).
    #[must_use]
    pub fn with_made_up_credentials(mut self) -> Self {
        self.made_up_credentials = true;
        self
    }

    /// The names of the options in a URL.
    pub(crate) const OPTIONS: [&'static str; 7] = [
        "connect_timeout",
        "credentials",
        "endpoint",
        "exactly_once",
        "profile",
        "region",
        "timeout",
    ];

    /// What `dynamodb://table?…` says: the address behind the colon, and the options, decoded.
    pub(crate) fn from_parts(address: &str, options: BTreeMap<String, String>) -> Result<Self> {
        let table = address.strip_prefix("//").unwrap_or(address);
        let table = percent_encoding::percent_decode_str(table.strip_suffix('/').unwrap_or(table))
            .decode_utf8()
            .map_err(|_| bad("the table's name is no UTF-8".to_owned()))?;
        let mut config = Self::new(table);
        for (name, value) in options {
            let refuse = |wanted: &str| Err(bad(format!("the option `{name}` is {wanted}")));
            match name.as_str() {
                "region" => config.region = Some(value),
                "endpoint" => config.endpoint = Some(value),
                "profile" => config.profile = Some(value),
                "exactly_once" => {
                    config.exactly_once = switch(&name, Some(&value))?.unwrap_or_default();
                }
                "timeout" | "connect_timeout" => {
                    let Some(timeout) = duration(&value) else {
                        return refuse("a time such as `5s` or `500ms`");
                    };
                    if name == "timeout" {
                        config.timeout = timeout;
                    } else {
                        config.connect_timeout = timeout;
                    }
                }
                "credentials" if value == "made-up" => config.made_up_credentials = true,
                "credentials" => {
                    return refuse(
                        "`made-up`, for DynamoDB Local, or left out: never put a secret into a URL",
                    );
                }
                _ => {
                    return Err(bad(format!(
                        "`dynamodb:` does not take the option `{name}`: it takes `{}`",
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
        check_table(&self.table)?;
        if self.made_up_credentials && self.endpoint.is_none() {
            return Err(bad(
                "made-up credentials are for DynamoDB Local, so they need an `endpoint`".to_owned(),
            ));
        }
        if let Some(endpoint) = &self.endpoint
            && !["http://", "https://"]
                .iter()
                .any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(bad(
                "the endpoint is a URL such as `http://127.0.0.1:8000`".to_owned()
            ));
        }
        if self.timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(bad("a time-out of zero would let nothing through".to_owned()));
        }
        Ok(())
    }
}

impl FromStr for DynamoDbConfig {
    type Err = Error;

    /// Reads a URL as [`open`](crate::open()) takes it, such as `dynamodb://app-state?region=eu-central-1`.
    ///
    /// # Errors
    /// [`Error::Config`] when it is another one or has an unknown option.
    fn from_str(url: &str) -> Result<Self> {
        let Some(scheme) = scheme(url).filter(|scheme| scheme.eq_ignore_ascii_case("dynamodb")) else {
            return Err(bad(
                "a `dynamodb:` URL is needed, as in `dynamodb://app-state`".to_owned()
            ));
        };
        let location = Location::new("dynamodb", &url[scheme.len() + 1..], BTreeMap::new())?;
        Self::from_parts(&location.address, location.options)
    }
}

/// # Errors
/// [`Error::Config`] when this is no table's name or ARN.
pub(super) fn check_table(table: &str) -> Result<()> {
    let name = |name: &str| {
        (3..=255).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let arn = table.starts_with("arn:") && table.split_once(":table/").is_some_and(|(_, last)| name(last));
    if arn || name(table) {
        return Ok(());
    }
    Err(bad(
        "the table is 3 to 255 characters of `a-z A-Z 0-9 - _ .`, as in `dynamodb://app-state?region=eu-central-1`"
            .to_owned(),
    ))
}

fn bad(reason: String) -> Error {
    Error::Config { reason, source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: &str, options: &[(&str, &str)]) -> Result<DynamoDbConfig> {
        let options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        DynamoDbConfig::from_parts(address, options.collect())
    }

    #[test]
    fn each_option_is_read() {
        let found = config(
            "//app-state",
            &[
                ("region", "eu-central-1"),
                ("endpoint", "http://127.0.0.1:8000"),
                ("profile", "dev"),
                ("exactly_once", "true"),
                ("timeout", "500ms"),
                ("connect_timeout", "1s"),
                ("credentials", "made-up"),
            ],
        )
        .unwrap();
        let expected = DynamoDbConfig::new("app-state")
            .with_region("eu-central-1")
            .with_endpoint("http://127.0.0.1:8000")
            .with_profile("dev")
            .with_exactly_once(true)
            .with_timeout(Duration::from_millis(500))
            .with_connect_timeout(Duration::from_secs(1))
            .with_made_up_credentials();
        assert_eq!(found, expected);
        assert_eq!(
            config("app-state", &[]).unwrap(),
            DynamoDbConfig::new("app-state")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (address, options, expected) in [
            ("//", &[][..], "the table is 3 to 255 characters"),
            ("//a/b", &[], "the table is 3 to 255 characters"),
            ("//app", &[("regoin", "eu")], "does not take the option `regoin`"),
            (
                "//app",
                &[("exactly_once", "yes")],
                "`exactly_once` is `on` or `off`",
            ),
            ("//app", &[("timeout", "5")], "`timeout` is a time such as `5s`"),
            ("//app", &[("timeout", "0s")], "a time-out of zero"),
            (
                "//app",
                &[("endpoint", "localhost:8000")],
                "the endpoint is a URL",
            ),
            ("//app", &[("credentials", "hunter2")], "never put a secret"),
            ("//app", &[("credentials", "made-up")], "they need an `endpoint`"),
        ] {
            let error = config(address, options).unwrap_err().to_string();
            assert!(error.contains(expected), "{address} {options:?}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }

    #[test]
    fn a_table_may_be_an_arn() {
        check_table("arn:aws:dynamodb:eu-central-1:123456789012:table/app-state").unwrap();
        check_table("arn:aws:dynamodb:eu-central-1:123456789012:index/app-state").unwrap_err();
    }
}
