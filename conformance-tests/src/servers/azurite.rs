//! Azurite, Microsoft's own test server for Azure Storage: its tables.
//!
//! It is a program of Node.js, which `scripts/setup-azurite` puts into the cache folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::cache;
use super::http::answers;
use super::{Group, Process, Program, ServerError, free_port};

/// The npm package's version, as in `scripts/setup-azurite`.
pub const VERSION: &str = "3.35.0";

const MAIN: &str = "node_modules/azurite/dist/src/table/main.js";

/// How long the server may take to start. It takes 1 second when the machine has time.
const LONGEST_START: Duration = Duration::from_secs(60);

/// A running Azurite, which keeps everything in memory: tables are gone with it.
#[derive(Debug)]
pub struct AzuriteServer {
    process: Process,
    addr: SocketAddr,
}

impl AzuriteServer {
    /// Starts one on a free port of 127.0.0.1, and waits until it answers.
    ///
    /// # Errors
    /// [`ServerError::NotInstalled`], with the script to run; [`ServerError::Ended`] and [`ServerError::Late`].
    pub async fn start() -> Result<Self, ServerError> {
        let folder = folder().ok_or_else(not_installed)?;
        let mut attempts = 5;
        loop {
            attempts -= 1;
            match Self::start_once(&folder).await {
                Err(error) if attempts > 0 && error.is_port_taken() => {}
                started => return started,
            }
        }
    }

    async fn start_once(folder: &Path) -> Result<Self, ServerError> {
        let port = free_port().map_err(ServerError::io("looking for a free port"))?;
        let group = Group::new("azurite")?;
        let program = Program::new("node")
            .arg(folder.join(MAIN))
            .arg("--silent")
            .arg("--inMemoryPersistence")
            .arg("--disableTelemetry")
            .arg("--tableHost")
            .arg(Ipv4Addr::LOCALHOST.to_string())
            .arg("--tablePort")
            .arg(port.to_string())
            // Its 5 seconds would close a connection under a test on a busy machine.
            .arg("--tableKeepAliveTimeout")
            .arg("600");
        let process = Process::spawn(&group, "Azurite", &group.folder().join("server"), program)?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        process.wait_until_ready(LONGEST_START, || answers(addr)).await?;
        Ok(Self { process, addr })
    }

    /// Its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its endpoint, with the account that every emulator has: `http://127.0.0.1:17041/devstoreaccount1`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/devstoreaccount1", self.addr)
    }

    /// Its process, to be suspended or killed.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The folder that `scripts/setup-azurite` fills, if it is filled.
fn folder() -> Option<PathBuf> {
    let folder = cache()?.join(format!("azurite-{VERSION}"));
    folder.join(MAIN).is_file().then_some(folder)
}

fn not_installed() -> ServerError {
    ServerError::NotInstalled {
        service: "Azurite",
        help: "run `scripts/setup-azurite`, or let STATESTORE_TEST_AZURE_TABLE name another table".to_owned(),
    }
}
