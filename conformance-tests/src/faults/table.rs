//! The outcomes as a table in Markdown, one for each scenario, with a row for each operation and a column for each backend.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use super::{SCENARIOS, Scenario};

/// Set to write the table instead of checking it; to `add`, to add what this run finds to what is there: a client that reconnects
/// by itself may come early or late.
const WRITE: &str = "STATESTORE_WRITE_FAULT_TABLE";

/// What stands between the outcomes of a cell that has several.
const OR: &str = " or ";

/// What stands before the tables in the file.
const HEAD: &str = "<!-- Made by the fault tests, with STATESTORE_WRITE_FAULT_TABLE=1 -->";

/// The outcomes, by scenario, operation and backend.
type Cells = BTreeMap<(String, String, String), String>;

/// Checks that the table has these outcomes of a scenario, by operation, or writes them into it.
pub(super) fn check(file: &Path, backend: &str, scenario: &Scenario, cells: &[(&str, String)]) {
    // The scenarios of all backends may be at it at once.
    static FILE: Mutex<()> = Mutex::new(());
    let _lock = FILE.lock();
    let name = file.display();
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (intro, mut documented) = read(&text);
    let place = |operation: &str| (scenario.name.to_owned(), operation.to_owned(), backend.to_owned());
    let has = |there: &str, cell: &str| there.split(OR).any(|outcome| outcome == cell);
    if let Some(how) = std::env::var_os(WRITE) {
        for (operation, cell) in cells {
            let there = documented.entry(place(operation)).or_default();
            if there.is_empty() || how != "add" {
                there.clone_from(cell);
            } else if !has(there, cell) {
                *there = format!("{there}{OR}{cell}");
            }
        }
        let written = std::fs::write(file, write(intro, &documented));
        return written.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let mut diff = String::new();
    for (operation, cell) in cells {
        let there = documented
            .get(&place(operation))
            .map_or("nothing", String::as_str);
        if !has(there, cell) {
            let _ = writeln!(
                diff,
                "{}, {operation}: is `{cell}`, the table has `{there}`",
                scenario.name
            );
        }
    }
    assert!(
        diff.is_empty(),
        "{name} is not current for {backend}; run the tests again with {WRITE}=1:\n{diff}"
    );
}

fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

/// What stands before the tables, and what is in them.
fn read(text: &str) -> (&str, Cells) {
    let (intro, tables) = text.split_once(HEAD).unwrap_or((text, ""));
    let mut cells = Cells::new();
    let (mut scenario, mut backends): (String, Vec<&str>) = (String::new(), Vec::new());
    for line in tables.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            scenario = name.to_lowercase().replace(' ', "_");
            backends.clear();
        } else if let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) {
            let mut row = row.split(" | ");
            let operation = row.next().unwrap_or_default().replace(' ', "_");
            if backends.is_empty() {
                backends = row.collect();
                continue;
            }
            for (backend, cell) in backends.iter().zip(row) {
                let place = (scenario.clone(), operation.clone(), (*backend).to_owned());
                cells.insert(place, cell.to_owned());
            }
        }
    }
    (intro, cells)
}

fn write(intro: &str, cells: &Cells) -> String {
    let mut backends: Vec<&String> = cells.keys().map(|(.., backend)| backend).collect();
    backends.sort_unstable();
    backends.dedup();
    let mut text = format!("{intro}{HEAD}\n");
    for Scenario { name, operations, .. } in SCENARIOS {
        let title = spoken(name);
        let (first, rest) = title.split_at(1);
        let _ = writeln!(text, "\n### {}{rest}\n", first.to_uppercase());
        let heads: String = backends.iter().map(|backend| format!(" {backend} |")).collect();
        let _ = writeln!(text, "| operation |{heads}");
        let _ = writeln!(text, "|---|{}", "---|".repeat(backends.len()));
        for operation in *operations {
            let cell = |backend: &&String| {
                let place = ((*name).to_owned(), (*operation).to_owned(), (*backend).clone());
                format!(" {} |", cells.get(&place).map_or("–", String::as_str))
            };
            let row: String = backends.iter().map(cell).collect();
            let _ = writeln!(text, "| {} |{row}", spoken(operation));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut cells = Cells::new();
        for Scenario { name, operations, .. } in SCENARIOS {
            for operation in *operations {
                for backend in ["redis", "dynamodb"] {
                    let place = ((*name).to_owned(), (*operation).to_owned(), backend.to_owned());
                    cells.insert(place, format!("{backend}, then ok"));
                }
            }
        }
        let text = write("# Faults\n\n", &cells);
        assert_eq!(read(&text), ("# Faults\n\n", cells));
    }

    #[test]
    fn every_operation_of_a_scenario_is_one() {
        for operation in SCENARIOS.iter().flat_map(|scenario| scenario.operations) {
            let known = super::super::Operation::ALL;
            assert!(known.iter().any(|(name, _)| name == operation), "{operation}");
        }
    }
}
