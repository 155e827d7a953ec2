//! Stores that check and write in two steps, or can be stopped half way.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use statestore_api::backend::{check, expiry};
use statestore_api::{
    Action, Applied, Bytes, DeleteOptions, Entry, Error, GetOptions, Key, Precondition, PutOptions, Result,
    TouchOptions, TransactOp, TransactOptions, Ttl, Version,
};

use crate::calls::Versions;
use crate::fault::{Fault, Reader};
use crate::pause;
use crate::table::{Slot, Table};

/// A read, a comparison, and a put that is no longer conditional.
#[derive(Default)]
struct TwoSteps {
    /// Whether the condition of a mutation is checked before it.
    splits: Splits,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Splits {
    #[default]
    CompareAndSet,
    Create,
    TakeOver,
    Replace,
    Touch,
    Delete,
    DeleteIfExists,
}

impl TwoSteps {
    /// Whether the precondition holds, for the entry that is there.
    fn holds(table: &Table, precondition: &Precondition, slot: Option<&Slot>) -> bool {
        let live = slot.filter(|slot| expiry::is_live(slot.expires_at, table.now()));
        match precondition {
            Precondition::None => true,
            Precondition::Absent => live.is_none(),
            Precondition::Exists => live.is_some(),
            Precondition::Matches(version) => live.is_some_and(|live| live.version() == version),
        }
    }
}

#[async_trait]
impl Fault for TwoSteps {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, mut options: PutOptions) -> Result<Version> {
        let slot = table.slot(key);
        let split = match options.precondition {
            Precondition::Matches(_) => self.splits == Splits::CompareAndSet,
            Precondition::Absent if slot.is_some() => self.splits == Splits::TakeOver,
            Precondition::Absent => self.splits == Splits::Create,
            Precondition::Exists => self.splits == Splits::Replace,
            Precondition::None => false,
        };
        if split && options.attempt.is_none() && Self::holds(table, &options.precondition, slot.as_ref()) {
            pause().await;
            options.precondition = Precondition::None;
        }
        table.put(key, value, options)
    }

    async fn delete(&self, table: &Table, key: &Key, mut options: DeleteOptions) -> Result<()> {
        let split = match options.precondition {
            Precondition::Matches(_) => self.splits == Splits::Delete,
            Precondition::Exists => self.splits == Splits::DeleteIfExists,
            _ => false,
        };
        if split
            && options.attempt.is_none()
            && Self::holds(table, &options.precondition, table.slot(key).as_ref())
        {
            pause().await;
            options.precondition = Precondition::None;
        }
        table.delete(key, options)
    }

    async fn touch(&self, table: &Table, key: &Key, ttl: Ttl, mut options: TouchOptions) -> Result<Version> {
        let split = self.splits == Splits::Touch && options.attempt.is_none();
        let matches = matches!(options.precondition, Precondition::Matches(_));
        if split && matches && Self::holds(table, &options.precondition, table.slot(key).as_ref()) {
            pause().await;
            options.precondition = Precondition::None;
        }
        table.touch(key, ttl, options)
    }
}

/// A transaction checks every condition, and then applies the operations.
struct TransactsInTwoSteps;

#[async_trait]
impl Fault for TransactsInTwoSteps {
    async fn transact(&self, table: &Table, mut ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
        let holds = |op: &TransactOp| TwoSteps::holds(table, &op.precondition, table.slot(&op.key).as_ref());
        if options.attempt.is_none() && ops.iter().all(holds) {
            pause().await;
            for op in &mut ops {
                op.precondition = Precondition::None;
            }
        }
        table.transact(ops, options)
    }
}

/// The operations of a transaction are applied one by one, where others can see and change what is between.
struct TransactsOneByOne;

#[async_trait]
impl Fault for TransactsOneByOne {
    async fn transact(&self, table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
        // Whether it could be applied is found out on a copy.
        let before = table.slots().clone();
        let applied = table.transact(ops.clone(), options.clone())?;
        let after = table.slots().clone();
        if before.len() > after.len() || options.attempt.is_some() || ops.len() < 2 {
            return Ok(applied);
        }
        for op in &ops {
            match before.get(&op.key) {
                Some(slot) => table.slots().insert(op.key.clone(), slot.clone()),
                None => table.slots().remove(&op.key),
            };
        }
        for op in &ops {
            pause().await;
            match after.get(&op.key) {
                Some(slot) => table.slots().insert(op.key.clone(), slot.clone()),
                None => table.slots().remove(&op.key),
            };
        }
        Ok(applied)
    }
}

/// A put writes the value, and then, after a round trip, the version and the expiry.
struct WritesInTwoSteps;

