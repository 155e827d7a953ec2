use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::options::{ADMIN, Config};
use super::resp::Connection;
use super::tls::Tls;
use super::{RedisOptions, Reply, program};
use crate::servers::{Group, Process, ServerError, free_port};

/// How long a server may take until it answers. It takes some 20 ms; the rest is for machines with much else to do.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How often to try again when another process was quicker to take the port.
const PORT_ATTEMPTS: usize = 10;

/// A Redis server of one process.
///
/// Dropping it ends the process and removes its folder.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    port: u16,
    tls_port: Option<u16>,
    role: Role,
    site: Arc<Site>,
}

/// What servers that are started together share.
#[derive(Debug)]
pub(super) struct Site {
    group: Arc<Group>,
    pub(super) options: RedisOptions,
    /// For [`ADMIN`], where there are users.
    admin_password: String,
    tls: Option<Tls>,
}

/// What a server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Store,
    Sentinel,
}

impl Site {
    pub(super) fn new(name: &str, options: RedisOptions) -> Result<Arc<Self>, ServerError> {
        let group = Group::new(name)?;
        let tls = options.tls.then(|| Tls::make(group.folder())).transpose()?;
        Ok(Arc::new(Self {
            group,
            options,
            admin_password: format!("{:032x}", fastrand::u128(..)),
            tls,
        }))
    }

    /// The name and password for a server's commands to another, where there are users.
    pub(super) fn admin(&self) -> Option<[&str; 2]> {
        self.options.has_users().then_some([ADMIN, &self.admin_password])
    }

    fn config(&self, port: u16, tls_port: Option<u16>, folder: &Path, role: Role) -> Config {
        let mut config = Config::default();
        config.line("bind", ["127.0.0.1"]);
        config.line("port", [port.to_string()]);
        config.line("daemonize", ["no"]);
        config.line("logfile", [""]);
        config.path("dir", folder);
        if let (Some(tls), Some(port)) = (&self.tls, tls_port) {
            tls.config(port, &mut config);
        }
        if role == Role::Sentinel {
            return config;
        }
        config.path("unixsocket", &folder.join("redis.sock"));
        config.line("save", [""]);
        // Replicas come up without a pause or a file, and notice soon when their primary has gone silent.
        config.line("repl-diskless-sync", ["yes"]);
        config.line("repl-diskless-sync-delay", ["0"]);
        config.line("repl-ping-replica-period", ["1"]);
        if self.options.append_only {
            config.line("appendonly", ["yes"]);
            config.line("appendfsync", ["always"]);
        }
        self.options.access(&self.admin_password, &mut config);
        for (directive, values) in &self.options.config {
            config.line(directive, values);
        }
        config
    }
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// [`ServerError::NotInstalled`], or why it did not start.
    pub async fn start(options: RedisOptions) -> Result<Self, ServerError> {
        let site = Site::new("redis", options)?;
        Self::start_in(&site, "redis", Role::Store, |_| {}).await
    }

