//! The stores: a line each in [`on_every_store`], and below it how to open it, and the network to it.

use std::sync::Arc;
use std::time::Duration;

use statestore_conformance::Subject;
#[cfg(all(
    unix,
    any(
        feature = "azure-table",
        feature = "dynamodb",
        feature = "firestore",
        feature = "redis"
    )
))]
use statestore_conformance::proxy::Protocol;

use crate::network::Network;
#[cfg(all(
    unix,
    any(
        feature = "azure-table",
        feature = "dynamodb",
        feature = "firestore",
        feature = "redis"
    )
))]
use crate::network::Wire;

/// How long a case may take.
pub(crate) fn limit() -> Duration {
    let soak = std::env::var_os("STATESTORE_SOAK_ORDERS").is_some();
    Duration::from_secs(if soak { 3_600 } else { 180 })
}

fn local(subject: Subject) -> (Subject, Network) {
    let network = Network::InProcess(Arc::clone(subject.store()));
    (subject, network)
}

/// Makes one test of each case on each store, named `store::group::case`.
macro_rules! on_every_store {
    ($($group:ident { $($case:ident)+ })+) => {
        on_every_store! { @stores {
            memory
            #[cfg(feature = "embedded")]
            embedded
            #[cfg(all(feature = "redis", unix))]
            redis
            #[cfg(all(feature = "dynamodb", unix))]
            dynamodb
            #[cfg(all(feature = "azure-table", unix))]
            azure_table
            #[cfg(all(feature = "firestore", unix))]
            firestore
        } {$($group { $($case)+ })+} }
    };
    (@stores { $($(#[$attribute:meta])* $store:ident)+ } $groups:tt) => {
        $(
            $(#[$attribute])*
            mod $store {
                on_every_store! { @groups $store $groups }
            }
        )+
    };
    (@groups $store:ident { $($group:ident { $($case:ident)+ })+ }) => {
        $(
            mod $group {
                $(on_every_store! { @test $store $group $case })+
            }
        )+
    };
    (@test $store:ident $group:ident $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let name = concat!(stringify!($group), "::", stringify!($case));
            let (subject, network) = crate::stores::$store().await;
            statestore_conformance::run(name, crate::stores::limit(), subject, |subject| {
                Box::pin(crate::$group::$case(subject, network))
            })
            .await;
        }
    };
}

pub(crate) async fn memory() -> (Subject, Network) {
    local(Subject::new(statestore::MemoryStore::new()))
}

#[cfg(feature = "embedded")]
pub(crate) async fn embedded() -> (Subject, Network) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let store = statestore::EmbeddedStore::open(folder.path().join("state.redb"))
        .await
        .unwrap();
    // The folder goes with the last closure that names it.
    local(Subject::new(store).with_reopen(move || {
        let path = folder.path().join("state.redb");
        async { Arc::new(statestore::EmbeddedStore::open(path).await.unwrap()) as _ }
    }))
}

#[cfg(all(feature = "redis", unix))]
pub(crate) async fn redis() -> (Subject, Network) {
    use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
    static SERVER: tokio::sync::OnceCell<RedisServer> = tokio::sync::OnceCell::const_new();
    let server = SERVER.get_or_init(async || RedisServer::start(RedisOptions::default()).await.unwrap());
    let server = server.await;
    let subject = Subject::new(statestore::RedisStore::open(&server.url()).unwrap());
    let wire = Wire::new(server.addr(), Protocol::Resp, |addr| format!("redis://{addr}?"));
    (subject, Network::Wire(wire))
}

#[cfg(all(feature = "dynamodb", unix))]
pub(crate) async fn dynamodb() -> (Subject, Network) {
    use statestore::DynamoDbStore;
    use statestore::dynamodb::DynamoDbConfig;
    use statestore_conformance::servers::dynamodb::DynamoDbServer;
    static LOCAL: tokio::sync::OnceCell<(DynamoDbConfig, DynamoDbServer)> =
        tokio::sync::OnceCell::const_new();
    let local = LOCAL.get_or_init(async || {
        let server = DynamoDbServer::start().await.unwrap();
        let config = DynamoDbConfig::new("statestore-patterns")
            .with_endpoint(server.endpoint())
            .with_made_up_credentials()
            // The machine may be busy with other tests.
            .with_timeout(Duration::from_secs(30));
        DynamoDbStore::new(config.clone())
            .unwrap()
            .create_table()
            .await
            .unwrap();
        (config, server)
    });
    let (config, server) = local.await;
    let subject = Subject::new(DynamoDbStore::new(config.clone()).unwrap());
    let wire = Wire::new(server.addr(), Protocol::Http1, |addr| {
        format!("dynamodb://statestore-patterns?endpoint=http://{addr}&credentials=made-up&")
    });
    (subject, Network::Wire(wire))
}

#[cfg(all(feature = "azure-table", unix))]
pub(crate) async fn azure_table() -> (Subject, Network) {
    use std::sync::atomic::{AtomicU64, Ordering};

    use statestore::AzureTableStore;
    use statestore::azure_table::AzureTableConfig;
    use statestore_conformance::servers::azurite::AzuriteServer;
    static SERVER: tokio::sync::OnceCell<AzuriteServer> = tokio::sync::OnceCell::const_new();
    // Azurite looks through all of a table for a scan.
    static TABLES: AtomicU64 = AtomicU64::new(0);
    let server = SERVER.get_or_init(async || AzuriteServer::start().await.unwrap());
    let table = format!("patterns{}", TABLES.fetch_add(1, Ordering::Relaxed));
    let server = server.await;
    let config = AzureTableConfig::emulator(&table)
        .with_endpoint(server.endpoint())
        .with_timeout(Duration::from_secs(30));
    let store = AzureTableStore::new(config).unwrap();
    store.create_table().await.unwrap();
    let wire = Wire::new(server.addr(), Protocol::Http1, move |addr| {
        format!("azure-table:///{table}?emulator=true&endpoint=http://{addr}/devstoreaccount1&")
    });
    (Subject::new(store), Network::Wire(wire))
}

#[cfg(all(feature = "firestore", unix))]
pub(crate) async fn firestore() -> (Subject, Network) {
    use statestore::FirestoreStore;
    use statestore::firestore::FirestoreConfig;
    use statestore_conformance::servers::firestore::FirestoreServer;
    static SERVER: tokio::sync::OnceCell<FirestoreServer> = tokio::sync::OnceCell::const_new();
    let server = SERVER.get_or_init(async || FirestoreServer::start().await.unwrap());
    let server = server.await;
    let config = FirestoreConfig::new("statestore-test", "patterns")
        .with_emulator(server.addr().to_string())
        .with_timeout(Duration::from_secs(30))
        .with_connect_timeout(Duration::from_secs(30));
    let subject = Subject::new(FirestoreStore::new(config).unwrap());
    let wire = Wire::new(server.addr(), Protocol::Http2, |addr| {
        format!("firestore://statestore-test/patterns?emulator={addr}&")
    });
    (subject, Network::Wire(wire))
}
