//! The SDK's client: made with the first request, and used with its own retries off.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
use statestore_api::{Error, Result};
use tokio::sync::OnceCell;

use super::config::DynamoDbConfig;

/// A client that is there or can be made.
pub(super) struct Connection {
    /// What the client is made from, if it is not there from the start.
    config: DynamoDbConfig,
    ready: OnceCell<Ready>,
}

/// A client, and what differs from its configuration in our requests; `None` where nothing does, which spares each request
/// the making of its own.
pub(super) struct Ready {
    pub(super) client: Client,
    /// For requests that change something: the write id makes our own retries safe, and only ours know it.
    pub(super) writes: Option<Builder>,
    /// For requests that change nothing.
    pub(super) reads: Option<Builder>,
    /// How long one request may take.
    pub(super) timeout: Duration,
}

impl Connection {
    pub(super) fn new(config: DynamoDbConfig) -> Self {
        Self {
            config,
            ready: OnceCell::new(),
        }
    }

    /// The caller's own client: where it has no time-outs, ours are used.
    pub(super) fn from_client(client: Client) -> Self {
        let defaults = DynamoDbConfig::new("");
        let given = client.config().timeout_config().cloned();
        let own = given
            .as_ref()
            .and_then(|given| given.operation_attempt_timeout().or(given.operation_timeout()));
        let timeouts = own.is_none().then(|| timeouts(&defaults));
        let writes = overrides(timeouts.clone()).retry_config(RetryConfig::disabled());
        let reads = timeouts.map(|timeouts| overrides(Some(timeouts)));
        let ready = Ready {
            client,
            writes: Some(writes),
            reads,
            timeout: own.unwrap_or(defaults.timeout),
        };
        Self {
            config: defaults,
            ready: OnceCell::new_with(Some(ready)),
        }
    }

    /// # Errors
    /// [`Error::Config`] when no region is known.
    pub(super) async fn ready(&self) -> Result<&Ready> {
        self.ready.get_or_try_init(|| self.load()).await
    }

    async fn load(&self) -> Result<Ready> {
        let config = &self.config;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(config));
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &config.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if config.made_up_credentials {
            loader = loader.credentials_provider(Credentials::new("made", "up", None, None, "statestore"));
            // It says nothing to DynamoDB Local, but the signature has one.
            if config.region.is_none() {
                loader = loader.region(Region::from_static("us-east-1"));
            }
        }
        let loaded = loader.load().await;
        if loaded.region().is_none() {
            return Err(Error::Config {
                reason: "no region is known: set `AWS_REGION`, or the option `region` as in \
                         `dynamodb://app-state?region=eu-central-1`"
                    .to_owned(),
                source: None,
            });
        }
        Ok(Ready {
            client: Client::new(&loaded),
            writes: None,
            reads: None,
            timeout: config.timeout,
        })
    }
}

fn overrides(timeouts: Option<TimeoutConfig>) -> Builder {
    let mut builder = aws_sdk_dynamodb::Config::builder();
    builder.set_timeout_config(timeouts);
    builder
}

fn timeouts(config: &DynamoDbConfig) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(config.connect_timeout)
        .operation_attempt_timeout(config.timeout)
        .build()
}

/// Sends a request that changes something.
macro_rules! write {
    ($ready:expr, $request:expr) => {
        $crate::dynamodb::connection::send!($ready.writes, $request)
    };
}

/// Sends a request that changes nothing.
macro_rules! read {
    ($ready:expr, $request:expr) => {
        $crate::dynamodb::connection::send!($ready.reads, $request)
    };
}

macro_rules! send {
    ($overrides:expr, $request:expr) => {
        async {
            match &$overrides {
                Some(overrides) => {
                    $request
                        .customize()
                        .config_override(overrides.clone())
                        .send()
                        .await
                }
                None => $request.send().await,
            }
        }
    };
}

pub(super) use {read, send, write};
