//! A process that writes is killed at random moments, again and again, on one file.

#![cfg(all(feature = "embedded", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "also in the helpers of tests"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use fastrand::Rng;
use statestore::{Bytes, EmbeddedStore, Key, StateStore, TransactOp};

const ROUNDS: usize = 50;
const TASKS: usize = 6;

/// The variable that tells the child which file to write to.
const FILE: &str = "STATESTORE_TEST_KILL_FILE";
/// And from which step on, for each task.
const FROM: &str = "STATESTORE_TEST_KILL_FROM";

/// Even tasks write one key with a put, odd ones four with a transaction.
fn keys(task: usize) -> Vec<Key> {
    let keys = if task.is_multiple_of(2) { 1 } else { 4 };
    (0..keys)
        .map(|n| Key::new(format!("task-{task}"), n.to_string()).unwrap())
        .collect()
}

/// The value of a task's n-th step, which tells the step, and is whole or not.
fn value(task: usize, step: u64) -> Bytes {
    let mut rng = Rng::with_seed(step * 100 + task as u64);
    let len = 1000 + rng.usize(..12_000);
    let mut value = step.to_le_bytes().to_vec();
    value.extend(std::iter::repeat_with(|| rng.u8(..)).take(len));
    value.into()
}

/// Writes until it is killed, and prints each acknowledged step.
async fn write(store: EmbeddedStore, task: usize, from: u64) {
    let keys = keys(task);
    for step in from.. {
        let value = value(task, step);
        if let [key] = &keys[..] {
            store.put(key, value, Default::default()).await.unwrap();
        } else {
            let ops = keys.iter().map(|key| TransactOp::put(key.clone(), value.clone()));
            store.transact(ops.collect(), Default::default()).await.unwrap();
        }
        println!("ack {task} {step}");
    }
}

#[test]
#[ignore = "the child of `what_was_acknowledged_survives_a_kill`"]
fn child() {
    let (Some(path), Ok(from)) = (std::env::var_os(FILE), std::env::var(FROM)) else {
        return;
    };
    let from: Vec<u64> = from.split(',').map(|step| step.parse().unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = EmbeddedStore::open(PathBuf::from(path)).await.unwrap();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| tokio::spawn(write(store.clone(), task, from[task])))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Lets a child write until it has acknowledged `count` steps, kills it, and returns the last of each task and
/// how many there were.
fn run_and_kill(path: &Path, from: &[u64], count: usize) -> (HashMap<usize, u64>, usize) {
    let from: Vec<String> = from.iter().map(u64::to_string).collect();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env(FILE, path)
        .env(FROM, from.join(","))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut last, mut seen) = (HashMap::new(), 0);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // What it printed before it died counts, too, so it is read to the end.
    while let Some(Ok(line)) = lines.next() {
        let Some((task, step)) = line.strip_prefix("ack ").and_then(|ack| ack.split_once(' ')) else {
            continue;
        };
        // The last line may be cut short by the kill.
        if let (Ok(task), Ok(step)) = (task.parse(), step.parse()) {
            last.insert(task, step);
        }
        seen += 1;
        if seen == count {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(seen >= count, "it ended by itself after {seen}");
    (last, seen)
}

/// Checks that all of a task's keys are at one of these steps, and returns that.
async fn check(store: &EmbeddedStore, task: usize, possible: RangeInclusive<u64>) -> u64 {
    let mut steps = Vec::new();
    for entry in store.get_many(&keys(task), Default::default()).await {
        steps.push(entry.unwrap().map_or(0, |entry| {
            let step = u64::from_le_bytes(entry.value[..8].try_into().unwrap());
            assert!(
                entry.value == value(task, step),
                "half a value of task {task}, step {step}"
            );
            step
        }));
    }
    assert!(
        steps.iter().all(|step| *step == steps[0]),
        "half a transaction of task {task}: {steps:?}"
    );
    assert!(
        possible.contains(&steps[0]),
        "task {task}: {steps:?}, {possible:?}"
    );
    steps[0]
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("state.redb");
    let (mut rng, start) = (Rng::new(), Instant::now());
    println!("seed {}", rng.get_seed());
    let (mut steps, mut acknowledged) = (vec![0; TASKS], 0);
    for round in 0..ROUNDS {
        // Every third time the next child, not this process, finds the file as the kill left it.
        let kills = 1 + usize::from(round % 3 == 0);
        let (mut at_least, mut at_most) = (steps.clone(), steps.clone());
        for _ in 0..kills {
            let from: Vec<u64> = at_most.iter().map(|step| step + 1).collect();
            let (last, seen) = run_and_kill(&path, &from, rng.usize(1..120));
            acknowledged += seen;
            for task in 0..TASKS {
                if let Some(step) = last.get(&task) {
                    at_least[task] = *step;
                }
                at_most[task] = at_least[task].max(at_most[task]) + 1;
            }
        }
        let store = EmbeddedStore::open(&path).await.unwrap();
        for task in 0..TASKS {
            steps[task] = check(&store, task, at_least[task]..=at_most[task]).await;
        }
        store.close().await.unwrap();
    }
    println!(
        "{ROUNDS} rounds, {acknowledged} acknowledged steps, {:?}",
        start.elapsed()
    );
}
