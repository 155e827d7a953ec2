//! Section `growth`: how the time of an operation grows with what is stored, with the value, and with the tasks.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use serde::Serialize;
use statestore::{Key, ListOptions, StateStore, StateStoreExt, TransactOp};

use crate::args::{Args, Effort};
use crate::contest::{Cell, Operation, Spread, compare, value};
use crate::contestants::ours::Ours;
use crate::progress::Progress;
use crate::services::Service;

pub(crate) const SECTION: &str = "growth";

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Axis {
    /// Keys of one partition.
    Keys,
    /// Partitions of one key.
    Partitions,
}

/// One operation on a store that has so many entries.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) service: &'static str,
    pub(crate) axis: Axis,
    pub(crate) entries: usize,
    pub(crate) operation: &'static str,
    pub(crate) micros: Spread,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Growth {
    pub(crate) entries: Vec<Point>,
    /// Get and put of values from 100 bytes to the limit, by one task.
    pub(crate) sizes: Vec<Cell>,
    /// Get and compare-and-set of 1 KB from 1 to 1,024 tasks.
    pub(crate) tasks: Vec<Cell>,
}

struct Scale {
    entries: &'static [usize],
    tasks: &'static [usize],
    /// Those above a service's limit are left out there.
    sizes: &'static [usize],
    /// How long filling a store may take; what is not reached by then is left out.
    fill: Duration,
    measure: Duration,
}

fn scale(effort: Effort) -> Scale {
    match effort {
        Effort::Full => Scale {
            entries: &[1_000, 10_000, 100_000, 1_000_000],
            tasks: &[1, 4, 16, 64, 256, 1024],
            sizes: &[
                100,
                1 << 10,
                10 << 10,
                100 << 10,
                380 << 10,
                720 << 10,
                1000 << 10,
                16 << 20,
            ],
            fill: Duration::from_secs(40),
            measure: Duration::from_millis(400),
        },
        Effort::Quick => Scale {
            entries: &[1_000, 10_000],
            tasks: &[1, 32, 1024],
            sizes: &[100, 10 << 10, 380 << 10],
            fill: Duration::from_secs(10),
            measure: Duration::from_millis(100),
        },
        Effort::Smoke => Scale {
            entries: &[100, 200],
            tasks: &[2],
            sizes: &[100, 720 << 10],
            fill: Duration::from_secs(20),
            measure: Duration::ZERO,
        },
    }
}

pub(crate) async fn run(args: &Args, folder: &Path) -> Growth {
    let scale = scale(args.effort);
    let names: Vec<_> = Service::NAMES
        .into_iter()
        .filter(|name| args.wants(&format!("{SECTION}/{name}")))
        .collect();
    let mut progress = Progress::new(SECTION, 3 * names.len());
    let mut growth = Growth::default();
    for name in names {
        progress.step(&format!("{name}, tasks"));
        let service = Service::start(name, folder).await;
        let mut sides = service.sides().await;
        sides.truncate(2);
        let budget = args.effort.budget(name);
        for operation in [Operation::Get, Operation::CompareAndSet] {
            for tasks in scale.tasks {
                growth
                    .tasks
                    .push(compare(service.name, &sides, operation, (1024, *tasks), budget).await);
            }
        }
        progress.step(&format!("{name}, sizes"));
        for operation in [Operation::Get, Operation::Put] {
            let fits = |size: &&usize| sides[0].does(operation, **size).work().is_ok();
            for size in scale.sizes.iter().filter(fits) {
                growth
                    .sizes
                    .push(compare(service.name, &sides, operation, (*size, 1), budget).await);
            }
        }
        progress.step(&format!("{name}, entries"));
        if ["memory", "embedded", "redis"].contains(&name) {
            for axis in [Axis::Keys, Axis::Partitions] {
                // A new store, whose memory or file is free of what was measured before.
                let service = Service::start(name, folder).await;
                growth.entries.extend(entries(&service, axis, &scale).await);
            }
        }
    }
    growth
}

async fn entries(service: &Service, axis: Axis, scale: &Scale) -> Vec<Point> {
    let Ours(store) = Ours::open(&service.url()).await;
    let store = &*store;
    let value = value(100);
    let mut points = Vec::new();
    let (mut filled, start) = (0, Instant::now());
    for entries in scale.entries {
        filled = fill(store, axis, filled, *entries, &value, start + scale.fill).await;
        if filled < *entries {
            break;
        }
        let mut point = |operation, micros| {
            points.push(Point {
                service: service.name,
                axis,
                entries: *entries,
                operation,
                micros,
            });
        };
        let random = || key(axis, fastrand::usize(..*entries));
        point(
            "get",
            each(scale.measure, async || {
                let key = random();
                let start = Instant::now();
                store
                    .get(&key, Default::default())
                    .await
                    .expect("a get")
                    .expect("it is there");
                start.elapsed()
            })
            .await,
        );
        point(
            "compare-and-set",
            each(scale.measure, async || {
                let key = random();
                let there = store
                    .get(&key, Default::default())
                    .await
                    .expect("a get")
                    .expect("it is there");
                let start = Instant::now();
                store
                    .compare_and_set(&key, Some(&there.version), value.clone())
                    .await
                    .expect("nobody else writes");
                start.elapsed()
            })
            .await,
        );
        if axis == Axis::Keys {
            point(
                "page of 100",
                each(scale.measure, async || {
                    let after = key(axis, fastrand::usize(..*entries - 100 + 1));
                    let options = ListOptions::default()
                        .with_page_size(100)
                        .with_start_after(after.id());
                    let start = Instant::now();
                    store.list_page(after.partition(), options).await.expect("a page");
                    start.elapsed()
                })
                .await,
            );
        }
    }
    store.close().await.expect("it closes");
    points
}

fn key(axis: Axis, n: usize) -> Key {
    let key = match axis {
        Axis::Keys => Key::new("all", format!("entry-{n:08}")),
        Axis::Partitions => Key::new(format!("user-{n:08}"), "cart"),
    };
    key.expect("not empty")
}

/// Fills the store up to so many entries, many at once, and says how many it has at the deadline.
async fn fill(
    store: &dyn StateStore,
    axis: Axis,
    from: usize,
    to: usize,
    value: &Bytes,
    deadline: Instant,
) -> usize {
    let mut filled = from;
    while filled < to && Instant::now() < deadline {
        let next = to.min(filled + 10_000);
        match axis {
            Axis::Keys => {
                let transactions = (filled..next).step_by(100).map(|first| {
                    let keys = first..next.min(first + 100);
                    let puts = keys.map(|n| TransactOp::put(key(axis, n), value.clone()));
                    store.transact(puts.collect(), Default::default())
                });
                for done in join_all(transactions).await {
                    done.expect("a transaction");
                }
            }
            Axis::Partitions => {
                for part in (filled..next).collect::<Vec<_>>().chunks(1_000) {
                    let keys: Vec<Key> = part.iter().map(|n| key(axis, *n)).collect();
                    let puts = keys
                        .iter()
                        .map(|key| store.put(key, value.clone(), Default::default()));
                    for done in join_all(puts).await {
                        done.expect("a put");
                    }
                }
            }
        }
        filled = next;
    }
    filled
}

/// The times that `one` says, for this long.
async fn each(time: Duration, one: impl AsyncFn() -> Duration) -> Spread {
    one().await;
    let start = Instant::now();
    let mut took = Vec::new();
    while took.is_empty() || start.elapsed() < time {
        took.push(one().await.as_secs_f64() * 1e6);
    }
    Spread::of(took)
}
