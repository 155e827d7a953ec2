//! Crates one might take instead.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use opendal::{ErrorKind, Operator};
use openkeyv::protocol::{AsyncCompareAndSwap, AsyncKeyValue};
use openkeyv::{CompareAndSwapResult, Revision, Value};

use super::back_off;
use crate::contest::{Contestant, Does, Operation, next};

/// What writes without a version leave out.
const NO_VERSION: &str = "a version, and with it any compare-and-set; order; expiry";

/// What openkeyv's writes leave out.
const NO_ORDER: &str =
    "the order of ids, by which partitions are listed, and the four writes that an entry remembers";

/// What openkeyv's reads leave out.
const NO_DELAY: &str = "version and expiry, and, on Redis, `TCP_NODELAY`: what is sent waits for the answers to what was, in fewer segments";

/// What object_store's writes leave out.
const NO_MEMORY: &str =
    "expiry, the four writes that an entry remembers, and the second index, by which single keys are found";

/// OpenDAL, on any of its services.
#[derive(Clone)]
pub(crate) struct OpenDal {
    name: &'static str,
    operator: Operator,
}

impl OpenDal {
    pub(crate) fn new(name: &'static str, operator: Operator) -> Self {
        Self { name, operator }
    }
}

impl Contestant for OpenDal {
    type Key = String;
    type Version = ();

    fn name(&self) -> &str {
        self.name
    }

    fn does(&self, operation: Operation) -> Does {
        let creates = self.operator.info().capability().write_with_if_not_exists;
        match operation {
            Operation::Get => Does::Less("`read`", "version and expiry"),
            Operation::Put => Does::Less("`write`", NO_VERSION),
            Operation::Create if creates => Does::Less("`write_with(…).if_not_exists(true)`", NO_VERSION),
            Operation::Create | Operation::CompareAndSet => {
                Does::Cannot("this service has no conditional write")
            }
            Operation::Update => Does::Cannot("without a compare-and-set updates would be lost"),
            Operation::Page => Does::Cannot("a listing has no values"),
            Operation::GetMany => Does::Cannot("it reads one at a time"),
            Operation::Transact => Does::Cannot("it writes one at a time"),
        }
    }

    fn key(&self, partition: &str, id: &str) -> String {
        format!("{partition}/{id}")
    }

    async fn get(&self, key: &String) -> Option<Bytes> {
        match self.operator.read(key).await {
            Ok(read) => Some(read.to_bytes()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn put(&self, key: &String, value: Bytes) {
        self.operator.write(key, value).await.expect("a write");
    }

    async fn delete(&self, key: &String) {
        self.operator.delete(key).await.expect("a deletion");
    }

    async fn create(&self, key: &String, value: Bytes) {
        let write = self.operator.write_with(key, value).if_not_exists(true);
        write.await.expect("nothing was there");
    }
}

/// openkeyv, on any of its stores that can compare.
#[derive(Clone)]
pub(crate) struct OpenKeyv<S> {
    name: &'static str,
    store: S,
    /// Why nothing that compares is asked of it.
    no_swaps: Option<&'static str>,
}

impl<S> OpenKeyv<S> {
    pub(crate) fn new(name: &'static str, store: S) -> Self {
        let no_swaps = None;
        Self {
            name,
            store,
            no_swaps,
        }
    }

    pub(crate) fn without_swaps(self, why: &'static str) -> Self {
        let no_swaps = Some(why);
        Self { no_swaps, ..self }
    }
}

impl<S: AsyncKeyValue + AsyncCompareAndSwap + Clone + 'static> OpenKeyv<S> {
    async fn swap(
        &self,
        (partition, id): &(String, String),
        expected: Option<&Revision>,
        value: Bytes,
    ) -> Option<Revision> {
        let value = Value::binary(value);
        let swap = self
            .store
            .compare_and_swap(id, expected, value, Some(partition), None);
        match swap.await.expect("a swap") {
            CompareAndSwapResult::Applied { revision } => Some(revision),
            CompareAndSwapResult::Conflict { .. } => None,
        }
    }
}

impl<S: AsyncKeyValue + AsyncCompareAndSwap + Clone + 'static> Contestant for OpenKeyv<S> {
    type Key = (String, String);
    type Version = Revision;

    fn name(&self) -> &str {
        self.name
    }

    fn does(&self, operation: Operation) -> Does {
        let swaps = matches!(
            operation,
            Operation::Create | Operation::CompareAndSet | Operation::Update
        );
        if let Some(why) = self.no_swaps.filter(|_| swaps) {
            return Does::Cannot(why);
        }
        match operation {
            Operation::Get => Does::Less("`get`", NO_DELAY),
            Operation::Put => Does::Less("`put`", NO_ORDER),
            Operation::Create => Does::Less("`compare_and_swap` with nothing expected", NO_ORDER),
            Operation::CompareAndSet => {
                Does::Less("`compare_and_swap` on the revision of the one before", NO_ORDER)
            }
            Operation::Update => {
                Does::Work("`get_with_revision` and `compare_and_swap`, again on a conflict, with back-off")
            }
            Operation::Page => Does::Cannot("it lists keys without order, pages or values"),
            Operation::GetMany => Does::Less("`get_many`", NO_DELAY),
            Operation::Transact => Does::Cannot("`put_many` is not atomic"),
        }
    }

    fn key(&self, partition: &str, id: &str) -> (String, String) {
        (partition.to_owned(), id.to_owned())
    }

    async fn get(&self, (partition, id): &(String, String)) -> Option<Bytes> {
        let value = self.store.get(id, Some(partition)).await.expect("a get");
        value.map(|value| value.bytes().clone())
    }

    async fn put(&self, (partition, id): &(String, String), value: Bytes) {
        let put = self.store.put(id, Value::binary(value), Some(partition), None);
        put.await.expect("a put");
    }

    async fn delete(&self, (partition, id): &(String, String)) {
        self.store.delete(id, Some(partition)).await.expect("a deletion");
    }

    async fn create(&self, key: &(String, String), value: Bytes) -> Revision {
        self.swap(key, None, value).await.expect("nothing was there")
    }

    async fn compare_and_set(&self, key: &(String, String), expected: Revision, value: Bytes) -> Revision {
        let set = self.swap(key, Some(&expected), value).await;
        set.expect("nobody else writes it")
    }

    async fn update(&self, key: &(String, String)) {
        for attempt in 1.. {
            let read = self
                .store
                .get_with_revision(&key.1, Some(&key.0))
                .await
                .expect("a get");
            let read = read.expect("it is there");
            let began = Instant::now();
            if self
                .swap(key, Some(&read.revision), next(read.value.bytes()))
                .await
                .is_some()
            {
                return;
            }
            back_off(attempt, began).await;
        }
    }

    async fn get_many(&self, keys: &[(String, String)]) -> usize {
        // One collection at a time; ours are all of one.
        let ids: Vec<String> = keys.iter().map(|(_, id)| id.clone()).collect();
        let values = self
            .store
            .get_many(&ids, Some(&keys[0].0))
            .await
            .expect("a get_many");
        values.iter().flatten().count()
    }
}

/// The store in memory of `object_store`, which has the conditional put of S3.
#[derive(Clone)]
pub(crate) struct Objects(Arc<InMemory>);

impl Objects {
    pub(crate) fn new() -> Self {
        Self(Arc::new(InMemory::new()))
    }