    /// The server, without users or TLS, that all tests of this process share. It is started when it is first asked
    /// for, and ends with the process. What one test sets on it, or loses, the others see.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn shared() -> Result<&'static Self, ServerError> {
        static SHARED: OnceCell<RedisServer> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| Self::start(RedisOptions::default()))
            .await
    }

    /// Starts a server with further lines in its configuration.
    pub(super) async fn start_in(
        site: &Arc<Site>,
        name: &str,
        role: Role,
        more: impl Fn(&mut Config),
    ) -> Result<Self, ServerError> {
        let folder = site.group.folder().join(name);
        fs::create_dir_all(&folder)
            .map_err(ServerError::io(format!("making the folder {}", folder.display())))?;
        let file = folder.join("redis.conf");
        let mut attempt = 1;
        loop {
            let free_port = || free_port().map_err(ServerError::io("looking for a free port"));
            let port = free_port()?;
            let tls_port = site.tls.is_some().then(free_port).transpose()?;
            let mut config = site.config(port, tls_port, &folder, role);
            more(&mut config);
            fs::write(&file, config.text())
                .map_err(ServerError::io(format!("writing {}", file.display())))?;
            let mut program = program::find()?.arg(&file);
            if role == Role::Sentinel {
                program = program.arg("--sentinel");
            }
            let server = Self {
                process: Process::spawn(&site.group, &format!("{name} on port {port}"), &folder, program)?,
                port,
                tls_port,
                role,
                site: Arc::clone(site),
            };
            match server.wait_until_ready().await {
                Err(error) if error.is_port_taken() && attempt < PORT_ATTEMPTS => attempt += 1,
                ready => return ready.map(|()| server),
            }
        }
    }

    /// The server's address: with TLS if its options say so, else in plain text.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.tls_port.unwrap_or(self.port)).into()
    }

    /// The server's address in plain text, which it has also with TLS.
    #[must_use]
    pub fn plain_addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The server's URL, with the user and password of its options: `redis://127.0.0.1:17041`, or `rediss://` with
    /// TLS.
    #[must_use]
    pub fn url(&self) -> String {
        self.site.options.url("", &[self.addr()])
    }

    /// The server's Unix socket. A sentinel has none.
    #[must_use]
    pub fn unix_socket(&self) -> PathBuf {
        self.process.folder().join("redis.sock")
    }

    /// With TLS, the file with the certificate of the authority that a client has to trust, as PEM.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.site.tls.as_ref().map(|tls| &*tls.ca)
    }

    /// The server's process, for its number, folder and output.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Sends one command on a connection of its own, as a user who may do everything.
    ///
    /// # Errors
    /// [`ServerError::Command`] for an error of the server's, [`ServerError::Io`] when it does not answer within
    /// 2 seconds.
    pub async fn command<A: AsRef<[u8]>>(&self, command: &[A]) -> Result<Reply, ServerError> {
        self.connect().await?.command(command).await
    }

    /// A section of `INFO`, as lines of `name:value`.
    ///
    /// # Errors
    /// As [`command`](Self::command).
    pub async fn info(&self, section: &str) -> Result<String, ServerError> {
        Ok(self.command(&["INFO", section]).await?.text())
    }

    /// Suspends the server, with SIGSTOP: connections stay open, new ones are made, and nothing is answered.
    ///
    /// # Errors
    /// [`ServerError::Ended`] when it does not run.
    pub fn suspend(&self) -> Result<(), ServerError> {
        self.process.suspend()
    }

    /// Lets a suspended server go on.
    ///
    /// # Errors
    /// [`ServerError::Ended`] when it does not run.
    pub fn resume(&self) -> Result<(), ServerError> {
        self.process.resume()
    }

    /// Ends the server at once, with SIGKILL.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the system refuses.
    pub fn kill(&self) -> Result<(), ServerError> {
        self.process.kill()
    }

    /// Whether the server runs and is not suspended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Starts the server again, on the same port and with what it has in its folder, and waits until it answers.
    /// One that still runs is killed first.
    ///
    /// # Errors
    /// Why it did not start.
    pub async fn restart(&self) -> Result<(), ServerError> {
        self.process.respawn()?;
        self.wait_until_ready().await
    }

    /// A connection as a user who may do everything.
    pub(super) async fn connect(&self) -> Result<Connection, ServerError> {
        let mut connection = Connection::open(self.plain_addr()).await?;
        if let Some([user, password]) = self.site.admin()
            && self.role == Role::Store
        {
            connection.command(&["AUTH", user, password]).await?;
        }
        Ok(connection)
    }

    /// Waits until our process answers, and not another that has the port, and has loaded its data.
    async fn wait_until_ready(&self) -> Result<(), ServerError> {
        let own = &format!("process_id:{}", self.process.pid());
        self.process
            .wait_until_ready(START_LIMIT, || async move {
                let info = self.connect().await?.command(&["INFO"]).await?.text();
                let has = |line: &str| info.lines().any(|other| other == line);
                if has(own) && !has("loading:1") {
                    return Ok(());
                }
                Err(ServerError::Command {
                    command: "INFO".to_owned(),
                    answer: format!("not `{own}`, or it is still loading"),
                })
            })
            .await
    }
}

/// Ends several servers side by side.
pub(super) fn end_all<'a>(servers: impl IntoIterator<Item = &'a RedisServer>) {
    for server in servers {
        server.process.ask_to_end();
    }
}
