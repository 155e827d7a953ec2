//! The Python that `scripts/setup-python` makes, for the test and the benchmark.

use std::path::PathBuf;

use statestore_conformance::servers::cache;

/// boto3's version, as in `scripts/python/requirements.txt`.
const BOTO3: &str = "1.44.8";

/// Its interpreter, with boto3 at hand.
pub(crate) fn interpreter() -> PathBuf {
    let folder = cache().expect("the cache folder is known: set STATESTORE_CACHE, or HOME");
    let interpreter = folder.join(format!("python-boto3-{BOTO3}/bin/python"));
    assert!(
        interpreter.exists(),
        "{} is missing: run `scripts/setup-python`",
        interpreter.display()
    );
    interpreter
}
