//! The history checker: what is linearizable it accepts, and what is not it rejects.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use fastrand::Rng;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use statestore_api::{Key, Version};
use statestore_conformance::history::{
    Bound, Call, Corruption, History, Operation, Outcome, Recorder, Seen, Verdict, Violation, check,
    check_key,
};

fn key() -> Key {
    "p/k".parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// One operation a line: `client invoked completed call -> outcome`, where `_` is no completion.
fn history(text: &str) -> History {
    let mut history = History::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let arrow = words.iter().position(|word| *word == "->").unwrap();
        let seen = |words: &[&str]| match words {
            ["nothing"] => None,
            [value, of] => Some(Seen {
                value: value.parse().unwrap(),
                version: version(of),
            }),
            other => panic!("{other:?}"),
        };
        let call = match words[3..arrow] {
            ["get"] => Call::Get,
            ["create", value] => Call::Put {
                value: value.parse().unwrap(),
                expected: None,
            },
            ["cas", from, value] => Call::Put {
                value: value.parse().unwrap(),
                expected: Some(version(from)),
            },
            ["delete", from] => Call::Delete {
                expected: version(from),
            },
            ref other => panic!("{other:?}"),
        };
        let outcome = match &words[arrow + 1..] {
            ["unknown"] => Outcome::Unknown,
            ["ok"] => Outcome::Deleted,
            ["conflict"] => Outcome::Refused(None),
            ["conflict", current @ ..] => Outcome::Refused(Some(seen(current))),
            read if call == Call::Get => Outcome::Read(seen(read)),
            [made] => Outcome::Written(version(made)),
            other => panic!("{other:?}"),
        };
        let operation = Operation {
            client: words[0].parse().unwrap(),
            invoked: words[1].parse().unwrap(),
            completed: words[2].parse().ok(),
            call,
            outcome,
        };
        history.push(&key(), operation);
    }
    history
}

fn accept(text: &str) {
    check(&history(text), Bound::default()).assert_linearizable();
}

/// What it says, and the times of invocation of the part it shows.
fn reject(text: &str) -> (String, Vec<u64>) {
    let violation = check(&history(text), Bound::default()).violation().expect(text);
    let part = violation.part.iter().map(|operation| operation.invoked);
    (violation.rule.clone(), part.collect())
}

const NO_ORDER: &str = "there is no order in which these could have happened";

mod accepted {
    use super::*;

    #[test]
    fn nothing_at_all() {
        accept("");
    }

    #[test]
    fn one_after_the_other() {
        accept(
            "0 1 2   get -> nothing
             0 3 4   create 1 -> v1
             1 5 6   get -> 1 v1
             1 7 8   cas v1 2 -> v2
             0 9 10  cas v1 3 -> conflict 2 v2
             0 11 12 create 4 -> conflict
             0 13 14 delete v1 -> conflict
             0 15 16 delete v2 -> ok
             1 17 18 cas v2 5 -> conflict nothing
             1 19 20 get -> nothing
             1 21 22 create 6 -> v6",
        );
    }

    #[test]
    fn a_read_beside_a_write_sees_either() {
        accept(
            "0 1 2 create 1 -> v1
             0 3 9 cas v1 2 -> v2
             1 4 5 get -> 1 v1
             2 4 6 get -> 2 v2
             1 7 8 get -> 2 v2",
        );
    }

    #[test]
    fn an_unknown_write_that_was_applied() {
        accept(
            "0 1 _ create 1 -> unknown
             1 2 3 get -> nothing
             1 4 5 get -> 1 v1
             0 6 _ cas v1 2 -> unknown
             1 7 8 cas v1 3 -> conflict 2 v2
             1 9 10 delete v2 -> ok
             1 11 12 get -> nothing",
        );
    }

    #[test]
    fn an_unknown_write_that_was_not_applied() {
        accept(
            "0 1 2 create 1 -> v1
             0 3 _ cas v1 2 -> unknown
             0 5 _ delete v1 -> unknown
             1 7 8 cas v1 3 -> v3
             1 9 10 get -> 3 v3",
        );
    }

    #[test]
    fn an_unknown_write_that_is_applied_long_after() {
        accept(
            "0 1 _ create 1 -> unknown
             1 2 3 create 2 -> v2
             1 4 5 delete v2 -> ok
             1 6 7 get -> nothing
             1 8 9 get -> 1 v1",
        );
    }

    #[test]
    fn a_conflict_with_an_unknown_write_that_nobody_has_seen() {
        accept(
            "0 1 2 create 1 -> v1
             0 3 _ cas v1 2 -> unknown
             1 4 5 cas v1 3 -> conflict
             2 6 _ delete v1 -> unknown",
        );
    }

