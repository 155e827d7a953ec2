//! How far it is, on the terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

/// Counts steps, of which the number is known.
pub(crate) struct Progress {
    section: &'static str,
    steps: usize,
    done: usize,
    start: Instant,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(section: &'static str, steps: usize) -> Self {
        Self {
            section,
            steps,
            done: 0,
            start: Instant::now(),
            terminal: stderr().is_terminal(),
        }
    }

    /// The next step begins.
    pub(crate) fn step(&mut self, what: &str) {
        let left = match (self.start.elapsed().as_secs_f64(), self.done) {
            (_, 0) => String::new(),
            (spent, done) => {
                let seconds = (spent / done as f64 * (self.steps - done.min(self.steps)) as f64) as u64;
                format!(", {}:{:02} left", seconds / 60, seconds % 60)
            }
        };
        self.done += 1;
        let line = format!("{} {}/{}{left}: {what}", self.section, self.done, self.steps);
        if self.terminal {
            eprint!("\r\x1b[2K{line}");
        } else if self.done == 1 || self.done.is_multiple_of(25) || self.done == self.steps {
            eprintln!("{line}");
        }
        let _ = stderr().flush();
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        eprint!("{clear}");
        println!("{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[2K");
        }
    }
}
