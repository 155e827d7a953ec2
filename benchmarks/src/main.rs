//! What statestore costs over the SDKs and stores that it is built on, and beside the alternatives.
//!
//! Run by `scripts/bench`, in sections, each a module: [`compare`], [`costs`], [`layers`], [`memory`], [`growth`], [`start`]. Who takes part
//! is in [`contestants`], where it runs in [`services`], how it is measured in [`contest`].

mod args;
mod compare;
mod contest;
mod contestants;
mod costs;
mod growth;
mod layers;
mod machine;
mod memory;
mod programs;
mod progress;
mod report;
mod services;
mod start;

use std::path::Path;
use std::process::ExitCode;

use args::{Args, USAGE};
use machine::Machine;
use report::Report;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let args = match Args::parse(arguments) {
        Ok(args) => args,
        Err(wrong) => {
            eprint!("scripts/bench: {wrong}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run(&args));
    ExitCode::SUCCESS
}

async fn run(args: &Args) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository");
    let folder = root.join("target").join("bench");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut machine = Machine::look(&folder);
    let (comparisons, failed) = compare::run(args, &folder, &mut machine).await;
    let (costs, connections) = costs::run(args, &folder).await;
    let layers = layers::run(args);
    let memory = memory::run(args, &folder).await;
    let growth = growth::run(args, &folder).await;
    let start = start::run(args, &folder).await;
    let report = Report {
        command: args.command(),
        machine,
        comparisons,
        failed,
        costs,
        connections,
        layers,
        memory,
        growth,
        start,
    };
    report.write(&folder).expect("the report is written");
    if args.write_docs {
        report
            .write_docs(&root.join("docs"))
            .expect("the documentation is written");
    }
    eprintln!("{}", folder.join("report.md").display());
}
