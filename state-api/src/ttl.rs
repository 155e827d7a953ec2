use std::time::{Duration, SystemTime};

/// When an entry expires. Kept to the millisecond (rounded up), at the latest at the end of the year 9999.
///
/// An expired entry is gone at once for every read and every precondition, however late the service sweeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// Never. A put without an expiry clears the one that was there.
    #[default]
    None,
    /// This long after the write, by the clock that judges expiry on this backend.
    After(Duration),
    /// At this time.
    At(SystemTime),
    /// When the entry that is there expires; never, if there is none.
    Keep,
}
