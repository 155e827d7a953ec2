//! The tables of the report, each under its heading. A section that was not run leaves nothing.

use std::fmt::Write;

use super::markdown::{micros, ratio};
use super::plots::Plot;
use crate::contest::{Cell, Measured, Spread, size_name};
use crate::costs::{Connections, Cost};
use crate::growth::{Axis, Growth};
use crate::layers::Call;
use crate::memory::Held;
use crate::start::Start;

/// Writes a table of these lines of cells, the first of which are its heads.
fn table(text: &mut String, rows: impl IntoIterator<Item = Vec<String>>) {
    for (place, row) in rows.into_iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if place == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
    }
    text.push('\n');
}

fn row<T: Into<String>>(cells: impl IntoIterator<Item = T>) -> Vec<String> {
    cells.into_iter().map(Into::into).collect()
}

fn pictures<'a>(text: &mut String, plots: impl IntoIterator<Item = &'a Plot>, folder: &str) {
    for plot in plots {
        let _ = writeln!(text, "![{}]({folder}{})\n", plot.title, plot.file);
    }
}

/// The values in order of their first appearance, each once.
fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

/// What the crate is to reach beside a client that does the same work.
fn goal(service: &str) -> f64 {
    if service == "redis" { 0.9 } else { 0.95 }
}

/// How the rows of the same work are, against their goals.
pub(super) fn peers(text: &mut String, cells: &[Cell]) {
    let peers: Vec<(&Cell, &Measured)> = cells
        .iter()
        .flat_map(|cell| cell.sides.iter().map(move |side| (cell, side)))
        .filter(|(_, side)| side.is_peer)
        .collect();
    if peers.is_empty() {
        return;
    }
    text.push_str(
        "## The same work, in short\nHow many rows of ours take no longer than a client that does the same work, to the goal. A median of \
         some rounds is off by chance, so a row counts as below only if its median is, with a confidence of 95 %.\n\n",
    );
    let head = [
        "service",
        "goal",
        "rows",
        "median at the goal or above",
        "median below, maybe by chance",
        "below",
        "median of all",
    ];
    let mut below = Vec::new();
    let rows = distinct(peers.iter().map(|(cell, _)| cell.service))
        .into_iter()
        .map(|service| {
            let of: Vec<_> = peers.iter().filter(|(cell, _)| cell.service == service).collect();
            let goal = goal(service);
            let reached = of.iter().filter(|(_, side)| side.ratio.median >= goal).count();
            let sure: Vec<_> = of
                .iter()
                .filter(|(_, side)| side.ratio.median_within.1 < goal)
                .collect();
            below.extend(sure.iter().map(|(cell, side)| {
                let (low, high) = side.ratio.median_within;
                let load = format!("{} × {}", size_name(cell.size), cell.tasks);
                format!("{service} {} {load}: {low:.2} to {high:.2}", cell.operation)
            }));
            let all = Spread::of(of.iter().map(|(_, side)| side.ratio.median));
            row([
                service.to_owned(),
                format!("{goal}×"),
                of.len().to_string(),
                reached.to_string(),
                (of.len() - reached - sure.len()).to_string(),
                sure.len().to_string(),
                ratio(all),
            ])
        });
    let rows: Vec<_> = rows.collect();
    table(text, std::iter::once(row(head)).chain(rows));
    if !below.is_empty() {
        let _ = writeln!(text, "Below: {}.\n", below.join("; "));
    }
}

pub(super) fn comparisons(text: &mut String, cells: &[Cell], plots: &[Plot], folder: &str) {
    for service in distinct(cells.iter().map(|cell| cell.service)) {
        let cells: Vec<&Cell> = cells.iter().filter(|cell| cell.service == service).collect();
        let _ = writeln!(text, "## {service}: ratios\n");
        pictures(
            text,
            plots.iter().filter(|plot| plot.compares == Some(service)),
            folder,
        );
        let others = distinct(cells.iter().flat_map(|cell| {
            let able = cell.sides.iter().skip(1).map(|side| side.name.clone());
            able.chain(cell.cannot.iter().map(|(name, _)| name.clone()))
        }));
        let head = ["operation", "value × tasks", "ours"]
            .map(str::to_owned)
            .into_iter()
            .chain(others.clone());
        let rows = cells.iter().map(|cell| {
            let load = format!("{} × {}", size_name(cell.size), cell.tasks);
            let ours = cell
                .sides
                .first()
                .map(|ours| micros(ours.micros.median))
                .unwrap_or_default();
            let ratios = others.iter().map(|other| {
                let side = cell.sides.iter().find(|side| side.name == *other);
                side.map_or_else(|| "–".to_owned(), |side| ratio(side.ratio))
            });
            row([cell.operation.to_owned(), load, ours].into_iter().chain(ratios))
        });
        table(text, std::iter::once(row(head)).chain(rows));
        works(text, &cells);
    }
}

