//! Random sequences of operations against a map that says what has to come of each.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{StreamExt as _, TryStreamExt as _};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use statestore_api::{
    Action, Bytes, Current, Entry, Error, Item, Key, ListOptions, Precondition, Projection, PutOptions,
    Result, StateStore as _, StateStoreExt as _, TransactOp, Ttl, Version,
};

use crate::Subject;

/// The ids of each sequence, in the order that they list in. UTF-16 would have the last two the other way round.
const IDS: [&str; 6] = ["a", "a\0", "a/b", "b", "\u{ffff}", "\u{10000}"];

/// What the listings ask for: of each some, and of the last none.
const PREFIXES: [&str; 5] = ["", "a", "a/", "\u{ffff}", "c"];

const SEQUENCES: usize = 32;
/// How many calls a sequence has on average.
const STEPS: usize = 40;

/// How many shorter sequences are tried to explain one that failed.
const SHRINKS: usize = 300;

/// One call. Ids are by their place in [`IDS`].
#[derive(Clone, Debug)]
enum Step {
    Put(usize, u8, Life, Condition),
    Delete(usize, Condition),
    Touch(usize, Life, Condition),
    Get(usize),
    GetMany(Vec<usize>),
    List {
        prefix: usize,
        start_after: Option<usize>,
        page_size: usize,
        projection: Projection,
    },
    Transact(Vec<(usize, Deed, Condition)>),
}

/// What an operation of a transaction does.
#[derive(Clone, Debug)]
enum Deed {
    Put(u8, Life),
    Delete,
    Check,
}

/// A condition that is made definite when its turn comes.
#[derive(Clone, Debug)]
enum Condition {
    None,
    Absent,
    Exists,
    /// Matches the version that the key has or, if it is gone, had last.
    Current,
    /// Matches one of the versions it had before.
    Stale(u8),
    /// Matches one of the versions of another key.
    Foreign(u8),
}

/// An expiry that no sequence lives to see.
#[derive(Clone, Debug)]
enum Life {
    Endless,
    /// So many hours from now.
    After(u8),
    /// At a time so many hours from now, to the millisecond.
    At(u8),
    Keep,
}

fn id() -> impl Strategy<Value = usize, Tree: Send> {
    0..IDS.len()
}

fn condition() -> impl Strategy<Value = Condition, Tree: Send> {
    prop_oneof![
        3 => Just(Condition::None),
        2 => Just(Condition::Absent),
        1 => Just(Condition::Exists),
        4 => Just(Condition::Current),
        2 => any::<u8>().prop_map(Condition::Stale),
        1 => any::<u8>().prop_map(Condition::Foreign),
    ]
}

fn life() -> impl Strategy<Value = Life, Tree: Send> {
    prop_oneof![
        3 => Just(Life::Endless),
        1 => (1..=48_u8).prop_map(Life::After),
        1 => (1..=48_u8).prop_map(Life::At),
        2 => Just(Life::Keep),
    ]
}

fn list() -> impl Strategy<Value = Step, Tree: Send> {
    let start = prop_oneof![2 => Just(None), 1 => id().prop_map(Some)];
    let projection = prop_oneof![2 => Just(Projection::Entries), 1 => Just(Projection::Keys)];
    (0..PREFIXES.len(), start, 1..=4_usize, projection).prop_map(
        |(prefix, start_after, page_size, projection)| Step::List {
            prefix,
            start_after,
            page_size,
            projection,
        },
    )
}

fn deed() -> impl Strategy<Value = Deed, Tree: Send> {
    prop_oneof![
        3 => (any::<u8>(), life()).prop_map(|(value, life)| Deed::Put(value, life)),
        1 => Just(Deed::Delete),
        1 => Just(Deed::Check),
    ]
}

/// Now and then a key is in it twice, which has to be refused.
fn transaction() -> impl Strategy<Value = Step, Tree: Send> {
    // Mostly conditions that hold, or long transactions would hardly ever be applied.
    let condition = prop_oneof![
        3 => Just(Condition::None),
        4 => Just(Condition::Current),
        3 => condition(),
    ];
    vec((id(), deed(), condition), 0..4).prop_map(Step::Transact)
}

