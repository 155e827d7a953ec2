//! Stores that damage values, or do not show what was written.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use statestore_api::{
    Applied, Bytes, Consistency, DeleteOptions, Entry, Error, GetOptions, Key, ListOptions, Page,
    Precondition, PutOptions, Result, ScanOptions, Version,
};

use crate::calls::{Get, Limits, Put};
use crate::fault::{Fault, Reader};
use crate::table::{Slot, Slots, Table};

/// Stores something else.
struct Stores(fn(Bytes) -> Bytes);

impl Fault for Stores {
    fn stored_value(&self, value: Bytes) -> Bytes {
        (self.0)(value)
    }
}

/// A column of text. (Dapr's Azure Table store.)
fn as_text(value: Bytes) -> Bytes {
    String::from_utf8_lossy(&value).into_owned().into()
}

/// One property of 64 KiB. (Azure Table.)
fn up_to_64_kib(value: Bytes) -> Bytes {
    value.slice(..value.len().min(64 << 10))
}

/// A column of fixed length.
fn trimmed(value: Bytes) -> Bytes {
    match value.strip_suffix(b" ") {
        Some(rest) => Bytes::copy_from_slice(rest),
        None => value,
    }
}

/// Nothing is stored, and so nothing is there.
fn none_for_empty(table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
    let entry = table.get(Reader::Get, key)?;
    Ok(entry.filter(|entry| !entry.value.is_empty()))
}

fn failing_for_none(table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
    let entry = table.get(Reader::Get, key)?;
    entry.map(Some).ok_or_else(|| Error::Unavailable {
        applied: Applied::No,
        reason: "404 Not Found".into(),
        source: None,
    })
}

/// What the service does not have is refused.
fn strongly_only(table: &Table, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
    match options.consistency {
        Consistency::Strong => table.get(Reader::Get, key),
        Consistency::Eventual => Err(Error::Unsupported {
            backend: "wrong",
            what: "eventual reads",
        }),
    }
}

/// Others see a write a moment later. (A replica; "read your writes" in one session.)
#[derive(Default)]
struct ReadsAReplica {
    /// Who wrote a key last, and what was there before.
    before: Mutex<HashMap<Key, Before>>,
}

type Before = (Option<tokio::task::Id>, Option<Slot>);

impl ReadsAReplica {
    fn remember(&self, table: &Table, key: &Key) {
        let before = (tokio::task::try_id(), table.slot(key));
        self.before.lock().unwrap().insert(key.clone(), before);
    }
}

#[async_trait]
impl Fault for ReadsAReplica {
    async fn get(&self, table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        let replica = self.before.lock().unwrap().remove(key);
        match replica {
            Some((writer, slot)) if writer != tokio::task::try_id() => Ok(slot.map(|slot| slot.entry())),
            _ => table.get(Reader::Get, key),
        }
    }

    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        self.remember(table, key);
        table.put(key, value, options)
    }
}

/// Batches, listings or scans are served by an index, which a write reaches a moment later.
struct LagsBehind {
    index: Index,
    before: Mutex<Slots>,
}

#[derive(PartialEq)]
enum Index {
    Batches,
    Lists,
    Scans,
}

impl LagsBehind {
    fn new(index: Index) -> Self {
        let before = Mutex::default();
        Self { index, before }
    }

    /// Puts what there was before the last write in place of what there is, for as long as `read` reads it.
    fn read<T>(&self, of: Index, table: &Table, read: impl FnOnce() -> T) -> T {
        if self.index != of {
            return read();
        }
        let now = std::mem::replace(&mut *table.slots(), self.before.lock().unwrap().clone());
        let seen = read();
        *table.slots() = now.clone();
        *self.before.lock().unwrap() = now;
        seen
    }
}

#[async_trait]
impl Fault for LagsBehind {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        *self.before.lock().unwrap() = table.slots().clone();
        table.put(key, value, options)
    }

    async fn get_many(&self, table: &Table, keys: &[Key], _: GetOptions) -> Vec<Result<Option<Entry>>> {
        let get = |key| table.get(Reader::GetMany, key);
        self.read(Index::Batches, table, || keys.iter().map(get).collect())
    }

    async fn list_page(&self, table: &Table, partition: &str, options: ListOptions) -> Result<Page> {
        self.read(Index::Lists, table, || table.list_page(partition, options))
    }

    async fn scan_page(&self, table: &Table, options: ScanOptions) -> Result<Page> {
        self.read(Index::Scans, table, || table.scan_page(options))
    }
}

