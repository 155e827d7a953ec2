//! The contract on Redis, as a user who has the rights that the documentation names and no others.
#![cfg(all(feature = "redis", unix))]

mod redis_support;

use statestore_conformance::{Subject, conformance_tests};

conformance_tests! {
    mod redis = Subject::new(redis_support::standalone("").await);
}

// Without the index there is nothing to list; all else is the same.
conformance_tests! {
    mod redis_without_index = Subject::new(redis_support::standalone("index=off").await);
}

conformance_tests! {
    mod redis_cluster = Subject::new(redis_support::cluster("").await);
}

conformance_tests! {
    mod redis_sentinel = Subject::new(redis_support::sentinel("").await);
}

// Every mutation waits for a replica, for as long as one may take on a busy machine.
conformance_tests! {
    mod redis_cluster_min_replicas = {
        let patient = "min_replicas=1&replica_timeout=25s&timeout=30s";
        Subject::new(redis_support::cluster(patient).await)
    };
}
