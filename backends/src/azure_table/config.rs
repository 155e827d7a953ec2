use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{Secret, TokenCredential};
use statestore_api::{Error, Result};

pub use super::auth::Credential;
use crate::open::{self, Location, duration, scheme, switch};

/// The account and key that every emulator of Azure Storage has. They are no secret.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const EMULATOR_ENDPOINT: &str = "http://127.0.0.1:10002/devstoreaccount1";

const CONNECTION_STRING: &str = "AZURE_STORAGE_CONNECTION_STRING";

/// Which table, and how to reach it. `Debug` shows no secret.
///
/// ```
/// use statestore::azure_table::{AzureTableConfig, AzureTableStore};
///
/// // The credential comes from the environment: in a function app its managed identity.
/// # let config = AzureTableConfig::new("account", "appstate");
/// # let config = config.with_account_key("a2V5"); // none is set where this example runs
/// let store = AzureTableStore::new(config)?;
/// # Ok::<(), statestore::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AzureTableConfig {
    /// The storage account's name. Empty: that of the environment's connection string, or `AZURE_STORAGE_ACCOUNT`.
    pub account: String,
    /// The table's name: a letter, then 2 to 62 more letters and digits.
    pub table: String,
    /// Another endpoint than `https://{account}.table.core.windows.net`, such as one of another cloud.
    pub endpoint: Option<String>,
    /// Who the store is to the service.
    pub credential: Credential,
    /// How long to wait for the answer to one request.
    pub timeout: Duration,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How many entities [`sweep`](statestore_api::StateStore::sweep) removes in a second, at most: an account takes some 20,000
    /// operations a second, a partition 2,000, and the others are to have some too.
    pub sweep_rate: u32,
    /// Whether the service is Azurite, which takes smaller values: 720 KiB, since it counts an update's JSON in place of its
    /// entity.
    pub emulator: bool,
}

