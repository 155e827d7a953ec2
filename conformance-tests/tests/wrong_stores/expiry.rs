//! Stores that get expiry wrong.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use statestore_api::backend::Mutation;
use statestore_api::backend::expiry::{self, Expiry, MAX_MS};
use statestore_api::{
    Bytes, Entry, Error, GetOptions, Key, Precondition, PutOptions, Result, TouchOptions, Ttl, Version,
};

use crate::calls::{Get, Put, Touch};
use crate::fault::{Fault, Reader, Write};
use crate::table::{Slot, Table};

/// Another expiry than the TTL asks for.
struct Expires(fn(Ttl, u64) -> Result<Expiry>);

impl Fault for Expires {
    fn expiry(&self, ttl: Ttl, now: u64) -> Result<Expiry> {
        (self.0)(ttl, now)
    }
}

/// The right expiry, changed.
fn changed(ttl: Ttl, now: u64, change: impl Fn(u64) -> u64) -> Result<Expiry> {
    Ok(match Expiry::new(ttl, now)? {
        Expiry::Set(at) => Expiry::Set(at.map(change)),
        Expiry::Keep => Expiry::Keep,
    })
}

fn never(ttl: Ttl, now: u64) -> Result<Expiry> {
    Expiry::new(ttl, now).map(|_| Expiry::Set(None))
}

/// The service counts in seconds. (DynamoDB, Cosmos DB.)
fn in_seconds(ttl: Ttl, now: u64) -> Result<Expiry> {
    changed(ttl, now, |at| at.div_ceil(1000) * 1000)
}

fn rounded_down(ttl: Ttl, now: u64) -> Result<Expiry> {
    match ttl {
        Ttl::After(after) if after.as_millis() > 0 => {
            let fraction = Duration::from_nanos(u64::from(after.subsec_nanos() % 1_000_000));
            Expiry::new(Ttl::After(after - fraction), now)
        }
        Ttl::At(at) => Expiry::new(Ttl::At(expiry::from_ms(expiry::to_ms(at))), now),
        _ => Expiry::new(ttl, now),
    }
}

/// `Keep` is none of the service's commands.
fn keep_clears(ttl: Ttl, now: u64) -> Result<Expiry> {
    Ok(match Expiry::new(ttl, now)? {
        Expiry::Keep => Expiry::Set(None),
        set => set,
    })
}

fn zero_is_none(ttl: Ttl, now: u64) -> Result<Expiry> {
    match ttl {
        Ttl::After(after) if after.is_zero() => Ok(Expiry::Set(None)),
        _ => Expiry::new(ttl, now),
    }
}

/// An expiry in the past is a delete. (Redis.)
fn the_past_deletes(ttl: Ttl, now: u64) -> Result<Expiry> {
    match ttl {
        Ttl::At(at) if expiry::to_ms(at) <= now => Ok(Expiry::Set(Some(expiry::to_ms(at)))),
        _ => Expiry::new(ttl, now),
    }
}

fn overflow_wraps(ttl: Ttl, now: u64) -> Result<Expiry> {
    match (ttl, Expiry::new(ttl, now)) {
        (Ttl::After(after), Err(_)) if !after.is_zero() => {
            let turn = u128::from(u64::MAX) + 1;
            let ms = u64::try_from((u128::from(now) + after.as_millis()) % turn).unwrap();
            Ok(Expiry::Set(Some(ms.clamp(now + 1, MAX_MS))))
        }
        (_, right) => right,
    }
}

fn too_far_is_the_furthest(ttl: Ttl, now: u64) -> Result<Expiry> {
    match (ttl, Expiry::new(ttl, now)) {
        (Ttl::At(at), Err(_)) if expiry::to_ms(at) > now => Ok(Expiry::Set(Some(MAX_MS))),
        (_, right) => right,
    }
}

/// Seconds in 32 bits.
fn until_2038(ttl: Ttl, now: u64) -> Result<Expiry> {
    changed(ttl, now, |at| at.min(u64::from(i32::MAX.unsigned_abs()) * 1000))
}

