use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tokio::sync::OnceCell;

use super::server::{Role, Site, end_all};
use super::slot::SLOTS;
use super::view::View;
use super::{RedisOptions, RedisServer, SlotMigration, slot_of};
use crate::servers::port::BUS_OFFSET;
use crate::servers::{ServerError, wait_for};

const PRIMARIES: usize = 3;
const NODES: usize = 6;

/// How long the nodes may take to agree. They take 3 seconds or so; the rest is for machines with much else to do.
const LIMIT: Duration = Duration::from_secs(90);

/// A Redis Cluster of three primaries with a replica each.
///
/// The nodes keep their places in [`nodes`](Self::nodes) whatever their roles become; the first three were primaries
/// at the start. A node is killed, suspended, resumed or restarted by itself; then wait for what that leads to.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    /// The nodes' own names, in the same places. They outlast restarts.
    ids: Vec<String>,
    pub(super) site: Arc<Site>,
}

impl RedisCluster {
    /// Starts six servers, makes them a cluster, and waits until it is [whole](Self::wait_until_whole).
    ///
    /// # Errors
    /// [`ServerError::NotInstalled`], or why it did not come up.
    pub async fn start(options: RedisOptions) -> Result<Self, ServerError> {
        let site = Site::new("redis-cluster", options)?;
        let (one_site, timeout) = (&site, site.options.node_timeout_millis().to_string());
        let nodes = (1..=NODES).map(|number| {
            let timeout = &timeout;
            async move {
                RedisServer::start_in(one_site, &format!("node-{number}"), Role::Store, |config| {
                    config.line("cluster-enabled", ["yes"]);
                    config.line("cluster-node-timeout", [timeout]);
                    // A replica stays with its primary, and takes over however long it has not heard from it.
                    config.line("cluster-migration-barrier", ["99"]);
                    config.line("cluster-replica-validity-factor", ["0"]);
                })
                .await
            }
        });
        let nodes = try_join_all(nodes).await?;
        let mut ids = Vec::new();
        for node in &nodes {
            ids.push(node.command(&["CLUSTER", "MYID"]).await?.text());
        }
        let cluster = Self { nodes, ids, site };
        cluster.form().await?;
        cluster.wait_until_whole().await?;
        Ok(cluster)
    }