/// What each side does for each operation, and what it cannot.
fn works(text: &mut String, cells: &[&Cell]) {
    let mut lines: Vec<(String, Vec<&str>, String)> = Vec::new();
    for cell in cells {
        let does = cell
            .sides
            .iter()
            .map(|side| (side.name.clone(), side.work.clone()));
        let cannot = cell
            .cannot
            .iter()
            .map(|(name, why)| (name.clone(), format!("– ({why})")));
        for (name, what) in does.chain(cannot) {
            let line = lines
                .iter_mut()
                .find(|(other, _, work)| *other == name && *work == what);
            match line {
                Some((_, operations, _)) if operations.contains(&cell.operation) => {}
                Some((_, operations, _)) => operations.push(cell.operation),
                None => lines.push((name, vec![cell.operation], what)),
            }
        }
    }
    lines.sort_by_key(|(name, _, _)| (name != "statestore", name.clone()));
    text.push_str("The work:\n");
    for name in distinct(lines.iter().map(|(name, _, _)| name.clone())) {
        let of = lines.iter().filter(|(other, _, _)| *other == name);
        let parts: Vec<_> = of
            .map(|(_, operations, what)| format!("{}: {what}", operations.join(", ")))
            .collect();
        let _ = writeln!(text, "- **{name}**. {}.", parts.join("; "));
    }
    text.push('\n');
}

pub(super) fn costs(text: &mut String, costs: &[Cost], connections: &[Connections]) {
    if costs.is_empty() {
        return;
    }
    text.push_str(
        "## What an operation sends\nCounted by a proxy between client and server: exact, for values of 1 KB, an uncontended update, pages and \
         batches of 100, transactions of 10. Units are DynamoDB's capacity units, as DynamoDB Local reports them \
         (for a transaction the service charges two for each KB of each put, on both sides alike).\n\n",
    );
    for service in distinct(costs.iter().map(|cost| cost.service)) {
        let head = ["operation", "side", "requests", "bytes sent", "bytes received"];
        let charges = costs
            .iter()
            .any(|cost| cost.service == service && cost.units.is_some());
        let head = head.into_iter().chain(charges.then_some("units"));
        let rows = costs
            .iter()
            .filter(|cost| cost.service == service)
            .collect::<Vec<_>>();
        let mut rows = rows.into_iter().collect::<Vec<_>>();
        let order = distinct(rows.iter().map(|cost| cost.operation));
        rows.sort_by_key(|cost| order.iter().position(|operation| *operation == cost.operation));
        let rows = rows.into_iter().map(|cost| {
            let name = |(name, count): &(String, u64)| {
                let name = name.rsplit(['.', ' ']).next().unwrap_or(name);
                if name.starts_with('/') || name == "request" {
                    String::new()
                } else {
                    format!(" {name}{}", if *count % 10 == 0 { "" } else { "?" })
                }
            };
            let names: Vec<String> = cost
                .names
                .iter()
                .map(name)
                .filter(|name| !name.is_empty())
                .collect();
            let cells = [
                cost.operation.to_owned(),
                cost.side.clone(),
                format!("{}{}", number(cost.requests), names.join(",")),
                number(cost.bytes_sent),
                number(cost.bytes_received),
            ];
            row(cells
                .into_iter()
                .chain(charges.then(|| cost.units.map(number).unwrap_or_default())))
        });
        let _ = writeln!(text, "### {service}\n");
        table(text, std::iter::once(row(head)).chain(rows));
    }
    text.push_str("Connections that are open after puts by one task, and by 32 at once:\n\n");
    let rows = connections.iter().map(|open| {
        row([
            open.service.to_owned(),
            open.side.clone(),
            open.alone.to_string(),
            open.many.to_string(),
        ])
    });
    table(
        text,
        std::iter::once(row(["service", "side", "1 task", "32 tasks"])).chain(rows),
    );
}

/// Whole where it is whole.
fn number(number: f64) -> String {
    if (number - number.round()).abs() < 0.05 {
        format!("{number:.0}")
    } else {
        format!("{number:.1}")
    }
}

pub(super) fn layers(text: &mut String, calls: &[Call]) {
    if calls.is_empty() {
        return;
    }
    text.push_str(
        "## What a layer adds\nCalls of 1 KB on the store in memory, one after the other: instructions counted by valgrind's callgrind, and what \
         is allocated. These numbers hardly differ from run to run. `Observe(Retry)` is what `open` puts around a store on a network: retries, a time-out for each attempt, and spans that nobody listens to.\n\n",
    );
    let rows = calls.iter().map(|call| {
        let bare = calls
            .iter()
            .find(|bare| bare.operation == call.operation && bare.layers == "none");
        let adds = bare.and_then(|bare| Some(call.instructions? - bare.instructions?));
        row([
            call.operation.to_owned(),
            call.layers.to_owned(),
            call.instructions
                .map_or_else(|| "– (no valgrind)".to_owned(), |count| format!("{count:.0}")),
            adds.map_or_else(String::new, |count| format!("{count:+.0}")),
            format!("{:.1}", call.allocations),
            format!("{:.0}", call.bytes),
        ])
    });
    let head = row([
        "operation",
        "layers",
        "instructions",
        "more than without",
        "allocations",
        "bytes allocated",
    ]);
    table(text, std::iter::once(head).chain(rows));
}

