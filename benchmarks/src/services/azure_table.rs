use std::time::Duration;

use futures::FutureExt;
use statestore::AzureTableStore;
use statestore::azure_table::AzureTableConfig;
use statestore_conformance::proxy::Protocol;
use statestore_conformance::servers::Process;
use statestore_conformance::servers::azurite::{AzuriteServer, VERSION};

use super::{Place, Remote, Server, Service, Sides};
use crate::contest::side;
use crate::contestants::azure_table::{Of, Pooled};
use crate::contestants::ours::Ours;

const TABLE: &str = "bench";

fn url(addr: std::net::SocketAddr) -> String {
    format!(
        "azure-table:///{TABLE}?emulator=true&endpoint=http://{addr}/devstoreaccount1&timeout=60s&connect_timeout=30s"
    )
}

pub(super) async fn start() -> Service {
    let server = AzuriteServer::start().await.expect("Azurite starts");
    let config = AzureTableConfig::emulator(TABLE)
        .with_endpoint(server.endpoint())
        .with_timeout(Duration::from_secs(60));
    let store = AzureTableStore::new(config).expect("a store");
    store.create_table().await.expect("a table");
    Service {
        name: "azure-table",
        version: format!("Azurite {VERSION}, in memory"),
        remote: Some(Remote {
            addr: server.addr(),
            protocol: Protocol::Http1,
            url,
            warms_up: true,
        }),
        connect: |place| sides(place).boxed(),
        place: Place::Addr(server.addr()),
        server: Box::new(server),
    }
}

async fn sides(place: Place) -> Sides {
    let addr = place.addr();
    vec![
        side(Ours::open(&url(addr)).await),
        side(Pooled::new(addr, TABLE, Of::Store)),
        side(Pooled::new(addr, TABLE, Of::Value)),
    ]
}

impl Server for AzuriteServer {
    fn process(&self) -> Option<&Process> {
        Some(self.process())
    }
}
