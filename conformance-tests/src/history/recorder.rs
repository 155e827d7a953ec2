use std::sync::{Mutex, MutexGuard, PoisonError};

use statestore_api::Key;

use super::{Call, History, Operation, Outcome};

/// Where concurrent clients record what they do.
///
/// What is invoked and never completed (because its client was stopped half way) is of unknown outcome.
#[derive(Debug, Default)]
pub struct Recorder {
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    /// One for each invocation and completion; under the lock, so it agrees with real time.
    clock: u64,
    /// `None`: known to have had no effect.
    operations: Vec<Option<(Key, Operation)>>,
}

impl Log {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

/// An operation that was invoked, to be completed.
#[derive(Debug)]
#[must_use = "what is not completed is of unknown outcome"]
pub struct Invocation {
    place: usize,
    /// When, as in [`Operation::invoked`].
    pub(crate) time: u64,
}

impl Recorder {
    /// To be called before the operation is begun.
    pub fn invoke(&self, client: usize, key: &Key, call: Call) -> Invocation {
        let mut log = self.log();
        let time = log.tick();
        let operation = Operation {
            client,
            invoked: time,
            completed: None,
            call,
            outcome: Outcome::Unknown,
        };
        log.operations.push(Some((key.clone(), operation)));
        Invocation {
            place: log.operations.len() - 1,
            time,
        }
    }

    /// To be called when it was answered. Returns when that was.
    pub fn complete(&self, invocation: Invocation, outcome: Outcome) -> u64 {
        let mut log = self.log();
        let now = log.tick();
        if let Some((_, operation)) = &mut log.operations[invocation.place] {
            operation.completed = (outcome != Outcome::Unknown).then_some(now);
            operation.outcome = outcome;
        }
        now
    }

    /// To be called when it failed and is known to have had no effect, nor to have one later.
    pub fn withdraw(&self, invocation: Invocation) {
        self.log().operations[invocation.place] = None;
    }

    /// What was recorded so far.
    #[must_use]
    pub fn history(&self) -> History {
        let mut history = History::default();
        for (key, operation) in self.log().operations.iter().flatten() {
            history.push(key, operation.clone());
        }
        history
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
