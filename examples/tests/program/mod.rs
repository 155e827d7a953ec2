use std::path::{Path, PathBuf};

/// The program of this example, which cargo builds beside the tests of its package.
pub(crate) fn of(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests are in `<profile>/deps`");
    let name = format!("{example}{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is missing: `cargo build -p statestore-examples --example {example}` makes it",
        program.display()
    );
    program
}