/// It lives for a minute more, in case the clocks are apart.
fn with_a_margin(ttl: Ttl, now: u64) -> Result<Expiry> {
    changed(ttl, now, |at| (at + 60_000).min(MAX_MS))
}

/// Somebody sees entries that have expired and are not swept yet.
struct SeesExpired(fn(Reader<'_>) -> bool);

impl Fault for SeesExpired {
    fn sees(&self, reader: Reader<'_>, slot: &Slot, now: u64) -> bool {
        expiry::is_live(slot.expires_at, now) || (self.0)(reader)
    }
}

/// Liveness is judged otherwise.
struct Judges(fn(u64, u64) -> bool);

impl Fault for Judges {
    fn sees(&self, _: Reader<'_>, slot: &Slot, now: u64) -> bool {
        slot.expires_at.is_none_or(|at| (self.0)(at, now))
    }
}

/// Sweeps something else.
struct Sweeps(fn(&Slot, u64) -> bool);

impl Fault for Sweeps {
    fn sweeps(&self, slot: &Slot, now: u64) -> bool {
        (self.0)(slot, now)
    }
}

/// (Redis' `KEEPTTL`; an update expression that leaves the expiry out.)
fn keeping(table: &Table, key: &Key, value: Bytes, mut options: PutOptions) -> Result<Version> {
    if options.ttl == Ttl::None {
        options.ttl = Ttl::Keep;
    }
    table.put(key, value, options)
}

/// The second command is sent whether the write was applied or not.
fn by_a_second_command(table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
    let ttl = options.ttl;
    let put = table.put(key, value, options);
    if let Err(Error::Conflict(_)) = put {
        expire(table, key, ttl);
    }
    put
}

/// Sets the expiry of an entry, and nothing else.
fn expire(table: &Table, key: &Key, ttl: Ttl) {
    if let Ok(Expiry::Set(at)) = Expiry::new(ttl, table.now())
        && let Some(slot) = table.slots().get_mut(key)
        && expiry::is_live(slot.expires_at, table.now())
    {
        slot.expires_at = at;
    }
}

/// A create over an expired entry is an update of it, which keeps its version.
struct TakeOverKeepsVersion;

impl Fault for TakeOverKeepsVersion {
    fn version(&self, write: &Write<'_>) -> Version {
        match write.before {
            Some(slot) if !expiry::is_live(slot.expires_at, write.now) => slot.version().clone(),
            _ => write.stamp.into(),
        }
    }
}

/// (Sliding expiry.)
fn prolonging(table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
    let entry = table.get(Reader::Get, key)?;
    if entry.is_some()
        && let Some(slot) = table.slots().get_mut(key)
    {
        slot.expires_at = slot.expires_at.map(|at| at + 100);
    }
    Ok(entry)
}

/// An entry's life is counted from its first write on.
#[derive(Default)]
struct CountsFromTheFirstWrite {
    created: Mutex<HashMap<Key, u64>>,
}

#[async_trait]
impl Fault for CountsFromTheFirstWrite {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, mut options: PutOptions) -> Result<Version> {
        let now = table.now();
        let live = table.get(Reader::Get, key)?.is_some();
        let created = {
            let mut all = self.created.lock().unwrap();
            if !live {
                all.remove(key);
            }
            *all.entry(key.clone()).or_insert(now)
        };
        if let Ttl::After(after) = options.ttl
            && let Some(at) = expiry::from_ms(created).checked_add(after)
            && expiry::to_ms(at) > now
        {
            options.ttl = Ttl::At(at);
        }
        table.put(key, value, options)
    }
}

/// The last write by the clock wins: one by a clock that has gone back is acknowledged and dropped. (Cassandra.)
#[derive(Default)]
struct LastClockWins {
    written: Mutex<HashMap<Key, u64>>,
}

#[async_trait]
impl Fault for LastClockWins {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let before = table.slot(key);
        let version = table.put(key, value, options)?;
        let (now, mut written) = (table.now(), self.written.lock().unwrap());
        let last = written.entry(key.clone()).or_default();
        match before {
            Some(before) if now < *last => drop(table.slots().insert(key.clone(), before)),
            _ => *last = now,
        }
        Ok(version)
    }
}

