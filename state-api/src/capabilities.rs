/// What a store can do and where its limits are. What it does not declare, it refuses with a typed error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The kind of store: `memory`, `embedded`, `redis`, …
    pub backend: &'static str,
    /// The longest partition, in bytes of UTF-8.
    pub max_partition_bytes: usize,
    /// The longest id, in bytes of UTF-8.
    pub max_id_bytes: usize,
    /// The largest value, in bytes.
    pub max_value_bytes: usize,
    /// The most operations in one transaction.
    pub max_transaction_ops: usize,
    /// The most bytes in one transaction, keys and values together; `None`: no limit but the above.
    pub max_transaction_bytes: Option<usize>,
    /// How many writes that an entry replaced it still remembers, so that a retry of one of them is answered with its version.
    /// At least 1.
    pub remembered_writes: usize,
    /// Whether an entry forgets the writes before a put without a condition, alone or in a transaction: so it is where the
    /// service does such a put in one request, without a look at what it replaces. The retry of a write that was covered by one
    /// is then [`Indeterminate`](crate::Error::Indeterminate), unless it is unconditional itself and applied again.
    pub blind_puts_forget: bool,
    /// Whether [`list_page`](crate::StateStore::list_page) and [`scan_page`](crate::StateStore::scan_page) work.
    pub listing: bool,
    /// Whether expired entries are removed from storage without a call of [`sweep`](crate::StateStore::sweep), sooner or later. They are
    /// never visible in either case.
    pub sweeps_itself: bool,
    /// Whether an acknowledged write survives the end of this process.
    pub durable: bool,
}

impl Capabilities {
    /// Bytes that every backend accepts in each part of a key, whatever they are.
    pub const PORTABLE_KEY_BYTES: usize = 170;
    /// Operations that every backend accepts in a transaction.
    pub const PORTABLE_TRANSACTION_OPS: usize = 100;
    /// Bytes that every backend accepts in a value: DynamoDB's 400 KB less what the rest of an item needs.
    pub const PORTABLE_VALUE_BYTES: usize = 380 * 1024;

    /// What every store can do, for a backend to state more.
    #[must_use]
    pub const fn portable(backend: &'static str) -> Self {
        Self {
            backend,
            max_partition_bytes: Self::PORTABLE_KEY_BYTES,
            max_id_bytes: Self::PORTABLE_KEY_BYTES,
            max_value_bytes: Self::PORTABLE_VALUE_BYTES,
            max_transaction_ops: Self::PORTABLE_TRANSACTION_OPS,
            max_transaction_bytes: None,
            remembered_writes: 1,
            blind_puts_forget: false,
            listing: true,
            sweeps_itself: true,
            durable: true,
        }
    }
}
