use std::cell::Cell;

thread_local! {
    /// How many retries have been made on this thread, ever.
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// Tells whoever observes this call that it is tried again.
pub(super) fn add() {
    MADE.set(MADE.get().wrapping_add(1));
}

/// Counts the retries that are made within `poll`, however deep: a poll stays on its thread from begin to end.
pub(super) fn within<T>(poll: impl FnOnce() -> T) -> (T, u32) {
    let before = MADE.get();
    let polled = poll();
    (polled, MADE.get().wrapping_sub(before))
}
