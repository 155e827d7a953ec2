use futures::FutureExt;
use openkeyv::store::memory::MemoryStore;

use super::{Place, Service, Sides};
use crate::contest::side;
use crate::contestants::engine::Embedded;
use crate::contestants::maps::{Dash, Moka, Ordered};
use crate::contestants::ours::Ours;
use crate::contestants::rivals::{Objects, OpenDal, OpenKeyv};

pub(super) fn start() -> Service {
    Service {
        name: "memory",
        version: "this process".to_owned(),
        remote: None,
        connect: |_| sides().boxed(),
        place: Place::Memory,
        server: Box::new(()),
    }
}

async fn sides() -> Sides {
    let opendal = opendal::Operator::new(opendal::services::Memory::default()).expect("a service");
    vec![
        side(Ours::open("memory:").await),
        side(Embedded::new(Dash::default())),
        side(Embedded::new(Moka::default())),
        side(Embedded::new(Ordered::default())),
        side(OpenDal::new("opendal, memory", opendal)),
        side(OpenKeyv::new("openkeyv, memory", MemoryStore::new()).without_swaps(
            "its `compare_and_swap` in memory holds a lock of its map while it waits: several tasks at once on two threads never end",
        )),
        side(Objects::new()),
    ]
}
