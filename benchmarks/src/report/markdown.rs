//! The report as text.

use std::fmt::Write;

use super::Report;
use super::plots::Plot;
use super::tables;
use crate::contest::{Cell, Spread, size_name};

const HOW_TO_READ: &str = "\
## How to read it
- **A ratio is the other's time by ours, in the same round**: 1.00× is as fast as the other, 2.00× is twice as fast as it, \
0.50× half as fast. Rounds alternate, in changing order, in one process on one server, so that whatever else the machine does is \
shared by both sides. Shown is the median of the rounds, and in brackets the quartiles: where they are on both sides of 1, \
there is no difference to speak of.
- Absolute times are of this machine and of these test servers, on loopback: read them as an order of magnitude alone. A real \
service adds its network and its disks to both sides alike, which brings every ratio nearer to 1.
- Ours is what `statestore::open` gives, with its retries and time-outs. Each row's work is said below its table.
- **A column called `the store's requests` or `the store's script` does the same work**: the raw client sends what the store sends, so \
that the ratio is what the crate costs; the two of them are measured in up to three times as many rounds. `the store's entities` stores the same, by requests of the client's own. Any other column is written as one would who knows that client well; where it does less work, \
it is said what it leaves out, and the ratio is also what that costs at the service.
- `× 32` is 32 tasks at once on one client. Values are JSON text.
- A dash is what the other cannot do; the reason is below the table.
";

pub(crate) fn text(report: &Report, title: &str, plots: &[Plot], folder: &str) -> String {
    let mut text = format!("# {title}\n\n");
    let machine = &report.machine;
    let _ = writeln!(
        text,
        "What the crate costs over the SDKs and stores that it is built on, and beside what one might take instead. Made by \
         `{} --write-docs` on {}; run it for numbers of your machine.\n",
        report.command, machine.date
    );
    text.push_str(HOW_TO_READ);
    let _ = writeln!(
        text,
        "\n## The machine\n{}, {} cores, {} GiB, {}, {} on the disk, {}. Load before the start: {}.\n",
        machine.cpu,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.disk,
        machine.rust,
        machine.load_before
    );
    let list = |pairs: &[(String, String)]| {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        pairs.join(", ")
    };
    let _ = writeln!(text, "Crates: {}.\n", list(&machine.crates));
    if !machine.services.is_empty() {
        let services: Vec<_> = machine
            .services
            .iter()
            .map(|(name, what)| format!("{name} on {what}"))
            .collect();
        let _ = writeln!(text, "Services: {}.\n", services.join("; "));
    }
    tables::peers(&mut text, &report.comparisons);
    tables::comparisons(&mut text, &report.comparisons, plots, folder);
    if !report.failed.is_empty() {
        let _ = writeln!(
            text,
            "Rows that failed, and are missing above: {}.\n",
            report.failed.join("; ")
        );
    }
    tables::costs(&mut text, &report.costs, &report.connections);
    tables::layers(&mut text, &report.layers);
    tables::memory(&mut text, &report.memory);
    tables::growth(&mut text, &report.growth, plots, folder);
    tables::start(&mut text, &report.start);
    text
}

/// One row, short: for the terminal.
pub(crate) fn line(cell: &Cell) -> String {
    let mut line = format!(
        "{:<11} {:<16} {:>7} × {:<4}",
        cell.service,
        cell.operation,
        size_name(cell.size),
        cell.tasks
    );
    for (place, side) in cell.sides.iter().enumerate() {
        let _ = if place == 0 {
            write!(line, "{:>9}", micros(side.micros.median))
        } else {
            write!(line, "  {} {}", side.name, ratio(side.ratio))
        };
    }
    line
}

/// `1.03× (0.98–1.10)`.
pub(crate) fn ratio(spread: Spread) -> String {
    format!("{:.2}× ({:.2}–{:.2})", spread.median, spread.lower, spread.upper)
}

/// `1.3 µs`, `2.4 ms`.
pub(crate) fn micros(micros: f64) -> String {
    match micros {
        ..1.0 => format!("{:.0} ns", micros * 1e3),
        1.0..10.0 => format!("{micros:.2} µs"),
        10.0..1000.0 => format!("{micros:.0} µs"),
        1000.0..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}
