//! Faults in one step or call, for which a function is enough.

use async_trait::async_trait;
use statestore_api::{
    Bytes, Capabilities, DeleteOptions, Entry, GetOptions, Key, ListOptions, Page, Precondition, PutOptions,
    Resolution, Result, ScanOptions, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

use crate::fault::Fault;
use crate::table::Table;

/// Other limits, declared or kept.
pub(crate) struct Limits(pub(crate) fn(declared: &mut Capabilities, kept: &mut Capabilities));

impl Fault for Limits {
    fn limits(&self, declared: &mut Capabilities, kept: &mut Capabilities) {
        (self.0)(declared, kept);
    }
}

pub(crate) struct Get(pub(crate) fn(&Table, &Key, GetOptions) -> Result<Option<Entry>>);

#[async_trait]
impl Fault for Get {
    async fn get(&self, table: &Table, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        (self.0)(table, key, options)
    }
}

/// The answers to a batch of reads, made from the right ones.
pub(crate) struct GetMany(pub(crate) fn(&[Key], Entries) -> Entries);

pub(crate) type Entries = Vec<Result<Option<Entry>>>;

#[async_trait]
impl Fault for GetMany {
    async fn get_many(&self, table: &Table, keys: &[Key], _: GetOptions) -> Entries {
        (self.0)(keys, table.get_many(keys))
    }
}

pub(crate) struct Put(pub(crate) fn(&Table, &Key, Bytes, PutOptions) -> Result<Version>);

#[async_trait]
impl Fault for Put {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        (self.0)(table, key, value, options)
    }
}

pub(crate) struct Delete(pub(crate) fn(&Table, &Key, DeleteOptions) -> Result<()>);

#[async_trait]
impl Fault for Delete {
    async fn delete(&self, table: &Table, key: &Key, options: DeleteOptions) -> Result<()> {
        (self.0)(table, key, options)
    }
}

pub(crate) struct Touch(pub(crate) fn(&Table, &Key, Ttl, TouchOptions) -> Result<Version>);

#[async_trait]
impl Fault for Touch {
    async fn touch(&self, table: &Table, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        (self.0)(table, key, ttl, options)
    }
}

/// What became of a write, made from what is right.
pub(crate) struct Resolve(pub(crate) fn(&Table, &Key, WriteId, Result<Resolution>) -> Result<Resolution>);

#[async_trait]
impl Fault for Resolve {
    async fn resolve(&self, table: &Table, key: &Key, id: WriteId, p: &Precondition) -> Result<Resolution> {
        (self.0)(table, key, id, table.resolve(key, id, p))
    }
}

pub(crate) struct ListPage(pub(crate) fn(&Table, &str, ListOptions) -> Result<Page>);

#[async_trait]
impl Fault for ListPage {
    async fn list_page(&self, table: &Table, partition: &str, options: ListOptions) -> Result<Page> {
        (self.0)(table, partition, options)
    }
}

pub(crate) struct ScanPage(pub(crate) fn(&Table, ScanOptions) -> Result<Page>);

#[async_trait]
impl Fault for ScanPage {
    async fn scan_page(&self, table: &Table, options: ScanOptions) -> Result<Page> {
        (self.0)(table, options)
    }
}

pub(crate) struct Transact(pub(crate) fn(&Table, Vec<TransactOp>, TransactOptions) -> Versions);

pub(crate) type Versions = Result<Vec<Option<Version>>>;

#[async_trait]
impl Fault for Transact {
    async fn transact(&self, table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
        (self.0)(table, ops, options)
    }
}
