//! Engines that are called, not awaited: maps in memory, and stores in a file.

use std::borrow::Borrow;

use bytes::Bytes;

use crate::contest::{Contestant, Does, Operation, next};

/// An entry's place: the partition, a 0, the id, so that a partition is one range of keys.
pub(crate) type Place = Vec<u8>;

/// A value, and the number that each write of it counts up.
#[derive(Clone, Debug)]
pub(crate) struct Versioned {
    pub(crate) version: u64,
    pub(crate) value: Bytes,
}

impl Versioned {
    pub(crate) fn first(value: Bytes) -> Self {
        Self { version: 1, value }
    }

    pub(crate) fn after(self, value: Bytes) -> Self {
        Self {
            version: self.version + 1,
            value,
        }
    }

    /// As a file has it: the version in 8 bytes, and the value.
    pub(crate) fn to_stored(&self) -> Vec<u8> {
        [&self.version.to_be_bytes()[..], &self.value].concat()
    }

    pub(crate) fn from_stored(stored: &[u8]) -> Self {
        let (version, value) = stored.split_first_chunk().expect("a version");
        Self {
            version: u64::from_be_bytes(*version),
            value: Bytes::copy_from_slice(value),
        }
    }
}

/// What to write where this is there; `None`: leave it.
pub(crate) type Decide<'a> = &'a dyn Fn(Option<Versioned>) -> Option<Versioned>;

pub(crate) trait Engine: Clone + Send + Sync + 'static {
    /// Whether a write waits for the disk, so that an async program has to do it on another thread.
    const WRITES_BLOCK: bool;

    fn name(&self) -> &'static str;

    fn does(&self, operation: Operation) -> Does;

    fn get(&self, place: &Place) -> Option<Versioned>;

    fn get_many(&self, places: &[Place]) -> Vec<Versioned> {
        places.iter().filter_map(|place| self.get(place)).collect()
    }

    /// Reads, decides and writes in one step that nobody else's write comes between. Says whether it wrote.
    fn change(&self, place: &Place, decide: Decide<'_>) -> bool;

    fn delete(&self, place: &Place);

    /// Reads the first entries from `prefix` on.
    fn page(&self, _prefix: &[u8], _limit: usize) -> Vec<(Place, Versioned)> {
        unreachable!("{} says that it cannot list", self.name())
    }

    /// Writes all or none.
    fn put_all(&self, _places: &[Place], _value: Bytes) {
        unreachable!("{} says that it cannot write several at once", self.name())
    }
}

/// An engine as an async program uses it: what may wait for the disk is done on another thread.
#[derive(Clone)]
pub(crate) struct Embedded<E> {
    engine: E,
    /// Set where reads are done on another thread too, as those that find nothing in memory should be: under this name.
    careful: Option<&'static str>,
}

impl<E: Engine> Embedded<E> {
    /// Reads are done by the task that wants them: quick as long as all is in memory.
    pub(crate) fn new(engine: E) -> Self {
        Self {
            engine,
            careful: None,
        }
    }

    pub(crate) fn careful(name: &'static str, engine: E) -> Self {
        Self {
            engine,
            careful: Some(name),
        }
    }

    async fn read<K: At + ?Sized, T: Send + 'static>(&self, at: &K, read: impl Call<E, K, T>) -> T {
        self.call(self.careful.is_some(), at, read).await
    }

    async fn write<K: At + ?Sized, T: Send + 'static>(&self, at: &K, write: impl Call<E, K, T>) -> T {
        self.call(E::WRITES_BLOCK, at, write).await
    }

    async fn call<K: At + ?Sized, T: Send + 'static>(
        &self,
        blocks: bool,
        at: &K,
        call: impl Call<E, K, T>,
    ) -> T {
        if !blocks {
            return call(&self.engine, at);
        }
        let (engine, at) = (self.engine.clone(), at.to_owned());
        let call = tokio::task::spawn_blocking(move || call(&engine, at.borrow()));
        call.await.expect("a call that panics has said why")
    }
}

