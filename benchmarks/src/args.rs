//! What is asked for on the command line.

use std::time::Duration;

use crate::contest::{Budget, Operation};
use crate::services::Service;

pub(crate) const USAGE: &str = "\
usage: scripts/bench [--quick | --smoke] [--write-docs] [FILTER]

Measures statestore beside the SDKs and stores that it is built on, and beside crates that one might take instead.
Prints a table and writes target/bench/report.md, report.json and plots.

  --quick       1 KB values from 1 and 32 tasks, in short turns: at most 6 minutes, instead of 40
  --smoke       everything once: whether it works, not how fast it is
  --write-docs  write the report to docs/benchmarks.md too
  FILTER        only what has this in its name, such as `redis`, `compare/redis/get`, `costs`, `layers`, `growth`, `start`
";

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Full,
    Quick,
    Smoke,
}

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) effort: Effort,
    pub(crate) write_docs: bool,
    pub(crate) filter: Option<String>,
}

impl Args {
    /// `Err`: what is wrong.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            effort: Effort::Full,
            write_docs: false,
            filter: None,
        };
        for argument in arguments {
            match argument.as_str() {
                "--quick" => args.effort = Effort::Quick,
                "--smoke" => args.effort = Effort::Smoke,
                "--write-docs" => args.write_docs = true,
                option if option.starts_with('-') => return Err(format!("there is no option `{option}`")),
                filter if args.filter.is_none() => args.filter = Some(filter.to_owned()),
                more => return Err(format!("`{more}`: one filter will do")),
            }
        }
        Ok(args)
    }

    pub(crate) fn command(&self) -> String {
        let effort = match self.effort {
            Effort::Full => "",
            Effort::Quick => " --quick",
            Effort::Smoke => " --smoke",
        };
        let filter = self
            .filter
            .as_ref()
            .map(|filter| format!(" {filter}"))
            .unwrap_or_default();
        format!("scripts/bench{effort}{filter}")
    }

    /// Whether what has this name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| name.contains(filter.as_str()))
    }

    /// Whether anything of a service is wanted in this section.
    pub(crate) fn wants_any(&self, section: &str, service: &str) -> bool {
        Operation::ALL
            .iter()
            .any(|operation| self.wants(&format!("{section}/{service}/{operation}")))
    }

    pub(crate) fn services(&self, section: &str) -> impl Iterator<Item = &'static str> {
        Service::NAMES
            .into_iter()
            .filter(move |service| self.wants_any(section, service))
    }
}

impl Effort {
    /// How long each side is measured for a row.
    pub(crate) fn budget(self, service: &str) -> Budget {
        let (millis, rounds) = match (self, service) {
            (Self::Full, "memory") => (220, 11),
            (Self::Full, _) => (600, 11),
            (Self::Quick, "memory") => (90, 9),
            (Self::Quick, _) => (450, 9),
            (Self::Smoke, _) => (0, 1),
        };
        Budget {
            side: Duration::from_millis(millis),
            rounds,
            peer_rounds: if self == Self::Full { 3 * rounds } else { rounds },
        }
    }

    /// The values' sizes and the tasks that an operation is compared at.
    pub(crate) fn loads(self, operation: Operation) -> Vec<(usize, usize)> {
        let sizes: &[usize] = match self {
            Self::Full if operation == Operation::Update => &[1024],
            Self::Full => &[100, 1024, 100 * 1024],
            Self::Quick | Self::Smoke => &[1024],
        };
        let tasks: &[usize] = match self {
            Self::Smoke => &[2],
            _ if operation == Operation::Update => &[8, 32],
            Self::Full if !operation.is_wide() => &[1, 32, 256],
            _ => &[1, 32],
        };
        sizes
            .iter()
            .flat_map(|size| tasks.iter().map(|tasks| (*size, *tasks)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Args, String> {
        Args::parse(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn a_filter_takes_what_has_it_in_its_name() {
        let args = parse(&["--quick", "compare/redis/get"]).unwrap();
        assert_eq!(args.effort, Effort::Quick);
        assert_eq!(args.services("compare").collect::<Vec<_>>(), ["redis"]);
        assert_eq!(args.services("costs").count(), 0);
        assert!(args.wants("compare/redis/get_many"));
        assert!(parse(&[]).unwrap().wants("anything"));
        assert_eq!(args.command(), "scripts/bench --quick compare/redis/get");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse(&["--fast"]).unwrap_err().contains("no option `--fast`"));
        assert!(parse(&["redis", "memory"]).unwrap_err().contains("one filter"));
    }
}