impl AzureTableConfig {
    /// The table of this account, with the credential [of the environment](Credential::Environment).
    #[must_use]
    pub fn new(account: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            account: account.into(),
            table: table.into(),
            endpoint: None,
            credential: Credential::Environment,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            sweep_rate: 500,
            emulator: false,
        }
    }

    /// The table on Azurite at its usual place, with its well-known account and key. For another port,
    /// [`with_endpoint`](Self::with_endpoint).
    #[must_use]
    pub fn emulator(table: impl Into<String>) -> Self {
        let mut config = Self::new(EMULATOR_ACCOUNT, table)
            .with_endpoint(EMULATOR_ENDPOINT)
            .with_account_key(EMULATOR_KEY);
        config.emulator = true;
        config
    }

    /// The table of the account that a connection string names, as the portal gives it.
    ///
    /// # Errors
    /// [`Error::Config`] when it is none. It is not quoted.
    pub fn from_connection_string(text: &str, table: impl Into<String>) -> Result<Self> {
        let mut config = Self::new("", table);
        config.read_connection_string(text)?;
        Ok(config)
    }

    /// The same at this endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// The same with this credential.
    #[must_use]
    pub fn with_credential(mut self, credential: Credential) -> Self {
        self.credential = credential;
        self
    }

    /// The same with this key of the account, in Base64.
    #[must_use]
    pub fn with_account_key(self, key: impl Into<String>) -> Self {
        self.with_credential(Credential::AccountKey(Secret::new(key.into())))
    }

    /// The same with this shared access signature.
    #[must_use]
    pub fn with_sas(self, sas: impl Into<String>) -> Self {
        self.with_credential(Credential::Sas(Secret::new(sas.into())))
    }

    /// The same with tokens from this source.
    #[must_use]
    pub fn with_token_credential(self, credential: Arc<dyn TokenCredential>) -> Self {
        self.with_credential(Credential::Token(credential))
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

    /// The same with this [`sweep_rate`](Self::sweep_rate).
    #[must_use]
    pub fn with_sweep_rate(mut self, entities_a_second: u32) -> Self {
        self.sweep_rate = entities_a_second;
        self
    }

    /// Where the service is.
    pub(super) fn endpoint(&self) -> String {
        self.endpoint
            .clone()
            .unwrap_or_else(|| format!("https://{}.table.core.windows.net", self.account))
    }

    /// The names of the options in a URL.
    pub(crate) const OPTIONS: [&'static str; 7] = [
        "client_id",
        "connect_timeout",
        "credential",
        "emulator",
        "endpoint",
        "sweep_rate",
        "timeout",
    ];

    /// What `azure-table://account/table?…` says: the address behind the colon, and the options, decoded.
    pub(crate) fn from_parts(address: &str, options: BTreeMap<String, String>) -> Result<Self> {
        let wanted = "a table is named by `azure-table://account/table`, or `azure-table:///table` for the account of the environment";
        let Some((account, table)) = address
            .strip_prefix("//")
            .and_then(|address| address.split_once('/'))
        else {
            return Err(bad(wanted));
        };
        let mut config = Self::new(account, table.strip_suffix('/').unwrap_or(table));
        let (mut client_id, mut emulator) = (None, false);
        for (name, value) in options {
            let refuse = |wanted: &str| Err(bad(format!("the option `{name}` is {wanted}")));
            match name.as_str() {
                "client_id" => client_id = Some(value),
                "endpoint" => config.endpoint = Some(value),
                "emulator" => emulator = switch(&name, Some(&value))?.unwrap_or_default(),
                "credential" => {
                    config.credential = match value.as_str() {
                        "environment" => Credential::Environment,
                        "managed-identity" => Credential::ManagedIdentity { client_id: None },
                        "workload-identity" => Credential::WorkloadIdentity,
                        "cli" => Credential::AzureCli,
                        _ => {
                            return refuse(
                                "`environment`, `managed-identity`, `workload-identity` or `cli`: never put a secret into a URL",
                            );
                        }
                    }
                }
                "sweep_rate" => match value.parse() {
                    Ok(rate) => config.sweep_rate = rate,
                    Err(_) => return refuse("a number of entities a second"),
                },
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
                _ => {
                    return Err(bad(format!(
                        "`azure-table:` does not take the option `{name}`: it takes `{}`",
                        Self::OPTIONS.join("`, `")
                    )));
                }
            }
        }
        if emulator {
            let emulated = Self::emulator(config.table.clone());
            let default = [String::new(), emulated.account.clone()].contains(&config.account);
            if !default || !matches!(config.credential, Credential::Environment) {
                return Err(bad(format!(
                    "`emulator=true` is for Azurite's own account: `azure-table://{EMULATOR_ACCOUNT}/table?emulator=true`, without a `credential`"
                )));
            }
            config.endpoint = config.endpoint.or(emulated.endpoint);
            (config.account, config.credential, config.emulator) =
                (emulated.account, emulated.credential, true);
        }
        if let Some(id) = client_id {
            let Credential::ManagedIdentity { client_id } = &mut config.credential else {
                return Err(bad(
                    "`client_id` is that of a managed identity: say `credential=managed-identity`",
                ));
            };
            *client_id = Some(id);
        }
        config.check_table()?;
        config.check_times()?;
        Ok(config)
    }

    /// What of the configuration is left to the environment is read from it, and all is checked.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be meant.
    pub(super) fn resolved(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if matches!(self.credential, Credential::Environment) {
            if let Some(text) = variable(CONNECTION_STRING) {
                self.read_connection_string(&text)?;
            } else if let Some(key) = variable("AZURE_STORAGE_KEY") {
                self = self.with_account_key(key);
            } else if let Some(sas) = variable("AZURE_STORAGE_SAS_TOKEN") {
                self = self.with_sas(sas);
            } else if variable("AZURE_FEDERATED_TOKEN_FILE").is_some() {
                self.credential = Credential::WorkloadIdentity;
            } else if variable("IDENTITY_ENDPOINT").is_some() {
                let client_id = variable("AZURE_CLIENT_ID");
                self.credential = Credential::ManagedIdentity { client_id };
            }
        }
        if self.account.is_empty() {
            self.account = variable("AZURE_STORAGE_ACCOUNT").unwrap_or_default();
        }
        self.check()?;
        Ok(self)
    }

    /// Takes what `text` says, but for an endpoint that is set already.
    fn read_connection_string(&mut self, text: &str) -> Result<()> {
        let malformed = || {
            bad(
                "the connection string is malformed: it is `Name=value` pairs with `;` between them, as the portal gives it",
            )
        };
        let mut pairs = BTreeMap::new();
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(malformed)?;
            pairs.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let mut take = |name: &str| pairs.remove(name);
        if take("usedevelopmentstorage").is_some_and(|on| on.eq_ignore_ascii_case("true")) {
            let emulated = Self::emulator(std::mem::take(&mut self.table));
            (self.table, self.account) = (emulated.table, emulated.account);
            (self.credential, self.emulator) = (emulated.credential, true);
            self.endpoint = self.endpoint.take().or(emulated.endpoint);
            return Ok(());
        }
        let named = take("accountname");
        if let Some(named) = &named
            && !self.account.is_empty()
            && self.account != *named
        {
            return Err(bad(format!(
                "the connection string is of another account than `{}`",
                self.account
            )));
        }
        let protocol = take("defaultendpointsprotocol").unwrap_or_else(|| "https".to_owned());
        let suffix = take("endpointsuffix").unwrap_or_else(|| "core.windows.net".to_owned());
        let endpoint = take("tableendpoint")
            .or_else(|| Some(format!("{protocol}://{}.table.{suffix}", named.as_ref()?)));
        self.credential = match (take("accountkey"), take("sharedaccesssignature")) {
            (Some(key), _) => Credential::AccountKey(Secret::new(key)),
            (None, Some(sas)) => Credential::Sas(Secret::new(sas)),
            (None, None) => return Err(malformed()),
        };
        if let Some(named) = named {
            self.account = named;
        }
        self.endpoint = self.endpoint.take().or(endpoint);
        Ok(())
    }

    /// # Errors
    /// [`Error::Config`] when it cannot be meant.
    fn check(&self) -> Result<()> {
        self.check_table()?;
        self.check_times()?;
        let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        // With a signature and an endpoint nothing needs the name.
        let needed = self.endpoint.is_none() || !matches!(self.credential, Credential::Sas(_));
        let good = (3..=24).contains(&self.account.len()) && self.account.bytes().all(name);
        if needed && !good {
            return Err(bad(
                "the storage account's name is 3 to 24 lower-case letters and digits: name it in \
                 `azure-table://account/table` or AZURE_STORAGE_ACCOUNT",
            ));
        }
        let endpoint = self.endpoint();
        let tls = endpoint.starts_with("https://");
        if !tls && !endpoint.starts_with("http://") || endpoint.contains(['?', '#', '@']) {
            return Err(bad(
                "the endpoint is a URL such as `https://account.table.core.windows.net`, without a query",
            ));
        }
        if self.credential.needs_tls() && !tls {
            return Err(bad(
                "a token goes over TLS only: the endpoint has to begin with `https://`",
            ));
        }
        Ok(())
    }

    fn check_table(&self) -> Result<()> {
        let mut bytes = self.table.bytes();
        let good = bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric())
            && (3..=63).contains(&self.table.len())
            && !self.table.eq_ignore_ascii_case("tables");
        if good {
            return Ok(());
        }
        Err(bad(
            "the table's name is a letter, then 2 to 62 letters and digits, as in `azure-table://account/appstate`",
        ))
    }

    fn check_times(&self) -> Result<()> {
        if self.timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(bad("a time-out of zero would let nothing through"));
        }
        if self.sweep_rate == 0 {
            return Err(bad("a `sweep_rate` of zero would remove nothing"));
        }
        Ok(())
    }
}

