//! Who holds which slot of a cluster, learnt from its nodes and from their redirections.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{join_all, select_ok};
use redis::Value;
use statestore_api::backend::stable_hash;
use tokio::time::Instant;

use super::node::{Answer, Node, Settings};
use super::{Call, pipeline, text};
use crate::redis::codec::SLOTS;
use crate::redis::config::{Address, Config};
use crate::redis::error::Failure;
use crate::shared::Shared;

/// How often a request follows the nodes' redirections. One moved slot takes one or two.
const REDIRECTIONS: usize = 5;
/// How many nodes are asked at once who holds which slot: more than can be expected to be down together.
const ASKED: usize = 5;
/// How long a map that names an unreachable node is kept: until a replica is promoted another would say the same.
const PATIENCE: Duration = Duration::from_millis(100);

pub(in crate::redis) struct Cluster {
    seeds: Vec<Address>,
    map: Shared<Arc<Map>, Failure>,
    /// Every node that was met, so that its connection outlives the map it was in.
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    config: Config,
    settings: Arc<Settings>,
}

/// Who holds which slot, at one moment.
struct Map {
    /// For each slot the place of its primary in `primaries`, behind its end for a slot that nobody holds.
    holders: Box<[u16]>,
    primaries: Vec<Arc<Node>>,
    fingerprint: u64,
    learnt: Instant,
    /// Set when a node has contradicted it.
    stale: AtomicBool,
}

impl Map {
    fn holder(&self, slot: u16) -> Option<&Arc<Node>> {
        let place = self.holders.get(usize::from(slot))?;
        self.primaries.get(usize::from(*place))
    }
}

impl Cluster {
    pub(super) fn new(seeds: &[Address], config: &Config, settings: Arc<Settings>) -> Self {
        Self {
            seeds: seeds.to_vec(),
            map: Shared::default(),
            nodes: Mutex::default(),
            config: config.clone(),
            settings,
        }
    }

    fn node(&self, address: Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = nodes
            .entry(address)
            .or_insert_with_key(|address| Arc::new(Node::new(address.clone(), &self.config, &self.settings)));
        node.clone()
    }

    async fn map(self: &Arc<Self>) -> Result<Arc<Map>, Failure> {
        let usable = |map: &Arc<Map>| !map.stale.load(Ordering::Acquire);
        let (last, cluster) = (self.map.peek(), self.clone());
        self.map
            .get(usable, || async move { cluster.learn(last).await })
            .await
    }

