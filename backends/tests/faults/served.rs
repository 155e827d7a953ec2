//! The stores that have a server: for each a function that starts the server, and a line that makes its tests.

use std::net::SocketAddr;

use statestore_conformance::faults::FaultSubject;
use statestore_conformance::proxy::Protocol;

/// A server, and how to reach it.
pub(crate) struct Backend {
    pub(crate) server: SocketAddr,
    pub(crate) protocol: Protocol,
    /// The URL of a store on the server that is at this address, up to and with the `?` or `&` before further options.
    pub(crate) url: fn(SocketAddr) -> String,
}

impl Backend {
    pub(crate) async fn subject(&self) -> FaultSubject {
        let url = self.url;
        FaultSubject::start(self.server, self.protocol, move |opening| async move {
            let url = format!("{}{}", url(opening.addr), opening.options());
            statestore::open(&url).await.unwrap()
        })
        .await
    }
}

/// The tests of each backend.
macro_rules! tests {
    ($($(#[$attribute:meta])* $backend:ident),+ $(,)?) => {$(
        $(#[$attribute])*
        mod $backend {
            statestore_conformance::fault_tests! {
                mod faults = super::super::$backend().await.subject().await,
                    table in concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/faults.md");
            }

            mod workload {
                use crate::workload;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn without_faults() {
                    workload::without_faults(super::super::$backend().await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn with_faults() {
                    workload::with_faults(super::super::$backend().await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn updates_with_faults() {
                    workload::updates_with_faults(super::super::$backend().await).await;
                }
            }
        }
    )+};
}

tests! {
    #[cfg(feature = "redis")]
    redis,
    #[cfg(feature = "dynamodb")]
    dynamodb,
    #[cfg(feature = "azure-table")]
    azure_table,
    #[cfg(feature = "firestore")]
    firestore,
}

#[cfg(feature = "redis")]
async fn redis() -> Backend {
    use statestore_conformance::servers::redis::RedisServer;
    Backend {
        server: RedisServer::shared().await.unwrap().addr(),
        protocol: Protocol::Resp,
        url: |addr| format!("redis://{addr}?"),
    }
}

#[cfg(feature = "dynamodb")]
async fn dynamodb() -> Backend {
    use statestore::DynamoDbStore;
    use statestore::dynamodb::DynamoDbConfig;
    use statestore_conformance::servers::dynamodb::DynamoDbServer;
    use tokio::sync::OnceCell;

    static SERVER: OnceCell<DynamoDbServer> = OnceCell::const_new();
    let start = async || {
        let server = DynamoDbServer::start().await.unwrap();
        let config = DynamoDbConfig::new("faults").with_endpoint(server.endpoint());
        let store = DynamoDbStore::new(config.with_made_up_credentials()).unwrap();
        store.create_table().await.unwrap();
        server
    };
    Backend {
        server: SERVER.get_or_init(start).await.addr(),
        protocol: Protocol::Http1,
        url: |addr| format!("dynamodb://faults?endpoint=http://{addr}&credentials=made-up&"),
    }
}

#[cfg(feature = "azure-table")]
async fn azure_table() -> Backend {
    use statestore::AzureTableStore;
    use statestore::azure_table::AzureTableConfig;
    use statestore_conformance::servers::azurite::AzuriteServer;
    use tokio::sync::OnceCell;

    static SERVER: OnceCell<AzuriteServer> = OnceCell::const_new();
    let start = async || {
        let server = AzuriteServer::start().await.unwrap();
        let config = AzureTableConfig::emulator("faults").with_endpoint(server.endpoint());
        AzureTableStore::new(config)
            .unwrap()
            .create_table()
            .await
            .unwrap();
        server
    };
    Backend {
        server: SERVER.get_or_init(start).await.addr(),
        protocol: Protocol::Http1,
        url: |addr| format!("azure-table:///faults?emulator=true&endpoint=http://{addr}/devstoreaccount1&"),
    }
}

#[cfg(feature = "firestore")]
async fn firestore() -> Backend {
    use statestore_conformance::servers::firestore::FirestoreServer;
    use tokio::sync::OnceCell;

    static SERVER: OnceCell<FirestoreServer> = OnceCell::const_new();
    let start = async || FirestoreServer::start().await.unwrap();
    Backend {
        server: SERVER.get_or_init(start).await.addr(),
        protocol: Protocol::Http2,
        url: |addr| format!("firestore://faults/state?emulator={addr}&"),
    }
}
