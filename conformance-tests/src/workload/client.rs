use std::collections::HashMap;
use std::sync::Arc;

use fastrand::Rng;
use futures::TryStreamExt as _;
use statestore_api::{
    Bytes, Current, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions, Precondition, PutOptions,
    Result, StateStore, StateStoreExt as _, Version,
};

use super::report::{JUST_READ, OLD};
use super::{Mix, Report, Round, value};
use crate::history::{Call, Invocation, Outcome, Seen};

/// How a call of a client ended.
pub(super) enum Ended {
    Answered,
    Failed,
    /// At this time by the history's clock.
    Unknown(u64),
}

/// A compare-and-set of which the store said that it cannot tell.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) operation: &'static str,
    /// Whether the store has judged the write, and not only failed to answer in time.
    pub(super) judged: bool,
    pub(super) key: Key,
    /// The value of the version that it expected.
    pub(super) expected: u64,
    pub(super) invoked: u64,
    pub(super) answered: u64,
}

/// One client of a round.
pub(super) struct Client {
    pub(super) round: Arc<Round>,
    pub(super) number: usize,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) rng: Rng,
    pub(super) report: Report,
    /// What it saw last under each key.
    seen: HashMap<Key, Option<Seen>>,
    /// Versions that it has seen replaced.
    old: HashMap<Key, Seen>,
    pub(super) doubts: Vec<Doubt>,
    written: u64,
}

impl Client {
    pub(super) async fn new(round: Arc<Round>, number: usize, of_round: u64) -> Self {
        let store = round.environment.open(number).await;
        let seed = round
            .plan
            .seed
            .wrapping_add(of_round << 8)
            .wrapping_add(number as u64);
        Self {
            round,
            number,
            store,
            rng: Rng::with_seed(seed),
            report: Report::default(),
            seen: HashMap::new(),
            old: HashMap::new(),
            doubts: Vec::new(),
            written: 0,
        }
    }

    pub(super) async fn run(&mut self) -> Result<(), String> {
        for number in 1..=self.round.plan.operations_per_round {
            if number % self.round.plan.operations_per_store == 0 {
                self.store = self.round.environment.open(self.number).await;
            }
            if !self.round.plan.pause.is_zero() {
                tokio::time::sleep(self.round.plan.pause.mul_f64(self.rng.f64())).await;
            }
            self.report.operations += 1;
            let key = self.round.keys[self.rng.usize(..self.round.keys.len())].clone();
            let dice = self.rng.u8(..100);
            match (self.round.plan.mix, dice) {
                (Mix::Updates, 0..95) => self.update(&key).await?,
                (Mix::Updates, _) => self.delete(&key).await?,
                (Mix::Everything, dice) => self.any(&key, dice).await?,
            }
        }
        Ok(())
    }

    /// One of all the operations.
    async fn any(&mut self, key: &Key, dice: u8) -> Result<(), String> {
        match dice {
            0..20 => self.get(key).await,
            20..24 => {
                let keys = self.any_partition();
                self.get_many(&keys).await
            }
            24..28 if self.store.capabilities().listing => {
                let keys = self.any_partition();
                self.list(&keys).await
            }
            24..50 => self.update(key).await,
            50..60 => self.update_from_seen(key).await,
            60..65 => self.update_from_old(key).await,
            65..75 => self.delete(key).await,
            75..95 => self.transfer().await,
            _ => self.audit().await,
        }
    }

    /// The last look at everything, when all others are done.
    pub(super) async fn read_everything(&mut self) -> Result<(), String> {
        let round = self.round.clone();
        for keys in round.partitions() {
            self.get_many(keys).await?;
        }
        self.audit_until_it_succeeds().await?;
        if self.round.plan.mix == Mix::Everything {
            for key in &round.keys {
                self.get(key).await?;
            }
        }
        Ok(())
    }

    /// The keys of one partition.
    fn any_partition(&mut self) -> Vec<Key> {
        let mut partitions = self.round.partitions();
        let place = self.rng.usize(..partitions.len());
        partitions.nth(place).unwrap_or_default().to_vec()
    }

    /// A number that no other write has.
    pub(super) fn next_number(&mut self) -> u64 {
        self.written += 1;
        (self.number as u64 + 1) * 1_000_000 + self.written
    }

