use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use statestore_api::{Resolution, StateStore, Version};

use super::operation::{Answer, Trial, Word};
use super::subject::UNHURRIED;
use super::{FaultSubject, Meanwhile, Operation, SCENARIOS, Scenario, table};
use crate::expect::ok;
use crate::proxy::Fault;

/// Runs the cases of a scenario, each on a subject of its own, and checks the rows of the table in `file` that are about
/// them, or writes them.
///
/// # Panics
/// When the store does not answer as the contract demands, or the table is not current.
pub async fn check(subject: impl AsyncFn() -> FaultSubject, scenario: &str, file: &Path) {
    let scenario = SCENARIOS.iter().find(|known| known.name == scenario);
    let scenario = scenario.expect("the macro names those that there are");
    let cells = Operation::ALL
        .into_iter()
        .filter(|(name, _)| scenario.operations.contains(name))
        .map(async |(name, operation)| {
            let subject = subject().await;
            let direct = subject.direct().await;
            let mut case = Case {
                subject: &subject,
                scenario,
                operation,
                direct: &*direct,
                patience: UNHURRIED,
                what: format!("{}, {name}", scenario.name),
            };
            case.find_patience().await;
            let cell = case.by_hand().await;
            if matches!(scenario.meanwhile, Meanwhile::Nothing) {
                case.by_retry().await;
            }
            (name, cell)
        });
    let cells = join_all(cells).await;
    let backend = subject().await.direct().await.capabilities().backend;
    table::check(file, backend, scenario, &cells);
}

struct Case<'a> {
    subject: &'a FaultSubject,
    scenario: &'a Scenario,
    operation: Operation,
    direct: &'a dyn StateStore,
    /// How long the store under test waits for an answer.
    patience: Duration,
    what: String,
}

/// What is there after an attempt.
struct State {
    applied: bool,
    versions: Vec<Option<Version>>,
}

