use std::path::PathBuf;

/// The folder in which the scripts `scripts/setup-…` keep the servers that they fetch or build.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("STATESTORE_CACHE").or_else(|| {
        let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
        Some(caches.join("statestore"))
    })
}
