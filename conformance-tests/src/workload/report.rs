use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::history::Corruption;

/// How the calls of one operation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// All.
    pub calls: usize,
    /// Those that met a fault.
    pub faulted: usize,
    /// Those that were answered: with success, or by a conflict.
    pub answered: usize,
    /// Those that failed and had no effect.
    pub failed: usize,
    /// Those of unknown outcome.
    pub unknown: usize,
    /// Those of unknown outcome that had met a fault.
    pub faulted_and_unknown: usize,
}

/// What a run has done. `Display` gives a table.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// How many rounds.
    pub rounds: u64,
    /// How many operations clients did.
    pub operations: usize,
    /// How many operations on a key were recorded of them. A batch or a listing counts for each key it is about.
    pub recorded: usize,
    /// How many of those were of unknown outcome.
    pub unknown: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// How the calls of each operation ended, by its name; `compare_and_set*` are those on a version that was not read just
    /// before, but some time ago.
    pub calls: BTreeMap<&'static str, Tally>,
    /// How often all accounts were seen at one moment, by `list` and by `get_many`.
    pub audits: [usize; 2],
    /// How often a history was corrupted, and rejected, in each way.
    pub corruptions: [usize; Corruption::ALL.len()],
    /// Whether the store lists at all.
    pub(super) lists: bool,
}

impl Report {
    pub(super) fn add(&mut self, other: &Self) {
        for (name, tally) in &other.calls {
            let sum = self.calls.entry(name).or_default();
            sum.calls += tally.calls;
            sum.faulted += tally.faulted;
            sum.answered += tally.answered;
            sum.failed += tally.failed;
            sum.unknown += tally.unknown;
            sum.faulted_and_unknown += tally.faulted_and_unknown;
        }
        self.operations += other.operations;
        self.lists |= other.lists;
        for (sum, other) in self.audits.iter_mut().zip(other.audits) {
            *sum += other;
        }
    }

    /// Of the calls of this operation that met a fault, the part whose outcome is unknown, from 0 to 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "it is a rate")]
    pub fn unknown_rate(&self, operation: &str) -> f64 {
        let tally = self.calls.get(operation).copied().unwrap_or_default();
        match tally.faulted {
            0 => 0.0,
            faulted => tally.faulted_and_unknown as f64 / faulted as f64,
        }
    }

    /// A run that could not have noticed anything is a failure.
    pub(super) fn assert_told_something(&self) -> Result<(), String> {
        if let Some(place) = self.corruptions.iter().position(|count| *count == 0) {
            let corruption = Corruption::ALL[place];
            return Err(format!(
                "the run was too short or too poor: no history had room for a {corruption:?}"
            ));
        }
        if (self.lists && self.audits[0] == 0) || self.audits[1] == 0 {
            return Err("the accounts were never seen at one moment".to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} operations in {} rounds and {:.1} s, recorded as {} of one key, {} of unknown outcome: no violation; \
             {} corrupted histories rejected; the sum was right {} times by list and {} by get_many",
            self.operations,
            self.rounds,
            self.elapsed.as_secs_f64(),
            self.recorded,
            self.unknown,
            self.corruptions.iter().sum::<usize>(),
            self.audits[0],
            self.audits[1],
        )?;
        writeln!(
            f,
            "{:<16} {:>8} {:>8} {:>8} {:>8} {:>16}",
            "", "calls", "faulted", "failed", "unknown", "unknown/faulted"
        )?;
        for (name, tally) in &self.calls {
            let rate = self.unknown_rate(name) * 100.0;
            let Tally {
                calls,
                faulted,
                failed,
                unknown,
                ..
            } = tally;
            writeln!(
                f,
                "{name:<16} {calls:>8} {faulted:>8} {failed:>8} {unknown:>8} {rate:>14.2} %"
            )?;
        }
        Ok(())
    }
}
