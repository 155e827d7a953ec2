//! A contestant made ready for a load, so that nothing but its operations is measured.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};

use super::value::{count, next, value};
use super::{Contestant, Does, Load, Operation};

/// What one task does: its share of a load.
pub(crate) type Job = BoxFuture<'static, ()>;

/// Jobs that are ready to run, and what has to hold when they are done.
pub(crate) struct Ready {
    pub(crate) jobs: Vec<Job>,
    pub(crate) afterwards: Job,
}

/// A [`Contestant`] of any type.
pub(crate) trait Side: Send + Sync {
    fn name(&self) -> &str;

    /// What it does for an operation with values of this size.
    fn does(&self, operation: Operation, size: usize) -> Does;

    fn prepare(&self, operation: Operation, load: Load) -> BoxFuture<'_, Ready>;
}

/// A contestant, and what it has been given to read.
pub(crate) struct Prepared<C> {
    contestant: C,
    seeded: Mutex<HashSet<(String, usize)>>,
}

/// A contestant as a side.
pub(crate) fn side(contestant: impl Contestant) -> Arc<dyn Side> {
    Arc::new(Prepared {
        contestant,
        seeded: Mutex::default(),
    })
}

impl<C: Contestant> Prepared<C> {
    /// Puts `count` entries into a partition, unless they are there.
    async fn seed(&self, partition: &str, count: usize, value: &Bytes) -> Vec<C::Key> {
        let keys: Vec<C::Key> = (0..count)
            .map(|n| self.contestant.key(partition, &id(n)))
            .collect();
        let missing: Vec<usize> = {
            let mut seeded = self.seeded.lock().expect("no panic");
            (0..count)
                .filter(|n| seeded.insert((partition.to_owned(), *n)))
                .collect()
        };
        for part in missing.chunks(32) {
            join_all(part.iter().map(|n| self.contestant.put(&keys[*n], value.clone()))).await;
        }
        keys
    }

    /// Empties each task's keys.
    async fn clear(&self, partitions: &[String], times: u64) -> Vec<Vec<C::Key>> {
        let times = usize::try_from(times).expect("small");
        let keys = partitions
            .iter()
            .map(|partition| (0..times).map(|n| self.contestant.key(partition, &id(n))));
        let keys: Vec<Vec<C::Key>> = keys.map(Iterator::collect).collect();
        let all: Vec<&C::Key> = keys.iter().flatten().collect();
        for part in all.chunks(32) {
            join_all(part.iter().map(|key| self.contestant.delete(key))).await;
        }
        keys
    }

    async fn jobs(&self, operation: Operation, load: Load) -> Vec<Job> {
        let (size, tasks, times) = (load.size, load.tasks, load.times);
        let value = value(size);
        let partition = |name: &str, task: usize| format!("{name}-{size}-{task}");
        let partitions = |name: &str| (0..tasks).map(|task| partition(name, task)).collect::<Vec<_>>();
        let one = self.contestant.clone();
        match operation {
            Operation::Get => {
                let keys = self.seed(&partition("get", 0), tasks, &value).await;
                each(keys, |key| {
                    let one = one.clone();
                    async move {
                        for _ in 0..times {
                            let read = one.get(&key).await.expect("it is there");
                            assert_eq!(read.len(), size);
                        }
                    }
                })
            }
            Operation::Put => {
                let keys = self.seed(&partition("put", 0), tasks, &value).await;
                each(keys, |key| {
                    let (one, value) = (one.clone(), value.clone());
                    async move {
                        for _ in 0..times {
                            one.put(&key, value.clone()).await;
                        }
                    }
                })
            }
            Operation::Create => {
                let keys = self.clear(&partitions("create"), times).await;
                each(keys, |keys| {
                    let (one, value) = (one.clone(), value.clone());
                    async move {
                        for key in &keys {
                            one.create(key, value.clone()).await;
                        }
                    }
                })
            }
            Operation::CompareAndSet => {
                let keys = self.clear(&partitions("set"), 1).await;
                let mut seen = Vec::new();
                for key in keys.into_iter().flatten() {
                    let version = one.create(&key, value.clone()).await;
                    seen.push((key, version));
                }
                each(seen, |(key, mut version)| {
                    let (one, value) = (one.clone(), value.clone());
                    async move {
                        for _ in 0..times {
                            version = one.compare_and_set(&key, version, value.clone()).await;
                        }
                    }
                })
            }
            Operation::Update => {
                let key = one.key(&partition("update", 0), "counter");
                one.delete(&key).await;
                one.create(&key, value).await;
                each(vec![key; tasks], |key| {
                    let one = one.clone();
                    async move {
                        for _ in 0..times {
                            one.update(&key).await;
                        }
                    }
                })
            }
            Operation::Page => {
                let (partition, entries) = (partition("many", 0), operation.entries(size));
                self.seed(&partition, entries, &value).await;
                each(vec![partition; tasks], |partition| {
                    let one = one.clone();
                    async move {
                        for _ in 0..times {
                            assert_eq!(one.page(&partition, entries).await, entries);
                        }
                    }
                })
            }
            Operation::GetMany => {
                let keys = self
                    .seed(&partition("many", 0), operation.entries(size), &value)
                    .await;
                each(vec![keys; tasks], |keys| {
                    let one = one.clone();
                    async move {
                        for _ in 0..times {
                            assert_eq!(one.get_many(&keys).await, keys.len());
                        }
                    }
                })
            }
            Operation::Transact => {
                let mut keys = Vec::new();
                for task in 0..tasks {
                    keys.push(
                        self.seed(&partition("transact", task), operation.entries(size), &value)
                            .await,
                    );
                }
                each(keys, |keys| {
                    let (one, value) = (one.clone(), value.clone());
                    async move {
                        for _ in 0..times {
                            one.transact(&keys, value.clone()).await;
                        }
                    }
                })
            }
        }
    }
}

impl<C: Contestant> Side for Prepared<C> {
    fn name(&self) -> &str {
        self.contestant.name()
    }

    fn does(&self, operation: Operation, size: usize) -> Does {
        match self.contestant.does(operation) {
            Does::Cannot(why) => Does::Cannot(why),
            _ if size > self.contestant.max_value() => Does::Cannot("its values are smaller"),
            does => does,
        }
    }

    fn prepare(&self, operation: Operation, load: Load) -> BoxFuture<'_, Ready> {
        async move {
            let jobs = self.jobs(operation, load).await;
            let one = self.contestant.clone();
            let afterwards = async move {
                if operation == Operation::Update {
                    // Not one update may have been lost.
                    let key = one.key(&format!("update-{}-0", load.size), "counter");
                    let value = one.get(&key).await.expect("it is there");
                    assert_eq!(count(&value), load.operations(), "{} lost updates", one.name());
                    assert_eq!(next(&value).len(), load.size);
                }
            };
            Ready {
                jobs,
                afterwards: afterwards.boxed(),
            }
        }
        .boxed()
    }
}

/// A job of each of `states`.
fn each<S, F>(states: impl IntoIterator<Item = S>, job: impl Fn(S) -> F) -> Vec<Job>
where
    F: Future<Output = ()> + Send + 'static,
{
    states.into_iter().map(|state| job(state).boxed()).collect()
}

fn id(n: usize) -> String {
    format!("entry-{n:06}")
}
