//! The contract, checked on the store that `STATESTORE_TEST_URL` names: yours, with your permissions and your network.

use statestore_conformance::{Subject, conformance_tests};

conformance_tests! {
    #[cfg_attr(not(test_store), ignore = "set STATESTORE_TEST_URL to run it")]
    mod state = Subject::new(
        statestore::open(&std::env::var("STATESTORE_TEST_URL").expect("it is set")).await.expect("it opens"),
    );
}
