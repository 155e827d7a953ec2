use futures::FutureExt;
use statestore_conformance::proxy::Protocol;
use statestore_conformance::servers::Process;
use statestore_conformance::servers::firestore::{FirestoreServer, VERSION};

use super::{Place, Remote, Server, Service, Sides};
use crate::contest::side;
use crate::contestants::firestore::Crate;
use crate::contestants::firestore_requests::Requests;
use crate::contestants::ours::Ours;

const PROJECT: &str = "bench";
const COLLECTION: &str = "state";

fn url(addr: std::net::SocketAddr) -> String {
    format!("firestore://{PROJECT}/{COLLECTION}?emulator={addr}&timeout=60s&connect_timeout=30s")
}

pub(super) async fn start() -> Service {
    let server = FirestoreServer::start().await.expect("hidane starts");
    Service {
        name: "firestore",
        version: format!("hidane {VERSION}, in memory"),
        remote: Some(Remote {
            addr: server.addr(),
            protocol: Protocol::Http2,
            url,
            warms_up: false,
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
        side(Requests::new(addr, PROJECT, COLLECTION).await),
        side(Crate::new(addr, PROJECT).await),
    ]
}

impl Server for FirestoreServer {
    fn process(&self) -> Option<&Process> {
        Some(self.process())
    }
}
