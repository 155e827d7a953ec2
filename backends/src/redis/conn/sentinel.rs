//! The primary that sentinels know, found anew when it is gone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::select_ok;
use redis::Value;
use statestore_api::backend::stable_hash;

use super::node::{Answer, Lane, Node, Settings};
use super::{Call, pipeline};
use crate::redis::config::{Address, Config};
use crate::redis::error::Failure;
use crate::shared::Shared;

pub(in crate::redis) struct Sentinel {
    service: String,
    sentinels: Vec<Lane>,
    primary: Shared<Primary, Failure>,
    config: Config,
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Primary {
    node: Arc<Node>,
    /// Set when it did not answer as a primary does.
    gone: Arc<AtomicBool>,
}

impl Sentinel {
    pub(super) fn new(
        sentinels: &[Address],
        service: &str,
        config: &Config,
        settings: Arc<Settings>,
    ) -> Self {
        let of_sentinels = Arc::new(settings.of_sentinels());
        let lane = |address: &Address| {
            Lane::new(
                address.clone(),
                config.sentinel_credentials.clone(),
                of_sentinels.clone(),
            )
        };
        Self {
            service: service.to_owned(),
            sentinels: sentinels.iter().map(lane).collect(),
            primary: Shared::default(),
            config: config.clone(),
            settings,
        }
    }

    async fn primary(self: &Arc<Self>) -> Result<Primary, Failure> {
        let usable = |primary: &Primary| !primary.gone.load(Ordering::Acquire);
        let last = self.primary.peek().map(|primary| primary.node);
        let sentinel = self.clone();
        self.primary
            .get(usable, || async move { sentinel.find(last).await })
            .await
    }

    /// The primary of the first sentinel to name a server that says it is one. A sentinel that has slept through a failover
    /// names the old one, which by then is a replica or does not answer.
    async fn find(&self, last: Option<Arc<Node>>) -> Result<Primary, Failure> {
        let asked = self
            .sentinels
            .iter()
            .map(|sentinel| Box::pin(self.ask(sentinel, last.as_ref())));
        let (node, _) = select_ok(asked).await?;
        Ok(Primary {
            node,
            gone: Arc::default(),
        })
    }

    async fn ask(&self, sentinel: &Lane, last: Option<&Arc<Node>>) -> Result<Arc<Node>, Failure> {
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(&self.service);
        let answer = sentinel.send(&command).await.map_err(Failure::before_sending)?;
        let address = match answer {
            Value::Nil => return Err(Failure::UnknownService),
            named => redis::from_redis_value::<(String, u16)>(named)
                .map(|(host, port)| Address::Tcp(host, port))
                .map_err(|_| Failure::Strange("a sentinel's answer is no address"))?,
        };
        let node = match last {
            Some(last) if *last.address() == address => last.clone(),
            _ => Arc::new(Node::new(address, &self.config, &self.settings)),
        };
        let hello = node.hello().await.map_err(Failure::before_sending)?;
        match hello.role.as_str() {
            "master" => Ok(node),
            _ => Err(Failure::NotPrimary),
        }
    }

    pub(super) async fn call(self: &Arc<Self>, call: &Call) -> Result<Answer, Failure> {
        let primary = self.primary().await?;
        match primary.node.call(call, false).await {
            Err(failure) if failure.is_of_place() => {
                primary.gone.store(true, Ordering::Release);
                if !failure.is_unapplied() {
                    return Err(failure);
                }
                let next = self.primary().await?;
                next.node.call(call, false).await
            }
            other => other,
        }
    }

    pub(super) async fn call_all(self: &Arc<Self>, calls: &[Call]) -> Vec<Result<Value, Failure>> {
        let primary = match self.primary().await {
            Ok(primary) => primary,
            Err(failure) => return vec![Err(failure); calls.len()],
        };
        let answers = primary.node.call_all(&pipeline(calls.iter())).await;
        let of_place = |answer: &Result<Value, Failure>| answer.as_ref().is_err_and(Failure::is_of_place);
        if answers.iter().any(of_place) {
            primary.gone.store(true, Ordering::Release);
        }
        answers
    }

    pub(super) async fn primaries(self: &Arc<Self>) -> Result<(Vec<Arc<Node>>, u64), Failure> {
        let node = self.primary().await?.node;
        let address = node.address().to_string();
        Ok((vec![node], stable_hash([address.as_bytes()])))
    }
}

impl fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinel")
            .field("service", &self.service)
            .field("sentinels", &self.sentinels)
            .finish_non_exhaustive()
    }
}
