use std::env;
use std::ffi::OsString;
use std::path::Path;

use crate::servers::{Program, ServerError};

/// Names the program to start in place of those on the `PATH`.
const OVERRIDE: &str = "STATESTORE_REDIS_SERVER";

const NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// The server's program on this machine.
pub(super) fn find() -> Result<Program, ServerError> {
    choose(env::var_os(OVERRIDE), env::var_os("PATH"))
}

fn choose(named: Option<OsString>, path: Option<OsString>) -> Result<Program, ServerError> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        if Path::new(&named).is_file() {
            return Ok(Program::new(named));
        }
        return Err(missing(format!(
            "{OVERRIDE} names `{}`, which is no file",
            named.to_string_lossy()
        )));
    }
    let path = path.unwrap_or_default();
    NAMES
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
        .map(Program::new)
        .ok_or_else(|| {
            missing(format!(
                "neither {} is on the PATH. Install one (`scripts/setup-redis` does it; Debian and Ubuntu: `apt-get \
                 install redis-server`; Fedora: `dnf install valkey`; macOS: `brew install redis`), or name the \
                 program in {OVERRIDE}",
                NAMES.join(" nor ")
            ))
        })
}

fn missing(help: String) -> ServerError {
    ServerError::NotInstalled {
        service: "Redis server",
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let error = choose(None, Some("/nowhere".into())).unwrap_err().to_string();
        assert!(
            error.contains("neither redis-server nor valkey-server is on the PATH"),
            "{error}"
        );
        assert!(error.contains("apt-get install redis-server"), "{error}");

        let error = choose(Some("/nowhere/redis".into()), None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("STATESTORE_REDIS_SERVER names `/nowhere/redis`"),
            "{error}"
        );
    }
}