    /// The contract allows it for the retry of a create, where somebody has deleted what the first attempt created.
    #[test]
    fn a_create_that_is_applied_again_after_a_delete() {
        accept(
            "0 1 9 create 1 -> v2
             1 2 3 get -> 1 v1
             1 4 5 delete v1 -> ok
             1 10 11 get -> 1 v2",
        );
    }
}

mod rejected {
    use super::*;

    #[test]
    fn a_stale_read() {
        let (rule, part) = reject(
            "0 1 2   create 1 -> v1
             0 3 4   cas v1 2 -> v2
             1 5 6   get -> 1 v1",
        );
        assert_eq!(rule, "a version was there after it was replaced");
        assert_eq!(part, [3, 5]);
    }

    #[test]
    fn a_lost_write() {
        let (rule, part) = reject(
            "2 1 2 get -> nothing
             0 3 4 create 1 -> v1
             1 5 6 get -> nothing
             1 7 8 get -> nothing",
        );
        assert_eq!(rule, NO_ORDER);
        assert_eq!(part, [3, 5]);
    }

    #[test]
    fn two_winners() {
        let (rule, part) = reject(
            "0 1 2 create 1 -> v1
             0 3 8 cas v1 2 -> v2
             1 4 7 cas v1 3 -> v3",
        );
        assert_eq!(rule, "two writes replaced the same version");
        assert_eq!(part, [3, 4]);
    }

    #[test]
    fn two_creates() {
        let (rule, part) = reject(
            "0 1 8 create 1 -> v1
             1 2 7 create 2 -> v2",
        );
        assert_eq!(rule, NO_ORDER);
        assert_eq!(part, [1, 2]);
    }

    #[test]
    fn a_version_used_twice() {
        let (rule, _) = reject(
            "0 1 2 create 1 -> v1
             0 3 4 delete v1 -> ok
             0 5 6 create 2 -> v1",
        );
        assert_eq!(rule, "two writes have the same version");
    }

    #[test]
    fn a_value_without_a_writer() {
        let (rule, part) = reject("0 1 2 get -> 7 v7");
        assert_eq!((rule.as_str(), part), ("nobody wrote this value", vec![1]));
    }

    #[test]
    fn one_version_of_two_values() {
        let (rule, part) = reject(
            "0 1 _ create 1 -> unknown
             0 3 _ create 2 -> unknown
             0 5 6 get -> 1 v1
             0 7 8 get -> 2 v1",
        );
        assert_eq!((rule.as_str(), part), ("one version has two values", vec![5, 7]));
    }

    #[test]
    fn a_compare_and_set_applied_twice() {
        let (rule, part) = reject(
            "0 1 2   create 1 -> v1
             0 3 4   cas v1 2 -> v2
             1 5 6   cas v2 3 -> v3
             1 7 8   get -> 2 v4",
        );
        assert_eq!(rule, "one compare-and-set was applied twice, under two versions");
        assert_eq!(part, [3, 7]);
    }

    #[test]
    fn a_create_applied_again_without_a_delete() {
        let (rule, _) = reject(
            "0 1 9 create 1 -> v2
             1 2 3 get -> 1 v1
             1 4 5 cas v1 3 -> v3
             1 10 11 get -> 1 v2",
        );
        assert_eq!(rule, NO_ORDER);
    }

    #[test]
    fn a_conflict_that_is_none() {
        let (rule, part) = reject(
            "0 1 2 create 1 -> v1
             0 3 4 cas v1 2 -> conflict
             0 5 6 get -> 1 v1",
        );
        assert_eq!((rule.as_str(), part), (NO_ORDER, vec![1, 3]));
    }

    #[test]
    fn a_refused_write_that_is_there() {
        let (rule, part) = reject(
            "0 1 2 create 1 -> v1
             0 3 4 cas v1 2 -> conflict
             0 5 6 get -> 2 v2",
        );
        assert_eq!(
            (rule.as_str(), part),
            ("a write that was refused is there", vec![3, 5])
        );
    }

    #[test]
    fn an_acknowledged_update_of_a_deleted_key() {
        let (rule, part) = reject(
            "0 1 2 create 1 -> v1
             0 3 4 delete v1 -> ok
             0 5 6 cas v1 2 -> v2",
        );
        assert_eq!(
            (rule.as_str(), part),
            ("two writes replaced the same version", vec![3, 5])
        );
    }