impl Case<'_> {
    async fn prepare(&self) -> Trial {
        ok(&self.what, Trial::prepare(self.operation, self.direct).await)
    }

    async fn state(&self, trial: &Trial) -> State {
        let (applied, versions) = ok(&self.what, trial.applied(self.direct).await);
        State { applied, versions }
    }

    /// Where the client is to give up, it waits ten times as long as the operation takes.
    async fn find_patience(&mut self) {
        if !matches!(self.fault(), Fault::Stall(_) | Fault::Late(_)) {
            return;
        }
        let store = self.subject.store(UNHURRIED, false).await;
        let mut took = Duration::ZERO;
        // The first may have to connect, and to load scripts; a cold server takes longer than a warm one.
        for _ in 0..4 {
            let start = Instant::now();
            self.rehearse(&*store).await;
            took = start.elapsed();
        }
        self.patience = (took * 10).clamp(Duration::from_millis(600), Duration::from_secs(6));
    }

    fn fault(&self) -> Fault {
        (self.scenario.fault)(self.patience)
    }

    /// Does the operation on other keys, and returns how many requests it took.
    async fn rehearse(&self, store: &dyn StateStore) -> u64 {
        loop {
            let rehearsal = self.prepare().await;
            let before = self.subject.proxy.counts();
            let answers = rehearsal.send(store, 0, &[]).await;
            let requests = (self.subject.proxy.counts() - before).requests;
            rehearsal.clean_up(self.direct).await;
            match Word::of(&answers) {
                Word::Ok => return requests,
                // A moment in which the machine had other things to do.
                Word::Unknown | Word::NotApplied => {}
                word => panic!("{}: {word:?} without a fault", self.what),
            }
        }
    }

    /// Has the next operation of `store` meet the fault, at its last request: where it needs several, that is the one
    /// that changes something.
    async fn arm(&self, store: &dyn StateStore) -> Fault {
        let fault = self.fault();
        self.rehearse(store).await;
        let requests = usize::try_from(self.rehearse(store).await).unwrap_or(usize::MAX);
        if fault != Fault::Refuse {
            let passed = std::iter::repeat_n(Fault::Delay(Duration::ZERO), requests.saturating_sub(1));
            self.subject.proxy.inject(passed);
        }
        self.subject.proxy.inject([fault]);
        fault
    }

    /// A store for which the fault is armed.
    async fn armed(&self, retries: bool) -> (std::sync::Arc<dyn StateStore>, Fault) {
        let patience = self.patience;
        let store = self.subject.store(patience, retries).await;
        let fault = self.arm(&*store).await;
        match fault {
            // Which has to connect.
            Fault::Refuse => (self.subject.store(patience, retries).await, fault),
            _ => (store, fault),
        }
    }

    /// The attempts one by one, as `Retry` makes them.
    async fn by_hand(&self) -> String {
        let (store, fault) = self.armed(false).await;
        let trial = self.prepare().await;
        let answers = trial.send(&*store, 0, &[]).await;
        let first = Word::of(&answers);
        assert_eq!(
            self.subject.proxy.injected(),
            0,
            "{}: the fault was not met",
            self.what
        );
        let after_first = self.state(&trial).await;
        self.judge_first(fault, first, &after_first);
        let cell = match self.scenario.meanwhile {
            Meanwhile::Crash => {
                drop(store);
                self.resolve(&trial, first, &after_first).await
            }
            _ if first == Word::Ok => {
                self.assert_versions(&answers, &after_first);
                "ok".to_owned()
            }
            _ => self.send_again(&*store, &trial, answers, &after_first).await,
        };
        trial.clean_up(self.direct).await;
        cell
    }

    fn judge_first(&self, fault: Fault, first: Word, after: &State) {
        let what = &self.what;
        let reads = self.operation == Operation::Get;
        let applied = match fault {
            Fault::Delay(_) | Fault::Throttle(_) => {
                assert_eq!(first, Word::Ok, "{what}");
                true
            }
            Fault::LoseReply | Fault::CutReply | Fault::Stall(_) => {
                assert!(reads || first == Word::Unknown, "{what}: {first:?}");
                true
            }
            Fault::Late(_) => {
                assert!(reads || first == Word::Unknown, "{what}: {first:?}");
                false
            }
            Fault::Refuse | Fault::CutRequest => {
                let honest = matches!(first, Word::Unknown | Word::NotApplied);
                // Who was not answered at all may have connected again by himself.
                assert!(
                    reads || honest || (first == Word::Ok && after.applied),
                    "{what}: {first:?}"
                );
                first == Word::Ok
            }
        };
        assert!(
            reads || after.applied == applied || self.operation == Operation::Batch,
            "{what}"
        );
    }

    /// Lets happen what happens meanwhile, and sends the write again.
    async fn send_again(
        &self,
        store: &dyn StateStore,
        trial: &Trial,
        mut answers: Vec<Answer>,
        after_first: &State,
    ) -> String {
        let (what, first) = (&self.what, Word::of(&answers));
        let remembered = store.capabilities().remembered_writes;
        let others = match self.scenario.meanwhile {
            Meanwhile::Writes(times) => {
                let times = times(remembered);
                ok(what, trial.others_write(self.direct, times).await);
                times
            }
            Meanwhile::Deletes => {
                ok(what, trial.others_delete(self.direct).await);
                0
            }
            _ => 0,
        };
        let theirs = self.state(trial).await;
        // A server that is slow, or a connection that takes time to notice, may need more than one.
        let mut number = 0;
        let second = loop {
            number += 1;
            answers = trial.send(store, number, &answers).await;
            match Word::of(&answers) {
                Word::Unknown | Word::NotApplied if number < 10 => {}
                word => break word,
            }
        };
        let after = self.state(trial).await;
        let again = self.judge_second(after_first, &theirs, &after, second, &answers, others, remembered);

        let late = self.comes_late(store, trial, &after).await;
        let again = if again || late { ", applied again" } else { "" };
        format!("{}, then {}{again}", first.text(), second.text())
    }

    /// Whether the answer is the one that the contract demands. Returns whether the write was applied for a second
    /// time, which is allowed where it has no condition that would forbid it.
    #[allow(clippy::too_many_arguments, reason = "all that there is to judge by")]
    fn judge_second(
        &self,
        first: &State,
        theirs: &State,
        after: &State,
        second: Word,
        answers: &[Answer],
        others: usize,
        remembered: usize,
    ) -> bool {
        use Operation::{Create, Delete, DeleteAlways, Get, Put};
        let (what, op) = (&self.what, self.operation);
        let deleted = matches!(self.scenario.meanwhile, Meanwhile::Deletes);
        let undisturbed = others == 0 && !deleted;
        let conditional = !matches!(op, Put | DeleteAlways);
        let told = || matches!(second, Word::Ok | Word::Indeterminate);
        match (first.applied, op) {
            (_, Get) => assert_eq!(second, Word::Ok, "{what}"),
            // Nobody else was there: it is applied once, and only of a delete that finds nothing it may be unclear by whom.
            (true, Delete) => assert!(told(), "{what}: {second:?}"),
            // Where one connection carries both attempts in their order, the late one comes first.
            (false, Delete) if undisturbed && matches!(self.fault(), Fault::Late(_)) => {
                assert!(told(), "{what}: {second:?}");
            }
            _ if undisturbed => {
                assert_eq!(second, Word::Ok, "{what}");
                self.assert_versions(answers, after);
                if first.applied && op != DeleteAlways {
                    assert_eq!(after.versions, first.versions, "{what}: it was applied again");
                }
            }
            // Nothing there remembers it. (A create may be applied again, and a put too.)
            (true, _) if deleted || others > remembered => assert!(told(), "{what}: {second:?}"),
            (true, _) => {
                assert_eq!(second, Word::Ok, "{what}: the entry remembers it");
                let answered = answers
                    .iter()
                    .map(|answer| answer.as_ref().ok().cloned().flatten());
                let answered: Vec<_> = answered.collect();
                assert_eq!(answered[0], first.versions[0], "{what}: its own version");
            }
            // It was never applied, and another was first.
            (false, Create) => assert!(
                matches!(second, Word::Conflict | Word::Indeterminate),
                "{what}: {second:?}"
            ),
            (false, Put | DeleteAlways) => assert_eq!(second, Word::Ok, "{what}"),
            (false, _) => assert_eq!(
                second,
                Word::Conflict,
                "{what}: another was first, as the entry shows"
            ),
        }
        let again = first.applied && second == Word::Ok && after.versions != theirs.versions;
        assert!(
            !again || !conditional || (op == Create && deleted),
            "{what}: it was applied again"
        );
        if conditional && !undisturbed && !again {
            assert_eq!(
                after.versions, theirs.versions,
                "{what}: what others wrote is there"
            );
        }
        again
    }

    /// What another process finds out about the write.
    async fn resolve(&self, trial: &Trial, first: Word, after: &State) -> String {
        let another = self.subject.store(UNHURRIED, false).await;
        let resolution = ok(&self.what, trial.resolve(&*another).await);
        let text = match &resolution {
            Resolution::Applied(version) => {
                assert!(after.applied, "{}: {resolution:?}", self.what);
                assert_eq!(Some(version), after.versions[0].as_ref(), "{}", self.what);
                "applied"
            }
            Resolution::NotApplied => {
                assert!(!after.applied, "{}: {resolution:?}", self.what);
                "not applied"
            }
            Resolution::Unknown => "cannot be told",
        };
        let known = match (after.applied, self.operation) {
            // There is no entry, or none that says anything.
            (true, Operation::Delete) | (false, Operation::Create | Operation::Put) => true,
            _ => resolution != Resolution::Unknown,
        };
        assert!(known, "{}: what is there tells it", self.what);
        format!("{}, then {text}", first.text())
    }

    /// What is still under way arrives now, and changes nothing, unless it is a put that looks at nothing. Returns whether it did.
    async fn comes_late(&self, store: &dyn StateStore, trial: &Trial, before: &State) -> bool {
        self.subject.proxy.settled().await;
        let settled = self.state(trial).await.versions;
        let late = settled != before.versions;
        let blind = matches!(self.operation, Operation::Put) && store.capabilities().blind_puts_forget;
        assert!(
            !late || blind,
            "{}: what came late changed something: {settled:?}, not {:?}",
            self.what,
            before.versions
        );
        late
    }

    /// The versions that were answered are those that are there.
    fn assert_versions(&self, answers: &[Answer], state: &State) {
        for (answer, there) in answers.iter().zip(&state.versions) {
            if let Ok(version) = answer {
                assert_eq!(version, there, "{}: the version that was answered", self.what);
            }
        }
    }

    /// One call of a store that tries again by itself.
    async fn by_retry(&self) {
        let (store, _) = self.armed(true).await;
        let trial = self.prepare().await;
        let answers = trial.send(&*store, 0, &[]).await;
        let word = Word::of(&answers);
        let doubtful = self.operation == Operation::Delete && word == Word::Indeterminate;
        assert!(
            word == Word::Ok || doubtful,
            "{}, with retries: {answers:?}",
            self.what
        );
        let state = self.state(&trial).await;
        assert!(state.applied, "{}, with retries", self.what);
        self.assert_versions(&answers, &state);
        self.comes_late(&*store, &trial, &state).await;
        trial.clean_up(self.direct).await;
    }
}
