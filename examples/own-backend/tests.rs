//! A store of one's own, held to the contract: all that its crate needs.

use statestore_conformance::{Subject, conformance_tests};
use statestore_examples::MapStore;

conformance_tests! {
    mod map = Subject::new(MapStore::new());
}
