//! Stores that lose count of their writes.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use statestore_api::backend::{
    Decision, Mutation, Stamp, Stored, TransactDecision, decide, decide_transaction,
};
use statestore_api::{
    Action, Attempt, Bytes, DeleteOptions, Error, Key, Precondition, PutOptions, Resolution, Result,
    TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

use crate::calls::{Delete, Limits, Put, Resolve, Touch, Versions};
use crate::fault::Fault;
use crate::pause;
use crate::table::{Slot, Slots, Table, Written};

/// What a mutation looks like to a decision.
struct Asked<'a> {
    mutation: Mutation,
    precondition: &'a Precondition,
    attempt: Attempt,
    stored: Option<Stored<'a>>,
}

impl Asked<'_> {
    fn decide(&self) -> Result<Decision> {
        decide(self.mutation, self.precondition, self.attempt, self.stored)
    }

    /// The decision about another attempt.
    fn decide_as(&self, attempt: Attempt) -> Decision {
        decide(self.mutation, self.precondition, attempt, self.stored).unwrap()
    }

    /// The decision where the write id says nothing.
    fn decide_as_new(&self) -> Decision {
        self.decide_as(Attempt::first(WriteId::new()))
    }
}

/// Another decision than the right one, about a mutation of one key.
struct Decides(fn(Decision, &Asked<'_>) -> Decision);

impl Fault for Decides {
    fn decide(
        &self,
        mutation: Mutation,
        precondition: &Precondition,
        attempt: Attempt,
        stored: Option<Stored<'_>>,
    ) -> Result<Decision> {
        let asked = Asked {
            mutation,
            precondition,
            attempt,
            stored,
        };
        Ok((self.0)(asked.decide()?, &asked))
    }
}

/// The write id is dropped: a lost reply is a conflict. (All stores that we know of.)
fn knows_no_write_id(right: Decision, asked: &Asked<'_>) -> Decision {
    match right {
        Decision::Already(_) | Decision::Indeterminate => asked.decide_as_new(),
        _ => right,
    }
}

/// The write id is looked at only where a condition fails.
fn knows_no_write_id_where_the_condition_holds(right: Decision, asked: &Asked<'_>) -> Decision {
    match (right, asked.decide_as_new()) {
        (Decision::Already(_), Decision::Apply) => Decision::Apply,
        _ => right,
    }
}

/// The write id is looked at only for retries.
fn knows_no_late_first_attempt(right: Decision, asked: &Asked<'_>) -> Decision {
    match right {
        Decision::Already(_) if !asked.attempt.is_retry() => asked.decide_as_new(),
        _ => right,
    }
}

/// A touch keeps the write id of the put before it.
fn knows_no_touch(right: Decision, asked: &Asked<'_>) -> Decision {
    match right {
        Decision::Already(_) if asked.mutation == Mutation::Touch => asked.decide_as_new(),
        _ => right,
    }
}

/// Only the write that is there is known. (slatedb PR 1164.)
fn forgets_what_was_replaced(right: Decision, asked: &Asked<'_>) -> Decision {
    match (right, asked.stored) {
        (Decision::Already(own), Some(stored)) if own != stored.stamp => asked.decide_as_new(),
        _ => right,
    }
}

/// The same, but honest about it.
fn cannot_tell_what_was_replaced(right: Decision, asked: &Asked<'_>) -> Decision {
    match (right, asked.stored) {
        (Decision::Already(own), Some(stored)) if own != stored.stamp => match asked.decide_as_new() {
            Decision::Conflict => Decision::Indeterminate,
            decision => decision,
        },
        _ => right,
    }
}

fn answers_with_what_is_there(right: Decision, asked: &Asked<'_>) -> Decision {
    match (right, asked.stored) {
        (Decision::Already(_), Some(stored)) => Decision::Already(stored.stamp),
        _ => right,
    }
}

/// What cannot be told is a conflict.
fn is_never_in_doubt(right: Decision, _: &Asked<'_>) -> Decision {
    match right {
        Decision::Indeterminate => Decision::Conflict,
        _ => right,
    }
}

/// A put that cannot be told is taken for applied.
fn takes_doubt_for_success(right: Decision, asked: &Asked<'_>) -> Decision {
    match (right, asked.stored) {
        (Decision::Indeterminate, Some(stored)) if asked.mutation != Mutation::Delete => {
            Decision::Already(stored.stamp)
        }
        _ => right,
    }
}

/// Every refusal of a retry is in doubt.
fn is_always_in_doubt(right: Decision, asked: &Asked<'_>) -> Decision {
    match right {
        Decision::Conflict if asked.attempt.is_retry() => Decision::Indeterminate,
        _ => right,
    }
}

/// Every refusal is in doubt, the first too.
fn is_in_doubt_at_once(right: Decision, _: &Asked<'_>) -> Decision {
    match right {
        Decision::Conflict => Decision::Indeterminate,
        _ => right,
    }
}

/// A retried delete that finds nothing has done it.
fn takes_credit_for_a_delete(right: Decision, asked: &Asked<'_>) -> Decision {
    match right {
        Decision::Indeterminate if asked.mutation == Mutation::Delete && asked.stored.is_none() => {
            Decision::Apply
        }
        _ => right,
    }
}

/// A retried delete that finds nothing came too late.
fn takes_no_credit_for_a_delete(right: Decision, asked: &Asked<'_>) -> Decision {
    match right {
        Decision::Indeterminate if asked.mutation == Mutation::Delete && asked.stored.is_none() => {
            Decision::Conflict
        }
        _ => right,
    }
}

/// A retried delete without a condition finds nothing, which it cannot explain.
fn doubts_a_blind_delete(right: Decision, asked: &Asked<'_>) -> Decision {
    let blind = asked.mutation == Mutation::Delete && *asked.precondition == Precondition::None;
    match right {
        Decision::Apply if blind && asked.attempt.is_retry() && asked.stored.is_none() => {
            Decision::Indeterminate
        }
        _ => right,
    }
}

/// A retry is only ever answered, never applied.
fn applies_no_retry(right: Decision, asked: &Asked<'_>) -> Decision {
    let deletes = asked.mutation == Mutation::Delete && *asked.precondition == Precondition::None;
    match right {
        Decision::Apply if asked.attempt.is_retry() && !deletes => Decision::Indeterminate,
        _ => right,
    }
}

/// The version of a write is made from its id alone, so that a create after a delete has the one from before.
struct OneVersionForAWrite;

impl Fault for OneVersionForAWrite {
    fn nonce(&self) -> u64 {
        0
    }
}

/// Write ids are known to the store, not to the entry: the second key of one is answered with the version of the first.
#[derive(Default)]
struct OneTableOfWriteIds {
    by_id: Mutex<HashMap<WriteId, Version>>,
}

#[async_trait]
impl Fault for OneTableOfWriteIds {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let Some(attempt) = options.attempt else {
            return table.put(key, value, options);
        };
        let elsewhere = match table.slot(key) {
            Some(slot) if slot.written_by(attempt.id).is_some() => None,
            _ => self.by_id.lock().unwrap().get(&attempt.id).cloned(),
        };
        if let (Some(version), false) = (elsewhere, attempt.is_retry()) {
            return Ok(version);
        }
        let version = table.put(key, value, options)?;
        self.by_id.lock().unwrap().insert(attempt.id, version.clone());
        Ok(version)
    }
}

/// A table of the answers to all writes, beside the entries: a retry is answered although its entry is gone.
#[derive(Default)]
struct RepliesFromACache {
    answers: Mutex<HashMap<(Key, WriteId), Version>>,
}

#[async_trait]
impl Fault for RepliesFromACache {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let Some(attempt) = options.attempt else {
            return table.put(key, value, options);
        };
        let place = (key.clone(), attempt.id);
        if let Some(version) = self.answers.lock().unwrap().get(&place) {
            return Ok(version.clone());
        }
        let version = table.put(key, value, options)?;
        self.answers.lock().unwrap().insert(place, version.clone());
        Ok(version)
    }
}

