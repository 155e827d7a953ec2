//! One server: a multiplexed connection that is made when it is needed, and made anew when it has broken.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, Value};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{Call, stream};
use crate::redis::config::{Address, Config, Credentials, Tls};
use crate::redis::error::Failure;
use crate::shared::Shared;

/// What all connections of a store have in common.
pub(in crate::redis) struct Settings {
    connect_timeout: Duration,
    timeout: Duration,
    db: u32,
    tls: Option<Tls>,
    connector: OnceLock<TlsConnector>,
}

impl Settings {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            db: config.db,
            tls: config.tls.clone(),
            connector: OnceLock::new(),
        }
    }

    /// The same for the sentinels, which have no databases.
    pub(super) fn of_sentinels(&self) -> Self {
        Self {
            db: 0,
            tls: self.tls.clone(),
            connector: OnceLock::new(),
            ..*self
        }
    }

    fn connector(&self) -> io::Result<Option<&TlsConnector>> {
        let Some(tls) = &self.tls else {
            return Ok(None);
        };
        if let Some(connector) = self.connector.get() {
            return Ok(Some(connector));
        }
        let made = stream::connector(tls)?;
        Ok(Some(self.connector.get_or_init(|| made)))
    }
}

/// A connection that worked when it was last looked at.
struct Live {
    connection: MultiplexedConnection,
    /// Set when it has broken or is not to be used again.
    closed: Arc<AtomicBool>,
    _driver: Driver,
}

