use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::history::Corruption;

/// A compare-and-set on a version that was read just before.
pub(super) const JUST_READ: &str = "compare_and_set";
/// One on a version that was seen some time ago.
pub(super) const OLD: &str = "compare_and_set_old";

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
    /// Of the compare-and-sets of unknown outcome, those whose key was deleted meanwhile.
    pub deleted: usize,
    /// Those whose key was written meanwhile more often than its entry remembers.
    pub overwritten: usize,
    /// Those that no attempt was answered of in time.
    pub unanswered: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.faulted += other.faulted;
        self.answered += other.answered;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.faulted_and_unknown += other.faulted_and_unknown;
        self.deleted += other.deleted;
        self.overwritten += other.overwritten;
        self.unanswered += other.unanswered;
    }

    /// Of those that met a fault the part whose outcome is unknown, from 0 to 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "it is a rate")]
    pub fn unknown_rate(&self) -> f64 {
        match self.faulted {
            0 => 0.0,
            faulted => self.faulted_and_unknown as f64 / faulted as f64,
        }
    }
}

/// Why the outcome of a compare-and-set cannot be told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    Deleted,
    Overwritten,
    Unanswered,
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
    /// How the calls of each operation ended, by its name; `compare_and_set` are those on a version that was read just before,
    /// `compare_and_set_old` those on one that was read some time ago.
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
            self.calls.entry(name).or_default().add(tally);
        }
        self.operations += other.operations;
        self.lists |= other.lists;
        for (sum, other) in self.audits.iter_mut().zip(other.audits) {
            *sum += other;
        }
    }

    /// The compare-and-sets on a version that was read just before: what a caller does who reads, changes and writes.
    #[must_use]
    pub fn matches_just_read(&self) -> Tally {
        self.calls.get(JUST_READ).copied().unwrap_or_default()
    }

    /// The same with those on a version that was read some time ago, which others may have replaced any number of times before
    /// the call was made.
    #[must_use]
    pub fn matches(&self) -> Tally {
        let mut sum = self.matches_just_read();
        sum.add(&self.calls.get(OLD).copied().unwrap_or_default());
        sum
    }

    pub(super) fn doubt(&mut self, operation: &'static str, why: Why) {
        let tally = self.calls.entry(operation).or_default();
        match why {
            Why::Deleted => tally.deleted += 1,
            Why::Overwritten => tally.overwritten += 1,
            Why::Unanswered => tally.unanswered += 1,
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
            "{:<20} {:>8} {:>8} {:>8} {:>8} {:>16}",
            "", "calls", "faulted", "failed", "unknown", "unknown/faulted"
        )?;
        for (name, tally) in &self.calls {
            let rate = tally.unknown_rate() * 100.0;
            let Tally {
                calls,
                faulted,
                failed,
                unknown,
                ..
            } = tally;
            writeln!(
                f,
                "{name:<20} {calls:>8} {faulted:>8} {failed:>8} {unknown:>8} {rate:>14.2} %"
            )?;
        }
        let matches = [
            ("a version just read", self.matches_just_read()),
            ("any version", self.matches()),
        ];
        for (what, tally) in matches {
            writeln!(
                f,
                "of {} compare-and-sets on {what} that met a fault {} are of unknown outcome ({:.2} %); of all, because the key \
                 was deleted meanwhile {}, written more often than it remembers {}, no answer came in time {}",
                tally.faulted,
                tally.faulted_and_unknown,
                tally.unknown_rate() * 100.0,
                tally.deleted,
                tally.overwritten,
                tally.unanswered,
            )?;
        }
        Ok(())
    }
}