/// A write is known by its id and value: another value is another write.
#[derive(Default)]
struct KnowsWritesByValue {
    values: Mutex<HashMap<(Key, WriteId), Bytes>>,
}

#[async_trait]
impl Fault for KnowsWritesByValue {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, mut options: PutOptions) -> Result<Version> {
        if let Some(attempt) = options.attempt {
            let place = (key.clone(), attempt.id);
            let mut values = self.values.lock().unwrap();
            if *values.entry(place).or_insert_with(|| value.clone()) != value {
                options.attempt = None;
            }
        }
        table.put(key, value, options)
    }
}

/// Whether a write was applied is looked up before it, not in one step with it, and then it conflicts with itself.
struct ConflictsWithItself;

#[async_trait]
impl Fault for ConflictsWithItself {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let before = table.slot(key);
        pause().await;
        let after = table.slot(key);
        let known = |slot: &Option<Slot>| {
            let id = options.attempt.map(|attempt| attempt.id);
            id.is_some_and(|id| slot.as_ref().is_some_and(|slot| slot.written_by(id).is_some()))
        };
        if !known(&before) && known(&after) {
            return Err(table.conflict(key, after.as_ref()).into());
        }
        table.put(key, value, options)
    }
}

/// What is there now.
fn current(table: &Table, key: &Key) -> Option<Version> {
    table.slot(key).map(|slot| slot.version().clone())
}

