//! Stores that scan wrongly.

use std::sync::Mutex;

use async_trait::async_trait;
use statestore_api::{Item, Page, Projection, Result, ScanOptions};

use crate::calls::ScanPage;
use crate::fault::{Fault, Reader};
use crate::table::Table;

/// One request for each partition, whose reply has room for three keys.
fn three_of_each_partition(table: &Table, options: ScanOptions) -> Result<Page> {
    let mut page = table.scan_page(options)?;
    let all = table.items(Reader::Scan, Projection::Keys, |_| true);
    page.items.retain(|item| {
        let in_front = |other: &&Item| other.key.partition() == item.key.partition() && other.key < item.key;
        all.iter().filter(in_front).count() < 3
    });
    Ok(page)
}

/// The end of a range of partitions is not part of it.
fn all_but_the_last_partition(table: &Table, options: ScanOptions) -> Result<Page> {
    let mut page = table.scan_page(options)?;
    let all = table.items(Reader::Scan, Projection::Keys, |_| true);
    if let (Some(first), Some(last)) = (all.first(), all.last())
        && first.key.partition() != last.key.partition()
    {
        page.items
            .retain(|item| item.key.partition() != last.key.partition());
    }
    Ok(page)
}

/// A page starts with the item that the one before ended with.
#[derive(Default)]
struct RepeatsTheLastItem(Mutex<Option<Item>>);

#[async_trait]
impl Fault for RepeatsTheLastItem {
    async fn scan_page(&self, table: &Table, options: ScanOptions) -> Result<Page> {
        let continues = options.page_token.is_some();
        let mut page = table.scan_page(options)?;
        let mut last = self.0.lock().unwrap();
        let again = last.take().filter(|_| continues);
        last.clone_from(&page.items.last().cloned());
        page.items.splice(..0, again);
        Ok(page)
    }
}

/// Scans by other options than it is given.
fn asked(table: &Table, mut options: ScanOptions, otherwise: fn(&mut ScanOptions)) -> Result<Page> {
    otherwise(&mut options);
    table.scan_page(options)
}

wrong_stores! {
    scans_three_of_each_partition: ScanPage(three_of_each_partition) => fails {
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
    };
    scans_all_but_the_last_partition: ScanPage(all_but_the_last_partition) => fails {
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
    };
    scans_the_last_item_of_a_page_again: RepeatsTheLastItem::default() => fails {
        scan {
            scan_pages_repeat_nothing scan_leaves_out_what_is_gone scan_can_return_keys_alone
            a_scan_token_survives_text
        }
    };
    scans_the_first_page_only: ScanPage(|table, options| {
        table.scan_page(options).map(|page| Page::new(page.items, None))
    }) => fails {
        listing { a_token_of_another_query_is_refused }
        scan {
            scan_pages_repeat_nothing scan_leaves_out_what_is_gone scan_can_return_keys_alone
            a_scan_token_survives_text scan_refuses_what_is_no_token_of_it writers_disturb_no_scan }
    };
    scans_values_with_keys_alone: ScanPage(|table, options| {
        asked(table, options, |options| options.projection = Projection::Entries)
    }) => fails {
        scan { scan_leaves_out_what_is_gone scan_can_return_keys_alone }
    };
    scans_no_values: ScanPage(|table, options| {
        asked(table, options, |options| options.projection = Projection::Keys)
    }) => fails {
        expiry { an_expired_entry_is_gone_for_scans }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text writers_disturb_no_scan }
    };
    scans_from_the_start_by_a_damaged_token: ScanPage(|table, options| {
        asked(table, options, |options| {
            options.page_token.take_if(|token| token.open_key(&["scan"]).is_err());
        })
    }) => fails {
        scan { scan_refuses_what_is_no_token_of_it }
    };
    scans_any_page_size: ScanPage(|table, options| {
        asked(table, options, |options| options.page_size = options.page_size.clamp(1, 1000))
    }) => fails {
        scan { scan_page_sizes_out_of_range_are_refused }
    };
}
