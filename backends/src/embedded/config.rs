use std::sync::Arc;

use statestore_api::{Clock, SystemClock};

/// How to open an [`EmbeddedStore`](super::EmbeddedStore).
///
/// ```
/// use statestore::embedded::EmbeddedOptions;
///
/// let options = EmbeddedOptions::default().with_create(false).with_cache_bytes(256 << 20);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EmbeddedOptions {
    /// Whether a missing file is created. Otherwise it is [`StoreNotFound`](crate::Error::StoreNotFound). Default: true.
    pub create: bool,
    /// Whether the whole file is read and its checksums are compared each time it is opened, so that damage is found
    /// then, and nothing is written to a damaged file. Without it that happens only after a crash; an entry's own
    /// checksum is compared at each read in either case. Default: true.
    pub verify: bool,
    /// How much of the file is kept in memory, in bytes. Default: 64 MiB.
    pub cache_bytes: usize,
    /// Whether one key, too, is read on tokio's blocking threads, as batches and pages are. That costs about 10 µs a read, and
    /// keeps a disk that needs longer than that from holding up other tasks. Default: false.
    pub blocking_reads: bool,
    /// What expiry is judged by. Default: the system's clock.
    pub clock: Arc<dyn Clock>,
}

impl EmbeddedOptions {
    /// The same, with a missing file created or not.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The same, with the whole file verified at each opening or not.
    #[must_use]
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// The same with this much of the file kept in memory.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// The same, with one key read on a blocking thread, too, or by the task that asks.
    #[must_use]
    pub fn with_blocking_reads(mut self, blocking: bool) -> Self {
        self.blocking_reads = blocking;
        self
    }

    /// The same, judging expiry by `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            create: true,
            verify: true,
            cache_bytes: 64 << 20,
            blocking_reads: false,
            clock: Arc::new(SystemClock),
        }
    }
}
