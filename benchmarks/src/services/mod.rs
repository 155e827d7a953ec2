//! What is compared on: for each service a server, and the sides on it.

mod azure_table;
mod dynamodb;
mod embedded;
mod firestore;
mod memory;
mod redis;

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use statestore_conformance::proxy::Protocol;
use statestore_conformance::servers::Process;

use crate::contest::Side;

pub(crate) use self::dynamodb::capacity;

/// Ours first.
pub(crate) type Sides = Vec<Arc<dyn Side>>;

/// A service that runs.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// What it is, and its version.
    pub(crate) version: String,
    pub(crate) remote: Option<Remote>,
    /// All of them on what is at this address, where it is remote.
    connect: fn(Place) -> BoxFuture<'static, Sides>,
    place: Place,
    /// Ends with it.
    server: Box<dyn Server>,
}

/// What runs as long as it is held.
trait Server: Send + Sync {
    /// Its process, if it has one.
    fn process(&self) -> Option<&Process> {
        None
    }
}

impl Server for () {}
impl Server for tempfile::TempDir {}

/// Where a service is reached over the network.
pub(crate) struct Remote {
    pub(crate) addr: SocketAddr,
    pub(crate) protocol: Protocol,
    /// The URL of a store on a server that is at this address.
    pub(crate) url: fn(SocketAddr) -> String,
    /// Whether it compiles its code while it runs, so that it is slow at first.
    pub(crate) warms_up: bool,
}

/// Where a store is: an address, or a folder.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Memory,
    Folder(std::path::PathBuf),
    Addr(SocketAddr),
}

impl Place {
    fn addr(&self) -> SocketAddr {
        match self {
            Self::Addr(addr) => *addr,
            other => unreachable!("no address: {other:?}"),
        }
    }

    fn folder(&self) -> &std::path::Path {
        match self {
            Self::Folder(folder) => folder,
            other => unreachable!("no folder: {other:?}"),
        }
    }
}

impl Service {
    pub(crate) const NAMES: [&'static str; 6] = [
        "memory",
        "embedded",
        "redis",
        "dynamodb",
        "azure-table",
        "firestore",
    ];

    /// Starts one of [`NAMES`](Self::NAMES). What it keeps in files goes into `folder`.
    pub(crate) async fn start(name: &str, folder: &std::path::Path) -> Self {
        match name {
            "memory" => memory::start(),
            "embedded" => embedded::start(folder),
            "redis" => redis::start().await,
            "dynamodb" => dynamodb::start().await,
            "azure-table" => azure_table::start().await,
            "firestore" => firestore::start().await,
            other => unreachable!("no service {other}"),
        }
    }

    /// Lets it answer nobody, until it is [resumed](Self::resume).
    pub(crate) fn suspend(&self) {
        self.server
            .process()
            .expect("a process")
            .suspend()
            .expect("it stops");
    }

    pub(crate) fn resume(&self) {
        self.server
            .process()
            .expect("a process")
            .resume()
            .expect("it goes on");
    }

    /// The URL of ours on it.
    pub(crate) fn url(&self) -> String {
        match (&self.remote, &self.place) {
            (Some(remote), _) => (remote.url)(remote.addr),
            (None, Place::Folder(folder)) => format!("file:{}", folder.join("state.redb").display()),
            (None, _) => "memory:".to_owned(),
        }
    }

    pub(crate) async fn sides(&self) -> Sides {
        (self.connect)(self.place.clone()).await
    }

    /// The sides by way of another address, such as a proxy's.
    pub(crate) async fn sides_at(&self, addr: SocketAddr) -> Sides {
        (self.connect)(Place::Addr(addr)).await
    }
}