#[async_trait]
impl Fault for WritesInTwoSteps {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let before = table.slot(key);
        let version = table.put(key, value, options)?;
        if let Some(before) = before {
            let after = table.slot(key).unwrap();
            let half = Slot {
                value: after.value.clone(),
                ..before
            };
            table.slots().insert(key.clone(), half);
            pause().await;
            table.slots().insert(key.clone(), after);
        }
        Ok(version)
    }
}

/// A put that is dropped half way leaves its key locked.
#[derive(Default)]
struct StaysLocked {
    locked: Mutex<HashSet<Key>>,
}

#[async_trait]
impl Fault for StaysLocked {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        for _ in 0..3000 {
            let locked = self.locked.lock().unwrap().insert(key.clone());
            if locked {
                pause().await;
                let put = table.put(key, value, options);
                self.locked.lock().unwrap().remove(key);
                return put;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(Error::Unavailable {
            applied: Applied::No,
            reason: "lock wait timeout exceeded".into(),
            source: None,
        })
    }
}

/// A read that is dropped half way keeps its connection, of which a pool has four.
#[derive(Default)]
struct KeepsConnections {
    taken: AtomicU32,
}

#[async_trait]
impl Fault for KeepsConnections {
    async fn get(&self, table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        for _ in 0..3000 {
            if self.taken.fetch_add(1, SeqCst) < 4 {
                pause().await;
                self.taken.fetch_sub(1, SeqCst);
                return table.get(Reader::Get, key);
            }
            self.taken.fetch_sub(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(Error::Unavailable {
            applied: Applied::No,
            reason: "the pool is exhausted".into(),
            source: None,
        })
    }
}

/// A transaction that is dropped half way is half applied.
struct TransactionCanBeHalved;

#[async_trait]
impl Fault for TransactionCanBeHalved {
    async fn transact(&self, table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
        let puts = ops.iter().filter(|op| matches!(op.action, Action::Put { .. }));
        let unconditional = ops.iter().all(|op| op.precondition == Precondition::None);
        let valid = check::transaction(table.kept(), &ops).is_ok();
        if valid && puts.count() == ops.len() && unconditional && options.attempt.is_none() {
            let mut versions = Vec::new();
            for op in ops {
                versions.extend(table.transact(vec![op], options.clone())?);
                pause().await;
            }
            return Ok(versions);
        }
        table.transact(ops, options)
    }
}

wrong_stores! {
    compares_before_it_sets: TwoSteps { splits: Splits::CompareAndSet } => fails {
        races { of_many_writers_with_one_version_one_wins increments_add_up each_version_is_replaced_once }
    };
    looks_before_it_creates: TwoSteps { splits: Splits::Create } => fails {
        races { of_many_creators_one_wins increments_add_up }
    };
    looks_before_it_takes_over: TwoSteps { splits: Splits::TakeOver } => fails {
        races { of_many_takers_of_an_expired_key_one_wins }
    };
    looks_before_it_replaces: TwoSteps { splits: Splits::Replace } => fails {
        races { of_many_deleters_one_wins }
    };
    compares_before_it_touches: TwoSteps { splits: Splits::Touch } => fails {
        races { of_many_writers_with_one_version_one_wins }
    };
    looks_before_it_deletes: TwoSteps { splits: Splits::DeleteIfExists } => fails {
        races { of_many_deleters_one_wins }
    };
    compares_before_it_deletes: TwoSteps { splits: Splits::Delete } => fails {
        races { of_many_deleters_one_wins each_version_is_replaced_once }
    };
    checks_before_it_transacts: TransactsInTwoSteps => fails {
        transactions { of_many_transactions_on_one_version_one_wins transfers_keep_the_sum }
    };
    transacts_one_by_one: TransactsOneByOne => fails {
        transactions {
            of_many_transactions_on_one_version_one_wins transfers_keep_the_sum
            no_reader_sees_half_a_transaction
        }
    };
    halves_a_dropped_transaction: TransactionCanBeHalved => fails {
        expiry { a_ttl_that_is_not_in_the_future_is_refused a_ttl_that_is_too_far_is_refused }
        transactions { no_reader_sees_half_a_transaction }
    };
    writes_in_two_steps: WritesInTwoSteps => fails {
        races {
            of_many_writers_with_one_version_one_wins of_many_takers_of_an_expired_key_one_wins
            of_many_deleters_one_wins increments_add_up each_version_is_replaced_once
        }
        exactly_once { two_attempts_at_once_are_one_write two_attempts_and_a_rival_have_one_winner }
        cancellation { a_dropped_write_is_whole_or_not_there }
    };
    keeps_the_connection_of_a_dropped_call: KeepsConnections::default() => fails {
        cancellation {
            dropped_calls_leave_the_store_working the_answer_to_a_dropped_call_reaches_nobody_else
        }
    };
    stays_locked_by_a_dropped_call: StaysLocked::default() => fails {
        cancellation { a_dropped_write_is_whole_or_not_there a_dropped_write_that_is_retried_is_applied_once }
    };
}