/// Expiry is set by the service's clock and judged by this machine's.
struct JudgesByAnotherClock;

impl Fault for JudgesByAnotherClock {
    fn sees(&self, _: Reader<'_>, slot: &Slot, _: u64) -> bool {
        expiry::is_live(slot.expires_at, expiry::to_ms(SystemTime::now()))
    }
}

/// (`EXPIRE … GT`.)
fn only_prolonging(table: &Table, key: &Key, mut ttl: Ttl, options: TouchOptions) -> Result<Version> {
    let before = table.slot(key).and_then(|slot| slot.expires_at);
    if let (Expiry::Set(Some(at)), Some(before)) = (Expiry::new(ttl, table.now())?, before)
        && at < before
    {
        ttl = Ttl::Keep;
    }
    table.touch(key, ttl, options)
}

/// (`EXPIRE` takes no condition.)
fn under_any_version(table: &Table, key: &Key, ttl: Ttl, mut options: TouchOptions) -> Result<Version> {
    if let Precondition::Matches(version) = &options.precondition
        && version.stamp().is_ok()
    {
        options.precondition = Precondition::None;
    }
    table.touch(key, ttl, options)
}

/// (`touch`.)
fn creating(table: &Table, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
    if table.slot(key).is_none() && options == TouchOptions::default() {
        return table.put(key, Bytes::new(), PutOptions::expiring(ttl));
    }
    table.touch(key, ttl, options)
}

/// What never holds is a conflict like any other.
fn of_an_absent_key(table: &Table, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
    if options.precondition == Precondition::Absent {
        return Err(table.conflict(key, table.slot(key).as_ref()).into());
    }
    table.touch(key, ttl, options)
}

/// An item is written with all that is known of it, which is not its value.
fn without_the_value(table: &Table, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
    let version = table.touch(key, ttl, options)?;
    if let Some(slot) = table.slots().get_mut(key) {
        slot.value.clear();
    }
    Ok(version)
}

/// The expiry is moved, and then the version is looked at.
fn although_it_is_refused(table: &Table, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
    let touched = table.touch(key, ttl, options);
    if let Err(Error::Conflict(_)) = touched {
        expire(table, key, ttl);
    }
    touched
}