    async fn put(
        &self,
        path: &ObjectPath,
        mode: PutMode,
        value: Bytes,
    ) -> object_store::Result<UpdateVersion> {
        let put = self
            .0
            .put_opts(path, value.into(), PutOptions::from(mode))
            .await?;
        Ok(put.into())
    }
}

impl Contestant for Objects {
    type Key = ObjectPath;
    type Version = UpdateVersion;

    fn name(&self) -> &str {
        "object_store, in memory"
    }

    fn does(&self, operation: Operation) -> Does {
        match operation {
            Operation::Get => Does::Work("`get`, and its bytes"),
            Operation::Put => Does::Less("`put`", NO_MEMORY),
            Operation::Create => Does::Less("`put_opts` with `PutMode::Create`", NO_MEMORY),
            Operation::CompareAndSet => Does::Less(
                "`put_opts` with `PutMode::Update` on the ETag of the one before",
                NO_MEMORY,
            ),
            Operation::Update => {
                Does::Work("`get` and `PutMode::Update`, again on a conflict, with back-off")
            }
            Operation::Page => Does::Cannot("a listing has no values"),
            Operation::GetMany => Does::Cannot("it gets one at a time"),
            Operation::Transact => Does::Cannot("it puts one at a time"),
        }
    }

    fn key(&self, partition: &str, id: &str) -> ObjectPath {
        ObjectPath::from_iter([partition, id])
    }

    async fn get(&self, key: &ObjectPath) -> Option<Bytes> {
        match self.0.get(key).await {
            Ok(read) => Some(read.bytes().await.expect("its bytes")),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn put(&self, key: &ObjectPath, value: Bytes) {
        self.put(key, PutMode::Overwrite, value).await.expect("a put");
    }

    async fn delete(&self, key: &ObjectPath) {
        // Missing is no error in memory.
        self.0.delete(key).await.expect("a deletion");
    }

    async fn create(&self, key: &ObjectPath, value: Bytes) -> UpdateVersion {
        self.put(key, PutMode::Create, value)
            .await
            .expect("nothing was there")
    }

    async fn compare_and_set(
        &self,
        key: &ObjectPath,
        expected: UpdateVersion,
        value: Bytes,
    ) -> UpdateVersion {
        let set = self.put(key, PutMode::Update(expected), value).await;
        set.expect("nobody else writes it")
    }

    async fn update(&self, key: &ObjectPath) {
        for attempt in 1.. {
            let read = self.0.get(key).await.expect("it is there");
            let version = UpdateVersion {
                e_tag: read.meta.e_tag.clone(),
                version: read.meta.version.clone(),
            };
            let value = next(&read.bytes().await.expect("its bytes"));
            let began = Instant::now();
            match self.put(key, PutMode::Update(version), value).await {
                Ok(_) => return,
                Err(object_store::Error::Precondition { .. }) => {
                    back_off(attempt, began).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