/// What a call is about: copied only for another thread.
trait At: ToOwned<Owned: Send + 'static> + Sync {}
impl<K: ToOwned<Owned: Send + 'static> + Sync + ?Sized> At for K {}

trait Call<E, K: ?Sized, T>: FnOnce(&E, &K) -> T + Send + 'static {}
impl<E, K: ?Sized, T, F: FnOnce(&E, &K) -> T + Send + 'static> Call<E, K, T> for F {}

impl<E: Engine> Contestant for Embedded<E> {
    type Key = Place;
    type Version = u64;

    fn name(&self) -> &str {
        self.careful.unwrap_or(self.engine.name())
    }

    fn does(&self, operation: Operation) -> Does {
        let reads = matches!(operation, Operation::Get | Operation::Page | Operation::GetMany);
        match self.engine.does(operation) {
            Does::Cannot(why) => Does::Cannot(why),
            _ if self.careful.is_some() && !reads => Does::Cannot("as without"),
            does => does,
        }
    }

    fn key(&self, partition: &str, id: &str) -> Place {
        format!("{partition}\0{id}").into_bytes()
    }

    async fn get(&self, key: &Place) -> Option<Bytes> {
        let there = self.read(key, |engine: &E, key: &Place| engine.get(key)).await;
        there.map(|there| there.value)
    }

    async fn put(&self, key: &Place, value: Bytes) {
        let put = move |engine: &E, key: &Place| engine.change(key, &|there| Some(put(there, value.clone())));
        self.write(key, put).await;
    }

    async fn delete(&self, key: &Place) {
        self.write(key, |engine: &E, key: &Place| engine.delete(key))
            .await;
    }

    async fn create(&self, key: &Place, value: Bytes) -> u64 {
        let create = move |engine: &E, key: &Place| {
            engine.change(key, &|there| {
                there.is_none().then(|| Versioned::first(value.clone()))
            })
        };
        assert!(self.write(key, create).await, "it was there");
        1
    }

    async fn compare_and_set(&self, key: &Place, expected: u64, value: Bytes) -> u64 {
        let set = move |engine: &E, key: &Place| {
            engine.change(key, &|there| {
                let there = there.filter(|there| there.version == expected)?;
                Some(there.after(value.clone()))
            })
        };
        assert!(self.write(key, set).await, "another version was there");
        expected + 1
    }

    async fn update(&self, key: &Place) {
        let update = |engine: &E, key: &Place| {
            engine.change(key, &|there| {
                let there = there?;
                let next = next(&there.value);
                Some(there.after(next))
            })
        };
        assert!(self.write(key, update).await, "it is not there");
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let page =
            move |engine: &E, partition: &str| engine.page(format!("{partition}\0").as_bytes(), limit).len();
        self.read(partition, page).await
    }

    async fn get_many(&self, keys: &[Place]) -> usize {
        let get = |engine: &E, keys: &[Place]| engine.get_many(keys).len();
        self.read(keys, get).await
    }

    async fn transact(&self, keys: &[Place], value: Bytes) {
        let put_all = move |engine: &E, keys: &[Place]| engine.put_all(keys, value);
        self.write(keys, put_all).await;
    }
}

/// This work of a file's engine, and what of ours it leaves out.
pub(crate) fn less(operation: Operation, work: &'static str) -> Does {
    let leaves_out = match operation {
        Operation::Get => "the checks of an entry's checksums and expiry",
        Operation::GetMany | Operation::Page => {
            "those checks, keys as text, and, where nothing else is said, a thread that may wait for the disk"
        }
        Operation::Update => {
            "the two calls of a read and a compare-and-set: it decides inside its transaction, as only a store in the same process can"
        }
        _ => "the checksums, the expiry and the four writes that an entry of ours has",
    };
    Does::Less(work, leaves_out)
}

/// What a write without a condition leaves.
pub(crate) fn put(there: Option<Versioned>, value: Bytes) -> Versioned {
    match there {
        Some(there) => there.after(value),
        None => Versioned::first(value),
    }
}