pub(super) fn memory(text: &mut String, held: &[Held]) {
    if held.is_empty() {
        return;
    }
    text.push_str(
        "## What clients and calls hold\nBytes of the heap: of each of 20 clients that have connected and are idle, and of each of 200 gets that \
         are under way on one of them while its server does not answer.\n\n",
    );
    let rows = held.iter().map(|held| {
        let call = held.call.map_or_else(|| "–".to_owned(), |call| call.to_string());
        row([held.service.to_owned(), held.client.to_string(), call])
    });
    table(
        text,
        std::iter::once(row(["service", "idle client", "call under way"])).chain(rows),
    );
}

pub(super) fn growth(text: &mut String, growth: &Growth, plots: &[Plot], folder: &str) {
    if growth.tasks.is_empty() && growth.entries.is_empty() {
        return;
    }
    text.push_str("## How it grows\n");
    pictures(text, plots.iter().filter(|plot| plot.compares.is_none()), folder);
    for (axis, what) in [
        (
            Axis::Keys,
            "Keys in one partition, values of 100 bytes, one task, keys at random:",
        ),
        (Axis::Partitions, "Partitions with one key each:"),
    ] {
        let points: Vec<_> = growth.entries.iter().filter(|point| point.axis == axis).collect();
        let counts = distinct(points.iter().map(|point| point.entries));
        let _ = writeln!(text, "{what}\n");
        let head = ["service", "operation"]
            .map(str::to_owned)
            .into_iter()
            .chain(counts.iter().map(usize::to_string));
        let lines = distinct(points.iter().map(|point| (point.service, point.operation)));
        let rows = lines.into_iter().map(|(service, operation)| {
            let times = counts.iter().map(|count| {
                let mut of = points
                    .iter()
                    .filter(|point| (point.service, point.operation) == (service, operation));
                let point = of.find(|point| point.entries == *count);
                point.map_or_else(|| "–".to_owned(), |point| micros(point.micros.median))
            });
            row([service.to_owned(), operation.to_owned()]
                .into_iter()
                .chain(times))
        });
        table(text, std::iter::once(row(head)).chain(rows));
    }
    curves(
        text,
        "Values from 100 bytes to near each service's limit, one task: our time and the ratio.",
        &growth.sizes,
        |cell| size_name(cell.size),
    );
    curves(
        text,
        "Tasks at once, 1 KB: our time an operation, all tasks together, and the ratio.",
        &growth.tasks,
        |cell| format!("× {}", cell.tasks),
    );
}

fn curves(text: &mut String, title: &str, cells: &[Cell], head: impl Fn(&Cell) -> String) {
    let heads = distinct(cells.iter().map(&head));
    let _ = writeln!(text, "{title}\n");
    let first = ["service", "operation", "beside"]
        .map(str::to_owned)
        .into_iter()
        .chain(heads.clone());
    let lines = distinct(cells.iter().map(|cell| (cell.service, cell.operation)));
    let rows = lines.into_iter().map(|(service, operation)| {
        let of: Vec<_> = cells
            .iter()
            .filter(|cell| (cell.service, cell.operation) == (service, operation))
            .collect();
        let beside = of
            .iter()
            .find_map(|cell| cell.sides.get(1))
            .map(|side| side.name.clone())
            .unwrap_or_default();
        let times = heads.iter().map(|at| {
            let Some(cell) = of.iter().find(|cell| head(cell) == *at) else {
                return "–".to_owned();
            };
            let Some(ours) = cell.sides.iter().find(|side| side.name == "statestore") else {
                return "–".to_owned();
            };
            let ratio = cell.sides.iter().find(|side| side.name == beside);
            let ratio = ratio
                .map(|side| format!(", {:.2}×", side.ratio.median))
                .unwrap_or_default();
            format!("{}{ratio}", micros(ours.micros.median))
        });
        row([service.to_owned(), operation.to_owned(), beside.clone()]
            .into_iter()
            .chain(times))
    });
    table(text, std::iter::once(row(first)).chain(rows));
}

pub(super) fn start(text: &mut String, starts: &[Start]) {
    if starts.is_empty() {
        return;
    }
    text.push_str(
        "## Start and size\nA program with one backend alone, built for release and stripped: from the start of its process to the answers of a \
         put and a get.\n\n",
    );
    let rows = starts.iter().map(|start| {
        let millis = format!(
            "{:.1} ms ({:.1}–{:.1})",
            start.millis.median, start.millis.lower, start.millis.upper
        );
        row([
            start.service.to_owned(),
            millis,
            format!("{:.1} MB", start.bytes as f64 / 1e6),
        ])
    });
    table(
        text,
        std::iter::once(row(["backend", "start to done", "binary"])).chain(rows),
    );
}
