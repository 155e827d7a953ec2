//! The crate itself, as `statestore::open` gives it: with its retries and time-outs.

use std::sync::Arc;

use bytes::Bytes;
use statestore::{Change, Key, ListOptions, StateStore, StateStoreExt, TransactOp, UpdateOptions, Version};

use crate::contest::{Contestant, Does, Operation, next};

#[derive(Clone)]
pub(crate) struct Ours(pub(crate) Arc<dyn StateStore>);

impl Ours {
    pub(crate) async fn open(url: &str) -> Self {
        Self(statestore::open(url).await.expect("the store opens"))
    }
}

impl Contestant for Ours {
    type Key = Key;
    type Version = Version;

    fn name(&self) -> &str {
        "statestore"
    }

    fn does(&self, operation: Operation) -> Does {
        Does::Work(match operation {
            Operation::Get => "`get`, strongly consistent",
            Operation::Put => "`put` without a condition",
            Operation::Create => "`create`",
            Operation::CompareAndSet => "`compare_and_set` on the version of the one before",
            Operation::Update => "`update` of one key by all tasks",
            Operation::Page => "`list_page` of entries with their values",
            Operation::GetMany => "`get_many`",
            Operation::Transact => "`transact` of 10 puts",
        })
    }

    fn max_value(&self) -> usize {
        self.0.capabilities().max_value_bytes
    }

    fn key(&self, partition: &str, id: &str) -> Key {
        Key::new(partition, id).expect("not empty")
    }

    async fn get(&self, key: &Key) -> Option<Bytes> {
        let entry = self.0.get(key, Default::default()).await.expect("a get");
        entry.map(|entry| entry.value)
    }

    async fn put(&self, key: &Key, value: Bytes) {
        self.0.put(key, value, Default::default()).await.expect("a put");
    }

    async fn delete(&self, key: &Key) {
        self.0.delete(key, Default::default()).await.expect("a delete");
    }

    async fn create(&self, key: &Key, value: Bytes) -> Version {
        self.0.create(key, value).await.expect("a create")
    }

    async fn compare_and_set(&self, key: &Key, expected: Version, value: Bytes) -> Version {
        let set = self.0.compare_and_set(key, Some(&expected), value);
        set.await.expect("nobody else writes it")
    }

    async fn update(&self, key: &Key) {
        let options = UpdateOptions::default().with_max_attempts(10_000);
        let change = self.0.update(key, options, |entry| {
            Ok(Change::put(next(&entry.expect("it is there").value)))
        });
        change.await.expect("an update");
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let options = ListOptions::default().with_page_size(limit);
        let page = self.0.list_page(partition, options).await;
        page.expect("a page").items.len()
    }

    async fn get_many(&self, keys: &[Key]) -> usize {
        let entries = self.0.get_many(keys, Default::default()).await;
        entries
            .into_iter()
            .filter(|entry| matches!(entry, Ok(Some(_))))
            .count()
    }

    async fn transact(&self, keys: &[Key], value: Bytes) {
        let puts = keys.iter().map(|key| TransactOp::put(key.clone(), value.clone()));
        let transact = self.0.transact(puts.collect(), Default::default());
        transact.await.expect("a transaction");
    }
}
