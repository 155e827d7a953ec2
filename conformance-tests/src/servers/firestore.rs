//! hidane, an emulator of Firestore that is held to the answers of Google's own.
//!
//! `scripts/setup-firestore` builds it into the cache folder. One that is named in `STATESTORE_HIDANE`, or is on the
//! `PATH`, is taken too.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::cache::cache;
use super::http::answers;
use super::{Group, Process, Program, ServerError, free_port};

/// The crate's version, as in `scripts/setup-firestore`.
pub const VERSION: &str = "0.6.0";

/// How long the server may take to start. It takes milliseconds when the machine has time.
const LONGEST_START: Duration = Duration::from_secs(30);

/// A running hidane, which keeps everything in memory: what was written is gone with it.
#[derive(Debug)]
pub struct FirestoreServer {
    process: Process,
    addr: SocketAddr,
}

impl FirestoreServer {
    /// Starts one on a free port of 127.0.0.1, and waits until it answers.
    ///
    /// # Errors
    /// [`ServerError::NotInstalled`], with the script to run; [`ServerError::Ended`] and [`ServerError::Late`].
    pub async fn start() -> Result<Self, ServerError> {
        let path = program().ok_or_else(not_installed)?;
        let mut attempts = 5;
        loop {
            attempts -= 1;
            match Self::start_once(path.clone()).await {
                Err(error) if attempts > 0 && error.is_port_taken() => {}
                started => return started,
            }
        }
    }

    async fn start_once(path: PathBuf) -> Result<Self, ServerError> {
        let port = free_port().map_err(ServerError::io("looking for a free port"))?;
        let group = Group::new("firestore")?;
        let program = Program::new(path)
            .arg("--host")
            .arg(Ipv4Addr::LOCALHOST.to_string())
            .arg("--port")
            .arg(port.to_string());
        let process = Process::spawn(&group, "hidane", &group.folder().join("server"), program)?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        process.wait_until_ready(LONGEST_START, || answers(addr)).await?;
        Ok(Self { process, addr })
    }

    /// Its address, as `FIRESTORE_EMULATOR_HOST` takes it: `127.0.0.1:17041`. It has every project and database.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process, to be suspended or killed.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The program that is named, that `scripts/setup-firestore` made, or that is on the `PATH`.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("STATESTORE_HIDANE").filter(|value| !value.is_empty()) {
        return Some(named.into());
    }
    let cached = cache()
        .map(|cache| cache.join(format!("hidane-{VERSION}")).join("bin").join("hidane"))
        .filter(|path| path.is_file());
    cached.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join("hidane"))
            .find(|path| path.is_file())
    })
}

fn not_installed() -> ServerError {
    ServerError::NotInstalled {
        service: "hidane",
        help: "run `scripts/setup-firestore`, or let STATESTORE_TEST_FIRESTORE name another Firestore"
            .to_owned(),
    }
}