fn step() -> impl Strategy<Value = Step, Tree: Send> {
    prop_oneof![
        6 => (id(), any::<u8>(), life(), condition()).prop_map(|(id, value, life, when)| Step::Put(id, value, life, when)),
        3 => (id(), condition()).prop_map(|(id, when)| Step::Delete(id, when)),
        3 => (id(), life(), condition()).prop_map(|(id, life, when)| Step::Touch(id, life, when)),
        3 => id().prop_map(Step::Get),
        1 => vec(id(), 0..8).prop_map(Step::GetMany),
        2 => list(),
        4 => transaction(),
    ]
}

/// What should be in the store, and what was.
struct Model<'a> {
    subject: &'a Subject,
    keys: Vec<Key>,
    /// What is there, by the place of its id.
    there: BTreeMap<usize, Entry>,
    /// All versions that each key has had, the latest last.
    versions: Vec<Vec<Version>>,
    /// All versions of all sequences.
    seen: &'a mut HashSet<Version>,
}

/// What the store did wrong.
type Verdict = Result<(), String>;

fn wrong<T>(what: impl Into<String>) -> Result<T, String> {
    Err(what.into())
}

impl Model<'_> {
    fn precondition(&self, id: usize, condition: &Condition) -> Precondition {
        let pick = |versions: Vec<&Version>, which: u8| match versions.len() {
            0 => Precondition::Absent,
            count => Precondition::Matches(versions[usize::from(which) % count].clone()),
        };
        match condition {
            Condition::None => Precondition::None,
            Condition::Absent => Precondition::Absent,
            Condition::Exists => Precondition::Exists,
            Condition::Current => pick(self.versions[id].last().into_iter().collect(), 0),
            Condition::Stale(which) => pick(self.versions[id].iter().collect(), *which),
            Condition::Foreign(which) => {
                let others = self.versions.iter().enumerate();
                let others = others.filter(|(other, _)| *other != id);
                pick(others.flat_map(|(_, versions)| versions).collect(), *which)
            }
        }
    }

    fn holds(&self, id: usize, precondition: &Precondition) -> bool {
        let there = self.there.get(&id);
        match precondition {
            Precondition::None => true,
            Precondition::Absent => there.is_none(),
            Precondition::Exists => there.is_some(),
            Precondition::Matches(version) => there.is_some_and(|entry| entry.version == *version),
        }
    }

    fn ttl(&self, life: &Life) -> Ttl {
        let hours = |hours: &u8| Duration::from_secs(3600 * u64::from(*hours));
        match life {
            Life::Endless => Ttl::None,
            Life::After(after) => Ttl::After(hours(after)),
            Life::At(at) => {
                let since = self.subject.now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let whole = Duration::from_secs(since.as_secs())
                    + Duration::from_millis(since.subsec_millis().into());
                Ttl::At(UNIX_EPOCH + whole + hours(at))
            }
            Life::Keep => Ttl::Keep,
        }
    }

    /// Takes over a write that the store has acknowledged, to be seen from now on.
    async fn write(&mut self, id: usize, value: Bytes, ttl: Ttl, version: Version) -> Verdict {
        if !self.seen.insert(version.clone()) {
            return wrong(format!("it was given version {version}, which was there before"));
        }
        let mut entry = Entry::new(value, version.clone());
        entry.expires_at = match ttl {
            Ttl::None => None,
            Ttl::At(time) => Some(time),
            Ttl::Keep => self.there.get(&id).and_then(|entry| entry.expires_at),
            Ttl::After(after) => self.expiry_after(id, after).await?,
        };
        self.versions[id].push(version);
        self.there.insert(id, entry);
        Ok(())
    }

    /// When the key expires, which the store decides by its clock: within what two clocks may be apart.
    async fn expiry_after(&self, id: usize, after: Duration) -> Result<Option<SystemTime>, String> {
        let Ok(Some(entry)) = self.subject.store().get(&self.keys[id], Default::default()).await else {
            return wrong(format!("{:?} was written, and is not there", IDS[id]));
        };
        let slack = Duration::from_secs(300);
        let expected = self.subject.now() + after;
        match entry.expires_at {
            Some(at) if at + slack > expected && at < expected + slack => Ok(Some(at)),
            other => wrong(format!(
                "{:?} was to expire after {after:?}, at about {expected:?}, and does at {other:?}",
                IDS[id]
            )),
        }
    }

    /// Compares what a read shows with what should be there.
    fn compare(&self, id: usize, read: Option<&Entry>) -> Verdict {
        let there = self.there.get(&id);
        if read == there {
            return Ok(());
        }
        let show = |entry: Option<&Entry>| {
            entry.map_or("nothing".to_owned(), |entry| {
                let (value, version) = (&entry.value, &entry.version);
                format!("{value:?} (version {version}, expires at {:?})", entry.expires_at)
            })
        };
        wrong(format!(
            "of {:?} it showed {}, and there should be {}",
            IDS[id],
            show(read),
            show(there)
        ))
    }

    /// Compares a mutation's answer with whether it had to succeed. Returns what it returned if it did.
    fn expect<T: Debug>(&self, holds: bool, answer: Result<T>) -> Result<Option<T>, String> {
        match answer {
            Ok(value) if holds => Ok(Some(value)),
            Err(Error::Conflict(conflict)) if !holds => {
                let Some(id) = self.keys.iter().position(|key| *key == conflict.key) else {
                    return wrong(format!("the conflict is about {:?}", conflict.key));
                };
                let shown = match &conflict.current {
                    Current::Unknown => return Ok(None),
                    Current::Absent => None,
                    Current::Entry(entry) => Some(entry),
                };
                self.compare(id, shown)
                    .map_err(|wrong| format!("it conflicts, rightly, but {wrong}"))?;
                Ok(None)
            }
            other => wrong(format!(
                "its condition {}, and the answer was {other:?}",
                if holds { "held" } else { "did not hold" }
            )),
        }
    }

    /// Makes a call and checks its answer. Notes the call in `calls`, for people.
    async fn play(&mut self, step: &Step, calls: &mut Vec<String>) -> Verdict {
        match step {
            Step::Put(id, value, life, condition) => {
                let (precondition, ttl) = (self.precondition(*id, condition), self.ttl(life));
                let value = Bytes::from(format!("v{value}"));
                calls.push(format!(
                    "put {value:?} under {:?}, expiry {ttl:?}, if {precondition:?}",
                    IDS[*id]
                ));
                let options = PutOptions::from(precondition.clone()).with_ttl(ttl);
                let put = self
                    .subject
                    .store()
                    .put(&self.keys[*id], value.clone(), options)
                    .await;
                match self.expect(self.holds(*id, &precondition), put)? {
                    Some(version) => self.write(*id, value, ttl, version).await,
                    None => Ok(()),
                }
            }
            Step::Delete(id, condition) => {
                let precondition = self.precondition(*id, condition);
                calls.push(format!("delete {:?}, if {precondition:?}", IDS[*id]));
                let options = precondition.clone().into();
                let deleted = self.subject.store().delete(&self.keys[*id], options).await;
                if self.expect(self.holds(*id, &precondition), deleted)?.is_some() {
                    self.there.remove(id);
                }
                Ok(())
            }
            Step::Touch(id, life, condition) => {
                let (precondition, ttl) = (self.precondition(*id, condition), self.ttl(life));
                calls.push(format!(
                    "touch {:?}, expiry {ttl:?}, if {precondition:?}",
                    IDS[*id]
                ));
                let options = precondition.clone().into();
                let touched = self.subject.store().touch(&self.keys[*id], ttl, options).await;
                if precondition == Precondition::Absent {
                    return match touched {
                        Err(Error::InvalidOptions { .. }) => Ok(()),
                        other => wrong(format!("`Absent` should be refused as invalid: {other:?}")),
                    };
                }
                let there = self.there.get(id).map(|entry| entry.value.clone());
                let holds = there.is_some() && self.holds(*id, &precondition);
                match (self.expect(holds, touched)?, there) {
                    (Some(version), Some(value)) => self.write(*id, value, ttl, version).await,
                    _ => Ok(()),
                }
            }
            Step::Get(id) => {
                calls.push(format!("get {:?}", IDS[*id]));
                let got = self
                    .subject
                    .store()
                    .get(&self.keys[*id], Default::default())
                    .await;
                self.compare(*id, got.map_err(|error| error.to_string())?.as_ref())
            }
            Step::GetMany(ids) => {
                calls.push(format!(
                    "get_many {:?}",
                    ids.iter().map(|id| IDS[*id]).collect::<Vec<_>>()
                ));
                self.get_many(ids).await
            }
            Step::List {
                prefix,
                start_after,
                page_size,
                projection,
            } => {
                let options = ListOptions::default()
                    .with_prefix(PREFIXES[*prefix])
                    .with_start_after(start_after.map_or("", |id| IDS[id]))
                    .with_page_size(*page_size)
                    .with_projection(*projection);
                calls.push(format!("list {options:?}"));
                self.list(options).await
            }
            Step::Transact(ops) => self.transact(ops, calls).await,
        }
    }

    async fn get_many(&self, ids: &[usize]) -> Verdict {
        let keys: Vec<Key> = ids.iter().map(|id| self.keys[*id].clone()).collect();
        let results = self.subject.store().get_many(&keys, Default::default()).await;
        if results.len() != ids.len() {
            return wrong(format!("it has {} results", results.len()));
        }
        for (id, result) in ids.iter().zip(results) {
            self.compare(*id, result.map_err(|error| error.to_string())?.as_ref())?;
        }
        Ok(())
    }

    async fn list(&self, options: ListOptions) -> Verdict {
        if !self.subject.store().capabilities().listing {
            return Ok(());
        }
        let ListOptions {
            prefix,
            start_after,
            projection,
            ..
        } = options.clone();
        let partition = self.keys[0].partition();
        // One more than there can be, in case that it repeats itself without end.
        let listed: Result<Vec<Item>> = self
            .subject
            .store()
            .list(partition, options)
            .take(IDS.len() + 1)
            .try_collect()
            .await;
        let listed = listed.map_err(|error| error.to_string())?;
        let expected: Vec<usize> = (0..IDS.len())
            .filter(|id| self.there.contains_key(id))
            .filter(|id| IDS[*id].starts_with(&prefix) && IDS[*id] > start_after.as_str())
            .collect();
        let (ids, keys): (Vec<&str>, Vec<&Key>) = (
            listed.iter().map(|item| item.key.id()).collect(),
            expected.iter().map(|id| &self.keys[*id]).collect(),
        );
        if !listed.iter().map(|item| &item.key).eq(keys.iter().copied()) {
            let expected: Vec<&str> = keys.iter().map(|key| key.id()).collect();
            return wrong(format!("it listed {ids:?}, and there should be {expected:?}"));
        }
        for (id, item) in expected.into_iter().zip(listed) {
            match (projection, item.entry) {
                (Projection::Entries, Some(entry)) => self.compare(id, Some(&entry))?,
                (Projection::Keys, None) => {}
                (_, entry) => return wrong(format!("for {projection:?} it listed {entry:?}")),
            }
        }
        Ok(())
    }

    async fn transact(&mut self, ops: &[(usize, Deed, Condition)], calls: &mut Vec<String>) -> Verdict {
        let ids: Vec<usize> = ops.iter().map(|(id, ..)| *id).collect();
        let twice = ids
            .iter()
            .enumerate()
            .find(|(place, id)| ids[..*place].contains(id));
        let ops: Vec<TransactOp> = ops
            .iter()
            .map(|(id, deed, condition)| {
                let key = self.keys[*id].clone();
                let op = match deed {
                    Deed::Put(value, life) => {
                        TransactOp::put_expiring(key, format!("v{value}"), self.ttl(life))
                    }
                    Deed::Delete => TransactOp::delete(key),
                    Deed::Check => TransactOp::check(key, Precondition::None),
                };
                op.when(self.precondition(*id, condition))
            })
            .collect();
        calls.push(format!("transact {} operations", ops.len()));
        for op in &ops {
            let (id, precondition) = (op.key.id(), &op.precondition);
            calls.push(format!("  {:?} {id:?}, if {precondition:?}", op.action));
        }
        let answer = self
            .subject
            .store()
            .transact(ops.clone(), Default::default())
            .await;
        if let Some((place, _)) = twice {
            return match answer {
                Err(Error::InvalidTransaction { op, .. }) if op == place => Ok(()),
                other => wrong(format!(
                    "operation {place} repeats a key, and the answer was {other:?}"
                )),
            };
        }
        let fails = |place: usize| !self.holds(ids[place], &ops[place].precondition);
        if let Err(Error::Conflict(conflict)) = &answer
            && let Some(named) = conflict.op
            && !(named < ops.len() && fails(named) && ops[named].key == conflict.key)
        {
            return wrong(format!(
                "the conflict names operation {named}, whose condition holds: {conflict}"
            ));
        }
        let holds = !(0..ops.len()).any(fails);
        let Some(versions) = self.expect(holds, answer)? else {
            return Ok(());
        };
        if versions.len() != ops.len() {
            return wrong(format!("it returned {} versions", versions.len()));
        }
        for ((id, op), version) in ids.into_iter().zip(ops).zip(versions) {
            match (op.action, version) {
                (Action::Put { value, ttl }, Some(version)) => self.write(id, value, ttl, version).await?,
                (Action::Delete, None) => drop(self.there.remove(&id)),
                (Action::Check, None) => {}
                (action, version) => return wrong(format!("{action:?} returned version {version:?}")),
            }
        }
        Ok(())
    }
}

