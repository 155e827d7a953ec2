//! The reference store keeps the contract.

use statestore_api::{ManualClock, MemoryStore};
use statestore_conformance::{Subject, conformance_tests};

conformance_tests! {
    mod memory = Subject::new(MemoryStore::new());
}

conformance_tests! {
    mod memory_by_manual_clock = {
        let clock = ManualClock::new();
        Subject::new(MemoryStore::with_clock(clock.clone())).with_clock(clock)
    }, with clock;
}
