//! From the start of a process to the end of it, with one read and one write against DynamoDB Local in between: the function on `statestore`, the same on
//! the SDK alone, and in Python. In turn, so that whatever else the machine does meets each of them alike. `scripts/bench-start` runs it, with the folder
//! of the programs.
#![allow(clippy::print_stdout, reason = "its result")]
#![allow(clippy::unwrap_used, reason = "it ends where something is amiss")]

#[path = "../python.rs"]
mod python;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use statestore::DynamoDbStore;
use statestore::dynamodb::DynamoDbConfig;
use statestore_conformance::servers::dynamodb::DynamoDbServer;

const NAMES: [&str; 3] = ["statestore", "the SDK alone", "Python"];
const WARM_UP: usize = 3;

fn main() {
    let programs = PathBuf::from(
        std::env::args_os()
            .nth(1)
            .expect("it takes the folder of the programs"),
    );
    let rounds = std::env::var("ROUNDS").map_or(40, |rounds| rounds.parse().expect("ROUNDS is a number"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(DynamoDbServer::start()).unwrap();
    let config = DynamoDbConfig::new("carts")
        .with_endpoint(server.endpoint())
        .with_made_up_credentials();
    let table = DynamoDbStore::new(config).unwrap();
    runtime.block_on(table.create_table()).unwrap();

    let mut times: [Vec<Duration>; 3] = Default::default();
    for round in 0..WARM_UP + rounds {
        for turn in 0..NAMES.len() {
            let which = (round + turn) % NAMES.len();
            let time = run(which, &programs, &server.endpoint());
            if round >= WARM_UP {
                times[which].push(time);
            }
        }
    }
    println!("{rounds} rounds; median, the least, and from the 10th to the 90th of a hundred:");
    for (name, times) in NAMES.iter().zip(&times) {
        let milliseconds = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        println!("{name:>16}  {} ms", spread(milliseconds, 1));
    }
    let ratios = |of: usize, to: usize| {
        let rounds = times[of].iter().zip(&times[to]);
        rounds
            .map(|(of, to)| of.as_secs_f64() / to.as_secs_f64())
            .collect()
    };
    println!(
        "statestore to the SDK alone, in the same round: {}",
        spread(ratios(0, 1), 2)
    );
    println!(
        "Python to statestore, in the same round: {}",
        spread(ratios(2, 0), 1)
    );
}

fn run(which: usize, programs: &Path, endpoint: &str) -> Duration {
    let mut command = match which {
        0 => Command::new(programs.join("cart")),
        1 => Command::new(programs.join("cart-on-the-sdk")),
        _ => Command::new(python::interpreter()),
    };
    if which == 2 {
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/cart.py"));
    }
    command
        .arg(format!(r#"{{"user": "user-{which}", "item": "lamp"}}"#))
        .env("STATESTORE_URL", "dynamodb://carts")
        .env("TABLE", "carts")
        .env("AWS_ACCESS_KEY_ID", "made")
        .env("AWS_SECRET_ACCESS_KEY", "up")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let began = Instant::now();
    let status = command.status().unwrap();
    let time = began.elapsed();
    assert!(status.success(), "{}", NAMES[which]);
    time
}

fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let at = |hundredth: usize| values[(values.len() - 1) * hundredth / 100];
    format!(
        "{:.digits$} (least {:.digits$}; {:.digits$} – {:.digits$})",
        at(50),
        values[0],
        at(10),
        at(90)
    )
}
