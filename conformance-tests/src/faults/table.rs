//! The outcomes as a table in Markdown, and a check that it is as the documentation has it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use futures::stream::{self, StreamExt as _};

use super::FaultSubject;

/// Set to write the table instead of checking it.
const WRITE: &str = "STATESTORE_WRITE_FAULT_TABLE";

/// How many cases to run at once.
const AT_ONCE: usize = 12;

const HEAD: &str = "<!-- the table: made by the fault tests, with STATESTORE_WRITE_FAULT_TABLE=1 -->";

macro_rules! case_names {
    ($($scenario:ident { $($operation:ident)+ })+) => {
        /// Every case there is, scenario by scenario.
        const CASES: &[(&str, &[&str])] = &[$((stringify!($scenario), &[$(stringify!($operation)),+])),+];
    };
}

crate::__fault_cases!(case_names,);

/// The outcomes, by scenario, operation and backend.
type Cells = BTreeMap<(String, String, String), String>;

/// Runs every case on a backend, and checks that the table in `file` has its outcomes. With
/// `STATESTORE_WRITE_FAULT_TABLE` set it writes them into it instead.
///
/// # Panics
/// When the table is not current, or a case fails.
pub async fn check(subject: impl AsyncFn() -> FaultSubject, file: &Path) {
    // Several backends of one process may be at it at once.
    static FILE: Mutex<()> = Mutex::new(());

    let cases = CASES.iter().flat_map(|(scenario, operations)| {
        let operations = operations.iter();
        operations.map(move |operation| (*scenario, *operation))
    });
    let subject = &subject;
    let cells: Vec<_> = stream::iter(cases)
        .map(|(scenario, operation)| async move {
            let subject = subject().await;
            let cell = super::check(&subject, scenario, operation).await;
            (scenario, operation, cell)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let first = subject().await;
    let backend = first.direct().await.capabilities().backend.to_owned();

    let _lock = FILE.lock();
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (intro, mut documented) = read(&text);
    let current = cells.into_iter().map(|(scenario, operation, cell)| {
        ((scenario.to_owned(), operation.to_owned(), backend.clone()), cell)
    });
    let current: Cells = current.collect();
    if std::env::var_os(WRITE).is_some() {
        documented.retain(|(.., other), _| *other != backend);
        documented.extend(current);
        let written = std::fs::write(file, write(intro, &documented));
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        return;
    }
    documented.retain(|(.., other), _| *other == backend);
    let mut diff = String::new();
    for ((scenario, operation, _), cell) in &current {
        let there = documented.remove(&(scenario.clone(), operation.clone(), backend.clone()));
        if there.as_ref() != Some(cell) {
            let there = there.unwrap_or_else(|| "nothing".to_owned());
            let _ = writeln!(
                diff,
                "{scenario}, {operation}: is `{cell}`, the table has `{there}`"
            );
        }
    }
    for (scenario, operation, _) in documented.keys() {
        let _ = writeln!(diff, "{scenario}, {operation}: is no case any more");
    }
    assert!(
        diff.is_empty(),
        "{} is not current for {backend}; run the test again with {WRITE}=1:\n{diff}",
        file.display()
    );
}

fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

/// What stands before the table, and the table.
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
    for (scenario, operations) in CASES {
        let title = spoken(scenario);
        let (first, rest) = title.split_at(1);
        let _ = writeln!(text, "\n### {}{rest}\n", first.to_uppercase());
        let heads: String = backends.iter().map(|backend| format!(" {backend} |")).collect();
        let _ = writeln!(text, "| operation |{heads}");
        let _ = writeln!(text, "|---|{}", "---|".repeat(backends.len()));
        for operation in *operations {
            let cell = |backend: &&String| {
                let place = (
                    (*scenario).to_owned(),
                    (*operation).to_owned(),
                    (*backend).clone(),
                );
                let cell = cells.get(&place).map_or("–", String::as_str);
                format!(" {cell} |")
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
        for (scenario, operations) in CASES {
            for operation in *operations {
                for backend in ["redis", "dynamodb"] {
                    let place = (
                        (*scenario).to_owned(),
                        (*operation).to_owned(),
                        backend.to_owned(),
                    );
                    cells.insert(place, format!("{backend}, then ok"));
                }
            }
        }
        let text = write("# Faults\n\n", &cells);
        let (intro, again) = read(&text);
        assert_eq!(intro, "# Faults\n\n");
        assert_eq!(again, cells);
    }

    #[test]
    fn every_case_is_of_a_known_scenario_and_operation() {
        for (scenario, operations) in CASES {
            assert!(
                super::super::SCENARIOS
                    .iter()
                    .any(|known| known.name == *scenario)
            );
            for operation in *operations {
                let known = super::super::Operation::ALL.iter();
                assert!(known.clone().any(|(name, _)| name == operation), "{operation}");
            }
        }
        assert_eq!(CASES.len(), super::super::SCENARIOS.len());
    }
}