/// A file is written over from its beginning, and not truncated.
fn over_what_is_there(table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
    let mut all = value.to_vec();
    if let (Some(slot), Precondition::None) = (table.slot(key), &options.precondition) {
        all.extend(slot.value.iter().skip(value.len()));
    }
    table.put(key, all.into(), options)
}

/// A delete takes away the newest of several versions. (A bucket with versions.)
#[derive(Default)]
struct DeletesTheNewestOnly {
    before: Mutex<HashMap<Key, Slot>>,
}

#[async_trait]
impl Fault for DeletesTheNewestOnly {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        if let Some(slot) = table.slot(key) {
            self.before.lock().unwrap().insert(key.clone(), slot);
        }
        table.put(key, value, options)
    }

    async fn delete(&self, table: &Table, key: &Key, options: DeleteOptions) -> Result<()> {
        table.delete(key, options)?;
        if let Some(before) = self.before.lock().unwrap().remove(key) {
            table.slots().insert(key.clone(), before);
        }
        Ok(())
    }
}

/// A delete leaves a marker, which reads show as an empty value.
#[derive(Default)]
struct ShowsTombstones {
    deleted: Mutex<HashMap<Key, Slot>>,
}

#[async_trait]
impl Fault for ShowsTombstones {
    async fn get(&self, table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        let there = table.get(Reader::Get, key)?;
        let deleted = self.deleted.lock().unwrap().get(key).map(Slot::entry);
        Ok(there.or(deleted))
    }

    async fn delete(&self, table: &Table, key: &Key, options: DeleteOptions) -> Result<()> {
        let slot = table.slot(key);
        table.delete(key, options)?;
        if let Some(slot) = slot {
            let tombstone = Slot {
                value: Bytes::new(),
                ..slot
            };
            self.deleted.lock().unwrap().insert(key.clone(), tombstone);
        }
        Ok(())
    }
}

/// The expiry is kept in a table of its own, from which a delete removes nothing.
#[derive(Default)]
struct DeleteLeavesTheExpiry {
    left: Mutex<HashMap<Key, u64>>,
}

#[async_trait]
impl Fault for DeleteLeavesTheExpiry {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let fresh = table.slot(key).is_none();
        let version = table.put(key, value, options)?;
        let left = self.left.lock().unwrap().remove(key);
        if let (true, Some(slot), Some(at)) = (fresh, table.slots().get_mut(key), left) {
            slot.expires_at = slot.expires_at.or(Some(at));
        }
        Ok(version)
    }

    async fn delete(&self, table: &Table, key: &Key, options: DeleteOptions) -> Result<()> {
        let expires_at = table.slot(key).and_then(|slot| slot.expires_at);
        table.delete(key, options)?;
        if let Some(at) = expires_at.filter(|at| *at > table.now()) {
            self.left.lock().unwrap().insert(key.clone(), at);
        }
        Ok(())
    }
}

