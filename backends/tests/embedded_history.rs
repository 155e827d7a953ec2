//! Recorded clients of one file whose process is killed at random moments, again and again: what they saw, and what is found in the
//! end, is a history that is checked.

#![cfg(all(feature = "embedded", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "also in the helpers of tests"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fastrand::Rng;
use statestore::{
    Current, DeleteOptions, EmbeddedStore, Entry, Error, Key, Precondition, StateStore, Version,
};
use statestore_conformance::history::{
    Bound, Call, Corruption, Outcome, Recorder, Seen, Verdict, check, check_key,
};

const ROUNDS: usize = 6;
/// How often the process is killed on the keys of a round.
const KILLS: usize = 5;
const CLIENTS: usize = 4;
const KEYS: usize = 3;

/// The variables that tell the child the file, the round, and a number that no other child has.
const FILE: &str = "STATESTORE_TEST_HISTORY_FILE";
const ROUND: &str = "STATESTORE_TEST_HISTORY_ROUND";
const CHILD: &str = "STATESTORE_TEST_HISTORY_CHILD";

fn key(round: usize, number: usize) -> Key {
    Key::new(format!("round-{round}"), number.to_string()).unwrap()
}

fn value(entry: &Entry) -> u64 {
    std::str::from_utf8(&entry.value).unwrap().parse().unwrap()
}

fn shown(entry: Option<&Entry>) -> String {
    entry.map_or("-".to_owned(), |entry| {
        format!("{} {}", value(entry), entry.version)
    })
}

/// Does what it likes until it is killed, and prints each call before it is made and when it was answered. The dot at the end of a
/// line says that the line is whole.
async fn client(store: EmbeddedStore, round: usize, child: usize, client: usize) {
    let mut seen: HashMap<usize, Option<Version>> = HashMap::new();
    let mut rng = Rng::new();
    for number in 0.. {
        let (place, call) = (rng.usize(..KEYS), format!("{child}-{client}-{number}"));
        let key = key(round, place);
        let told = match (rng.u8(..10), seen.remove(&place)) {
            (0..7, Some(expected)) => {
                let written = (child * CLIENTS + client) * 1_000_000 + number;
                let shown = expected.as_ref().map_or("-".to_owned(), ToString::to_string);
                println!("call {call} {client} {place} put {written} {shown} .");
                let precondition = Precondition::from(expected.as_ref());
                let put = store.put(&key, written.to_string().into(), precondition.into());
                put.await.map(|version| {
                    seen.insert(place, Some(version.clone()));
                    format!("written {version}")
                })
            }
            (7, Some(Some(expected))) => {
                println!("call {call} {client} {place} delete {expected} .");
                let delete = store.delete(&key, DeleteOptions::from(expected));
                delete.await.map(|()| "deleted".to_owned())
            }
            _ => {
                println!("call {call} {client} {place} get .");
                let got = store.get(&key, Default::default()).await;
                got.map(|entry| {
                    let told = format!("read {}", shown(entry.as_ref()));
                    seen.insert(place, entry.map(|entry| entry.version));
                    told
                })
            }
        };
        let told = told.unwrap_or_else(|error| match error {
            Error::Conflict(conflict) => match conflict.current {
                Current::Unknown => "refused".to_owned(),
                Current::Absent => "refused -".to_owned(),
                Current::Entry(entry) => format!("refused {}", shown(Some(&entry))),
            },
            error => panic!("{error}"),
        });
        println!("done {call} {told} .");
    }
}

