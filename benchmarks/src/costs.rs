//! Section `costs`: what an operation sends, exactly, counted by a proxy; and what DynamoDB charges for it.

use serde::Serialize;
use statestore_conformance::proxy::Proxy;

use crate::args::Args;
use crate::contest::{Does, Load, Operation, timed};
use crate::progress::Progress;
use crate::services::{Service, capacity};

pub(crate) const SECTION: &str = "costs";

/// Every operation is done this often, of which the mean is reported.
const TIMES: u64 = 10;
const SIZE: usize = 1024;
/// How many tasks put at once, where connections are counted.
const MANY: usize = 32;

/// How far apart the bytes of two sides may be that send the same: their headers differ a little.
const APART: f64 = 0.03;
const APART_BYTES: f64 = 50.0;

/// What one operation takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) service: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) side: String,
    pub(crate) requests: f64,
    /// The requests of all repetitions, by name.
    pub(crate) names: Vec<(String, u64)>,
    pub(crate) bytes_sent: f64,
    pub(crate) bytes_received: f64,
    /// Capacity units of DynamoDB.
    pub(crate) units: Option<f64>,
    /// Whether it is said to send what ours sends.
    same: bool,
}

impl Cost {
    /// # Panics
    /// If it is said to send what `ours` sends, and does not.
    fn check(&self, ours: &Self) {
        let apart = (self.bytes_sent - ours.bytes_sent).abs();
        let equal = self.requests == ours.requests && apart <= f64::max(APART * ours.bytes_sent, APART_BYTES);
        assert!(!self.same || equal, "not the same: {self:?} and {ours:?}");
    }
}

/// The connections that are open after puts by one task, and by many.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Connections {
    pub(crate) service: &'static str,
    pub(crate) side: String,
    pub(crate) alone: u64,
    pub(crate) many: u64,
}

pub(crate) async fn run(args: &Args, folder: &std::path::Path) -> (Vec<Cost>, Vec<Connections>) {
    let names: Vec<_> = args
        .services(SECTION)
        .filter(|name| !["memory", "embedded"].contains(name))
        .collect();
    let mut progress = Progress::new(SECTION, names.len());
    let (mut costs, mut connections) = (Vec::new(), Vec::new());
    for name in names {
        progress.step(name);
        let service = Service::start(name, folder).await;
        let sides = service.sides().await.len();
        for place in 0..sides {
            let of_side = of(&service, place).await;
            for cost in &of_side {
                let ours = costs
                    .iter()
                    .find(|ours: &&Cost| (ours.service, ours.operation) == (cost.service, cost.operation));
                cost.check(ours.unwrap_or(cost));
            }
            costs.extend(of_side);
            connections.push(self::connections(&service, place).await);
        }
        if name == "dynamodb" {
            charge(&service, &mut costs).await;
        }
    }
    (costs, connections)
}

/// The costs of the side at this place, by way of a proxy of its own.
async fn of(service: &Service, place: usize) -> Vec<Cost> {
    let remote = service.remote.as_ref().expect("a server");
    let proxy = Proxy::start(remote.addr, remote.protocol).await.expect("a proxy");
    let side = service.sides_at(proxy.addr()).await.swap_remove(place);
    let mut costs = Vec::new();
    let alone = Load {
        size: SIZE,
        tasks: 1,
        times: TIMES,
    };
    for operation in Operation::ALL {
        let does = side.does(operation, SIZE);
        if matches!(does, Does::Cannot(_)) {
            continue;
        }
        // What is sent but once, such as a script, is sent now.
        timed(side.prepare(operation, Load { times: 1, ..alone }).await).await;
        let mut ready = side.prepare(operation, alone).await;
        let before = proxy.counts();
        for job in ready.jobs.drain(..) {
            job.await;
        }
        let spent = proxy.counts() - before;
        ready.afterwards.await;
        assert_eq!(spent.unparsed_connections, 0, "{spent}");
        costs.push(Cost {
            service: service.name,
            operation: operation.name(),
            side: side.name().to_owned(),
            requests: spent.requests as f64 / TIMES as f64,
            names: spent
                .requests_by_name()
                .iter()
                .map(|(name, count)| (name.clone(), *count))
                .collect(),
            bytes_sent: spent.bytes_to_server as f64 / TIMES as f64,
            bytes_received: spent.bytes_to_client as f64 / TIMES as f64,
            units: None,
            same: matches!(does, Does::Same(_)),
        });
    }
    costs
}

/// The connections of the side at this place, by way of another proxy: it opens none for what is prepared.
async fn connections(service: &Service, place: usize) -> Connections {
    let remote = service.remote.as_ref().expect("a server");
    let proxy = Proxy::start(remote.addr, remote.protocol).await.expect("a proxy");
    let side = service.sides_at(proxy.addr()).await.swap_remove(place);
    let open_after = async |tasks: usize| {
        let load = Load {
            size: SIZE,
            tasks,
            times: TIMES,
        };
        timed(side.prepare(Operation::Put, load).await).await;
        proxy.counts().open_connections
    };
    Connections {
        service: service.name,
        side: side.name().to_owned(),
        alone: open_after(1).await,
        many: open_after(MANY).await,
    }
}

/// Adds the capacity units, by clients that ask for them.
async fn charge(service: &Service, costs: &mut [Cost]) {
    for (side, meter) in capacity::sides(service) {
        for operation in Operation::ALL {
            let alone = Load {
                size: SIZE,
                tasks: 1,
                times: TIMES,
            };
            let mut ready = side.prepare(operation, alone).await;
            let before = meter.units();
            for job in ready.jobs.drain(..) {
                job.await;
            }
            let units = (meter.units() - before) / TIMES as f64;
            let mut of_side = costs
                .iter_mut()
                .filter(|cost| cost.service == service.name && cost.side == side.name());
            if let Some(cost) = of_side.find(|cost| cost.operation == operation.name()) {
                cost.units = Some(units);
            }
        }
    }
}