impl Live {
    fn retire(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// The task that moves a connection's bytes; it ends with the connection.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Marks a connection closed when the task that moves its bytes ends, however it does.
struct Closes(Arc<AtomicBool>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One connection to a server, in its place: everybody who needs it while it is being made waits for the same attempt.
pub(super) struct Lane {
    way: Arc<Way>,
    live: Shared<Arc<Live>, Failure>,
}

/// How to connect to a server.
struct Way {
    address: Address,
    credentials: Credentials,
    settings: Arc<Settings>,
}

impl Lane {
    pub(super) fn new(address: Address, credentials: Credentials, settings: Arc<Settings>) -> Self {
        let way = Way {
            address,
            credentials,
            settings,
        };
        Self {
            way: Arc::new(way),
            live: Shared::default(),
        }
    }

    async fn live(&self) -> Result<Arc<Live>, Failure> {
        let usable = |live: &Arc<Live>| !live.closed.load(Ordering::Acquire);
        let way = self.way.clone();
        self.live.get(usable, || async move { way.connect().await }).await
    }

    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, Failure> {
        let live = self.live().await?;
        match live.connection.clone().send_packed_command(command).await {
            Ok(value) => value.extract_error().map_err(Failure::of_sent),
            Err(error) => Err(lost(&live, error)),
        }
    }

    /// The answers to all commands, each with its own error.
    pub(super) async fn send_all(&self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let live = self.live().await?;
        let mut connection = live.connection.clone();
        match connection.send_packed_commands(commands, 0, commands.len()).await {
            Ok(values) if values.len() == commands.len() => Ok(values),
            Ok(_) => Err(Failure::Strange("the server gave another number of answers")),
            Err(error) => Err(lost(&live, error)),
        }
    }
}

impl Way {
    async fn connect(&self) -> Result<Arc<Live>, Failure> {
        let attempt = tokio::time::timeout(self.settings.connect_timeout, self.attempt()).await;
        attempt
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
            .map(Arc::new)
            .map_err(Failure::Connect)
    }

    async fn attempt(&self) -> Result<Live, RedisError> {
        let settings = &self.settings;
        let stream = stream::connect(&self.address, settings.connector()?).await?;
        let mut info = RedisConnectionInfo::default()
            .set_db(settings.db.into())
            .set_skip_set_lib_name();
        if let Some(user) = &self.credentials.user {
            info = info.set_username(user);
        }
        if let Some(password) = &self.credentials.password {
            info = info.set_password(password);
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(settings.timeout));
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        let closed = Arc::new(AtomicBool::new(false));
        let closes = Closes(closed.clone());
        let driver = tokio::spawn(async move {
            driver.await;
            drop(closes);
        });
        let mut live = Live {
            connection,
            closed,
            _driver: Driver(driver),
        };
        // A server with too many clients says so and hangs up. Where a login or the choice of a database has not shown that
        // it is not one, this does: the first mutation would be lost in it, and might have been applied for all we know.
        if self.credentials.password.is_none() && settings.db == 0 {
            let pong = live.connection.send_packed_command(&redis::cmd("PING")).await?;
            match pong.extract_error() {
                Err(error) if error.code() == Some("ERR") => return Err(error),
                // Other refusals are the first request's to report.
                _ => {}
            }
        }
        Ok(live)
    }
}

/// After a time-out too the next request takes a new connection: a connection to a machine that is gone breaks late.
fn lost(live: &Live, error: RedisError) -> Failure {
    let failure = Failure::of_sent(error);
    if matches!(failure, Failure::Lost(_)) {
        live.retire();
    }
    failure
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("address", &self.way.address)
            .finish_non_exhaustive()
    }
}

/// What a server answered to a call.
#[derive(Debug)]
pub(in crate::redis) struct Answer {
    pub(in crate::redis) value: Value,
    /// How many replicas have confirmed it, where that was asked for.
    pub(in crate::redis) replicas: Option<i64>,
}

/// A server that holds entries.
#[derive(Debug)]
pub(in crate::redis) struct Node {
    pub(super) lane: Lane,
    /// Where the store waits for replicas: WAIT holds up everything behind it on its connection, so that reads have
    /// another one.
    waiting: Lane,
}

impl Node {
    pub(super) fn new(address: Address, config: &Config, settings: &Arc<Settings>) -> Self {
        let lane = || Lane::new(address.clone(), config.credentials.clone(), settings.clone());
        Self {
            lane: lane(),
            waiting: lane(),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.lane.way.address
    }

    /// Sends a call, and again with the script's source if the server does not know the script.
    pub(in crate::redis) async fn call(&self, call: &Call, asking: bool) -> Result<Answer, Failure> {
        match self.exchange(call, &call.command, asking).await {
            Err(failure) if failure.code() == Some("NOSCRIPT") => match call.with_source() {
                Some(command) => self.exchange(call, &command, asking).await,
                None => Err(failure),
            },
            other => other,
        }
    }

    async fn exchange(&self, call: &Call, command: &Cmd, asking: bool) -> Result<Answer, Failure> {
        let lane = if call.wait.is_some() {
            &self.waiting
        } else {
            &self.lane
        };
        if !asking && call.wait.is_none() {
            let value = lane.send(command).await?;
            return Ok(Answer {
                value,
                replicas: None,
            });
        }
        // In one pipeline nobody else's command comes in between.
        let mut commands = Pipeline::with_capacity(3);
        if asking {
            commands.cmd("ASKING");
        }
        commands.add_command(command.clone());
        if let Some(wait) = &call.wait {
            commands.cmd("WAIT").arg(wait.replicas).arg(wait.timeout_ms);
        }
        let mut values = lane.send_all(&commands).await?.into_iter();
        if asking {
            let asked = values.next().unwrap_or(Value::Nil);
            asked.extract_error().map_err(Failure::of_sent)?;
        }
        let value = values.next().unwrap_or(Value::Nil);
        Ok(Answer {
            value: value.extract_error().map_err(Failure::of_sent)?,
            replicas: call.wait.as_ref().map(|_| match values.next() {
                Some(Value::Int(count)) => count,
                _ => 0,
            }),
        })
    }

    /// Sends commands in one pipeline; each has its own answer.
    pub(super) async fn call_all(&self, commands: &Pipeline) -> Vec<Result<Value, Failure>> {
        match self.lane.send_all(commands).await {
            Ok(values) => values
                .into_iter()
                .map(|value| value.extract_error().map_err(Failure::of_sent))
                .collect(),
            Err(failure) => vec![Err(failure); commands.len()],
        }
    }
}