#[test]
#[ignore = "the child of `what_clients_see_across_kills_is_linearizable`"]
fn child() {
    let variable = |name| std::env::var(name).ok();
    let (Some(file), Some(round), Some(child)) = (variable(FILE), variable(ROUND), variable(CHILD)) else {
        return;
    };
    let (round, child) = (round.parse().unwrap(), child.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = EmbeddedStore::open(PathBuf::from(file)).await.unwrap();
        let clients = (0..CLIENTS).map(|number| tokio::spawn(client(store.clone(), round, child, number)));
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
}

fn parse_seen(words: &[&str]) -> Option<Seen> {
    match words {
        [value, version] => Some(Seen {
            value: value.parse().unwrap(),
            version: version.parse().unwrap(),
        }),
        ["-"] => None,
        _ => panic!("{words:?}"),
    }
}

/// Lets a child work until it was answered so often, kills it, and records what it did.
fn run_and_kill(file: &Path, round: usize, child: usize, answers: usize, recorder: &Recorder) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env(FILE, file)
        .env(ROUND, round.to_string())
        .env(CHILD, child.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut under_way, mut answered) = (HashMap::new(), 0);
    // What it printed before it died counts, too, so it is read to the end.
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(line) = line.strip_suffix(" .") else {
            continue;
        };
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["call", call, client, place, ref what @ ..] => {
                let asked = match what {
                    ["get"] => Call::Get,
                    ["put", value, expected] => Call::Put {
                        value: value.parse().unwrap(),
                        expected: (*expected != "-").then(|| expected.parse().unwrap()),
                    },
                    ["delete", expected] => Call::Delete {
                        expected: expected.parse().unwrap(),
                    },
                    _ => panic!("{line}"),
                };
                let client = child * CLIENTS + client.parse::<usize>().unwrap();
                let key = key(round, place.parse().unwrap());
                under_way.insert(call.to_owned(), recorder.invoke(client, &key, asked));
            }
            ["done", call, ref what @ ..] => {
                let outcome = match what {
                    ["read", seen @ ..] => Outcome::Read(parse_seen(seen)),
                    ["written", version] => Outcome::Written(version.parse().unwrap()),
                    ["deleted"] => Outcome::Deleted,
                    ["refused"] => Outcome::Refused(None),
                    ["refused", seen @ ..] => Outcome::Refused(Some(parse_seen(seen))),
                    _ => panic!("{line}"),
                };
                let invocation = under_way.remove(call).unwrap();
                recorder.complete(invocation, outcome);
                answered += 1;
                if answered == answers {
                    process.kill().unwrap();
                }
            }
            _ => {}
        }
    }
    assert!(!process.wait().unwrap().success());
    assert!(answered >= answers, "it ended by itself after {answered}");
}

#[tokio::test]
async fn what_clients_see_across_kills_is_linearizable() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = directory.path().join("state.redb");
    let mut rng = Rng::new();
    let (mut recorded, mut unknown) = (0, 0);
    for round in 0..ROUNDS {
        let recorder = Recorder::default();
        for kill in 0..KILLS {
            let (child, answers) = (round * KILLS + kill, rng.usize(1..150));
            run_and_kill(&file, round, child, answers, &recorder);
        }
        let store = EmbeddedStore::open(&file).await.unwrap();
        for number in 0..KEYS {
            let key = key(round, number);
            let read = recorder.invoke(usize::MAX, &key, Call::Get);
            let entry = store.get(&key, Default::default()).await.unwrap();
            let seen = entry.map(|entry| Seen {
                value: value(&entry),
                version: entry.version,
            });
            recorder.complete(read, Outcome::Read(seen));
        }
        store.close().await.unwrap();

        let history = recorder.history();
        match check(&history, Bound::default()) {
            Verdict::Linearizable => {}
            Verdict::Violation(violation) => panic!("{violation}"),
            unknown @ Verdict::Unknown { .. } => panic!("{unknown:?}"),
        }
        for corruption in Corruption::ALL {
            if let Some((key, operations)) = corruption.apply(&history, &mut rng) {
                let verdict = check_key(&key, &operations, Bound::default());
                assert!(verdict.violation().is_some(), "{corruption:?} is accepted");
            }
        }
        recorded += history.len();
        unknown += history.unknown();
    }
    println!(
        "{} kills, {recorded} operations recorded, {unknown} of unknown outcome: no violation",
        ROUNDS * KILLS
    );
    assert!(unknown > 0, "it was never killed in the middle of a call");
}
