use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tokio::sync::OnceCell;

use super::server::{Role, Site, end_all};
use super::{RedisOptions, RedisServer};
use crate::servers::{ServerError, wait_for};

/// How long the sentinels may take to agree. They take 3 seconds or so; the rest is for machines with much else to do.
const LIMIT: Duration = Duration::from_secs(90);

/// A primary with two replicas, watched by three sentinels of which two have to agree.
///
/// The servers keep their places in [`servers`](Self::servers) whatever their roles become; the first was the primary
/// at the start. A server is killed, suspended, resumed or restarted by itself; then wait for what that leads to.
///
/// A primary without [`append_only`](RedisOptions::append_only) that is restarted before the sentinels have missed it
/// comes back empty, and its replicas with it: that is how Redis is.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    site: Arc<Site>,
}

impl RedisSentinel {
    /// The name by which the sentinels know the primary.
    pub const SERVICE: &'static str = "statestore";

    /// Starts three servers and three sentinels, and waits until they are [whole](Self::wait_until_whole).
    ///
    /// The options are for the servers; to ask a sentinel takes no password.
    ///
    /// # Errors
    /// [`ServerError::NotInstalled`], or why they did not come up.
    pub async fn start(options: RedisOptions) -> Result<Self, ServerError> {
        let site = Site::new("redis-sentinel", options)?;
        let one_site = &site;
        let primary = RedisServer::start_in(&site, "server-1", Role::Store, |_| {}).await?;
        let port = &primary.addr().port().to_string();
        let replicas = (2..=3).map(|number| async move {
            RedisServer::start_in(one_site, &format!("server-{number}"), Role::Store, |config| {
                config.line("replicaof", ["127.0.0.1", port]);
            })
            .await
        });
        let mut servers = try_join_all(replicas).await?;
        servers.insert(0, primary);
        let down_after = &site.options.node_timeout_millis().to_string();
        let sentinels = (1..=3).map(|number| async move {
            RedisServer::start_in(
                one_site,
                &format!("sentinel-{number}"),
                Role::Sentinel,
                |config| {
                    config.line("sentinel", ["monitor", Self::SERVICE, "127.0.0.1", port, "2"]);
                    let mut set = |name, value| config.line("sentinel", [name, Self::SERVICE, value]);
                    set("down-after-milliseconds", down_after);
                    set("failover-timeout", "10000");
                    set("parallel-syncs", "2");
                    if let Some([user, password]) = one_site.admin() {
                        set("auth-user", user);
                        set("auth-pass", password);
                    }
                },
            )
            .await
        });
        let sentinels = try_join_all(sentinels).await?;
        for sentinel in &sentinels {
            // Since Redis 7 they can be told to look more often, and to rest less long when they suspect the machine's
            // clock, as on a busy one. An older one takes its time.
            let hurry = [
                "SENTINEL",
                "DEBUG",
                "INFO-PERIOD",
                "1000",
                "PUBLISH-PERIOD",
                "500",
                "TILT-PERIOD",
                "2000",
            ];
            match sentinel.command(&hurry).await {
                Ok(_) | Err(ServerError::Command { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let sentinel = Self {
            servers,
            sentinels,
            site,
        };
        sentinel.wait_until_whole().await?;
        Ok(sentinel)
    }

    /// The servers and sentinels, without users or TLS, that all tests of this process share. They are started when
    /// they are first asked for, and end with the process. A test that disturbs them starts its own.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn shared() -> Result<&'static Self, ServerError> {
        static SHARED: OnceCell<RedisSentinel> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| Self::start(RedisOptions::default()))
            .await
    }

    /// The three sentinels' addresses.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(RedisServer::addr).collect()
    }

    /// The URL of the sentinels, with the user and password of the servers:
    /// `redis-sentinel://127.0.0.1:17041,127.0.0.1:13501,127.0.0.1:20104/statestore`, or `rediss-sentinel://` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        let url = self.site.options.url("-sentinel", &self.addrs());
        format!("{url}/{}", Self::SERVICE)
    }

    /// The three servers.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The three sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The server that all running sentinels hold for the primary.
    ///
    /// # Errors
    /// [`ServerError::Late`] when they do not come to agree.
    pub async fn primary(&self) -> Result<&RedisServer, ServerError> {
        wait_for("the sentinels agree on the primary", LIMIT, || {
            self.agreed_primary()
        })
        .await
    }

