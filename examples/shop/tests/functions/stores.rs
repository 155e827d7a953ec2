//! The stores: a line each in the macro, and below it how to start one and what its URL is.

use tokio::sync::OnceCell;

/// Makes a test of each case on each runtime and store.
macro_rules! on_every_store_and_runtime {
    ($($case:ident)+) => {
        on_every_store_and_runtime! { @stores {
            #[cfg(feature = "redis")]
            redis
            #[cfg(feature = "dynamodb")]
            dynamodb
            #[cfg(feature = "azure-table")]
            azure_table
            #[cfg(feature = "firestore")]
            firestore
        } {$($case)+} }
    };
    (@stores { $($(#[$attribute:meta])* $store:ident)+ } $cases:tt) => {
        $(
            $(#[$attribute])*
            mod $store {
                on_every_store_and_runtime! { @runtime $store aws_lambda AwsLambda $cases }
                on_every_store_and_runtime! { @runtime $store azure_functions AzureFunctions $cases }
                on_every_store_and_runtime! { @runtime $store cloud_run CloudRun $cases }
            }
        )+
    };
    (@runtime $store:ident $module:ident $runtime:ident { $($case:ident)+ }) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let url = crate::stores::$store().await;
                    let case = crate::$case(crate::instance::Runtime::$runtime, url);
                    let limit = std::time::Duration::from_secs(100);
                    tokio::time::timeout(limit, case).await.expect("it ends in time");
                }
            )+
        }
    };
}

#[cfg(feature = "redis")]
pub(crate) async fn redis() -> &'static str {
    use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
    static SERVER: OnceCell<(String, RedisServer)> = OnceCell::const_new();
    let server = SERVER.get_or_init(async || {
        let server = RedisServer::start(RedisOptions::default()).await.unwrap();
        (server.url(), server)
    });
    &server.await.0
}

#[cfg(feature = "dynamodb")]
pub(crate) async fn dynamodb() -> &'static str {
    use statestore::DynamoDbStore;
    use statestore::dynamodb::DynamoDbConfig;
    use statestore_conformance::servers::dynamodb::DynamoDbServer;
    static SERVER: OnceCell<(String, DynamoDbServer)> = OnceCell::const_new();
    let server = SERVER.get_or_init(async || {
        let server = DynamoDbServer::start().await.unwrap();
        let endpoint = server.endpoint();
        let config = DynamoDbConfig::new("shop")
            .with_endpoint(&endpoint)
            .with_made_up_credentials();
        DynamoDbStore::new(config).unwrap().create_table().await.unwrap();
        let url = format!("dynamodb://shop?endpoint={endpoint}&credentials=made-up");
        (url, server)
    });
    &server.await.0
}

#[cfg(feature = "azure-table")]
pub(crate) async fn azure_table() -> &'static str {
    use statestore::AzureTableStore;
    use statestore::azure_table::AzureTableConfig;
    use statestore_conformance::servers::azurite::AzuriteServer;
    static SERVER: OnceCell<(String, AzuriteServer)> = OnceCell::const_new();
    let server = SERVER.get_or_init(async || {
        let server = AzuriteServer::start().await.unwrap();
        let endpoint = server.endpoint();
        let config = AzureTableConfig::emulator("shop").with_endpoint(&endpoint);
        AzureTableStore::new(config)
            .unwrap()
            .create_table()
            .await
            .unwrap();
        let url = format!("azure-table:///shop?emulator=true&endpoint={endpoint}");
        (url, server)
    });
    &server.await.0
}

#[cfg(feature = "firestore")]
pub(crate) async fn firestore() -> &'static str {
    use statestore_conformance::servers::firestore::FirestoreServer;
    static SERVER: OnceCell<(String, FirestoreServer)> = OnceCell::const_new();
    let server = SERVER.get_or_init(async || {
        let server = FirestoreServer::start().await.unwrap();
        let url = format!("firestore://demo-shop/state?emulator={}", server.addr());
        (url, server)
    });
    &server.await.0
}
