use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::options::{ADMIN, Config};
use super::resp::Connection;
use super::{RedisOptions, Reply, program};
use crate::servers::{Group, Process, ServerError, free_port};

/// How long a server may take until it answers. It takes some 50 ms; the rest is for machines with much else to do.
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
    options: RedisOptions,
    /// For [`ADMIN`], where there are users.
    admin_password: String,
}

/// What a server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Store,
    Sentinel,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// [`ServerError::NotInstalled`], or why it did not start.
    pub async fn start(options: RedisOptions) -> Result<Self, ServerError> {
        let group = Group::new("redis")?;
        Self::start_in(&group, "redis", Role::Store, &options, "", |_, _| {}).await
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

    /// Starts a server with further lines in its configuration, which may depend on its port.
    pub(super) async fn start_in(
        group: &Arc<Group>,
        name: &str,
        role: Role,
        options: &RedisOptions,
        admin_password: &str,
        more: impl Fn(u16, &mut Config),
    ) -> Result<Self, ServerError> {
        let admin_password = match admin_password {
            "" => format!("{:032x}", fastrand::u128(..)),
            given => given.to_owned(),
        };
        let mut attempt = 1;
        loop {
            let port = free_port().map_err(ServerError::io("looking for a free port"))?;
            let folder = group.folder().join(name);
            fs::create_dir_all(&folder)
                .map_err(ServerError::io(format!("making the folder {}", folder.display())))?;
            let mut config = base_config(port, &folder, role, options, &admin_password);
            more(port, &mut config);
            let file = folder.join("redis.conf");
            fs::write(&file, config.text())
                .map_err(ServerError::io(format!("writing {}", file.display())))?;
            let mut program = program::find()?.arg(file);
            if role == Role::Sentinel {
                program = program.arg("--sentinel");
            }
            let server = Self {
                process: Process::spawn(group, &format!("{name} on port {port}"), &folder, program)?,
                port,
                options: options.clone(),
                admin_password: admin_password.clone(),
            };
            match server.wait_until_ready().await {
                Err(error) if error.is_port_taken() && attempt < PORT_ATTEMPTS => attempt += 1,
                ready => return ready.map(|()| server),
            }
        }
    }

    /// The server's address, without TLS.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The server's URL, with the user and password of its options: `redis://127.0.0.1:17041`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}{}", self.options.userinfo(), self.addr())
    }

    /// The server's Unix socket.
    #[must_use]
    pub fn unix_socket(&self) -> PathBuf {
        self.process.folder().join("redis.sock")
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

    /// The fields of `INFO`, as `name:value` lines.
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
        let mut connection = Connection::open(self.addr()).await?;
        if self.options.has_users() {
            connection.command(&["AUTH", ADMIN, &self.admin_password]).await?;
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

fn base_config(
    port: u16,
    folder: &std::path::Path,
    role: Role,
    options: &RedisOptions,
    admin_password: &str,
) -> Config {
    let mut config = Config::default();
    config.line("bind", ["127.0.0.1"]);
    config.line("port", [port.to_string()]);
    config.line("daemonize", ["no"]);
    config.line("logfile", [""]);
    config.path("dir", folder);
    if role == Role::Sentinel {
        return config;
    }
    config.path("unixsocket", &folder.join("redis.sock"));
    config.line("save", [""]);
    // Replicas come up without a pause or a file, and notice soon when their primary has gone silent.
    config.line("repl-diskless-sync", ["yes"]);
    config.line("repl-diskless-sync-delay", ["0"]);
    config.line("repl-ping-replica-period", ["1"]);
    if options.append_only {
        config.line("appendonly", ["yes"]);
        config.line("appendfsync", ["always"]);
    }
    options.access(admin_password, &mut config);
    for (directive, values) in &options.config {
        config.line(directive, values);
    }
    config
}
