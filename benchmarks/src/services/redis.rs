use futures::FutureExt;
use openkeyv::store::redis::{RedisConfig, RedisStore};
use statestore_conformance::proxy::Protocol;
use statestore_conformance::servers::Process;
use statestore_conformance::servers::redis::{RedisOptions, RedisServer};

use super::{Place, Remote, Server, Service, Sides};
use crate::contest::side;
use crate::contestants::ours::Ours;
use crate::contestants::redis::ByHand;
use crate::contestants::redis_script::SameScript;
use crate::contestants::rivals::{OpenDal, OpenKeyv};

pub(super) async fn start() -> Service {
    let server = RedisServer::start(RedisOptions::default())
        .await
        .expect("Redis starts");
    let info = server.info("server").await.expect("its version");
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Service {
        name: "redis",
        version: format!("Redis {}, in memory", version.unwrap_or("of an unknown version")),
        remote: Some(Remote {
            addr: server.addr(),
            protocol: Protocol::Resp,
            url: |addr| format!("redis://{addr}?timeout=60s&connect_timeout=30s"),
            warms_up: false,
        }),
        connect: |place| sides(place).boxed(),
        place: Place::Addr(server.addr()),
        server: Box::new(server),
    }
}

async fn sides(place: Place) -> Sides {
    let url = format!("redis://{}", place.addr());
    let opendal = opendal::services::Redis::default()
        .endpoint(&url)
        .root("/opendal");
    let opendal = opendal::Operator::new(opendal).expect("a service");
    // Its change feed would write each put once more.
    let config = RedisConfig::default().with_change_retention(0);
    let openkeyv = RedisStore::new_with_config(&url, config)
        .await
        .expect("a connection");
    vec![
        side(Ours::open(&format!("{url}?timeout=60s&connect_timeout=30s")).await),
        side(SameScript::connect(&url).await),
        side(ByHand::connect(&url).await),
        side(OpenDal::new("opendal, Redis", opendal)),
        side(OpenKeyv::new("openkeyv, Redis", openkeyv)),
    ]
}

impl Server for RedisServer {
    fn process(&self) -> Option<&Process> {
        Some(self.process())
    }
}
