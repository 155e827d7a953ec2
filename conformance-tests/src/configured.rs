/// For a build script: sets the `cfg` `name` if the environment variable `variable` is set.
///
/// With `#[cfg_attr(not(name), ignore = "set variable")]` on [`conformance_tests!`](crate::conformance_tests), tests of a store that is
/// not configured show as ignored, not as passed.
///
/// ```no_run
/// // build.rs
/// statestore_conformance::configured("STATESTORE_TEST_REDIS", "test_redis");
/// ```
#[allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
pub fn configured(variable: &str, name: &str) {
    println!("cargo::rerun-if-env-changed={variable}");
    println!("cargo::rustc-check-cfg=cfg({name})");
    if std::env::var_os(variable).is_some() {
        println!("cargo::rustc-cfg={name}");
    }
}
