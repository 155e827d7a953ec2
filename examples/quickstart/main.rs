//! Shopping carts behind a queue: instances that collide, die and restart, and an order that is placed once.
//!
//! `cargo run --example quickstart` needs no server: it keeps its state in `quickstart.redb` in the current folder, or where
//! `STATESTORE_URL` says. Run it twice: the second run finds that everything is done. What to copy is in `handler.rs`; the rest is
//! the simulation around it and the check at the end, which fails the program if an item was lost or an order doubled.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it tells a story")]

mod check;
mod events;
mod handler;
mod platform;
mod story;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;

use platform::{INSTANCES, Platform};
use statestore::{BoxError, Config, StateStore};
use story::{Story, chapter};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in problems {
                eprintln!("WRONG: {problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("Error: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// The store that `STATESTORE_URL` names, or a file in the current folder.
async fn open() -> statestore::Result<Arc<dyn StateStore>> {
    let config = match std::env::var_os("STATESTORE_URL") {
        Some(_) => Config::from_env()?,
        None => Config::new("file:quickstart.redb"),
    };
    let store = config.open().await?;
    store.ready().await?;
    Ok(store)
}

/// Runs the story, and returns what is wrong in the end.
async fn run() -> Result<Vec<String>, BoxError> {
    let mut store = open().await?;
    if !store.capabilities().durable {
        return Err("this program restarts: let STATESTORE_URL name a store that keeps its state".into());
    }
    let events = events::deliveries()?;
    let before = check::look(&*store, &events).await?;
    let distinct: HashSet<_> = events.iter().map(|event| &event.id).collect();
    println!(
        "{} deliveries of {} events, {INSTANCES} instances at a time, one {} store.",
        events.len(),
        distinct.len(),
        store.capabilities().backend
    );
    match check::handled_before(&before)? {
        0 => println!("No event has been handled before."),
        some => {
            println!("An earlier run has handled {some} of the events: they come again, and must do nothing.")
        }
    }

    let (mut story, mut platform) = (Story::default(), Platform::start());
    let (first, rest) = events.split_at(events.len() / 2);

    chapter("The queue delivers the first half:");
    let mut returned = platform.deliver(&store, first.to_vec(), &mut story).await?;

    chapter("A new release: all instances are gone, the store is closed and opened again. The second half:");
    platform.restart();
    store.close().await?;
    store = open().await?;
    returned.extend_from_slice(rest);
    returned = platform.deliver(&store, returned, &mut story).await?;

    for _ in 0..10 {
        if returned.is_empty() {
            break;
        }
        chapter("The queue delivers again what nobody has acknowledged:");
        returned = platform.deliver(&store, returned, &mut story).await?;
    }
    story.sum_up();

    let after = check::look(&*store, &events).await?;
    let mut problems = check::check(&events, &before, &after, &story.placed);
    problems.extend(
        returned
            .iter()
            .map(|event| format!("event {} was never acknowledged", event.id)),
    );
    store.close().await?;
    if problems.is_empty() {
        println!("\nChecked against the file of events: no item lost or doubled, each order placed once.");
    }
    Ok(problems)
}