/// Replaced writes are not looked at.
fn by_what_is_there(table: &Table, key: &Key, id: WriteId, right: Result<Resolution>) -> Result<Resolution> {
    let is_there = |slot: Slot| slot.lineage[0].stamp.write_id() == id;
    match right? {
        Resolution::Applied(_) if !table.slot(key).is_some_and(is_there) => Ok(Resolution::Unknown),
        right => Ok(right),
    }
}

/// Another decision about a transaction.
struct DecidesTransactions(fn(TransactDecision, &AskedAll<'_>) -> TransactDecision);

/// What a transaction looks like to a decision.
struct AskedAll<'a> {
    ops: &'a [TransactOp],
    attempt: Attempt,
    stored: &'a [Option<Stored<'a>>],
}

impl AskedAll<'_> {
    fn decide_as(&self, attempt: Attempt) -> TransactDecision {
        decide_transaction(self.ops, attempt, |place| self.stored[place]).unwrap()
    }
}

impl Fault for DecidesTransactions {
    fn decide_transaction(
        &self,
        ops: &[TransactOp],
        attempt: Attempt,
        stored: &[Option<Stored<'_>>],
    ) -> Result<TransactDecision> {
        let right = decide_transaction(ops, attempt, |place| stored[place])?;
        let asked = AskedAll { ops, attempt, stored };
        Ok((self.0)(right, &asked))
    }
}

fn as_new(right: TransactDecision, asked: &AskedAll<'_>) -> TransactDecision {
    match right {
        TransactDecision::Already(_) | TransactDecision::Indeterminate(_) => {
            asked.decide_as(Attempt::first(WriteId::new()))
        }
        _ => right,
    }
}

fn without_doubt(right: TransactDecision, _: &AskedAll<'_>) -> TransactDecision {
    match right {
        TransactDecision::Indeterminate(place) => TransactDecision::Conflict(place),
        _ => right,
    }
}

fn with_doubt(right: TransactDecision, asked: &AskedAll<'_>) -> TransactDecision {
    match right {
        TransactDecision::Conflict(place) if asked.attempt.is_retry() => {
            TransactDecision::Indeterminate(place)
        }
        _ => right,
    }
}

/// Only the first put is asked whether it knows the transaction.
fn by_the_first_put(right: TransactDecision, asked: &AskedAll<'_>) -> TransactDecision {
    let is_put = |op: &TransactOp| matches!(op.action, Action::Put { .. });
    let first = asked.ops.iter().position(is_put);
    let knows = first.and_then(|place| asked.stored[place]).is_some_and(|stored| {
        let mut lineage = stored.replaced.iter().chain([&stored.stamp]);
        lineage.any(|stamp| stamp.write_id() == asked.attempt.id)
    });
    match right {
        TransactDecision::Already(_) if !knows => asked.decide_as(Attempt {
            id: WriteId::new(),
            ..asked.attempt
        }),
        _ => right,
    }
}

/// Whether a transaction was applied is looked up before it, and then it conflicts with itself.
struct TransactionConflictsWithItself;

#[async_trait]
impl Fault for TransactionConflictsWithItself {
    async fn transact(&self, table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
        let known = || {
            let id = options.attempt.map(|attempt| attempt.id)?;
            ops.iter().position(|op| {
                table
                    .slot(&op.key)
                    .is_some_and(|slot| slot.written_by(id).is_some())
            })
        };
        let before = known();
        pause().await;
        if let (None, Some(place)) = (before, known()) {
            let key = &ops[place].key;
            return Err(table.conflict(key, table.slot(key).as_ref()).of_op(place).into());
        }
        table.transact(ops, options)
    }
}

/// Only puts hand on the ids of the writes that they replace.
fn forgetting(table: &Table, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
    let before = current(table, key);
    let version = table.touch(key, ttl, options)?;
    if current(table, key) != before
        && let Some(slot) = table.slots().get_mut(key)
    {
        slot.lineage.truncate(1);
    }
    Ok(version)
}

/// The end of the process takes the ids of writes along.
struct RestartForgets(fn(&mut Vec<Written>));

impl Fault for RestartForgets {
    fn restart(&self, slots: &mut Slots) {
        for slot in slots.values_mut() {
            (self.0)(&mut slot.lineage);
        }
    }
}

/// A retry of a delete deletes what is there.
fn whatever_is_there(table: &Table, key: &Key, mut options: DeleteOptions) -> Result<()> {
    if options.attempt.is_some_and(Attempt::is_retry) && table.slot(key).is_some() {
        options.precondition = Precondition::None;
    }
    table.delete(key, options)
}

/// The entry of a write is gone with its expiry, so that a retry finds another's doing.
fn blames_others_for_its_expiry(
    table: &Table,
    key: &Key,
    value: Bytes,
    options: PutOptions,
) -> Result<Version> {
    let retry = options.attempt.is_some_and(Attempt::is_retry);
    match table.put(key, value, options) {
        Err(Error::InvalidTtl { .. }) if retry => Err(table.conflict(key, None).into()),
        answer => answer,
    }
}

wrong_stores! {
    blames_others_for_its_expiry: Put(blames_others_for_its_expiry) => fails {
        exactly_once { a_retry_whose_expiry_has_passed_is_refused_or_answered }
    };
    knows_no_write_ids: Decides(knows_no_write_id) => fails {
        exactly_once {
            a_repeated_create_is_answered_and_not_written_again
            a_repeated_compare_and_set_is_answered_and_not_written_again
            a_repeated_unconditional_put_is_answered_and_not_written_again
            a_repeated_touch_is_answered_and_not_applied_again
            a_different_put_with_the_same_write_id_is_not_written a_replaced_write_is_remembered
            a_forgotten_write_is_indeterminate a_late_first_attempt_changes_nothing
            a_retry_of_a_write_that_never_arrived_is_applied
            a_create_repeated_after_a_delete_makes_a_new_version
            a_write_repeated_after_its_expiry_is_no_conflict
            a_compare_and_set_repeated_after_a_delete_is_indeterminate
            a_repeated_delete_that_finds_the_key_gone_is_indeterminate two_attempts_at_once_are_one_write
            one_write_id_on_two_keys_is_two_writes
        }
        cancellation { a_dropped_write_is_whole_or_not_there a_dropped_write_that_is_retried_is_applied_once }
        restart { a_retry_is_recognised }
    };
    writes_again_where_the_condition_holds: Decides(knows_no_write_id_where_the_condition_holds) => fails {
        exactly_once {
            a_repeated_unconditional_put_is_answered_and_not_written_again
            a_repeated_touch_is_answered_and_not_applied_again
            a_different_put_with_the_same_write_id_is_not_written a_replaced_write_is_remembered
            a_retry_of_a_write_that_never_arrived_is_applied
        }
        restart { a_retry_is_recognised }
    };
    knows_no_late_first_attempts: Decides(knows_no_late_first_attempt) => fails {
        exactly_once {
            a_repeated_create_is_answered_and_not_written_again
            a_repeated_compare_and_set_is_answered_and_not_written_again
            a_repeated_touch_is_answered_and_not_applied_again a_replaced_write_is_remembered
            a_late_first_attempt_changes_nothing two_attempts_at_once_are_one_write
        }
    };
    knows_no_touches: Decides(knows_no_touch) => fails {
        exactly_once {
            a_repeated_touch_is_answered_and_not_applied_again a_replaced_write_is_remembered
            a_late_first_attempt_changes_nothing a_retry_of_a_write_that_never_arrived_is_applied
            a_write_repeated_after_its_expiry_is_no_conflict two_attempts_at_once_are_one_write
        }
        cancellation { a_dropped_write_is_whole_or_not_there }
        restart { a_retry_is_recognised }
    };
    forgets_a_replaced_write: Decides(forgets_what_was_replaced) => fails {
        exactly_once { a_replaced_write_is_remembered a_late_first_attempt_changes_nothing }
        restart { a_retry_is_recognised }
    };
    cannot_tell_a_replaced_write: Decides(cannot_tell_what_was_replaced) => fails {
        exactly_once { a_replaced_write_is_remembered a_late_first_attempt_changes_nothing }
        restart { a_retry_is_recognised }
    };
    forgets_a_touched_write: Touch(forgetting) => fails {
        exactly_once { a_replaced_write_is_remembered a_repeated_delete_that_finds_a_newer_version_conflicts }
    };
    remembers_fewer_writes_than_it_says: Limits(|_, kept| kept.remembered_writes = 1) => fails {
        exactly_once {
            a_replaced_write_is_remembered a_late_first_attempt_changes_nothing
            a_write_that_lost_the_race_is_told_apart a_repeated_delete_that_finds_a_newer_version_conflicts
            resolve_tells_what_became_of_a_write a_repeated_transaction_is_answered_and_not_applied_again
        }
        restart { a_lost_reply_is_resolved a_retry_is_recognised }
    };
    forgets_by_blind_puts_without_saying_so: Limits(|_, kept| kept.blind_puts_forget = true) => fails {
        exactly_once {
            a_replaced_write_is_remembered a_late_first_attempt_changes_nothing
            a_repeated_delete_that_finds_a_newer_version_conflicts
        }
    };
    remembers_no_replaced_write: Limits(|declared, kept| {
        (declared.remembered_writes, kept.remembered_writes) = (0, 0);
    }) => fails {
        start { capabilities_keep_what_every_store_can_do }
        exactly_once {
            a_replaced_write_is_remembered a_forgotten_write_is_indeterminate
            an_unconditional_write_is_applied_at_least_once a_late_first_attempt_changes_nothing
            a_write_that_lost_the_race_is_told_apart a_repeated_delete_that_finds_a_newer_version_conflicts
            a_first_attempt_is_never_indeterminate two_attempts_and_a_rival_have_one_winner
            resolve_tells_what_became_of_a_write a_repeated_transaction_is_answered_and_not_applied_again
            a_repeated_transaction_that_cannot_be_told_is_indeterminate
            a_transaction_that_lost_the_race_is_told_apart
        }
        restart { a_lost_reply_is_resolved a_retry_is_recognised }
    };
    answers_a_retry_with_what_is_there: Decides(answers_with_what_is_there) => fails {
        exactly_once { a_replaced_write_is_remembered a_late_first_attempt_changes_nothing }
        restart { a_retry_is_recognised }
    };
    is_never_in_doubt: Decides(is_never_in_doubt) => fails {
        exactly_once {
            a_forgotten_write_is_indeterminate a_create_repeated_after_a_delete_makes_a_new_version
            a_compare_and_set_repeated_after_a_delete_is_indeterminate
            a_repeated_delete_that_finds_the_key_gone_is_indeterminate
        }
        cancellation { a_dropped_write_is_whole_or_not_there }
        restart { a_retry_is_recognised }
    };
    is_always_in_doubt: Decides(is_always_in_doubt) => fails {
        exactly_once {
            a_write_that_lost_the_race_is_told_apart a_repeated_delete_that_finds_a_newer_version_conflicts
            two_attempts_and_a_rival_have_one_winner
        }
        restart { a_retry_is_recognised }
    };
    is_in_doubt_at_once: Decides(is_in_doubt_at_once) => fails at least { exactly_once { a_first_attempt_is_never_indeterminate } };
    takes_doubt_for_success: Decides(takes_doubt_for_success) => fails {
        exactly_once {
            a_forgotten_write_is_indeterminate a_write_that_lost_the_race_is_told_apart
            a_create_repeated_after_a_delete_makes_a_new_version
            a_compare_and_set_repeated_after_a_delete_is_indeterminate
        }
        restart { a_retry_is_recognised }
    };
    takes_credit_for_a_delete: Decides(takes_credit_for_a_delete) => fails {
        exactly_once { a_repeated_delete_that_finds_the_key_gone_is_indeterminate }
    };
    takes_no_credit_for_a_delete: Decides(takes_no_credit_for_a_delete) => fails {
        exactly_once { a_repeated_delete_that_finds_the_key_gone_is_indeterminate }
        cancellation { a_dropped_write_is_whole_or_not_there }
    };
    doubts_a_delete_without_a_condition: Decides(doubts_a_blind_delete) => fails {
        exactly_once { a_repeated_unconditional_delete_succeeds }
    };
    deletes_for_the_second_time: Delete(whatever_is_there) => fails {
        exactly_once {
            a_repeated_delete_that_finds_the_key_gone_is_indeterminate
            a_repeated_delete_that_finds_a_newer_version_conflicts
        }
    };
    applies_no_retry: Decides(applies_no_retry) => fails {
        exactly_once { a_late_first_attempt_changes_nothing
            a_retry_of_a_write_that_never_arrived_is_applied
            a_create_repeated_after_a_delete_makes_a_new_version two_attempts_at_once_are_one_write
        }
        restart { a_retry_is_recognised }
    };
    makes_one_version_for_a_write: OneVersionForAWrite => fails {
        exactly_once {
            an_unconditional_write_is_applied_at_least_once
            a_create_repeated_after_a_delete_makes_a_new_version
        }
    };
    knows_write_ids_of_any_key: OneTableOfWriteIds::default() => fails {
        exactly_once { one_write_id_on_two_keys_is_two_writes }
    };
    answers_from_a_cache: RepliesFromACache::default() => fails {
        exactly_once {
            a_create_repeated_after_a_delete_makes_a_new_version
        }
    };
    knows_a_write_by_its_value: KnowsWritesByValue::default() => fails {
        exactly_once { a_different_put_with_the_same_write_id_is_not_written }
    };
    conflicts_with_itself: ConflictsWithItself => fails {
        exactly_once { two_attempts_at_once_are_one_write two_attempts_and_a_rival_have_one_winner }
    };
    resolves_nothing_as_applied: Resolve(|_, _, _, right| right.map(|right| match right {
        Resolution::Applied(_) => Resolution::NotApplied,
        right => right,
    })) => fails {
        exactly_once { one_write_id_on_two_keys_is_two_writes resolve_tells_what_became_of_a_write }
        restart { a_lost_reply_is_resolved }
    };
    resolves_everything_as_applied: Resolve(|table, key, _, right| {
        right.map(|right| current(table, key).map_or(right, Resolution::Applied))
    }) => fails {
        exactly_once { resolve_tells_what_became_of_a_write }
        restart { a_lost_reply_is_resolved }
    };
    resolves_by_what_is_there: Resolve(by_what_is_there) => fails {
        exactly_once { resolve_tells_what_became_of_a_write }
        restart { a_lost_reply_is_resolved }
    };
    resolves_to_the_version_that_is_there: Resolve(|table, key, _, right| right.map(|right| match right {
        Resolution::Applied(own) => Resolution::Applied(current(table, key).unwrap_or(own)),
        right => right,
    })) => fails {
        exactly_once { resolve_tells_what_became_of_a_write }
        restart { a_lost_reply_is_resolved }
    };
    resolves_unknown_as_not_applied: Resolve(|_, _, _, right| right.map(|right| match right {
        Resolution::Unknown => Resolution::NotApplied,
        right => right,
    })) => fails {
        exactly_once { resolve_tells_what_became_of_a_write }
        restart { a_lost_reply_is_resolved }
    };
    resolves_not_applied_as_unknown: Resolve(|_, _, _, right| right.map(|right| match right {
        Resolution::NotApplied => Resolution::Unknown,
        right => right,
    })) => fails {
        exactly_once { resolve_tells_what_became_of_a_write }
        restart { a_lost_reply_is_resolved }
    };
    knows_no_transactions: DecidesTransactions(as_new) => fails {
        exactly_once {
            a_repeated_transaction_is_answered_and_not_applied_again
            a_repeated_transaction_that_cannot_be_told_is_indeterminate
            two_attempts_of_a_transaction_at_once_are_one
        }
        cancellation { a_dropped_transaction_is_whole_or_not_there }
        restart { a_retry_is_recognised }
    };
    is_never_in_doubt_of_a_transaction: DecidesTransactions(without_doubt) => fails {
        exactly_once { a_repeated_transaction_that_cannot_be_told_is_indeterminate }
    };
    is_always_in_doubt_of_a_transaction: DecidesTransactions(with_doubt) => fails {
        exactly_once { a_transaction_that_lost_the_race_is_told_apart }
    };
    knows_a_transaction_by_its_first_put: DecidesTransactions(by_the_first_put) => fails {
        exactly_once { a_repeated_transaction_is_answered_and_not_applied_again }
    };
    conflicts_with_its_own_transaction: TransactionConflictsWithItself => fails {
        exactly_once { two_attempts_of_a_transaction_at_once_are_one }
    };
    forgets_write_ids_by_a_restart: RestartForgets(|lineage| {
        for written in lineage {
            written.stamp = Stamp::from_bytes([1; Stamp::LEN]);
        }
    }) => fails {
        restart { a_lost_reply_is_resolved a_retry_is_recognised }
    };
    forgets_replaced_writes_by_a_restart: RestartForgets(|lineage| lineage.truncate(1)) => fails {
        restart { a_lost_reply_is_resolved a_retry_is_recognised }
    };
}
