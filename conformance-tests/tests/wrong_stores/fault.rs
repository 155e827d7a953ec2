use std::cmp::Ordering;

use async_trait::async_trait;
use statestore_api::backend::expiry::{self, Expiry};
use statestore_api::backend::{
    Decision, Mutation, Stamp, Stored, TransactDecision, decide, decide_transaction,
};
use statestore_api::{
    Attempt, Bytes, Capabilities, Conflict, DeleteOptions, Entry, GetOptions, Key, ListOptions, Page,
    PageToken, Precondition, PutOptions, Resolution, Result, ScanOptions, TouchOptions, TransactOp,
    TransactOptions, Ttl, Version, WriteId,
};

use crate::calls::{Entries, Versions};
use crate::table::{Slot, Slots, Table};

/// One bug. Every step and every call of a store is right by default; a fault overrides what it gets wrong.
#[async_trait]
pub(crate) trait Fault: Send + Sync + 'static {
    /// The limits that the store declares, and those that it keeps.
    fn limits(&self, _declared: &mut Capabilities, _kept: &mut Capabilities) {}

    /// The name that the entry of `key` is stored under, which a listing shows.
    fn address(&self, key: &Key) -> Key {
        key.clone()
    }

    /// What is stored of a value.
    fn stored_value(&self, value: Bytes) -> Bytes {
        value
    }

    /// The attempt that a mutation is.
    fn attempt(&self, brought: Option<Attempt>) -> Attempt {
        brought.unwrap_or_else(|| Attempt::first(WriteId::new()))
    }

    fn nonce(&self) -> u64 {
        Stamp::new_nonce()
    }

    /// The version that a write makes.
    fn version(&self, write: &Write<'_>) -> Version {
        write.stamp.into()
    }

    /// The stamp of a version that is not among those of the entry that is there.
    fn stamp(&self, version: &Version) -> Result<Stamp> {
        version.stamp()
    }

    /// Whether an entry is there.
    fn sees(&self, _reader: Reader<'_>, slot: &Slot, now: u64) -> bool {
        expiry::is_live(slot.expires_at, now)
    }

    /// What a TTL asks for.
    fn expiry(&self, ttl: Ttl, now: u64) -> Result<Expiry> {
        Expiry::new(ttl, now)
    }

    fn decide(
        &self,
        mutation: Mutation,
        precondition: &Precondition,
        attempt: Attempt,
        stored: Option<Stored<'_>>,
    ) -> Result<Decision> {
        decide(mutation, precondition, attempt, stored)
    }

    /// What a conflict says, where `slot` is stored.
    fn conflict(&self, conflict: Conflict, _slot: Option<&Slot>) -> Conflict {
        conflict
    }

    /// Whether a conflict says which operation of a transaction it is about.
    fn names_operations(&self) -> bool {
        true
    }

    fn decide_transaction(
        &self,
        ops: &[TransactOp],
        attempt: Attempt,
        stored: &[Option<Stored<'_>>],
    ) -> Result<TransactDecision> {
        decide_transaction(ops, attempt, |place| stored[place])
    }

    /// Whether `sweep` removes an entry.
    fn sweeps(&self, slot: &Slot, now: u64) -> bool {
        !expiry::is_live(slot.expires_at, now)
    }

    /// The order in which ids are listed, if it is not that of their bytes.
    fn order(&self) -> Option<fn(&str, &str) -> Ordering> {
        None
    }

    fn has_prefix(&self, id: &str, prefix: &str) -> bool {
        id.starts_with(prefix)
    }

    fn is_in(&self, key: &Key, partition: &str) -> bool {
        key.partition() == partition
    }

    /// What a listing is asked for.
    fn asked(&self, _options: &mut ListOptions) {}

    /// The parts of a query that its tokens are bound to.
    fn bound<'a>(&self, query: &'a [&'a str]) -> &'a [&'a str] {
        query
    }

    /// The id after which a page of a listing starts.
    fn position(&self, token: &PageToken, query: &[&str]) -> Result<String> {
        token.open_text(query)
    }

    /// Whether `id` comes on the page after `after`, which a token says or else the caller.
    fn follows(&self, id: &str, after: &str, _token: bool) -> bool {
        let order = self.order().unwrap_or(str::cmp);
        order(id, after).is_gt()
    }

    /// What the end of the process does to what is stored.
    fn restart(&self, _slots: &mut Slots) {}

    async fn ready(&self, _table: &Table) -> Result<()> {
        Ok(())
    }

    async fn get(&self, table: &Table, key: &Key, _options: GetOptions) -> Result<Option<Entry>> {
        table.get(Reader::Get, key)
    }

    async fn get_many(&self, table: &Table, keys: &[Key], _options: GetOptions) -> Entries {
        table.get_many(keys)
    }

    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        table.put(key, value, options)
    }

    async fn delete(&self, table: &Table, key: &Key, options: DeleteOptions) -> Result<()> {
        table.delete(key, options)
    }

    async fn touch(&self, table: &Table, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        table.touch(key, ttl, options)
    }

    async fn resolve(
        &self,
        table: &Table,
        key: &Key,
        id: WriteId,
        precondition: &Precondition,
    ) -> Result<Resolution> {
        table.resolve(key, id, precondition)
    }

    async fn list_page(&self, table: &Table, partition: &str, options: ListOptions) -> Result<Page> {
        table.list_page(partition, options)
    }

    async fn scan_page(&self, table: &Table, options: ScanOptions) -> Result<Page> {
        table.scan_page(options)
    }

    async fn transact(&self, table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
        table.transact(ops, options)
    }

    async fn close(&self, _table: &Table) -> Result<()> {
        Ok(())
    }

    async fn sweep(&self, table: &Table) -> Result<u64> {
        table.sweep()
    }
}

/// Who wants to know whether an entry is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reader<'a> {
    Get,
    GetMany,
    List,
    Scan,
    /// A mutation under a condition.
    Change(Mutation, &'a Precondition),
    /// An operation of a transaction.
    Op,
    /// A put that keeps the expiry.
    Keep,
    /// A conflict that shows what is there.
    Conflict,
}

/// A write that is about to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    pub(crate) key: &'a Key,
    pub(crate) value: &'a Bytes,
    pub(crate) mutation: Mutation,
    pub(crate) stamp: Stamp,
    /// What is stored so far, expired or not.
    pub(crate) before: Option<&'a Slot>,
    pub(crate) now: u64,
}
