//! DynamoDB Local, Amazon's own test server.
//!
//! It is a Java program, which `scripts/setup-dynamodb` puts into the cache folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::cache::cache;
use super::http::answers;
use super::{Group, Process, Program, ServerError, free_port};

/// The npm package's version, as in `scripts/setup-dynamodb`.
pub const VERSION: &str = "2.9.30";

/// How long the server may take to start. It takes 2 seconds when the machine has time.
const LONGEST_START: Duration = Duration::from_secs(60);

/// A running DynamoDB Local, which keeps everything in memory: tables are gone with it.
#[derive(Debug)]
pub struct DynamoDbServer {
    process: Process,
    addr: SocketAddr,
}

impl DynamoDbServer {
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

    async fn start_once(folder: &std::path::Path) -> Result<Self, ServerError> {
        let port = free_port().map_err(ServerError::io("looking for a free port"))?;
        let group = Group::new("dynamodb")?;
        let libraries = folder.join("DynamoDBLocal_lib");
        let program = Program::new("java")
            // A small heap will do, and threads for two cores: several of these run side by side.
            .arg("-Xmx512m")
            .arg(format!("-Djava.library.path={}", libraries.display()))
            .arg("-jar")
            .arg(folder.join("DynamoDBLocal.jar"))
            .arg("-inMemory")
            .arg("-sharedDb")
            .arg("-disableTelemetry")
            .arg("-port")
            .arg(port.to_string());
        let process = Process::spawn(&group, "DynamoDB Local", &group.folder().join("server"), program)?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        process.wait_until_ready(LONGEST_START, || answers(addr)).await?;
        Ok(Self { process, addr })
    }

    /// Its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its endpoint, as the SDKs want it: `http://127.0.0.1:17041`. It checks no credentials, but wants some.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Its process, to be suspended or killed.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The folder that `scripts/setup-dynamodb` fills, if it is filled.
fn folder() -> Option<PathBuf> {
    let folder = cache()?.join(format!("dynamodb-local-{VERSION}"));
    folder.join("DynamoDBLocal.jar").is_file().then_some(folder)
}

fn not_installed() -> ServerError {
    ServerError::NotInstalled {
        service: "DynamoDB Local",
        help: "run `scripts/setup-dynamodb`, or let STATESTORE_TEST_DYNAMODB name another DynamoDB"
            .to_owned(),
    }
}