    /// Waits until another server has taken over from this one, which was killed or suspended, all running sentinels
    /// say so, and the running servers follow it. Returns it.
    ///
    /// # Errors
    /// [`ServerError::Late`] with what is not so.
    pub async fn wait_for_failover(&self, from: &RedisServer) -> Result<&RedisServer, ServerError> {
        let what = format!("another server has taken over from {}", from.process().name());
        wait_for(&what, LIMIT, || async move {
            let primary = self.agreed_primary().await?;
            if primary.addr() == from.addr() {
                return Err("the sentinels still name it".to_owned());
            }
            self.assert_roles(primary, &self.running_but(Some(from))).await?;
            Ok(primary)
        })
        .await
    }

    /// Waits until all servers and sentinels run, know each other, and the replicas are in step with the primary.
    ///
    /// # Errors
    /// [`ServerError::Late`] with what is not so.
    pub async fn wait_until_whole(&self) -> Result<(), ServerError> {
        wait_for("the servers and sentinels are whole", LIMIT, || async {
            for sentinel in &self.sentinels {
                let name = sentinel.process().name();
                let seen = self.seen_by(sentinel).await?;
                let wanted = [
                    ("flags", "master"),
                    ("num-slaves", "2"),
                    ("num-other-sentinels", "2"),
                ];
                for (field, wanted) in wanted {
                    let is = seen.iter().find(|(name, _)| name == field).map(|(_, is)| &**is);
                    if is != Some(wanted) {
                        return Err(format!("{name} says that {field} is {is:?}"));
                    }
                }
            }
            let (primary, running) = (self.agreed_primary().await?, self.running_but(None));
            if running.len() < self.servers.len() {
                return Err(format!("{} servers run", running.len()));
            }
            self.assert_roles(primary, &running).await
        })
        .await
    }

    fn running_but(&self, without: Option<&RedisServer>) -> Vec<&RedisServer> {
        let without = without.map(RedisServer::addr);
        let running = self.servers.iter().filter(|server| server.is_running());
        running.filter(|server| Some(server.addr()) != without).collect()
    }

    async fn agreed_primary(&self) -> Result<&RedisServer, String> {
        let running = self.sentinels.iter().filter(|sentinel| sentinel.is_running());
        let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::SERVICE];
        let answers = running.map(|sentinel| async move { sentinel.command(&ask).await });
        let mut named = None;
        for answer in join_all(answers).await {
            let answer = answer.map_err(|error| format!("{error:?}"))?;
            if *named.get_or_insert_with(|| answer.clone()) != answer {
                return Err("the sentinels do not agree on the primary".to_owned());
            }
        }
        let port = named
            .as_ref()
            .and_then(|addr| addr.items().get(1))
            .map(|port| port.text());
        let is_named = |server: &&RedisServer| Some(server.addr().port().to_string()) == port;
        let named = self.servers.iter().find(is_named);
        named.ok_or_else(|| format!("the sentinels name port {port:?} as the primary's"))
    }

    /// What a sentinel says about the primary.
    async fn seen_by(&self, sentinel: &RedisServer) -> Result<Vec<(String, String)>, String> {
        let seen = sentinel.command(&["SENTINEL", "MASTER", Self::SERVICE]).await;
        let seen = seen.map_err(|error| format!("{error:?}"))?;
        let pairs = seen.items().chunks_exact(2);
        Ok(pairs.map(|pair| (pair[0].text(), pair[1].text())).collect())
    }

    /// Says which of the servers is not in its role: `primary` a primary, the others its replicas and in step.
    async fn assert_roles(&self, primary: &RedisServer, servers: &[&RedisServer]) -> Result<(), String> {
        let port = format!("master_port:{}", primary.addr().port());
        for server in servers {
            let info = server
                .info("replication")
                .await
                .map_err(|error| format!("{error:?}"))?;
            let wanted = match server.addr() == primary.addr() {
                true => &["role:master"][..],
                false => &["role:slave", &*port, "master_link_status:up"],
            };
            let has = |line: &&&str| info.lines().any(|other| other == **line);
            if let Some(missing) = wanted.iter().find(|line| !has(line)) {
                return Err(format!("{} is without `{missing}`", server.process().name()));
            }
        }
        Ok(())
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        end_all(&self.sentinels);
        end_all(&self.servers);
    }
}