impl FromStr for AzureTableConfig {
    type Err = Error;

    /// Reads a URL as [`open`](crate::open()) takes it, such as `azure-table://account/appstate`.
    ///
    /// # Errors
    /// [`Error::Config`] when it is another one or has an unknown option.
    fn from_str(url: &str) -> Result<Self> {
        let Some(scheme) = scheme(url).filter(|scheme| scheme.eq_ignore_ascii_case("azure-table")) else {
            return Err(bad(
                "an `azure-table:` URL is needed, as in `azure-table://account/appstate`",
            ));
        };
        let location = Location::new("azure-table", &url[scheme.len() + 1..], BTreeMap::new())?;
        Self::from_parts(&location.address, location.options)
    }
}

pub(super) fn bad(reason: impl Into<String>) -> Error {
    open::bad(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<AzureTableConfig> {
        url.parse()
    }

    fn resolved(config: AzureTableConfig, variables: &[(&str, &str)]) -> Result<AzureTableConfig> {
        config.resolved(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn secret(config: &AzureTableConfig) -> &str {
        match &config.credential {
            Credential::AccountKey(secret) | Credential::Sas(secret) => secret.secret(),
            other => panic!("no secret: {other:?}"),
        }
    }

    #[test]
    fn each_option_is_read() {
        let found = config(
            "azure-table://account/appstate?endpoint=https://x&credential=managed-identity&client_id=me&timeout=500ms\
             &connect_timeout=1s&sweep_rate=7",
        )
        .unwrap();
        assert_eq!(
            (found.account.as_str(), found.table.as_str()),
            ("account", "appstate")
        );
        assert_eq!(found.endpoint(), "https://x");
        assert!(
            matches!(&found.credential, Credential::ManagedIdentity { client_id: Some(id) } if id == "me")
        );
        assert_eq!(
            (found.timeout, found.connect_timeout),
            (Duration::from_millis(500), Duration::from_secs(1))
        );
        assert_eq!(found.sweep_rate, 7);
        let plain = config("azure-table://account/appstate").unwrap();
        assert_eq!(plain.endpoint(), "https://account.table.core.windows.net");
    }

    #[test]
    fn azurite_is_one_flag() {
        for url in [
            "azure-table:///appstate?emulator=true",
            "azure-table://devstoreaccount1/appstate?emulator=true",
        ] {
            let found = resolved(config(url).unwrap(), &[]).unwrap();
            assert_eq!(found.endpoint(), EMULATOR_ENDPOINT);
            assert_eq!(secret(&found), EMULATOR_KEY);
            assert!(found.emulator);
        }
        let elsewhere =
            config("azure-table:///appstate?emulator=true&endpoint=http://azurite:1/devstoreaccount1")
                .unwrap();
        assert_eq!(elsewhere.endpoint(), "http://azurite:1/devstoreaccount1");
    }

    #[test]
    fn what_the_environment_says() {
        let config = || AzureTableConfig::new("", "appstate");
        let account = ("AZURE_STORAGE_ACCOUNT", "account");
        let string = "DefaultEndpointsProtocol=https;AccountName=other;AccountKey=a2V5Cg==;EndpointSuffix=core.chinacloudapi.cn";
        let found = resolved(
            config(),
            &[(CONNECTION_STRING, string), ("AZURE_STORAGE_KEY", "x")],
        )
        .unwrap();
        assert_eq!((found.account.as_str(), secret(&found)), ("other", "a2V5Cg=="));
        assert_eq!(found.endpoint(), "https://other.table.core.chinacloudapi.cn");
        let found = resolved(config(), &[account, ("AZURE_STORAGE_KEY", "a2V5")]).unwrap();
        assert_eq!((found.account.as_str(), secret(&found)), ("account", "a2V5"));
        let found = resolved(config(), &[account, ("AZURE_STORAGE_SAS_TOKEN", "?sv=1")]).unwrap();
        assert_eq!(secret(&found), "?sv=1");
        let found = resolved(config(), &[account, ("AZURE_FEDERATED_TOKEN_FILE", "x")]).unwrap();
        assert!(matches!(found.credential, Credential::WorkloadIdentity));
        let found = resolved(
            config(),
            &[account, ("IDENTITY_ENDPOINT", "x"), ("AZURE_CLIENT_ID", "me")],
        )
        .unwrap();
        assert!(
            matches!(&found.credential, Credential::ManagedIdentity { client_id: Some(id) } if id == "me")
        );
        // What is said is not looked for.
        let said = config().with_account_key("c2FpZA==");
        let found = resolved(said, &[account, ("AZURE_STORAGE_KEY", "x")]).unwrap();
        assert_eq!(secret(&found), "c2FpZA==");
    }

    #[test]
    fn connection_strings() {
        let azurite = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=a2V5;\
                       TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;";
        let found = AzureTableConfig::from_connection_string(azurite, "appstate").unwrap();
        assert_eq!(found.endpoint(), "http://127.0.0.1:10002/devstoreaccount1");
        let sas = "TableEndpoint=https://account.table.core.windows.net;SharedAccessSignature=sv=1&sig=a%3D";
        let found = AzureTableConfig::from_connection_string(sas, "appstate").unwrap();
        assert_eq!(secret(&found), "sv=1&sig=a%3D");
        resolved(found, &[]).unwrap();
        let found =
            AzureTableConfig::from_connection_string("UseDevelopmentStorage=true", "appstate").unwrap();
        assert!(found.emulator);
        for text in ["", "hunter2", "AccountName=hunter2", "AccountName"] {
            let error = AzureTableConfig::from_connection_string(text, "appstate").unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (url, expected) in [
            ("azure-table:", "a table is named by"),
            ("azure-table://account", "a table is named by"),
            ("azure-table://account/", "the table's name is a letter"),
            ("azure-table://account/1st", "the table's name is a letter"),
            ("azure-table://account/a-b", "the table's name is a letter"),
            ("azure-table://account/tables", "the table's name is a letter"),
            ("azure-table://account/a/b", "the table's name is a letter"),
            ("azure-table://Account/app", "3 to 24 lower-case letters"),
            ("azure-table:///app", "3 to 24 lower-case letters"),
            (
                "azure-table://account/app?regoin=eu",
                "does not take the option `regoin`",
            ),
            (
                "azure-table://account/app?timeout=5",
                "`timeout` is a time such as `5s`",
            ),
            ("azure-table://account/app?timeout=0s", "a time-out of zero"),
            ("azure-table://account/app?sweep_rate=0", "a `sweep_rate` of zero"),
            (
                "azure-table://account/app?sweep_rate=fast",
                "a number of entities",
            ),
            ("azure-table://account/app?emulator=yes", "`on` or `off`"),
            (
                "azure-table://account/app?emulator=true",
                "is for Azurite's own account",
            ),
            (
                "azure-table://account/app?endpoint=account",
                "the endpoint is a URL",
            ),
            (
                "azure-table://account/app?endpoint=https://x/%3Fsig=hunter2",
                "the endpoint is a URL",
            ),
            (
                "azure-table://account/app?credential=hunter2",
                "never put a secret",
            ),
            (
                "azure-table://account/app?client_id=me",
                "say `credential=managed-identity`",
            ),
            (
                "azure-table://account/app?credential=cli&endpoint=http://x",
                "a token goes over TLS only",
            ),
            ("dynamodb://app", "an `azure-table:` URL is needed"),
        ] {
            let error = config(url)
                .and_then(|config| resolved(config, &[]))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = AzureTableConfig::new("account", "app").with_account_key("hunter2");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