wrong_stores! {
    keeps_values_as_text: Stores(as_text) => fails {
        values {
            a_value_reads_back_as_written sizes_around_the_services_boundaries_are_kept
            the_largest_value_is_kept
        }
        touch { touch_moves_the_expiry_and_keeps_the_value }
    };
    cuts_values_at_64_kib: Stores(up_to_64_kib) => fails {
        values { sizes_around_the_services_boundaries_are_kept the_largest_value_is_kept }
        touch { touch_moves_the_expiry_and_keeps_the_value }
        listing { large_values_are_listed_over_more_pages }
        batches { get_many_takes_more_than_a_reply_holds }
        transactions { more_bytes_are_refused }
    };
    trims_values: Stores(trimmed) => fails {
        keys { hostile_keys_come_back_unchanged }
        values { a_value_reads_back_as_written sizes_around_the_services_boundaries_are_kept }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 a_prefix_is_taken_literally
            large_values_are_listed_over_more_pages a_page_token_survives_text
        }
        scan { scan_finds_every_key_of_every_partition_once }
        batches { get_many_takes_more_than_a_reply_holds }
        transactions { keys_of_any_content_take_part }
    };
    reads_an_empty_value_as_none: Get(none_for_empty) => fails {
        values { an_empty_value_is_not_a_missing_one }
        conditions { absent_conflicts_when_the_key_is_there }
        touch { touch_moves_the_expiry_and_keeps_the_value }
        listing { entries_are_listed_as_get_shows_them }
        restart { every_acknowledged_write_is_there }
    };
    fails_to_read_a_missing_key: Get(failing_for_none)
        => fails at least { values { a_missing_key_is_none a_deleted_key_is_none } };
    refuses_eventual_reads: Get(strongly_only) => fails {
        values { an_eventual_read_is_answered }
        expiry { an_expired_entry_is_gone_for_every_read }
    };
    reads_a_replica: ReadsAReplica::default() => fails {
        values { an_acknowledged_write_is_seen_by_the_next_read }
        races { increments_add_up }
        transactions { transfers_keep_the_sum }
    };
    reads_batches_from_an_index: LagsBehind::new(Index::Batches) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            every_store_takes_170_bytes_of_anything keys_up_to_the_limit_are_taken
        }
        versions { put_returns_the_version_that_reads_show }
        expiry {
            the_expiry_is_returned_to_the_millisecond the_furthest_expiry_is_kept
            an_expired_entry_can_be_replaced
        }
        touch { touch_moves_the_expiry_and_keeps_the_value }
        scan { scan_finds_every_key_of_every_partition_once }
        batches {
            get_many_takes_more_than_a_reply_holds get_many_fails_for_a_bad_key_alone
            put_many_takes_any_number_of_keys delete_many_takes_any_number_of_keys
        }
        transactions {
            checks_alone_change_nothing a_hundred_operations_apply more_operations_are_refused
            a_key_twice_is_refused two_partitions_are_refused bad_arguments_are_refused_and_change_nothing
            of_many_transactions_on_one_version_one_wins transfers_keep_the_sum
        }
        clock { an_entry_expires_in_its_millisecond }
    };
    lists_from_an_index: LagsBehind::new(Index::Lists) => fails at least {
        versions { put_returns_the_version_that_reads_show }
        listing { entries_are_listed_as_get_shows_them }
    };
    scans_an_index: LagsBehind::new(Index::Scans) => fails {
        scan { scan_finds_every_key_of_every_partition_once scan_leaves_out_what_is_gone }
    };
    leaves_the_tail_of_a_longer_value: Put(over_what_is_there) => fails {
        values { an_empty_value_is_not_a_missing_one put_replaces_the_value }
        exactly_once { an_unconditional_write_is_applied_at_least_once }
        expiry {
            an_expired_entry_is_gone_for_every_condition an_expired_entry_can_be_replaced
            a_put_without_a_ttl_clears_the_expiry a_refused_write_leaves_the_expiry
        }
        touch { a_refused_touch_changes_nothing }
        batches { put_many_takes_any_number_of_keys }
        clock { an_entry_expires_in_its_millisecond a_write_counts_whatever_the_clock_shows }
    };
    deletes_the_newest_version_only: DeletesTheNewestOnly::default() => fails {
        values { an_acknowledged_write_is_seen_by_the_next_read }
        versions { no_version_is_reused_after_a_delete }
        conditions { delete_takes_every_condition delete_with_a_stale_version_conflicts }
        races { each_version_is_replaced_once }
        exactly_once {
            a_create_repeated_after_a_delete_makes_a_new_version
            a_compare_and_set_repeated_after_a_delete_is_indeterminate
        }
        batches { delete_many_takes_any_number_of_keys }
        transactions { of_many_transactions_on_one_version_one_wins }
        restart { no_version_is_reused }
        clock { a_clock_behind_only_prolongs_lives a_write_counts_whatever_the_clock_shows }
    };
    shows_tombstones: ShowsTombstones::default() => fails at least {
        values {
            a_deleted_key_is_none deleting_a_missing_key_succeeds
            an_acknowledged_write_is_seen_by_the_next_read
        }
    };
    leaves_the_expiry_of_what_it_deletes: DeleteLeavesTheExpiry::default() => fails {
        values { delete_then_put_starts_afresh }
    };
    checks_no_size_of_values: Limits(|_, kept| kept.max_value_bytes = usize::MAX) => fails {
        values { a_larger_value_is_refused_and_changes_nothing }
        batches { put_many_fails_for_a_conflict_alone }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    takes_values_a_byte_too_large: Limits(|_, kept| kept.max_value_bytes += 1) => fails {
        values { a_larger_value_is_refused_and_changes_nothing }
        batches { put_many_fails_for_a_conflict_alone }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    refuses_values_of_the_limit: Limits(|_, kept| kept.max_value_bytes -= 1) => fails {
        values {
            sizes_around_the_services_boundaries_are_kept the_largest_value_is_kept
            a_larger_value_is_refused_and_changes_nothing
        }
    };
}