    pub(super) fn invoke(&self, key: &Key, call: Call) -> Invocation {
        self.round.recorder.invoke(self.number, key, call)
    }

    /// Records how a write ended, unless it is an error that no store may give here.
    pub(super) fn settle(
        &self,
        invocation: Invocation,
        result: Result<Outcome>,
        read: impl Fn(&Entry) -> Result<Seen, String>,
    ) -> Result<Ended, String> {
        let recorder = &self.round.recorder;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(Error::Conflict(conflict)) => Outcome::Refused(match &conflict.current {
                Current::Unknown => None,
                Current::Absent => Some(None),
                Current::Entry(entry) => Some(Some(read(entry)?)),
            }),
            Err(error) if error.may_have_applied() => {
                return Ok(Ended::Unknown(recorder.complete(invocation, Outcome::Unknown)));
            }
            Err(error) if error.is_retryable() => {
                recorder.withdraw(invocation);
                return Ok(Ended::Failed);
            }
            Err(error) => return Err(format!("an error that should not be: {error} ({error:?})")),
        };
        recorder.complete(invocation, outcome);
        Ok(Ended::Answered)
    }

    /// Counts a call that began when there had been `faults`.
    pub(super) fn count(&mut self, operation: &'static str, faults: u64, ended: &Ended) {
        let faulted = self.faults() > faults;
        let tally = self.report.calls.entry(operation).or_default();
        tally.calls += 1;
        tally.faulted += usize::from(faulted);
        match ended {
            Ended::Answered => tally.answered += 1,
            Ended::Failed => tally.failed += 1,
            Ended::Unknown(_) => {
                tally.unknown += 1;
                tally.faulted_and_unknown += usize::from(faulted);
            }
        }
    }

    pub(super) fn faults(&self) -> u64 {
        self.round.environment.faults(self.number)
    }

    fn read_filled(&self, entry: &Entry) -> Result<Seen, String> {
        value::read_filled(entry, self.round.plan.value_bytes)
    }

    fn remember(&mut self, key: &Key, seen: Option<Seen>) {
        if let Some(Some(before)) = self.seen.insert(key.clone(), seen) {
            self.old.insert(key.clone(), before);
        }
    }

    /// Records one read.
    fn settle_read(
        &mut self,
        key: &Key,
        invocation: Invocation,
        result: Result<Option<Entry>>,
    ) -> Result<Ended, String> {
        match result {
            Ok(entry) => {
                let seen = entry.as_ref().map(|entry| self.read_filled(entry)).transpose()?;
                self.round
                    .recorder
                    .complete(invocation, Outcome::Read(seen.clone()));
                self.remember(key, seen);
                Ok(Ended::Answered)
            }
            Err(error) if may_fail(&error) => {
                self.round.recorder.withdraw(invocation);
                Ok(Ended::Failed)
            }
            Err(error) => Err(format!("a read failed: {error} ({error:?})")),
        }
    }

    async fn get(&mut self, key: &Key) -> Result<(), String> {
        let (faults, invocation) = (self.faults(), self.invoke(key, Call::Get));
        let result = self.store.get(key, GetOptions::default()).await;
        let ended = self.settle_read(key, invocation, result)?;
        self.count("get", faults, &ended);
        Ok(())
    }

    async fn get_many(&mut self, keys: &[Key]) -> Result<(), String> {
        let faults = self.faults();
        let invocations: Vec<_> = keys.iter().map(|key| self.invoke(key, Call::Get)).collect();
        let results = self.store.get_many(keys, GetOptions::default()).await;
        let mut ended = Ended::Answered;
        for ((key, invocation), result) in keys.iter().zip(invocations).zip(results) {
            if let Ended::Failed = self.settle_read(key, invocation, result)? {
                ended = Ended::Failed;
            }
        }
        self.count("get_many", faults, &ended);
        Ok(())
    }

    /// Lists the partition of the keys. What a listing leaves out was absent at some moment of it.
    async fn list(&mut self, keys: &[Key]) -> Result<(), String> {
        let faults = self.faults();
        let invocations: Vec<_> = keys.iter().map(|key| self.invoke(key, Call::Get)).collect();
        // In several pages.
        let options = ListOptions::default().with_page_size(keys.len().div_ceil(4).max(3));
        let listed: Result<Vec<_>> = self.store.list(keys[0].partition(), options).try_collect().await;
        let listed = listed.map(|items| {
            let items = items.into_iter();
            items
                .map(|item| (item.key, item.entry))
                .collect::<HashMap<_, _>>()
        });
        let mut ended = Ended::Answered;
        for (key, invocation) in keys.iter().zip(invocations) {
            let result = match &listed {
                Ok(listed) => Ok(listed.get(key).cloned().flatten()),
                Err(error) if may_fail(error) => {
                    self.round.recorder.withdraw(invocation);
                    ended = Ended::Failed;
                    continue;
                }
                Err(error) => return Err(format!("a listing failed: {error} ({error:?})")),
            };
            self.settle_read(key, invocation, result)?;
        }
        self.count("list", faults, &ended);
        Ok(())
    }

    /// Reads what is there, and writes over that.
    async fn update(&mut self, key: &Key) -> Result<(), String> {
        self.get(key).await?;
        match self.seen.get(key).cloned() {
            None => Ok(()),
            Some(None) => self.put("create", key, None).await,
            Some(seen) => self.put(JUST_READ, key, seen).await,
        }
    }

    /// Writes over what it saw last, which others may have replaced since.
    async fn update_from_seen(&mut self, key: &Key) -> Result<(), String> {
        match self.seen.get(key).cloned() {
            None => self.get(key).await,
            Some(None) => self.put("create", key, None).await,
            Some(seen) => self.put(OLD, key, seen).await,
        }
    }

    /// Writes over a version that it has seen replaced, which is refused.
    async fn update_from_old(&mut self, key: &Key) -> Result<(), String> {
        match self.old.get(key).cloned() {
            None => self.get(key).await,
            old => self.put(OLD, key, old).await,
        }
    }

    async fn put(&mut self, operation: &'static str, key: &Key, seen: Option<Seen>) -> Result<(), String> {
        let number = self.next_number();
        let expected = seen.as_ref().map(|seen| seen.version.clone());
        let call = Call::Put {
            value: number,
            expected: expected.clone(),
        };
        let (faults, invocation) = (self.faults(), self.invoke(key, call));
        let value: Bytes = value::filled(number, self.round.plan.value_bytes);
        let options = PutOptions::from(Precondition::from(expected.as_ref()));
        let result = self.store.put(key, value, options).await;
        match &result {
            Ok(version) => {
                let version = version.clone();
                self.remember(
                    key,
                    Some(Seen {
                        value: number,
                        version,
                    }),
                );
            }
            Err(_) => drop(self.seen.remove(key)),
        }
        let (judged, invoked) = (is_judged(&result), invocation.time);
        let result = result.map(Outcome::Written);
        let ended = self.settle(invocation, result, |entry| self.read_filled(entry))?;
        if let (&Ended::Unknown(answered), Some(seen)) = (&ended, seen) {
            self.doubts.push(Doubt {
                operation,
                judged,
                key: key.clone(),
                expected: seen.value,
                invoked,
                answered,
            });
        }
        self.count(operation, faults, &ended);
        Ok(())
    }

    async fn delete(&mut self, key: &Key) -> Result<(), String> {
        let Some(Some(seen)) = self.seen.remove(key) else {
            return self.get(key).await;
        };
        let expected = seen.version.clone();
        let call = Call::Delete {
            expected: expected.clone(),
        };
        let (faults, invocation) = (self.faults(), self.invoke(key, call));
        let result = self.store.delete(key, DeleteOptions::from(expected)).await;
        if result.is_ok() {
            self.remember(key, None);
            self.old.insert(key.clone(), seen);
        }
        let result = result.map(|()| Outcome::Deleted);
        let ended = self.settle(invocation, result, |entry| self.read_filled(entry))?;
        self.count("delete", faults, &ended);
        Ok(())
    }
}

/// Whether the store has judged the write, and not only failed to answer in time.
fn is_judged(result: &Result<Version>) -> bool {
    match result {
        Err(error @ Error::Indeterminate { .. }) => {
            let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
            !source.is_some_and(may_fail)
        }
        _ => false,
    }
}

/// Whether a read may fail so, on a network that has faults.
pub(super) fn may_fail(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable { .. } | Error::Timeout { .. } | Error::Throttled { .. }
    )
}
