use std::ops::RangeInclusive;

use statestore_api::{BoxError, Error, Key, Result, StateStore, UpdateOptions};

use crate::Typed;

/// A number that many change at once, and that never leaves its range: stock, seats, a quota.
///
/// ```
/// use statestore_api::MemoryStore;
/// use statestore_patterns::{Counter, CounterError};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), CounterError> {
/// let seats = Counter::new(MemoryStore::new(), "concert-7/seats".parse()?).with_range(0..=2);
/// seats.add(2).await?;
/// assert_eq!(seats.add(-1).await?, 1);
/// assert_eq!(seats.add(-1).await?, 0);
/// assert!(matches!(seats.add(-1).await, Err(CounterError::OutOfRange { value: 0, by: -1 })));
/// # Ok(()) }
/// ```
///
/// It is stored as decimal text, and begins at 0 (or the end of its range that is nearest to it). An addition is a read and a conditional
/// write, again and again until nobody wrote in between: one key takes a few dozen a second on a network service. For more, and where no range is needed, use
/// [`ShardedCounter`].
#[derive(Clone, Debug)]
pub struct Counter {
    numbers: Typed<i64>,
    key: Key,
    range: RangeInclusive<i64>,
}

/// Why nothing was added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CounterError {
    /// The sum is outside of the counter's range, and nothing was added: there is not enough left.
    #[error("adding {by} to {value} would leave the counter's range")]
    OutOfRange {
        /// The number that is there.
        value: i64,
        /// What was to be added.
        by: i64,
    },

    /// The store's error; see its kind for what to do.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Counter {
    /// The counter that is stored under `key`. It need not exist.
    pub fn new(store: impl StateStore + 'static, key: Key) -> Self {
        Self {
            numbers: Typed::new(store),
            key,
            range: i64::MIN..=i64::MAX,
        }
    }

    /// The same where no addition leaves this range. A number that is outside already may still come nearer.
    ///
    /// # Panics
    /// When the range is empty.
    #[must_use]
    pub fn with_range(mut self, range: RangeInclusive<i64>) -> Self {
        assert!(!range.is_empty(), "an empty range holds no number");
        self.range = range;
        self
    }

    /// The same where an addition goes on for this long.
    #[must_use]
    pub fn with_update_options(mut self, options: UpdateOptions) -> Self {
        self.numbers = self.numbers.with_update_options(options);
        self
    }

    /// The number.
    ///
    /// # Errors
    /// As for [`Typed::get`].
    pub async fn get(&self) -> Result<i64> {
        let state = self.numbers.get(&self.key).await?;
        Ok(state.map_or(self.first(), |state| state.value))
    }

    /// Adds `by`, which may be negative, and returns the sum.
    ///
    /// # Errors
    /// [`OutOfRange`](CounterError::OutOfRange); [`Contended`](Error::Contended) when others were faster each time; else as for
    /// [`Typed::update`].
    pub async fn add(&self, by: i64) -> Result<i64, CounterError> {
        let mut refused = None;
        let added = self
            .numbers
            .update(&self.key, |number| {
                let value = number.unwrap_or(self.first());
                let sum = value.checked_add(by).filter(|sum| self.allows(value, *sum));
                refused = sum.is_none().then_some(value);
                *number = sum;
                sum.ok_or(BoxError::from("out of range"))
            })
            .await;
        match (added, refused) {
            (Err(Error::Aborted { .. }), Some(value)) => Err(CounterError::OutOfRange { value, by }),
            (added, _) => Ok(added?),
        }
    }

    fn allows(&self, value: i64, sum: i64) -> bool {
        let (start, end) = (*self.range.start(), *self.range.end());
        (sum >= start || sum >= value) && (sum <= end || sum <= value)
    }

    fn first(&self) -> i64 {
        0.clamp(*self.range.start(), *self.range.end())
    }
}

/// A number that very many change at once: it is spread over several keys, which are in partitions of their own, and read as their sum.
///
/// ```
/// use statestore_api::MemoryStore;
/// use statestore_patterns::ShardedCounter;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
/// let clicks = ShardedCounter::new(MemoryStore::new(), "page/clicks".parse()?, 16)?;
/// for _ in 0..100 {
///     clicks.add(1).await?;
/// }
/// assert_eq!(clicks.get().await?, 100);
/// # Ok(()) }
/// ```
///
/// N keys take about N times the additions. There is no range, and the sum is none of one moment: it may have some of the additions that are under
/// way and not others.
#[derive(Clone, Debug)]
pub struct ShardedCounter {
    numbers: Typed<i64>,
    shards: Vec<Key>,
}

impl ShardedCounter {
    /// The counter of this name, over so many keys, 1 to 1000. The number may be raised later, not lowered.
    ///
    /// # Errors
    /// [`InvalidOptions`](Error::InvalidOptions) for another number of shards.
    pub fn new(store: impl StateStore + 'static, key: Key, shards: u32) -> Result<Self> {
        if !(1..=1000).contains(&shards) {
            return Err(Error::InvalidOptions {
                reason: "a counter has 1 to 1000 shards",
            });
        }
        let shard = |number| Key::new(format!("{}~{number}", key.partition()), key.id());
        Ok(Self {
            numbers: Typed::new(store),
            shards: (0..shards).map(shard).collect::<Result<_>>()?,
        })
    }

    /// The sum.
    ///
    /// # Errors
    /// As for [`Typed::get`].
    pub async fn get(&self) -> Result<i64> {
        let entries = self
            .numbers
            .store()
            .get_many(&self.shards, Default::default())
            .await;
        let mut sum = 0_i64;
        for (key, entry) in self.shards.iter().zip(entries) {
            if let Some(entry) = entry? {
                sum = sum.saturating_add(self.numbers.decode(key, &entry.value)?);
            }
        }
        Ok(sum)
    }

    /// Adds `by`, which may be negative.
    ///
    /// # Errors
    /// As for [`Typed::update`]; [`Aborted`](Error::Aborted) when one of the keys would overflow.
    pub async fn add(&self, by: i64) -> Result<()> {
        let shard = &self.shards[fastrand::usize(..self.shards.len())];
        self.numbers
            .update(shard, |number| {
                let sum = number.unwrap_or(0).checked_add(by);
                *number = Some(sum.ok_or("the counter would overflow")?);
                Ok(())
            })
            .await
    }
}
