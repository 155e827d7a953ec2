//! Stores that list wrongly.

use std::cmp::Ordering;

use async_trait::async_trait;
use statestore_api::backend::{check, expiry, stable_hash};
use statestore_api::{Entry, Error, Item, Key, ListOptions, Page, PageToken, Projection, Result};

use crate::calls::{Limits, ListPage};
use crate::fault::{Fault, Reader};
use crate::table::{Slot, Table};

/// Ids in another order.
struct Orders(fn(&str, &str) -> Ordering);

impl Fault for Orders {
    fn order(&self) -> Option<fn(&str, &str) -> Ordering> {
        Some(self.0)
    }
}

/// (Firestore's SDKs, JavaScript, Java.)
fn utf_16(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// A collation for people.
fn without_case(a: &str, b: &str) -> Ordering {
    a.to_lowercase().cmp(&b.to_lowercase()).then_with(|| a.cmp(b))
}

/// The order of the escaped text.
fn escaped(a: &str, b: &str) -> Ordering {
    let escape = |text: &str| text.replace('%', "%25").replace('/', "%2F").replace('#', "%23");
    escape(a).cmp(&escape(b))
}

/// A length is in front of each.
fn by_length(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Digits are numbers.
fn natural(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a_number), Ok(b_number)) => a_number.cmp(&b_number).then_with(|| a.cmp(b)),
        _ => a.cmp(b),
    }
}

fn by_hash(a: &str, b: &str) -> Ordering {
    let hash = |text: &str| stable_hash([text.as_bytes()]);
    match (a, b) {
        ("", _) | (_, "") => a.cmp(b),
        _ => hash(a).cmp(&hash(b)),
    }
}

/// Prefixes that mean something else.
struct Prefixes(fn(id: &str, prefix: &str) -> bool);

impl Fault for Prefixes {
    fn has_prefix(&self, id: &str, prefix: &str) -> bool {
        (self.0)(id, prefix)
    }
}

/// Whether `id` starts with the pattern, in which these characters stand for any text and for any character.
fn matches(id: &str, pattern: &str, any: char, one: char) -> bool {
    let mut pattern = pattern.chars();
    let Some(first) = pattern.next() else {
        return true;
    };
    let rest = |id: &str| matches(id, pattern.as_str(), any, one);
    if first == any {
        return (0..=id.len()).filter_map(|at| id.get(at..)).any(rest);
    }
    let mut id = id.chars();
    id.next().is_some_and(|c| first == one || first == c) && rest(id.as_str())
}

/// `LIKE prefix || '%'`
fn like(id: &str, prefix: &str) -> bool {
    matches(id, prefix, '%', '_')
}

/// `SCAN … MATCH prefix*`
fn glob(id: &str, prefix: &str) -> bool {
    matches(id, prefix, '*', '?')
}

fn prefix_without_case(id: &str, prefix: &str) -> bool {
    id.to_lowercase().starts_with(&prefix.to_lowercase())
}

/// A separator is put behind it. (Valkeyrie.)
fn folder(id: &str, prefix: &str) -> bool {
    prefix.is_empty()
        || id
            .strip_prefix(prefix)
            .is_some_and(|rest| prefix.ends_with('/') || rest.starts_with('/'))
}

/// A partition is listed by the prefix that its name is.
struct ListsItsNeighbours;

impl Fault for ListsItsNeighbours {
    fn is_in(&self, key: &Key, partition: &str) -> bool {
        key.partition().starts_with(partition)
    }
}

