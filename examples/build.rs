//! Makes the tests of `conformance-in-ci` run if a store is configured, and show as ignored if not.

fn main() {
    statestore_conformance::configured("STATESTORE_TEST_URL", "test_store");
}
