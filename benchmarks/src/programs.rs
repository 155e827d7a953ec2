//! The small programs that are measured from outside.

use std::path::PathBuf;

/// A program that was built together with this one.
pub(crate) fn sibling(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    own.with_file_name(name)
}
