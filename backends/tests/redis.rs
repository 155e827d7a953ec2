//! The contract on Redis, as a user who has the rights that the documentation names and no others.
#![cfg(feature = "redis")]

mod redis_support;

use statestore_conformance::{Subject, conformance_tests};

conformance_tests! {
    mod redis = Subject::new(redis_support::standalone("").await);
}

// Without the index there is nothing to list; all else is the same.
conformance_tests! {
    mod redis_without_index = Subject::new(redis_support::standalone("?index=off").await);
}