    /// Asks some nodes, and takes the first answer.
    async fn learn(&self, last: Option<Arc<Map>>) -> Result<Arc<Map>, Failure> {
        let seeds = self.seeds.iter().map(|seed| self.node(seed.clone()));
        let mut asked: Vec<_> = last
            .iter()
            .flat_map(|map| map.primaries.iter().cloned())
            .collect();
        for seed in seeds {
            if !asked.iter().any(|node| node.address() == seed.address()) {
                asked.push(seed);
            }
        }
        fastrand::shuffle(&mut asked);
        asked.truncate(ASKED);
        let (map, _) = select_ok(asked.into_iter().map(|node| Box::pin(self.ask(node)))).await?;
        let map = Arc::new(map);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|address, _| {
            self.seeds.contains(address) || map.primaries.iter().any(|node| node.address() == address)
        });
        Ok(map)
    }

    async fn ask(&self, node: Arc<Node>) -> Result<Map, Failure> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = node.lane.send(&command).await.map_err(Failure::before_sending)?;
        let ranges =
            ranges(answer, node.address()).ok_or(Failure::Strange("a node's answer is no map of slots"))?;
        let mut addresses: Vec<_> = ranges.iter().map(|range| range.holder.clone()).collect();
        addresses.sort_by_key(ToString::to_string);
        addresses.dedup();
        let mut holders = vec![u16::MAX; SLOTS.into()];
        for range in &ranges {
            let place = addresses.iter().position(|address| *address == range.holder);
            let place = place
                .and_then(|place| u16::try_from(place).ok())
                .unwrap_or(u16::MAX);
            if let Some(slots) = holders.get_mut(usize::from(range.first)..=usize::from(range.last)) {
                slots.fill(place);
            }
        }
        let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let held: Vec<u8> = holders.iter().flat_map(|place| place.to_be_bytes()).collect();
        Ok(Map {
            fingerprint: stable_hash(names.iter().map(String::as_bytes).chain([&held[..]])),
            holders: holders.into(),
            primaries: addresses.into_iter().map(|address| self.node(address)).collect(),
            learnt: Instant::now(),
            stale: AtomicBool::new(false),
        })
    }

    pub(super) async fn call(self: &Arc<Self>, call: &Call) -> Result<Answer, Failure> {
        self.follow(call, None).await
    }

    /// Sends a call to whom the slot belongs, or where `refused` points, and then to wherever it is sent on.
    async fn follow(self: &Arc<Self>, call: &Call, refused: Option<Failure>) -> Result<Answer, Failure> {
        let mut map = self.map().await?;
        let mut answer = match refused {
            Some(failure) => Err(failure),
            None => self.send(&map, call).await,
        };
        for _ in 0..REDIRECTIONS {
            let Err(failure) = &answer else { break };
            let target = failure
                .redirect()
                .map(|(address, asking)| (Address::of_node(address), asking));
            answer = match target {
                Some((Some(address), asking)) => {
                    // While a slot moves, only the node that it leaves knows which keys have gone already.
                    if !asking {
                        map.stale.store(true, Ordering::Release);
                    }
                    self.node(address).call(call, asking).await
                }
                Some((None, _)) => break,
                None if failure.is_of_place() => {
                    if map.learnt.elapsed() >= PATIENCE || failure.code().is_some() {
                        map.stale.store(true, Ordering::Release);
                    }
                    if !failure.is_unapplied() {
                        break;
                    }
                    let next = self.map().await?;
                    let same = |map: &Map| map.holder(call.slot).map(|node| node.address().clone());
                    if same(&next) == same(&map) {
                        break;
                    }
                    map = next;
                    self.send(&map, call).await
                }
                None => break,
            };
        }
        answer
    }

    async fn send(&self, map: &Map, call: &Call) -> Result<Answer, Failure> {
        match map.holder(call.slot) {
            Some(node) => node.call(call, false).await,
            None => {
                map.stale.store(true, Ordering::Release);
                Err(Failure::NoHolder)
            }
        }
    }

    pub(super) async fn call_all(self: &Arc<Self>, calls: &[Call]) -> Vec<Result<Value, Failure>> {
        let map = match self.map().await {
            Ok(map) => map,
            Err(failure) => return vec![Err(failure); calls.len()],
        };
        let mut by_node: HashMap<u16, Vec<usize>> = HashMap::new();
        for (place, call) in calls.iter().enumerate() {
            by_node
                .entry(map.holders[usize::from(call.slot % SLOTS)])
                .or_default()
                .push(place);
        }
        let batches = by_node.into_iter().map(|(node, places)| {
            let node = map.primaries.get(usize::from(node));
            async move {
                let answers = match node {
                    Some(node) => {
                        node.call_all(&pipeline(places.iter().map(|place| &calls[*place])))
                            .await
                    }
                    None => vec![Err(Failure::NoHolder); places.len()],
                };
                // What was refused by place is sent again by itself.
                let followed = places.iter().zip(answers).map(|(place, answer)| async move {
                    match answer {
                        Err(failure) if failure.is_unapplied() && failure.is_of_place() => self
                            .follow(&calls[*place], Some(failure))
                            .await
                            .map(|answer| answer.value),
                        answer => answer,
                    }
                });
                let followed = join_all(followed).await;
                places.into_iter().zip(followed).collect::<Vec<_>>()
            }
        });
        let mut answers: Vec<_> = join_all(batches).await.into_iter().flatten().collect();
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    pub(super) async fn primaries(self: &Arc<Self>) -> Result<(Vec<Arc<Node>>, u64), Failure> {
        let map = self.map().await?;
        Ok((map.primaries.clone(), map.fingerprint))
    }
}

/// A part of the answer to `CLUSTER SLOTS`.
struct Range {
    first: u16,
    last: u16,
    holder: Address,
}

/// The answer of the node at `asked`; `None` when it is malformed.
fn ranges(answer: Value, asked: &Address) -> Option<Vec<Range>> {
    let Value::Array(ranges) = answer else {
        return None;
    };
    let number = |value: &Value| match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    };
    let range = |range: &Value| {
        let Value::Array(parts) = range else { return None };
        let [first, last, Value::Array(holder), ..] = &parts[..] else {
            return None;
        };
        let [host, port, ..] = &holder[..] else {
            return None;
        };
        let host = match (text(host), asked) {
            (Some(host), _) if !host.is_empty() && host != "?" => host,
            // A node that does not know its own name is where it was asked.
            (_, Address::Tcp(host, _)) => host.clone(),
            (_, Address::Unix(_)) => return None,
        };
        Some(Range {
            first: number(first)?,
            last: number(last)?,
            holder: Address::Tcp(host, number(port)?),
        })
    };
    ranges.iter().map(range).collect()
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}