/// Plays a sequence on keys of its own. Fails with what the store did wrong, and all calls up to there.
async fn play(subject: &Subject, number: usize, steps: &[Step], seen: &mut HashSet<Version>) -> Verdict {
    let partition = format!("sequence-{number}");
    let mut model = Model {
        subject,
        keys: IDS.iter().map(|id| subject.key_in(&partition, id)).collect(),
        there: BTreeMap::new(),
        versions: vec![Vec::new(); IDS.len()],
        seen,
    };
    let mut calls = Vec::new();
    let mut verdict = Ok(());
    for step in steps {
        verdict = model.play(step, &mut calls).await;
        if verdict.is_err() {
            break;
        }
    }
    if verdict.is_ok() {
        calls.push("read and list all, at the end".to_owned());
        let all: Vec<usize> = (0..IDS.len()).collect();
        verdict = model.get_many(&all).await;
        if verdict.is_ok() {
            verdict = model.list(ListOptions::default()).await;
        }
    }
    verdict.map_err(|wrong| {
        let calls: String = calls.iter().map(|call| format!("  {call}\n")).collect();
        format!("{calls}The last was answered wrongly: {wrong}")
    })
}

/// After any sequence of operations every answer, and what is there, is what a map would give; no version is given
/// twice.
///
/// What fails is shortened before it is shown. The sequences are awaited here, not run by `TestRunner::run`, so that
/// a store that hangs does not keep the case from ending.
pub async fn random_sequences_agree_with_a_map(subject: &Subject) {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let strategy = vec(step(), 1..=2 * STEPS);
    let sequences: Vec<_> = (0..SEQUENCES)
        .map(|_| strategy.new_tree(&mut runner).expect("nothing is filtered out"))
        .collect();
    let mut seen = HashSet::new();
    for (number, mut sequence) in sequences.into_iter().enumerate() {
        let Err(mut failure) = play(subject, number, &sequence.current(), &mut seen).await else {
            continue;
        };
        let mut failed = true;
        for shrink in 0..SHRINKS {
            let changed = if failed {
                sequence.simplify()
            } else {
                sequence.complicate()
            };
            if !changed {
                break;
            }
            let shorter = play(subject, SEQUENCES + shrink, &sequence.current(), &mut seen).await;
            failed = shorter.is_err();
            if let Err(shorter) = shorter {
                failure = shorter;
            }
        }
        panic!("these calls, one after the other on keys of their own:\n{failure}");
    }
}
