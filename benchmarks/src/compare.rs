//! Section `compare`: the crate beside what it is built on, and beside the alternatives.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;

use crate::args::{Args, Effort};
use crate::contest::{Cell, Does, Load, Operation, Side, compare, size_name, timed};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::report::markdown;
use crate::services::Service;

pub(crate) const SECTION: &str = "compare";

/// The rows, and the names of those that failed: one failure is not to lose the work of half an hour.
pub(crate) async fn run(args: &Args, folder: &Path, machine: &mut Machine) -> (Vec<Cell>, Vec<String>) {
    let wanted =
        |service: &str, operation: Operation| args.wants(&format!("{SECTION}/{service}/{operation}"));
    let steps = args.services(SECTION).flat_map(|service| {
        let operations = Operation::ALL
            .into_iter()
            .filter(move |operation| wanted(service, *operation));
        operations.map(|operation| args.effort.loads(operation).len())
    });
    let mut progress = Progress::new(SECTION, steps.sum());
    let (mut cells, mut failed) = (Vec::new(), Vec::new());
    for name in args.services(SECTION) {
        let service = Service::start(name, folder).await;
        machine.services.push((name.to_owned(), service.version.clone()));
        let sides = service.sides().await;
        if service.remote.as_ref().is_some_and(|remote| remote.warms_up) && args.effort != Effort::Smoke {
            warm_up(&sides).await;
        }
        for operation in Operation::ALL
            .into_iter()
            .filter(|operation| wanted(name, *operation))
        {
            for (size, tasks) in args.effort.loads(operation) {
                let row = format!("{name} {operation} of {} × {tasks}", size_name(size));
                progress.step(&row);
                let budget = args.effort.budget(name);
                let cell = compare(service.name, &sides, operation, (size, tasks), budget);
                match AssertUnwindSafe(cell).catch_unwind().await {
                    Ok(cell) => {
                        progress.say(&markdown::line(&cell));
                        cells.push(cell);
                    }
                    Err(panic) if args.effort == Effort::Smoke => resume_unwind(panic),
                    Err(_) => {
                        progress.say(&format!("{row} failed"));
                        failed.push(row);
                    }
                }
            }
        }
    }
    (cells, failed)
}

/// A server that compiles its code while it runs gets something to run.
async fn warm_up(sides: &[Arc<dyn Side>]) {
    let load = Load {
        size: 1024,
        tasks: 32,
        times: 50,
    };
    for _ in 0..4 {
        for side in sides {
            for operation in [Operation::CompareAndSet, Operation::Get] {
                if !matches!(side.does(operation, load.size), Does::Cannot(_)) {
                    timed(side.prepare(operation, load).await).await;
                }
            }
        }
    }
}