    /// The cluster, without users or TLS, that all tests of this process share. It is started when it is first asked
    /// for, and ends with the process. A test that disturbs its nodes starts one of its own.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn shared() -> Result<&'static Self, ServerError> {
        static SHARED: OnceCell<RedisCluster> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| Self::start(RedisOptions::default()))
            .await
    }

    async fn form(&self) -> Result<(), ServerError> {
        for (place, node) in self.nodes.iter().enumerate() {
            let mut connection = node.connect().await?;
            // An epoch of its own each, which takes a node that knows no other yet: so no two of them have to settle
            // a dispute first.
            let epoch = (place + 1).to_string();
            connection
                .command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch])
                .await?;
            if place < PRIMARIES {
                let slots =
                    (0..SLOTS).filter(|slot| usize::from(*slot) * PRIMARIES / usize::from(SLOTS) == place);
                let slots = slots.map(|slot| slot.to_string());
                let words = ["CLUSTER", "ADDSLOTS"].into_iter().map(str::to_owned);
                connection
                    .command(&words.chain(slots).collect::<Vec<_>>())
                    .await?;
            }
        }
        for (place, node) in self.nodes.iter().enumerate() {
            let mut connection = node.connect().await?;
            for other in &self.nodes[place + 1..] {
                let port = other.addr().port();
                let (bus, port) = ((port + BUS_OFFSET).to_string(), port.to_string());
                connection
                    .command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])
                    .await?;
            }
        }
        for (place, replica) in self.nodes.iter().enumerate().skip(PRIMARIES) {
            let primary = &self.ids[place - PRIMARIES];
            let what = "a node of a new cluster knows the others";
            wait_for(what, LIMIT, || async move {
                let view = self.view(replica).await.map_err(|error| error.to_string())?;
                match view.nodes.iter().filter(|node| node.is_well()).count() {
                    NODES => Ok(()),
                    known => Err(format!("it knows {known} of {NODES}")),
                }
            })
            .await?;
            replica.command(&["CLUSTER", "REPLICATE", primary]).await?;
        }
        Ok(())
    }

    /// All nodes' addresses.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(RedisServer::addr).collect()
    }

    /// The URL of all nodes: `redis-cluster://127.0.0.1:17041,127.0.0.1:13501,…`, or `rediss-cluster://` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        self.site.options.url("-cluster", &self.addrs())
    }

    /// The six nodes.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The primary that answers for a key at this moment.
    ///
    /// # Errors
    /// As [`primary_of_slot`](Self::primary_of_slot).
    pub async fn primary_of(&self, key: impl AsRef<[u8]>) -> Result<&RedisServer, ServerError> {
        self.primary_of_slot(slot_of(key)).await
    }

    /// The running primary that answers for a slot at this moment. Of two that think so, it is the later one.
    ///
    /// # Errors
    /// [`ServerError::Late`] when there is none for a time in which a failover should have been.
    pub async fn primary_of_slot(&self, slot: u16) -> Result<&RedisServer, ServerError> {
        let what = format!("slot {slot} has a primary");
        wait_for(&what, LIMIT, || async move {
            let views = join_all(self.nodes.iter().map(|node| self.view(node))).await;
            let owners = self.nodes.iter().zip(&views).filter_map(|(node, view)| {
                let myself = view.as_ref().ok()?.myself()?;
                myself.owns(slot).then_some((myself.epoch, node))
            });
            let latest = owners.max_by_key(|(epoch, _)| *epoch);
            latest
                .map(|(_, node)| node)
                .ok_or("no running node says so of itself")
        })
        .await
    }

    /// The replica of a primary, or nothing when it has none, as the primary sees it.
    ///
    /// # Errors
    /// When the primary does not answer.
    pub async fn replica_of(&self, primary: &RedisServer) -> Result<Option<&RedisServer>, ServerError> {
        let id = self.id(primary);
        let view = self.view(primary).await?;
        let replica = view.nodes.iter().find(|node| node.primary.as_deref() == Some(id));
        Ok(replica
            .and_then(|replica| self.place(&replica.id))
            .map(|place| &self.nodes[place]))
    }

    /// Waits until another node has taken over from this one, which was killed or suspended, and all running nodes
    /// know and serve every slot.
    ///
    /// # Errors
    /// [`ServerError::Late`] with what is not so.
    pub async fn wait_for_failover(&self, from: &RedisServer) -> Result<(), ServerError> {
        let id = self.id(from);
        let what = format!("another node has taken over from {}", from.process().name());
        wait_for(&what, LIMIT, || async move {
            for node in self.running_but(Some(from)) {
                let view = self.serving_view(node).await?;
                if view.node(id).is_some_and(|from| from.owns_any()) {
                    return Err(format!("{} thinks it has not", node.process().name()));
                }
            }
            Ok(())
        })
        .await
    }

    /// Waits until all six nodes run and agree on the slots' owners, every slot is served, and each primary has a
    /// replica that has been synchronised with it.
    ///
    /// # Errors
    /// [`ServerError::Late`] with what is not so.
    pub async fn wait_until_whole(&self) -> Result<(), ServerError> {
        wait_for("the cluster is whole", LIMIT, || async {
            let views = try_join_all(self.nodes.iter().map(|node| self.whole_view(node))).await?;
            let owners: Vec<_> = views.iter().map(View::owners).collect();
            if owners.iter().any(|other| other.is_none() || *other != owners[0]) {
                return Err("the nodes do not agree on the slots' owners".to_owned());
            }
            Ok(())
        })
        .await
    }

    /// Moves a slot with its keys to a primary, while clients go on. One that is there stays.
    ///
    /// # Errors
    /// The first command's that failed, or [`ServerError::Late`].
    pub async fn migrate_slot(&self, slot: u16, to: &RedisServer) -> Result<(), ServerError> {
        if self.primary_of_slot(slot).await?.addr() == to.addr() {
            return Ok(());
        }
        let migration = self.start_migration(slot, to).await?;
        migration.move_all().await?;
        migration.finish().await
    }

    /// Begins to move a slot to a primary: from now on its present one answers for the keys it has, and with `ASK`
    /// for others.
    ///
    /// # Errors
    /// The first command's that failed, as when the slot is there already.
    pub async fn start_migration<'a>(
        &'a self,
        slot: u16,
        to: &'a RedisServer,
    ) -> Result<SlotMigration<'a>, ServerError> {
        let from = self.primary_of_slot(slot).await?;
        SlotMigration::start(self, slot, from, to).await
    }

    /// Waits until every running node knows that a slot is this node's.
    pub(super) async fn wait_for_owner(&self, slot: u16, owner: &RedisServer) -> Result<(), ServerError> {
        let id = self.id(owner);
        let what = format!("all nodes know that {} has slot {slot}", owner.process().name());
        wait_for(&what, LIMIT, || async move {
            for node in self.running_but(None) {
                let view = self.serving_view(node).await?;
                if !view.node(id).is_some_and(|owner| owner.owns(slot)) {
                    return Err(format!("{} does not", node.process().name()));
                }
            }
            Ok(())
        })
        .await
    }

    fn running_but(&self, without: Option<&RedisServer>) -> Vec<&RedisServer> {
        let without = without.map(RedisServer::addr);
        let running = self.nodes.iter().filter(|node| node.is_running());
        running.filter(|node| Some(node.addr()) != without).collect()
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.ids.iter().position(|other| other == id)
    }

    /// A node's own name in the cluster.
    ///
    /// # Panics
    /// When it is a node of another one.
    pub(super) fn id(&self, node: &RedisServer) -> &str {
        let place = self.nodes.iter().position(|other| other.addr() == node.addr());
        &self.ids[place.expect("the server is a node of this cluster")]
    }

    async fn view(&self, node: &RedisServer) -> Result<View, ServerError> {
        if !node.is_running() {
            return Err(ServerError::Command {
                command: "CLUSTER NODES".to_owned(),
                answer: format!("nothing, since {} does not run", node.process().name()),
            });
        }
        let text = node.command(&["CLUSTER", "NODES"]).await?.text();
        Ok(View::parse(&text))
    }

    /// The view of a node that serves all slots, or why it does not.
    async fn serving_view(&self, node: &RedisServer) -> Result<View, String> {
        let name = node.process().name();
        let asked = async {
            let info = node.command(&["CLUSTER", "INFO"]).await?.text();
            Ok((info, self.view(node).await?))
        };
        let (info, view) = asked
            .await
            .map_err(|error: ServerError| format!("{name}: {error:?}"))?;
        let wanted = [
            "cluster_state:ok",
            "cluster_slots_assigned:16384",
            "cluster_slots_ok:16384",
        ];
        let missing = wanted
            .iter()
            .find(|line| !info.lines().any(|other| other == **line));
        missing.map_or(Ok(view), |line| Err(format!("{name} is without `{line}`")))
    }

    /// The view of a node that serves all slots, sees every other, and is in step with its primary or replica.
    async fn whole_view(&self, node: &RedisServer) -> Result<View, String> {
        let name = node.process().name();
        let view = self.serving_view(node).await?;
        let well = view.nodes.iter().filter(|node| node.is_well()).count();
        if (well, view.nodes.len()) != (NODES, NODES) {
            return Err(format!(
                "{name} sees {well} nodes that are well, and {} in all",
                view.nodes.len()
            ));
        }
        let info = node
            .info("replication")
            .await
            .map_err(|error| format!("{name}: {error:?}"))?;
        let has = |line: &str| info.lines().any(|other| other == line);
        let in_step = has("master_link_status:up") || info.contains(",state=online,");
        in_step
            .then_some(view)
            .ok_or_else(|| format!("{name} is not in step: {info}"))
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        end_all(&self.nodes);
    }
}