wrong_stores! {
    ignores_the_ttl: Expires(never) => fails at least {
        expiry {
            an_entry_without_a_ttl_never_expires the_expiry_is_returned_to_the_millisecond
            a_ttl_counts_from_the_write fractions_of_a_millisecond_round_up the_furthest_expiry_is_kept
            an_entry_is_there_until_its_expiry an_expired_entry_is_gone_for_every_read
            an_expired_entry_is_gone_for_scans an_expired_entry_is_gone_for_every_condition
            an_expired_entry_can_be_replaced a_put_with_a_ttl_replaces_the_expiry keep_keeps_the_expiry
            what_was_kept_still_expires keep_takes_nothing_from_an_expired_entry
            a_refused_write_leaves_the_expiry a_ttl_that_is_not_in_the_future_is_refused
            a_ttl_that_is_too_far_is_refused sweep_removes_nothing_that_is_there
        }
        touch {
            touch_moves_the_expiry_and_keeps_the_value touch_can_shorten_and_clear_the_expiry
            touch_takes_conditions touch_never_creates_or_revives
        }
        restart { expiry_goes_on }
        clock {
            an_entry_expires_in_its_millisecond a_ttl_is_at_least_a_millisecond
            a_clock_ahead_only_shortens_lives a_clock_behind_only_prolongs_lives
            sweep_removes_what_has_expired
        }
    };
    counts_in_seconds: Expires(in_seconds) => fails at least {
        expiry {
            an_entry_without_a_ttl_never_expires the_expiry_is_returned_to_the_millisecond
            a_ttl_counts_from_the_write fractions_of_a_millisecond_round_up the_furthest_expiry_is_kept
            an_entry_is_there_until_its_expiry an_expired_entry_is_gone_for_every_read
            an_expired_entry_is_gone_for_scans an_expired_entry_is_gone_for_every_condition
            an_expired_entry_can_be_replaced a_put_with_a_ttl_replaces_the_expiry keep_keeps_the_expiry
            what_was_kept_still_expires keep_takes_nothing_from_an_expired_entry
            a_refused_write_leaves_the_expiry
        }
        touch {
            touch_moves_the_expiry_and_keeps_the_value touch_can_shorten_and_clear_the_expiry
            touch_takes_conditions touch_never_creates_or_revives
        }
        restart { expiry_goes_on }
        clock {
            an_entry_expires_in_its_millisecond a_ttl_is_at_least_a_millisecond
            a_clock_ahead_only_shortens_lives a_clock_behind_only_prolongs_lives
            sweep_removes_what_has_expired
        }
    };
    rounds_an_expiry_down: Expires(rounded_down) => fails {
        expiry {
            fractions_of_a_millisecond_round_up the_furthest_expiry_is_kept a_ttl_that_is_too_far_is_refused
        }
        clock { a_ttl_is_at_least_a_millisecond }
    };
    clears_what_it_should_keep: Expires(keep_clears) => fails {
        expiry { keep_keeps_the_expiry what_was_kept_still_expires }
        transactions { expiry_works_in_transactions }
    };
    takes_zero_for_no_expiry: Expires(zero_is_none) => fails {
        expiry { a_ttl_that_is_not_in_the_future_is_refused }
        touch { a_refused_touch_changes_nothing }
        batches { put_many_fails_for_a_conflict_alone }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    deletes_by_an_expiry_in_the_past: Expires(the_past_deletes) => fails {
        expiry { a_ttl_that_is_not_in_the_future_is_refused }
        transactions { bad_arguments_are_refused_and_change_nothing }
        clock { a_ttl_is_at_least_a_millisecond }
    };
    wraps_an_expiry_that_overflows: Expires(overflow_wraps) => fails {
        expiry { a_ttl_that_is_too_far_is_refused }
        touch { a_refused_touch_changes_nothing }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    shortens_an_expiry_that_is_too_far: Expires(too_far_is_the_furthest) => fails {
        expiry { a_ttl_that_is_too_far_is_refused }
    };
    keeps_an_expiry_in_32_bits: Expires(until_2038) => fails {
        expiry { the_furthest_expiry_is_kept }
    };
    adds_a_margin_to_an_expiry: Expires(with_a_margin) => fails at least {
        expiry {
            an_entry_without_a_ttl_never_expires the_expiry_is_returned_to_the_millisecond
            a_ttl_counts_from_the_write fractions_of_a_millisecond_round_up the_furthest_expiry_is_kept
            an_entry_is_there_until_its_expiry an_expired_entry_is_gone_for_every_read
            an_expired_entry_is_gone_for_scans an_expired_entry_is_gone_for_every_condition
            an_expired_entry_can_be_replaced a_put_with_a_ttl_replaces_the_expiry keep_keeps_the_expiry
            what_was_kept_still_expires keep_takes_nothing_from_an_expired_entry
            a_refused_write_leaves_the_expiry a_ttl_that_is_not_in_the_future_is_refused
            a_ttl_that_is_too_far_is_refused sweep_removes_nothing_that_is_there
        }
        touch {
            touch_moves_the_expiry_and_keeps_the_value touch_can_shorten_and_clear_the_expiry
            touch_takes_conditions touch_never_creates_or_revives
        }
        restart { expiry_goes_on }
        clock {
            an_entry_expires_in_its_millisecond a_ttl_is_at_least_a_millisecond
            a_clock_ahead_only_shortens_lives a_clock_behind_only_prolongs_lives
            sweep_removes_what_has_expired
        }
    };
    shows_expired_entries_to_get: SeesExpired(|reader| matches!(reader, Reader::Get)) => fails at least {
        expiry {
            an_entry_without_a_ttl_never_expires fractions_of_a_millisecond_round_up
            an_entry_is_there_until_its_expiry an_expired_entry_is_gone_for_every_read
            an_expired_entry_is_gone_for_every_condition a_put_with_a_ttl_replaces_the_expiry
            what_was_kept_still_expires keep_takes_nothing_from_an_expired_entry
        }
        touch { touch_can_shorten_and_clear_the_expiry touch_never_creates_or_revives }
        clock {
            an_entry_expires_in_its_millisecond a_clock_ahead_only_shortens_lives
            a_clock_behind_only_prolongs_lives
        }
    };
    shows_expired_entries_to_get_many: SeesExpired(|reader| matches!(reader, Reader::GetMany)) => fails {
        expiry { an_expired_entry_is_gone_for_every_read what_was_kept_still_expires }
        touch { touch_can_shorten_and_clear_the_expiry }
        batches { get_many_answers_in_the_order_asked }
        clock { an_entry_expires_in_its_millisecond }
    };
    shows_expired_entries_to_list: SeesExpired(|reader| matches!(reader, Reader::List)) => fails {
        expiry { an_expired_entry_is_gone_for_every_read what_was_kept_still_expires }
        touch { touch_can_shorten_and_clear_the_expiry }
        listing { keys_alone_can_be_listed deleted_and_expired_entries_are_not_listed }
        clock { an_entry_expires_in_its_millisecond }
    };
    shows_expired_entries_to_scan: SeesExpired(|reader| matches!(reader, Reader::Scan)) => fails {
        expiry { an_expired_entry_is_gone_for_scans }
        scan { scan_leaves_out_what_is_gone }
    };
    refuses_a_create_over_an_expired_entry: SeesExpired(|reader| matches!(reader, Reader::Change(Mutation::Put, Precondition::Absent))) => fails {
        versions { no_version_is_reused_after_an_expiry }
        conditions { absent_holds_when_the_key_is_gone matches_conflicts_after_delete_and_recreate }
        races { of_many_takers_of_an_expired_key_one_wins }
        expiry {
            an_expired_entry_is_gone_for_every_condition an_expired_entry_can_be_replaced
            keep_takes_nothing_from_an_expired_entry
        }
        restart { expiry_goes_on }
        clock { an_entry_expires_in_its_millisecond }
    };
    takes_the_version_of_an_expired_entry: SeesExpired(|reader| matches!(reader, Reader::Change(Mutation::Put, Precondition::Matches(_)))) => fails {
        conditions { matches_never_creates_a_key_that_is_gone }
        expiry { an_expired_entry_is_gone_for_every_condition }
        restart { expiry_goes_on }
        clock { an_entry_expires_in_its_millisecond }
    };
    takes_an_expired_entry_for_one_that_exists: SeesExpired(|reader| matches!(reader, Reader::Change(Mutation::Put, Precondition::Exists))) => fails {
        conditions { exists_conflicts_when_the_key_is_gone }
        exactly_once { a_first_attempt_is_never_indeterminate }
        expiry { an_expired_entry_is_gone_for_every_condition }
        restart { expiry_goes_on }
        clock { an_entry_expires_in_its_millisecond }
    };
    deletes_an_expired_entry_by_its_version: SeesExpired(|reader| matches!(reader, Reader::Change(Mutation::Delete, Precondition::Matches(_)))) => fails {
        conditions { delete_with_a_version_of_a_key_that_is_gone_conflicts }
        expiry { an_expired_entry_is_gone_for_every_condition }
        clock { an_entry_expires_in_its_millisecond }
    };
    revives_an_expired_entry_by_touch: SeesExpired(|reader| matches!(reader, Reader::Change(Mutation::Touch, _))) => fails {
        exactly_once { a_first_attempt_is_never_indeterminate }
        expiry { an_expired_entry_is_gone_for_every_condition keep_takes_nothing_from_an_expired_entry }
        touch { touch_never_creates_or_revives }
        clock { an_entry_expires_in_its_millisecond }
    };
    shows_expired_entries_to_transactions: SeesExpired(|reader| matches!(reader, Reader::Op)) => fails {
        exactly_once { a_first_attempt_is_never_indeterminate }
        expiry {
            an_expired_entry_is_gone_for_every_condition an_expired_entry_can_be_replaced
            keep_takes_nothing_from_an_expired_entry
        }
        transactions {
            a_failed_condition_anywhere_changes_nothing every_condition_that_holds_lets_pass
            a_conflict_names_the_operation an_expired_entry_counts_as_absent
        }
        clock { an_entry_expires_in_its_millisecond }
    };
    keeps_the_expiry_of_an_expired_entry: SeesExpired(|reader| matches!(reader, Reader::Keep)) => fails {
        expiry { keep_takes_nothing_from_an_expired_entry }
        transactions { an_expired_entry_counts_as_absent }
    };
    lets_an_entry_live_a_millisecond_longer: Judges(|at, now| now <= at) => fails {
        clock {
            an_entry_expires_in_its_millisecond a_clock_ahead_only_shortens_lives
            a_clock_behind_only_prolongs_lives
        }
    };
    lets_an_entry_die_a_millisecond_early: Judges(|at, now| now + 1 < at) => fails {
        clock {
            an_entry_expires_in_its_millisecond a_ttl_is_at_least_a_millisecond
            a_clock_ahead_only_shortens_lives a_clock_behind_only_prolongs_lives
            sweep_removes_what_has_expired
        }
    };
    drops_writes_of_a_clock_that_went_back: LastClockWins::default() => fails {
        clock { a_write_counts_whatever_the_clock_shows }
    };
    judges_by_another_clock: JudgesByAnotherClock => fails at least {};
    keeps_the_version_when_it_takes_over: TakeOverKeepsVersion => fails {
        versions { no_version_is_reused_after_an_expiry }
        conditions { matches_conflicts_after_delete_and_recreate }
        expiry { an_expired_entry_is_gone_for_every_condition an_expired_entry_can_be_replaced }
        transactions { an_expired_entry_counts_as_absent }
        restart { expiry_goes_on }
        clock { an_entry_expires_in_its_millisecond a_clock_ahead_only_shortens_lives }
    };
    keeps_the_expiry_when_put_gives_none: Put(keeping) => fails {
        conditions {
            none_always_holds exists_holds_when_the_key_is_there matches_holds_for_the_current_version
            matches_conflicts_for_a_stale_version a_refused_write_changes_nothing
        }
        expiry { a_put_without_a_ttl_clears_the_expiry sweep_removes_nothing_that_is_there }
        cancellation { a_dropped_write_is_whole_or_not_there }
        restart { expiry_goes_on }
        clock { an_entry_expires_in_its_millisecond an_entry_without_a_ttl_outlives_every_clock }
    };
    sets_the_expiry_by_a_second_command: Put(by_a_second_command) => fails {
        conditions {
            absent_conflicts_when_the_key_is_there matches_conflicts_for_a_stale_version
            a_refused_write_changes_nothing a_conflict_shows_what_is_there
        }
        exactly_once {
            a_late_first_attempt_changes_nothing a_write_that_lost_the_race_is_told_apart
            a_create_repeated_after_a_delete_makes_a_new_version one_write_id_on_two_keys_is_two_writes
        }
        expiry { a_refused_write_leaves_the_expiry }
        touch { touch_makes_a_new_version }
        restart { a_retry_is_recognised }
        clock { an_entry_expires_in_its_millisecond a_clock_ahead_only_shortens_lives }
    };
    prolongs_a_life_by_reading: Get(prolonging) => fails at least {
        expiry {
            the_expiry_is_returned_to_the_millisecond the_furthest_expiry_is_kept
            an_entry_is_there_until_its_expiry keep_keeps_the_expiry a_refused_write_leaves_the_expiry
            a_ttl_that_is_not_in_the_future_is_refused a_ttl_that_is_too_far_is_refused
            sweep_removes_nothing_that_is_there
        }
        touch {
            touch_moves_the_expiry_and_keeps_the_value touch_makes_a_new_version
            touch_for_an_absent_key_is_refused a_refused_touch_changes_nothing
        }
        clock {
            an_entry_expires_in_its_millisecond a_ttl_is_at_least_a_millisecond
            a_clock_ahead_only_shortens_lives a_clock_behind_only_prolongs_lives
            sweep_removes_what_has_expired
        }
    };
    counts_a_ttl_from_the_first_write: CountsFromTheFirstWrite::default() => fails {
        expiry { a_ttl_counts_from_the_write }
    };
    sweeps_whatever_has_an_expiry: Sweeps(|slot, _| slot.expires_at.is_some()) => fails {
        expiry { sweep_removes_nothing_that_is_there }
        restart { expiry_goes_on }
        clock { sweep_removes_what_has_expired }
    };
    sweeps_nothing: Sweeps(|_, _| false) => fails {
        clock { sweep_removes_what_has_expired }
    };
    touches_without_moving_the_expiry: Touch(|table, key, ttl, options| {
        Expiry::new(ttl, table.now())?;
        table.touch(key, Ttl::Keep, options)
    }) => fails {
        exactly_once { a_write_repeated_after_its_expiry_is_no_conflict }
        expiry {
            the_expiry_is_returned_to_the_millisecond a_ttl_counts_from_the_write
            fractions_of_a_millisecond_round_up the_furthest_expiry_is_kept an_entry_is_there_until_its_expiry
            an_expired_entry_is_gone_for_every_read
        }
        touch {
            touch_moves_the_expiry_and_keeps_the_value touch_can_shorten_and_clear_the_expiry
            touch_takes_conditions
        }
        cancellation { a_dropped_write_is_whole_or_not_there }
        clock {
            an_entry_expires_in_its_millisecond a_ttl_is_at_least_a_millisecond
            an_entry_without_a_ttl_outlives_every_clock
        }
    };
    only_prolongs_by_touch: Touch(only_prolonging) => fails {
        touch { touch_moves_the_expiry_and_keeps_the_value touch_can_shorten_and_clear_the_expiry }
    };
    touches_under_any_version: Touch(under_any_version) => fails {
        races { of_many_writers_with_one_version_one_wins }
        exactly_once {
            a_forgotten_write_is_indeterminate a_late_first_attempt_changes_nothing
            a_write_that_lost_the_race_is_told_apart
            a_compare_and_set_repeated_after_a_delete_is_indeterminate a_first_attempt_is_never_indeterminate
        }
        expiry { an_expired_entry_can_be_replaced a_refused_write_leaves_the_expiry }
        touch { touch_makes_a_new_version a_refused_touch_changes_nothing }
        restart { no_version_is_reused }
    };
    creates_by_touch: Touch(creating) => fails {
        touch { touch_never_creates_or_revives }
    };
    takes_a_touch_of_an_absent_key: Touch(of_an_absent_key) => fails {
        expiry { an_expired_entry_is_gone_for_every_condition }
        touch { touch_for_an_absent_key_is_refused }
        clock { an_entry_expires_in_its_millisecond }
    };
    loses_the_value_by_touch: Touch(without_the_value) => fails {
        races { of_many_writers_with_one_version_one_wins }
        exactly_once { a_replaced_write_is_remembered a_late_first_attempt_changes_nothing }
        touch {
            touch_moves_the_expiry_and_keeps_the_value touch_can_shorten_and_clear_the_expiry
            touch_makes_a_new_version touch_takes_conditions
        }
        listing { entries_are_listed_as_get_shows_them }
        cancellation { a_dropped_write_is_whole_or_not_there }
        restart { a_retry_is_recognised }
        clock { an_entry_expires_in_its_millisecond }
    };
    moves_the_expiry_by_a_refused_touch: Touch(although_it_is_refused) => fails {
        exactly_once {
            a_late_first_attempt_changes_nothing a_write_that_lost_the_race_is_told_apart
            a_first_attempt_is_never_indeterminate
        }
        expiry { an_expired_entry_can_be_replaced a_refused_write_leaves_the_expiry }
        touch { touch_makes_a_new_version a_refused_touch_changes_nothing }
        restart { no_version_is_reused }
    };
}
