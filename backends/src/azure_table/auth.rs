//! How a request says who sends it.

use std::fmt;
use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, Transport};
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use statestore_api::{Error, Result};

use super::config::bad;
use super::http::ForTokens;

/// What a token of Entra ID is to be good for.
const SCOPE: &str = "https://storage.azure.com/.default";

/// Who the store is to the service. `Debug` shows no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// What the environment says, by the names that Azure's own tools use, the first of:
    /// - `AZURE_STORAGE_CONNECTION_STRING`;
    /// - `AZURE_STORAGE_KEY`, `AZURE_STORAGE_SAS_TOKEN`;
    /// - `AZURE_FEDERATED_TOKEN_FILE`: [workload identity](Self::WorkloadIdentity);
    /// - `IDENTITY_ENDPOINT`, as Functions, App Service and Container Apps set it: [managed identity](Self::ManagedIdentity), that
    ///   of `AZURE_CLIENT_ID` if it is set.
    Environment,
    /// A key of the storage account, in Base64. It may do everything: prefer an identity.
    AccountKey(Secret),
    /// A shared access signature: the query string that the portal gives.
    Sas(Secret),
    /// The identity of the function app, container or machine; with the client id of one that the user has assigned.
    ManagedIdentity {
        /// Which, where there are several.
        client_id: Option<String>,
    },
    /// The identity of a Kubernetes service account, by the variables that the workload identity webhook sets.
    WorkloadIdentity,
    /// Who is signed in to the Azure CLI, for development.
    AzureCli,
    /// Tokens of Entra ID from any other source.
    Token(Arc<dyn TokenCredential>),
}

impl Credential {
    /// The way to say so, once for all requests. Nothing is sent; tokens of Entra ID will come through `for_tokens`.
    ///
    /// # Errors
    /// [`Error::Config`] when a key is no Base64, or the environment lacks what is needed.
    pub(super) fn auth(&self, account: &str, for_tokens: ForTokens) -> Result<Auth> {
        let for_tokens = Arc::new(for_tokens);
        let client_options = || ClientOptions {
            transport: Some(Transport::new(for_tokens.clone())),
            ..ClientOptions::default()
        };
        let identity = |error: azure_core::Error| Error::Config {
            reason: "the identity cannot be used".to_owned(),
            source: Some(error.into()),
        };
        Ok(match self {
            Self::AccountKey(key) => Auth::Key(Signer::new(account, key.secret())?),
            Self::Sas(sas) => Auth::Sas(sas.secret().trim_start_matches('?').to_owned()),
            Self::ManagedIdentity { client_id } => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                    client_options: client_options(),
                };
                Auth::Token(ManagedIdentityCredential::new(Some(options)).map_err(identity)?)
            }
            Self::WorkloadIdentity => {
                let options = WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions {
                        client_options: client_options(),
                    },
                    ..WorkloadIdentityCredentialOptions::default()
                };
                Auth::Token(WorkloadIdentityCredential::new(Some(options)).map_err(identity)?)
            }
            Self::AzureCli => Auth::Token(AzureCliCredential::new(None).map_err(identity)?),
            Self::Token(credential) => Auth::Token(credential.clone()),
            Self::Environment => {
                return Err(bad(
                    "there is nothing in the environment to sign in with: set AZURE_STORAGE_CONNECTION_STRING, \
                     AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or say `credential=managed-identity`, \
                     `workload-identity` or `cli`",
                ));
            }
        })
    }

    /// Whether it sends a token, which only TLS may carry.
    pub(super) fn needs_tls(&self) -> bool {
        !matches!(self, Self::Environment | Self::AccountKey(_) | Self::Sas(_))
    }
}

/// A [`Credential`] that is ready for use.
pub(super) enum Auth {
    /// By the `Authorization` header, for the account's key.
    Key(Signer),
    /// By more query.
    Sas(String),
    /// By the `Authorization` header, with a token, which the credential keeps until it expires.
    Token(Arc<dyn TokenCredential>),
}

impl Auth {
    /// The `Authorization` header of a request at this date to this path, which is encoded as in the request.
    pub(super) async fn header(&self, date: &str, path: &str) -> azure_core::Result<Option<String>> {
        Ok(match self {
            Self::Key(signer) => Some(signer.header(date, path)),
            Self::Sas(_) => None,
            Self::Token(credential) => {
                let token = credential.get_token(&[SCOPE], None).await?;
                Some(format!("Bearer {}", token.token.secret()))
            }
        })
    }

    /// What the query of a request has to have.
    pub(super) fn query(&self) -> Option<&str> {
        match self {
            Self::Sas(sas) => Some(sas),
            _ => None,
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(…)",
            Self::Sas(_) => "Sas(…)",
            Self::Token(_) => "Token(…)",
        })
    }
}

/// Signs by "Shared Key Lite" for the Table service.
pub(super) struct Signer {
    account: String,
    key: hmac::Key,
}

impl Signer {
    pub(super) fn new(account: &str, key: &str) -> Result<Self> {
        // The decoder's error would show a character of the key.
        let Ok(key) = STANDARD.decode(key) else {
            return Err(bad(
                "the account key is no Base64: copy it from the account's \"Access keys\"",
            ));
        };
        Ok(Self {
            account: account.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    }

    fn header(&self, date: &str, path: &str) -> String {
        let tag = hmac::sign(&self.key, self.string_to_sign(date, path).as_bytes());
        format!("SharedKeyLite {}:{}", self.account, STANDARD.encode(tag))
    }

    fn string_to_sign(&self, date: &str, path: &str) -> String {
        format!("{date}\n/{}{path}", self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The well-known key of the emulators.
    const KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// The example of "Authorize with Shared Key", section "Shared Key Lite for Table service", which gives the string and the form of
    /// the header, but no key. The signature was made by `openssl dgst -sha256 -mac HMAC`.
    #[test]
    fn the_signature_is_that_of_the_documented_example() {
        let signer = Signer::new("testaccount1", KEY).unwrap();
        let (date, path) = ("Sun, 11 Oct 2009 19:52:39 GMT", "/Tables");
        assert_eq!(
            signer.string_to_sign(date, path),
            "Sun, 11 Oct 2009 19:52:39 GMT\n/testaccount1/Tables"
        );
        assert_eq!(
            signer.header(date, path),
            "SharedKeyLite testaccount1:J0rgyDtNy3BXUcIppqbP9j2HX0i+JZ3q2oF6/P8yocE="
        );
    }

    #[test]
    fn a_bad_key_is_not_quoted() {
        let error = Signer::new("a", "hunter2!").err().unwrap();
        assert!(error.to_string().contains("no Base64") && !format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let for_tokens = || ForTokens {
            connect_timeout: std::time::Duration::from_secs(1),
            timeout: std::time::Duration::from_secs(1),
        };
        for credential in [
            Credential::AccountKey(KEY.into()),
            Credential::Sas("sv=1&sig=hunter2".into()),
        ] {
            let shown = format!("{credential:?} {:?}", credential.auth("a", for_tokens()).unwrap());
            assert!(!shown.contains("hunter2") && !shown.contains("Eby8"), "{shown}");
        }
    }
}
