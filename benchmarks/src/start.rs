//! Section `start`: a program with one backend alone, its size, and the time from its start to its first completed operations.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::args::{Args, Effort};
use crate::contest::Spread;
use crate::progress::Progress;
use crate::services::Service;

pub(crate) const SECTION: &str = "start";

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Start {
    pub(crate) service: &'static str,
    /// Of the stripped binary.
    pub(crate) bytes: u64,
    /// From the start of the process to the answer of a put and a get, in milliseconds.
    pub(crate) millis: Spread,
}

pub(crate) async fn run(args: &Args, folder: &Path) -> Vec<Start> {
    let wanted = |name: &&str| args.wants(&format!("{SECTION}/{name}"));
    // A build for each takes minutes.
    let names: &[&'static str] = if args.effort == Effort::Full {
        &Service::NAMES
    } else {
        &["memory"]
    };
    let names: Vec<_> = names.iter().copied().filter(wanted).collect();
    let mut progress = Progress::new(SECTION, names.len());
    let mut starts = Vec::new();
    for name in names {
        progress.step(name);
        let program = build(name, folder, args.effort == Effort::Smoke).await;
        let service = Service::start(name, folder).await;
        let times = if args.effort == Effort::Smoke { 1 } else { 25 };
        let mut millis = Vec::new();
        for _ in 0..times {
            millis.push(time(&program, &service.url()).await.as_secs_f64() * 1e3);
        }
        starts.push(Start {
            service: service.name,
            bytes: fs::metadata(&program).expect("it is there").len(),
            millis: Spread::of(millis),
        });
    }
    starts
}

/// Builds the program with this backend alone, and strips it.
async fn build(backend: &str, folder: &Path, debug: bool) -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let target = folder.parent().expect("the target folder");
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--manifest-path",
        manifest,
        "-p",
        "statestore-bench-start",
    ]);
    cargo
        .args(["--features", backend])
        .env("CARGO_TARGET_DIR", target);
    if !debug {
        cargo.arg("--release");
    }
    assert!(cargo.status().await.expect("cargo starts").success(), "it builds");
    let built = target
        .join(if debug { "debug" } else { "release" })
        .join("statestore-bench-start");
    let program = folder.join(format!("start-{backend}"));
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&program)
        .arg(&built)
        .status()
        .await;
    assert!(strip.expect("strip starts").success(), "it is stripped");
    program
}

async fn time(program: &Path, url: &str) -> Duration {
    let start = Instant::now();
    let mut command = Command::new(program);
    let mut child = command
        .arg(url)
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = lines.next_line().await.expect("a line");
    let took = start.elapsed();
    assert_eq!(line.as_deref(), Some("done"));
    assert!(child.wait().await.expect("it ends").success());
    took
}
