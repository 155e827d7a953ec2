use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
use futures::FutureExt;
use statestore::DynamoDbStore;
use statestore::dynamodb::DynamoDbConfig;
use statestore_conformance::proxy::Protocol;
use statestore_conformance::servers::Process;
use statestore_conformance::servers::dynamodb::{DynamoDbServer, VERSION};

use super::{Place, Remote, Server, Service, Sides};
use crate::contest::side;
use crate::contestants::dynamodb::Sdk;
use crate::contestants::dynamodb_requests::Requests;
use crate::contestants::ours::Ours;

pub(crate) mod capacity;

const TABLE: &str = "bench";

pub(super) async fn start() -> Service {
    let server = DynamoDbServer::start().await.expect("DynamoDB Local starts");
    let config = DynamoDbConfig::new(TABLE)
        .with_endpoint(server.endpoint())
        .with_made_up_credentials();
    // It compiles its code while it runs.
    let config = config.with_timeout(Duration::from_secs(60));
    let store = DynamoDbStore::new(config).expect("a store");
    store.create_table().await.expect("a table");
    Service {
        name: "dynamodb",
        version: format!("DynamoDB Local {VERSION} (of npm), in memory"),
        remote: Some(Remote {
            addr: server.addr(),
            protocol: Protocol::Http1,
            url: |addr| {
                format!(
                    "dynamodb://{TABLE}?endpoint=http://{addr}&credentials=made-up&timeout=60s&connect_timeout=30s"
                )
            },
            warms_up: true,
        }),
        connect: |place| sides(place).boxed(),
        place: Place::Addr(server.addr()),
        server: Box::new(server),
    }
}

/// What a client of the SDK is made of.
fn config(addr: std::net::SocketAddr) -> Builder {
    aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("made", "up", None, None, "bench"))
        .endpoint_url(format!("http://{addr}"))
}

async fn sides(place: Place) -> Sides {
    let addr = place.addr();
    let url = format!(
        "dynamodb://{TABLE}?endpoint=http://{addr}&credentials=made-up&timeout=60s&connect_timeout=30s"
    );
    // Each with a client of its own.
    let client = || Client::from_conf(config(addr).build());
    vec![
        side(Ours::open(&url).await),
        side(Requests::new(client(), TABLE)),
        side(Sdk::new(client(), TABLE)),
    ]
}

impl Server for DynamoDbServer {
    fn process(&self) -> Option<&Process> {
        Some(self.process())
    }
}