/// Tokens that are bound to less than their query.
struct BindsTokensTo(for<'a> fn(&'a [&'a str]) -> &'a [&'a str]);

impl Fault for BindsTokensTo {
    fn bound<'a>(&self, query: &'a [&'a str]) -> &'a [&'a str] {
        (self.0)(query)
    }
}

/// A token that cannot be read is none.
struct StartsAgain;

impl Fault for StartsAgain {
    fn position(&self, token: &PageToken, query: &[&str]) -> Result<String> {
        Ok(token.open_text(query).unwrap_or_default())
    }
}

/// Another place to start from.
struct Follows(fn(id: &str, after: &str, token: bool) -> bool);

impl Fault for Follows {
    fn follows(&self, id: &str, after: &str, token: bool) -> bool {
        (self.0)(id, after, token)
    }
}

/// Lists by other options than it is given.
struct Asks(fn(&mut ListOptions));

impl Fault for Asks {
    fn asked(&self, options: &mut ListOptions) {
        (self.0)(options);
    }
}

/// `LIMIT size OFFSET n`, over data that change.
fn by_offset(table: &Table, partition: &str, options: ListOptions) -> Result<Page> {
    check::page_size(options.page_size)?;
    let query = ["list", partition, &options.prefix, &options.start_after];
    let offset = match &options.page_token {
        Some(token) => token
            .open_text(&query)?
            .parse()
            .map_err(|_| Error::InvalidToken)?,
        None => 0_usize,
    };
    // For what is to be refused.
    let mut first = options.clone();
    first.page_token = None;
    table.list_page(partition, first)?;
    let mut items = table.items(Reader::List, options.projection, |key| {
        key.partition() == partition
            && key.id().starts_with(&options.prefix)
            && *key.id() > *options.start_after
    });
    items.drain(..offset.min(items.len()));
    let end = (offset + options.page_size).to_string();
    let more = items.len() > options.page_size;
    items.truncate(options.page_size);
    Ok(Page::new(
        items,
        more.then(|| PageToken::seal(&query, end.as_bytes())),
    ))
}

/// The limit of one reply of the service ends the listing.
fn up_to_a_thousand(table: &Table, partition: &str, options: ListOptions) -> Result<Page> {
    let mut page = table.list_page(partition, options)?;
    let all = table.items(Reader::List, Projection::Keys, |key| key.partition() == partition);
    if let Some(first) = all.get(1000) {
        page.items.retain(|item| item.key < first.key);
        page.next = page
            .next
            .filter(|_| page.items.last().is_some_and(|last| last.key != all[999].key));
    }
    Ok(page)
}

/// Expired entries are left out of pages that were made of them, and an empty page is taken for the last.
struct EndsAtAnEmptyPage;

#[async_trait]
impl Fault for EndsAtAnEmptyPage {
    fn sees(&self, reader: Reader<'_>, slot: &Slot, now: u64) -> bool {
        matches!(reader, Reader::List) || expiry::is_live(slot.expires_at, now)
    }

    async fn list_page(&self, table: &Table, partition: &str, options: ListOptions) -> Result<Page> {
        let mut page = table.list_page(partition, options)?;
        page.items
            .retain(|item| matches!(table.get(Reader::Get, &item.key), Ok(Some(_))));
        page.next = page.next.filter(|_| !page.items.is_empty());
        Ok(page)
    }
}

/// A page, changed after it was made.
fn changed(
    table: &Table,
    partition: &str,
    options: ListOptions,
    change: fn(&mut Page, is_first: bool),
) -> Result<Page> {
    let is_first = options.page_token.is_none();
    let mut page = table.list_page(partition, options)?;
    change(&mut page, is_first);
    Ok(page)
}

fn each_entry(page: &mut Page, change: fn(&Key, &mut Entry)) {
    for Item { key, entry, .. } in &mut page.items {
        entry.iter_mut().for_each(|entry| change(key, entry));
    }
}

wrong_stores! {
    lists_in_utf_16_order: Orders(utf_16) => fails {
        listing {
            ids_list_in_the_byte_order_of_their_utf8 a_prefix_is_taken_literally
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            a_page_token_survives_text
        }
    };
    lists_in_an_order_without_case: Orders(without_case) => fails {
        listing {
            ids_list_in_the_byte_order_of_their_utf8 a_prefix_is_taken_literally
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            a_page_token_survives_text
        }
    };
    lists_in_the_order_of_an_escape: Orders(escaped) => fails {
        listing {
            ids_list_in_the_byte_order_of_their_utf8 a_prefix_is_taken_literally
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            a_page_token_survives_text
        }
    };
    lists_in_order_of_length: Orders(by_length) => fails {
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally start_after_is_exclusive_and_need_not_be_there
            prefix_and_start_after_go_together entries_are_listed_as_get_shows_them
            what_is_written_ahead_between_pages_is_listed a_token_of_another_query_is_refused
        }
    };
    lists_numbers_in_their_order: Orders(natural) => fails {
        listing { ids_list_in_the_byte_order_of_their_utf8 }
    };
    lists_in_the_order_of_a_hash: Orders(by_hash) => fails {
        expiry { an_expired_entry_is_gone_for_every_read }
        listing {
            an_empty_partition_lists_nothing ids_list_in_the_byte_order_of_their_utf8
            only_the_partition_asked_for_is_listed a_prefix_is_taken_literally
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            entries_are_listed_as_get_shows_them an_eventual_listing_is_answered keys_alone_can_be_listed
            pages_follow_in_order_and_repeat_nothing more_than_a_thousand_keys_are_listed
            large_values_are_listed_over_more_pages deleted_and_expired_entries_are_not_listed
            what_is_deleted_between_pages_is_left_out what_is_written_ahead_between_pages_is_listed
            a_page_token_survives_text a_token_of_another_query_is_refused page_sizes_out_of_range_are_refused random_ids_list_in_order writers_disturb_no_listing }
        scan { scan_refuses_what_is_no_token_of_it }
    };
    takes_a_prefix_for_a_pattern_of_like: Prefixes(like) => fails {
        listing { a_prefix_is_taken_literally }
    };
    takes_a_prefix_for_a_glob: Prefixes(glob) => fails {
        listing { a_prefix_is_taken_literally }
    };
    takes_a_prefix_without_case: Prefixes(prefix_without_case) => fails {
        listing { a_prefix_is_taken_literally }
    };
    takes_a_prefix_for_a_folder: Prefixes(folder) => fails {
        expiry {
            the_expiry_is_returned_to_the_millisecond the_furthest_expiry_is_kept
            an_entry_is_there_until_its_expiry an_expired_entry_is_gone_for_every_read
            an_expired_entry_can_be_replaced
        }
        touch { touch_moves_the_expiry_and_keeps_the_value }
        listing {
            a_prefix_is_taken_literally prefix_and_start_after_go_together keys_alone_can_be_listed
            more_than_a_thousand_keys_are_listed deleted_and_expired_entries_are_not_listed
            a_token_of_another_query_is_refused
        }
        clock { an_entry_expires_in_its_millisecond an_entry_without_a_ttl_outlives_every_clock }
    };
    takes_a_prefix_anywhere: Prefixes(|id, prefix| id.contains(prefix)) => fails {
        listing { a_prefix_is_taken_literally a_token_of_another_query_is_refused }
    };
    ignores_the_prefix: Prefixes(|_, _| true) => fails {
        listing {
            a_prefix_is_taken_literally prefix_and_start_after_go_together keys_alone_can_be_listed
            more_than_a_thousand_keys_are_listed deleted_and_expired_entries_are_not_listed
            a_token_of_another_query_is_refused
        }
    };
    lists_its_neighbours: ListsItsNeighbours => fails {
        listing { only_the_partition_asked_for_is_listed }
    };
    takes_tokens_of_any_query: BindsTokensTo(|_| &[]) => fails {
        listing { a_token_of_another_query_is_refused }
    };
    takes_tokens_of_another_prefix: BindsTokensTo(|query| &query[..query.len().min(2)]) => fails {
        listing { a_token_of_another_query_is_refused }
    };
    starts_again_by_a_damaged_token: StartsAgain => fails {
        listing { a_token_of_another_query_is_refused a_damaged_token_is_refused }
    };
    repeats_the_last_item_of_a_page: Follows(|id, after, token| id > after || token && id == after) => fails {
        expiry { an_expired_entry_is_gone_for_every_read }
        listing {
            an_empty_partition_lists_nothing ids_list_in_the_byte_order_of_their_utf8
            only_the_partition_asked_for_is_listed a_prefix_is_taken_literally
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            entries_are_listed_as_get_shows_them an_eventual_listing_is_answered keys_alone_can_be_listed
            pages_follow_in_order_and_repeat_nothing more_than_a_thousand_keys_are_listed
            large_values_are_listed_over_more_pages deleted_and_expired_entries_are_not_listed
            what_is_deleted_between_pages_is_left_out what_is_written_ahead_between_pages_is_listed
            a_page_token_survives_text page_sizes_out_of_range_are_refused
        }
    };
    starts_at_start_after: Follows(|id, after, token| id > after || !token && id == after) => fails {
        listing {
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            keys_alone_can_be_listed more_than_a_thousand_keys_are_listed a_token_of_another_query_is_refused
        }
    };
    ignores_start_after: Follows(|id, after, token| id > after || !token) => fails {
        listing {
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            keys_alone_can_be_listed more_than_a_thousand_keys_are_listed a_token_of_another_query_is_refused
        }
    };
    ignores_start_after_with_a_prefix: Asks(|options| if !options.prefix.is_empty() {
        options.start_after.clear();
    }) => fails {
        listing { prefix_and_start_after_go_together a_token_of_another_query_is_refused }
    };
    ignores_the_page_size: Asks(|options| options.page_size = 100) => fails {
        listing {
            an_empty_partition_lists_nothing ids_list_in_the_byte_order_of_their_utf8
            only_the_partition_asked_for_is_listed a_prefix_is_taken_literally
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            entries_are_listed_as_get_shows_them an_eventual_listing_is_answered keys_alone_can_be_listed
            pages_follow_in_order_and_repeat_nothing more_than_a_thousand_keys_are_listed
            large_values_are_listed_over_more_pages deleted_and_expired_entries_are_not_listed
            what_is_deleted_between_pages_is_left_out what_is_written_ahead_between_pages_is_listed
            a_page_token_survives_text a_token_of_another_query_is_refused a_damaged_token_is_refused
            page_sizes_out_of_range_are_refused
        }
        scan { scan_refuses_what_is_no_token_of_it }
    };
    takes_any_page_size: Asks(|options| options.page_size = options.page_size.clamp(1, 1000)) => fails {
        listing { page_sizes_out_of_range_are_refused }
    };
    lists_values_with_keys_alone: Asks(|options| options.projection = Projection::Entries) => fails {
        listing {
            keys_alone_can_be_listed pages_follow_in_order_and_repeat_nothing
            more_than_a_thousand_keys_are_listed deleted_and_expired_entries_are_not_listed
        }
    };
    lists_no_values: Asks(|options| options.projection = Projection::Keys) => fails at least {
        listing {
            an_empty_partition_lists_nothing ids_list_in_the_byte_order_of_their_utf8
            only_the_partition_asked_for_is_listed a_prefix_is_taken_literally
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            entries_are_listed_as_get_shows_them an_eventual_listing_is_answered
            pages_follow_in_order_and_repeat_nothing more_than_a_thousand_keys_are_listed
            large_values_are_listed_over_more_pages deleted_and_expired_entries_are_not_listed
            what_is_deleted_between_pages_is_left_out what_is_written_ahead_between_pages_is_listed
            a_page_token_survives_text a_token_of_another_query_is_refused a_damaged_token_is_refused
            page_sizes_out_of_range_are_refused
        }
    };
    pages_by_offset: ListPage(by_offset) => fails {
        listing { what_is_deleted_between_pages_is_left_out what_is_written_ahead_between_pages_is_listed }
    };
    stops_at_a_thousand: ListPage(up_to_a_thousand) => fails {
        listing { more_than_a_thousand_keys_are_listed }
    };
    ends_at_an_empty_page: EndsAtAnEmptyPage => fails {
        expiry { an_expired_entry_is_gone_for_every_read }
        listing { keys_alone_can_be_listed deleted_and_expired_entries_are_not_listed }
    };
    lists_the_first_page_only: ListPage(|table, partition, options| {
        changed(table, partition, options, |page, _| page.next = None)
    }) => fails {
        keys { hostile_keys_come_back_unchanged }
        expiry { an_expired_entry_is_gone_for_every_read }
        listing {
            an_empty_partition_lists_nothing ids_list_in_the_byte_order_of_their_utf8
            only_the_partition_asked_for_is_listed a_prefix_is_taken_literally
            start_after_is_exclusive_and_need_not_be_there prefix_and_start_after_go_together
            entries_are_listed_as_get_shows_them keys_alone_can_be_listed
            pages_follow_in_order_and_repeat_nothing more_than_a_thousand_keys_are_listed
            large_values_are_listed_over_more_pages deleted_and_expired_entries_are_not_listed
            what_is_deleted_between_pages_is_left_out what_is_written_ahead_between_pages_is_listed
            a_page_token_survives_text a_token_of_another_query_is_refused a_damaged_token_is_refused
            page_sizes_out_of_range_are_refused writers_disturb_no_listing }
        scan { scan_refuses_what_is_no_token_of_it }
    };
    skips_the_first_of_a_page: ListPage(|table, partition, options| {
        changed(table, partition, options, |page, is_first| if !is_first && page.items.len() > 1 {
            page.items.remove(0);
        })
    }) => fails {
        keys { hostile_keys_come_back_unchanged }
        expiry { an_expired_entry_is_gone_for_every_read }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally prefix_and_start_after_go_together
            entries_are_listed_as_get_shows_them keys_alone_can_be_listed
            pages_follow_in_order_and_repeat_nothing more_than_a_thousand_keys_are_listed
            large_values_are_listed_over_more_pages deleted_and_expired_entries_are_not_listed
            what_is_deleted_between_pages_is_left_out what_is_written_ahead_between_pages_is_listed
        }
    };
    lists_no_expiry: ListPage(|table, partition, options| {
        changed(table, partition, options, |page, _| each_entry(page, |_, entry| entry.expires_at = None))
    }) => fails {
        expiry { the_expiry_is_returned_to_the_millisecond the_furthest_expiry_is_kept }
        touch { touch_moves_the_expiry_and_keeps_the_value }
        listing { entries_are_listed_as_get_shows_them }
        clock { an_entry_expires_in_its_millisecond }
    };
    lists_another_version_than_get_shows: ListPage(|table, partition, options| {
        changed(table, partition, options, |page, _| each_entry(page, |key, entry| {
            let write_id = entry.version.stamp().unwrap().write_id();
            entry.version = statestore_api::backend::Stamp::new(write_id, 0, key).into();
        }))
    }) => fails {
        versions { put_returns_the_version_that_reads_show }
        expiry { an_expired_entry_can_be_replaced }
        touch { touch_moves_the_expiry_and_keeps_the_value }
        listing { entries_are_listed_as_get_shows_them }
        clock { an_entry_expires_in_its_millisecond an_entry_without_a_ttl_outlives_every_clock }
    };
    checks_no_partition_in_list: ListPage(|table, partition, options| match check::partition(table.kept(), partition) {
        Ok(()) => table.list_page(partition, options),
        Err(_) => Ok(Page::default()),
    }) => fails {
        listing { a_bad_partition_is_refused }
    };
    declares_listing_but_refuses: Limits(|_, kept| kept.listing = false)
        => fails at least { start { what_is_not_declared_is_refused } };
    declares_no_listing_but_lists: Limits(|declared, _| declared.listing = false)
        => fails at least { start { what_is_not_declared_is_refused } };
}
