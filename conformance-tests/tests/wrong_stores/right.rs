//! Stores that are right, plain or odd: the suite asks for no more than the contract.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use statestore_api::backend::{Decision, Mutation, Stamp, Stored, check, decide};
use statestore_api::{
    Attempt, Bytes, Capabilities, Conflict, Consistency, Current, DeleteOptions, Entry, Error, GetOptions,
    Key, ListOptions, Page, PageToken, Precondition, PutOptions, Resolution, Result, ScanOptions,
    TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

use crate::calls::{Entries, Limits, Versions};
use crate::fault::{Fault, Reader, Write};
use crate::pause;
use crate::table::{Slot, Table};

/// Nothing out of the ordinary.
struct Plain;

impl Fault for Plain {}

/// The least that a store may do.
fn portable(capabilities: &mut Capabilities) {
    *capabilities = Capabilities::portable("least");
    capabilities.durable = false;
    capabilities.sweeps_itself = false;
}

/// A conflict does not say what is there, nor which operation of a transaction failed.
struct SaysNothing;

impl Fault for SaysNothing {
    fn conflict(&self, mut conflict: Conflict, _: Option<&Slot>) -> Conflict {
        conflict.current = Current::Unknown;
        conflict
    }

    fn names_operations(&self) -> bool {
        false
    }
}

/// The service makes the versions.
struct MakesVersionsOfText;

impl Fault for MakesVersionsOfText {
    fn version(&self, write: &Write<'_>) -> Version {
        let text = format!("W.datetime-{}~{}", write.now, Version::from(write.stamp));
        text.parse().unwrap()
    }

    fn stamp(&self, version: &Version) -> Result<Stamp> {
        let text = version.to_string();
        let ours = text
            .strip_prefix("W.datetime-")
            .and_then(|text| text.split_once('~'));
        match ours {
            Some((_, stamp)) => stamp.parse::<Version>()?.stamp(),
            None => Err(Error::InvalidVersion { version: text }),
        }
    }
}

/// Pages are half as long as asked for, the first of a listing is empty, and a token follows the last.
struct ListsInShortPages;

#[async_trait]
impl Fault for ListsInShortPages {
    async fn list_page(&self, table: &Table, partition: &str, mut options: ListOptions) -> Result<Page> {
        let query = [
            "list",
            partition,
            &options.prefix.clone(),
            &options.start_after.clone(),
        ];
        let first = options.page_token.is_none();
        let asked = options.page_size;
        check::page_size(asked)?;
        options.page_size = asked.div_ceil(2);
        let mut page = table.list_page(partition, options)?;
        if first {
            return Ok(Page::new(
                Vec::new(),
                Some(PageToken::seal(&query, query[3].as_bytes())),
            ));
        }
        if let (None, Some(last)) = (&page.next, page.items.last()) {
            page.next = Some(PageToken::seal(&query, last.key.id().as_bytes()));
        }
        Ok(page)
    }

    async fn scan_page(&self, table: &Table, mut options: ScanOptions) -> Result<Page> {
        let asked = options.page_size;
        check::page_size(asked)?;
        options.page_size = asked.div_ceil(2);
        let mut page = table.scan_page(options)?;
        if let (None, Some(last)) = (&page.next, page.items.last()) {
            page.next = Some(PageToken::seal_key(&["scan"], &last.key));
        }
        Ok(page)
    }
}

/// An eventual read shows what was there before the last write.
#[derive(Default)]
struct ReadsEventually {
    before: Mutex<HashMap<Key, Option<Slot>>>,
}

#[async_trait]
impl Fault for ReadsEventually {
    async fn get(&self, table: &Table, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        match self.before.lock().unwrap().get(key) {
            Some(before) if options.consistency == Consistency::Eventual => {
                Ok(before.as_ref().map(Slot::entry))
            }
            _ => table.get(Reader::Get, key),
        }
    }

    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let before = table.slot(key).filter(|slot| slot.expires_at.is_none());
        self.before.lock().unwrap().insert(key.clone(), before);
        table.put(key, value, options)
    }
}