    #[test]
    fn an_unknown_write_that_comes_and_goes() {
        let (rule, part) = reject(
            "0 1 2  create 1 -> v1
             0 3 _  cas v1 2 -> unknown
             1 4 5  get -> 2 v2
             1 6 7  get -> 1 v1",
        );
        assert_eq!(
            (rule.as_str(), part),
            ("a later read saw an earlier version", vec![4, 6])
        );
    }

    #[test]
    fn a_read_of_what_is_written_later() {
        let (rule, part) = reject(
            "0 1 2 get -> 1 v1
             0 3 4 create 1 -> v1",
        );
        assert_eq!(
            (rule.as_str(), part),
            ("a version was there before it was written", vec![1, 3])
        );
    }

    #[test]
    fn deletes_of_unknown_outcome_explain_one_absence_each() {
        let text = "0 1 2   create 1 -> v1
                    0 3 _   delete v1 -> unknown
                    1 4 5   get -> nothing
                    1 6 7   get -> 1 v1";
        assert_eq!(reject(text).1, [3, 4, 6]);
    }
}

#[test]
fn what_cannot_be_checked_within_the_bound_is_a_failure() {
    let text = "0 1 2 create 1 -> v1
                0 3 9 cas v1 2 -> v2
                1 4 5 get -> 1 v1";
    let verdict = check(&history(text), Bound(1));
    assert!(
        matches!(verdict, Verdict::Unknown { operations: 3, .. }),
        "{verdict:?}"
    );
    let failed = std::panic::catch_unwind(|| verdict.assert_linearizable());
    assert!(failed.is_err());
}

#[test]
fn a_violation_reads_as_what_happened() {
    let text = "0 1 2   create 1 -> v1
                0 3 4   cas v1 2 -> v2
                1 5 6   get -> 1 v1";
    let violation = check(&history(text), Bound::default()).violation().unwrap();
    assert_eq!(
        violation.to_string(),
        "the history of `p/k` is not linearizable: a version was there after it was replaced\n  \
         client 0  [     3 –      4]  compare_and_set v1 to 2: ok, version v2\n  \
         client 1  [     5 –      6]  get: 1 of version v1"
    );
}

#[test]
fn a_recorder_keeps_what_was_never_answered_and_drops_what_had_no_effect() {
    let recorder = Recorder::default();
    let create = |value| Call::Put {
        value,
        expected: None,
    };
    let never_answered = recorder.invoke(0, &key(), create(1));
    let refused = recorder.invoke(1, &key(), create(2));
    recorder.withdraw(refused);
    let read = recorder.invoke(1, &key(), Call::Get);
    recorder.complete(read, Outcome::Read(None));
    drop(never_answered);
    let history = recorder.history();
    assert_eq!((history.len(), history.unknown()), (2, 1));
    let (_, operations) = history.keys().next().unwrap();
    let times = operations
        .iter()
        .map(|operation| (operation.invoked, operation.completed));
    assert_eq!(times.collect::<Vec<_>>(), [(1, None), (3, Some(4))]);
}

/// What one client does, as drawn.
#[derive(Clone, Debug)]
struct Drawn {
    client: usize,
    kind: u8,
    stale: prop::sample::Index,
    /// How long before and after the moment of its effect it was invoked and completed.
    around: (u64, u64),
    /// `Some`: its outcome is unknown, and whether it had an effect.
    unknown: Option<bool>,
    shows_conflict: bool,
}

fn drawn(longest: u64) -> impl Strategy<Value = Drawn> {
    let unknown = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let around = (0..longest, 0..longest);
    (
        0..8_usize,
        0..10_u8,
        any::<prop::sample::Index>(),
        around,
        unknown,
        any::<bool>(),
    )
        .prop_map(|(client, kind, stale, around, unknown, shows_conflict)| Drawn {
            client,
            kind,
            stale,
            around,
            unknown,
            shows_conflict,
        })
}

