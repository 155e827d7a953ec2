//! Which server a request goes to, and the connections to them: one small enum for a single server, a cluster, and a
//! server that sentinels know.
//!
//! This is instead of the client's own connection manager and cluster client, which send a mutation again after a broken
//! connection and do not tell whether a request ever left. Here nothing is sent twice unless the server has refused
//! it or it never left.

mod cluster;
mod node;
mod sentinel;
mod stream;

use std::sync::Arc;

use redis::{Cmd, Pipeline, Value};

use self::cluster::Cluster;
use self::node::Settings;
pub(super) use self::node::{Answer, Node};
use self::sentinel::Sentinel;
use super::config::{Config, Topology};
use super::error::Failure;

/// A request for the node that holds a slot.
#[derive(Clone)]
pub(super) struct Call {
    slot: u16,
    command: Cmd,
    /// The source of the script that it names by its hash.
    source: Option<&'static str>,
    wait: Option<Wait>,
}

/// How many replicas have to confirm, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) replicas: u32,
    pub(super) timeout_ms: u64,
}

impl Call {
    /// A plain command.
    pub(super) fn command(slot: u16, command: Cmd) -> Self {
        Self {
            slot,
            command,
            source: None,
            wait: None,
        }
    }

    /// A script, which `command` names by its hash.
    pub(super) fn script(slot: u16, command: Cmd, source: &'static str, wait: Option<Wait>) -> Self {
        Self {
            slot,
            command,
            source: Some(source),
            wait,
        }
    }

    /// The same with the script's source in place of its hash, which the server then remembers.
    fn with_source(&self) -> Option<Cmd> {
        let mut command = redis::cmd("EVAL");
        command.arg(self.source?);
        for argument in self.command.args_iter().skip(2) {
            match argument {
                redis::Arg::Simple(bytes) => command.arg(bytes),
                redis::Arg::Cursor => return None,
                _ => return None,
            };
        }
        Some(command)
    }
}

/// The servers of a store.
#[derive(Debug)]
pub(super) enum Servers {
    Single(Arc<Node>),
    Cluster(Arc<Cluster>),
    Sentinel(Arc<Sentinel>),
}

impl Servers {
    /// Connects to nobody yet.
    pub(super) fn new(config: &Config) -> Self {
        let settings = Arc::new(Settings::new(config));
        match &config.topology {
            Topology::Single(address) => {
                Self::Single(Arc::new(Node::new(address.clone(), config, &settings)))
            }
            Topology::Cluster(seeds) => Self::Cluster(Arc::new(Cluster::new(seeds, config, settings))),
            Topology::Sentinel { sentinels, service } => {
                Self::Sentinel(Arc::new(Sentinel::new(sentinels, service, config, settings)))
            }
        }
    }

    /// Sends a call to the primary that holds its slot.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, Failure> {
        match self {
            Self::Single(node) => node.call(call, false).await,
            Self::Cluster(cluster) => cluster.call(call).await,
            Self::Sentinel(sentinel) => sentinel.call(call).await,
        }
    }

    /// Sends plain commands, those for one node in one pipeline. The answers are in their order.
    pub(super) async fn call_all(&self, calls: Vec<Call>) -> Vec<Result<Value, Failure>> {
        if let [call] = &calls[..] {
            return vec![self.call(call).await.map(|answer| answer.value)];
        }
        match self {
            Self::Single(node) => node.call_all(&pipeline(calls.iter())).await,
            Self::Cluster(cluster) => cluster.call_all(&calls).await,
            Self::Sentinel(sentinel) => sentinel.call_all(&calls).await,
        }
    }

    /// All primaries, always in the same order, and a number that changes with them and with who holds which slot.
    pub(super) async fn primaries(&self) -> Result<(Vec<Arc<Node>>, u64), Failure> {
        match self {
            Self::Single(node) => Ok((vec![node.clone()], 0)),
            Self::Cluster(cluster) => cluster.primaries().await,
            Self::Sentinel(sentinel) => sentinel.primaries().await,
        }
    }

    /// Whether commands for several slots may be one command.
    pub(super) fn crosses_slots(&self) -> bool {
        !matches!(self, Self::Cluster(_))
    }
}

fn pipeline<'a>(calls: impl ExactSizeIterator<Item = &'a Call>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(calls.len());
    for call in calls {
        pipeline.add_command(call.command.clone());
    }
    pipeline
}

/// What a server says of itself. Everybody may ask that, whatever the ACL.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) version: (u32, u32),
    pub(super) role: String,
    pub(super) mode: String,
}

fn hello() -> Cmd {
    let mut command = redis::cmd("HELLO");
    command.arg(2);
    command
}

impl Hello {
    fn read(answer: Value) -> Result<Self, Failure> {
        let strange = Failure::Strange("the server's answer to HELLO is malformed");
        let Value::Array(answer) = answer else {
            return Err(strange);
        };
        let field = |name: &str| {
            answer.chunks(2).find_map(|pair| match pair {
                [key, value] if text(key)? == name => text(value),
                _ => None,
            })
        };
        let (Some(version), Some(role), Some(mode)) = (field("version"), field("role"), field("mode")) else {
            return Err(strange);
        };
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        Ok(Self {
            version: (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)),
            role,
            mode,
        })
    }
}

impl Node {
    /// Connects and asks the server what it is.
    pub(super) async fn hello(&self) -> Result<Hello, Failure> {
        Hello::read(self.call(&Call::command(0, hello()), false).await?.value)
    }

    /// Has the server load a script.
    pub(super) async fn warm_up(&self, call: &Call) -> Result<(), Failure> {
        self.call(call, false).await.map(drop)
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}