/// The retry of a create that finds the key is in doubt whether it made it.
struct DoubtsACreate;

impl Fault for DoubtsACreate {
    fn decide(
        &self,
        mutation: Mutation,
        precondition: &Precondition,
        attempt: Attempt,
        stored: Option<Stored<'_>>,
    ) -> Result<Decision> {
        Ok(match decide(mutation, precondition, attempt, stored)? {
            Decision::Conflict if attempt.is_retry() && *precondition == Precondition::Absent => {
                Decision::Indeterminate
            }
            decision => decision,
        })
    }
}

/// Every call takes its time, before and after it is done; or expired entries are removed before it.
enum Around {
    Pause,
    Sweep,
}

impl Around {
    async fn begin(&self, table: &Table) -> Result<()> {
        match self {
            Self::Pause => pause().await,
            Self::Sweep => drop(table.sweep()?),
        }
        Ok(())
    }

    async fn end(&self) {
        if matches!(self, Self::Pause) {
            pause().await;
        }
    }
}

#[async_trait]
impl Fault for Around {
    async fn get(&self, table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        self.begin(table).await?;
        let got = table.get(Reader::Get, key);
        self.end().await;
        got
    }

    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        self.begin(table).await?;
        let put = table.put(key, value, options);
        self.end().await;
        put
    }

    async fn delete(&self, table: &Table, key: &Key, options: DeleteOptions) -> Result<()> {
        self.begin(table).await?;
        let deleted = table.delete(key, options);
        self.end().await;
        deleted
    }

    async fn touch(&self, table: &Table, key: &Key, ttl: Ttl, options: TouchOptions) -> Result<Version> {
        self.begin(table).await?;
        let touched = table.touch(key, ttl, options);
        self.end().await;
        touched
    }

    async fn resolve(&self, table: &Table, key: &Key, id: WriteId, p: &Precondition) -> Result<Resolution> {
        self.begin(table).await?;
        let resolved = table.resolve(key, id, p);
        self.end().await;
        resolved
    }

    async fn list_page(&self, table: &Table, partition: &str, options: ListOptions) -> Result<Page> {
        self.begin(table).await?;
        let page = table.list_page(partition, options);
        self.end().await;
        page
    }

    async fn get_many(&self, table: &Table, keys: &[Key], _: GetOptions) -> Entries {
        let _ = self.begin(table).await;
        let got = table.get_many(keys);
        self.end().await;
        got
    }

    async fn scan_page(&self, table: &Table, options: ScanOptions) -> Result<Page> {
        self.begin(table).await?;
        let page = table.scan_page(options);
        self.end().await;
        page
    }

    async fn transact(&self, table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
        self.begin(table).await?;
        let transacted = table.transact(ops, options);
        self.end().await;
        transacted
    }
}

wrong_stores! {
    is_right: Plain => fails {};
    can_do_the_least: Limits(|declared, kept| {
        portable(declared);
        portable(kept);
    }) => fails {};
    does_not_list: Limits(|declared, kept| {
        declared.listing = false;
        kept.listing = false;
    }) => fails {};
    remembers_more_writes_than_it_says: Limits(|_, kept| kept.remembered_writes = 1000) => fails {};
    forgets_by_blind_puts: Limits(|declared, kept| {
        declared.blind_puts_forget = true;
        kept.blind_puts_forget = true;
    }) => fails {};
    says_that_blind_puts_forget: Limits(|declared, _| declared.blind_puts_forget = true) => fails {};
    limits_the_bytes_of_a_transaction: Limits(|declared, kept| {
        declared.max_transaction_bytes = Some(1 << 20);
        kept.max_transaction_bytes = Some(1 << 20);
    }) => fails {};
    says_nothing_in_a_conflict: SaysNothing => fails {};
    makes_versions_of_text: MakesVersionsOfText => fails {};
    lists_in_short_pages: ListsInShortPages => fails {};
    reads_eventually_if_asked_to: ReadsEventually::default() => fails {};
    doubts_a_create: DoubtsACreate => fails {};
    takes_its_time: Around::Pause => fails {};
    sweeps_at_once: Around::Sweep => fails {};
}
