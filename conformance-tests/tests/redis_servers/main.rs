//! Starting, disturbing and ending real Redis servers.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "also in the helpers of tests"
)]

mod access;
mod cluster;
mod process_end;
mod sentinel;
mod standalone;

use std::env;
use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
use statestore_conformance::servers::{ServerError, wait_for};

/// For what takes a moment, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(20);

async fn start(options: RedisOptions) -> RedisServer {
    RedisServer::start(options).await.unwrap()
}

async fn command(server: &RedisServer, words: &str) -> String {
    let words: Vec<_> = words.split(' ').collect();
    server.command(&words).await.unwrap().text()
}

/// The error that a command ends in.
async fn refusal(server: &RedisServer, words: &str) -> String {
    let words: Vec<_> = words.split(' ').collect();
    match server.command(&words).await {
        Err(ServerError::Command { answer, .. }) => answer,
        other => panic!("`{words:?}` gave {other:?}"),
    }
}

/// What `redis-cli` prints to these arguments.
fn redis_cli(arguments: &[&str]) -> String {
    let run = |program| {
        Command::new(program)
            .args(arguments)
            .env_remove("REDISCLI_AUTH")
            .output()
    };
    let output = run("redis-cli").or_else(|_| run("valkey-cli")).unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap().trim_end().to_owned()
}

fn is_open(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_secs(2)).is_ok()
}

fn runs(pid: u32) -> bool {
    let found = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output();
    let state = String::from_utf8(found.unwrap().stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// Waits until nothing is left of a server.
async fn assert_gone(addr: SocketAddr, pid: u32, folder: &Path) {
    wait_for("nothing is left of the server", SOON, || async {
        match (is_open(addr), runs(pid), folder.exists()) {
            (false, false, false) => Ok(()),
            left => Err(format!("(port open, process runs, folder exists) is {left:?}")),
        }
    })
    .await
    .unwrap();
}