/// What a register that does one operation at a time makes of them, which is linearizable.
fn run(drawn: &[Drawn]) -> History {
    let mut history = History::default();
    let mut register: Option<Seen> = None;
    let mut versions = vec![version("v-none")];
    for (moment, drawn) in (1_u64..).zip(drawn) {
        let old = drawn.stale.get(&versions).clone();
        // A client can only expect a version that somebody has seen.
        let current = register.as_ref().map(|seen| &seen.version);
        let current = current
            .filter(|current| versions.contains(current))
            .unwrap_or(&old)
            .clone();
        let put = |expected| Call::Put {
            value: moment,
            expected,
        };
        let call = match drawn.kind {
            0..3 => Call::Get,
            3 => put(None),
            4..7 => put(Some(current)),
            7 => put(Some(old)),
            8 => Call::Delete { expected: current },
            _ => Call::Delete { expected: old },
        };
        let there = register.as_ref().map(|seen| &seen.version);
        let (holds, after) = match &call {
            Call::Get => (true, register.clone()),
            Call::Put { expected, .. } => {
                let version = version(&format!("v{moment}"));
                (
                    there == expected.as_ref(),
                    Some(Seen {
                        value: moment,
                        version,
                    }),
                )
            }
            Call::Delete { expected } => (there == Some(expected), None),
        };
        let effect = holds && drawn.unknown != Some(false);
        let outcome = match (&call, drawn.unknown, &after) {
            (Call::Get, ..) => Outcome::Read(register.clone()),
            (_, Some(_), _) => Outcome::Unknown,
            _ if !holds => Outcome::Refused(drawn.shows_conflict.then(|| register.clone())),
            (_, None, Some(seen)) => Outcome::Written(seen.version.clone()),
            (_, None, None) => Outcome::Deleted,
        };
        if effect && call.is_write() {
            register = after;
        }
        let seen = match &outcome {
            Outcome::Written(version) => Some(version),
            Outcome::Read(seen) | Outcome::Refused(Some(seen)) => seen.as_ref().map(|seen| &seen.version),
            _ => None,
        };
        versions.extend(seen.cloned());
        let at = moment * 100;
        let operation = Operation {
            client: drawn.client,
            invoked: at.saturating_sub(drawn.around.0),
            completed: (outcome != Outcome::Unknown).then_some(at + drawn.around.1),
            call,
            outcome,
        };
        history.push(&key(), operation);
    }
    history
}

fn rejects(history: &(Key, Vec<Operation>)) -> Option<Violation> {
    check_key(&history.0, &history.1, Bound::default()).violation()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn linearizable_histories_are_accepted(drawn in prop::collection::vec(drawn(500), 0..120)) {
        let verdict = check(&run(&drawn), Bound::default());
        prop_assert!(matches!(verdict, Verdict::Linearizable), "{verdict:?}");
    }

    #[test]
    fn corrupted_histories_are_rejected(
        drawn in prop::collection::vec(drawn(500), 20..120),
        seed: u64,
    ) {
        let history = run(&drawn);
        for corruption in Corruption::ALL {
            let Some(corrupted) = corruption.apply(&history, &mut Rng::with_seed(seed)) else { continue };
            let violation = rejects(&corrupted);
            prop_assert!(violation.is_some(), "{corruption:?} of {corrupted:?}");
            let part = violation.map_or(0, |violation| violation.part.len());
            prop_assert!(part <= 20, "{corruption:?}: the part has {part} operations");
        }
    }

    /// A register that forgets one acknowledged write, which is not among the corruptions and is found by search.
    #[test]
    fn a_forgotten_write_is_found(
        mut drawn in prop::collection::vec(drawn(500), 1..60),
        at: prop::sample::Index,
    ) {
        // Where nobody deletes, nobody can find nothing after a write.
        drawn.retain(|drawn| drawn.kind < 8);
        let history = run(&drawn);
        let Some((_, operations)) = history.keys().next() else { return Ok(()) };
        let mut operations = operations.to_vec();
        let written: Vec<u64> = operations
            .iter()
            .filter(|operation| matches!(operation.outcome, Outcome::Written(_)))
            .filter_map(|operation| operation.completed)
            .collect();
        prop_assume!(!written.is_empty());
        let time = at.get(&written) + 1;
        operations.push(Operation {
            client: 9,
            invoked: time,
            completed: Some(time),
            call: Call::Get,
            outcome: Outcome::Read(None),
        });
        prop_assert!(rejects(&(key(), operations)).is_some());
    }
}

/// As large as a run of the workload makes them: 1,000 operations of 8 clients, a quarter of the writes unknown.
#[test]
fn a_large_history_with_many_unknown_writes_is_decided() {
    let strategy = prop::collection::vec(drawn(800), 1_000);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for seed in 0..10 {
        let drawn = strategy.new_tree(&mut runner).unwrap().current();
        let history = run(&drawn);
        assert!(history.unknown() > 100, "{}", history.unknown());
        check(&history, Bound::default()).assert_linearizable();
        for corruption in Corruption::ALL {
            let corrupted = corruption.apply(&history, &mut Rng::with_seed(seed)).unwrap();
            let violation = rejects(&corrupted).unwrap_or_else(|| panic!("{corruption:?}"));
            assert!(violation.part.len() <= 12, "{violation}");
        }
    }
}
