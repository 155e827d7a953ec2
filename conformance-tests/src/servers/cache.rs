use std::path::PathBuf;

/// The folder in which test servers are kept: `${STATESTORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/statestore}`, as in the
/// scripts that fill it. `None` when no variable tells.
#[must_use]
pub fn cache() -> Option<PathBuf> {
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
