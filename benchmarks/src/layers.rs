//! Section `layers`: the instructions and allocations of a call, and of what each layer adds. They hardly differ from run to run.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::args::{Args, Effort};
use crate::programs;
use crate::progress::Progress;

pub(crate) const SECTION: &str = "layers";

/// From the inside out, as the program `statestore-bench-layers` knows them. What `open` puts around a store on a network is the last.
const LAYERS: [&str; 4] = ["none", "Timeout", "Retry", "Observe(Retry)"];
const OPERATIONS: [&str; 3] = ["get", "put", "compare-and-set"];

/// A call through these layers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Call {
    pub(crate) layers: &'static str,
    pub(crate) operation: &'static str,
    /// `None`: they were not counted, for want of valgrind.
    pub(crate) instructions: Option<f64>,
    pub(crate) allocations: f64,
    pub(crate) bytes: f64,
}

pub(crate) fn run(args: &Args) -> Vec<Call> {
    if !args.wants(SECTION) {
        return Vec::new();
    }
    let program = programs::sibling("statestore-bench-layers");
    let calls = match args.effort {
        Effort::Full => 2_000,
        Effort::Quick => 500,
        Effort::Smoke => 10,
    };
    let mut progress = Progress::new(SECTION, LAYERS.len() * OPERATIONS.len());
    let mut found: Vec<Call> = Vec::new();
    for operation in OPERATIONS {
        for layers in LAYERS {
            progress.step(&format!("{operation}, {layers}"));
            let output = Command::new(&program)
                .args([layers, operation, &calls.to_string()])
                .output();
            let output = output.expect("the program starts");
            let text = String::from_utf8_lossy(&output.stdout);
            let numbers: Vec<f64> = text
                .split_whitespace()
                .map(|number| number.parse().expect("a number"))
                .collect();
            let &[allocations, bytes] = &numbers[..] else {
                panic!("it prints `{text}`")
            };
            let count = |calls| instructions(&program, layers, operation, calls);
            // An unoptimized program takes long under valgrind: one will do to see that it works.
            let once = args.effort == Effort::Smoke && !found.is_empty();
            let (some, more) = if once {
                (None, None)
            } else {
                (count(calls), count(2 * calls))
            };
            found.push(Call {
                layers,
                operation,
                instructions: some
                    .zip(more)
                    .map(|(some, more)| (more - some) as f64 / f64::from(calls)),
                allocations: allocations / f64::from(calls),
                bytes: bytes / f64::from(calls),
            });
        }
    }
    found
}

/// The instructions of the whole program.
fn instructions(program: &Path, layers: &str, operation: &str, calls: u32) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([layers, operation, &calls.to_string()])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected : "))?;
    line.1.trim().parse().ok()
}
