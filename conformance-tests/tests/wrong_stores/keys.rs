//! Stores in which keys meet, change on the way, or are taken that should not be.

use statestore_api::backend::stable_hash;
use statestore_api::{
    Capabilities, Entry, Error, GetOptions, Key, KeyPart, Resolution, Result, TransactOp, TransactOptions,
    WriteId,
};

use crate::calls::{Get, Limits, Resolve, Transact, Versions};
use crate::fault::{Fault, Reader};
use crate::table::Table;

/// Another address than the key.
struct Stores(fn(&Key) -> Key);

impl Fault for Stores {
    fn address(&self, key: &Key) -> Key {
        (self.0)(key)
    }
}

/// Changes both parts, unless nothing is left.
fn each(key: &Key, change: impl Fn(&str) -> String) -> Key {
    Key::new(change(key.partition()), change(key.id())).unwrap_or_else(|_| key.clone())
}

/// The parts joined by a separator that they may contain.
fn joined(key: &Key) -> Key {
    let text = format!("{}/{}", key.partition(), key.id());
    text.parse().unwrap_or_else(|_| key.clone())
}

/// A collation without case. (MySQL, SQL Server.)
fn lower_case(key: &Key) -> Key {
    each(key, str::to_lowercase)
}

/// `CHAR` columns pad with spaces, and compare without. (Azure blob names: also dots.)
fn trimmed(key: &Key) -> Key {
    each(key, |text| text.trim_end_matches(' ').to_owned())
}

/// A file system that composes characters. (A table that suffices here.)
fn composed(key: &Key) -> Key {
    each(key, |text| {
        let pairs = [
            ("e\u{301}", "é"),
            ("A\u{30a}", "Å"),
            ("\u{212b}", "Å"),
            ("a\u{308}", "ä"),
        ];
        pairs
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    })
}

/// Text that is escaped already is not escaped again.
fn unescaped(key: &Key) -> Key {
    each(key, |text| {
        text.replace("%2F", "/").replace("%2f", "/").replace("%20", " ")
    })
}

/// `/` is escaped, but the escape character is not. (Dapr's Azure Table store.)
fn half_escaped(key: &Key) -> Key {
    each(key, |text| text.replace('/', "_2F"))
}

/// A `+` in a URL is a space.
fn plus_is_a_space(key: &Key) -> Key {
    each(key, |text| text.replace('+', " "))
}

fn forward_slashes(key: &Key) -> Key {
    each(key, |text| text.replace('\\', "/"))
}

/// A string of C.
fn until_nul(key: &Key) -> Key {
    each(key, |text| match text.split_once('\0') {
        Some((before, _)) if !before.is_empty() => before.to_owned(),
        _ => text.to_owned(),
    })
}

/// Control characters are not allowed in XML, and so are left out.
fn printable(key: &Key) -> Key {
    each(key, |text| text.chars().filter(|c| !c.is_control()).collect())
}

/// Path segments are resolved, as HTTP clients do.
fn resolved(key: &Key) -> Key {
    each(key, |text| text.strip_prefix("./").unwrap_or(text).to_owned())
}

/// What comes after a `#` is not sent.
fn without_fragment(key: &Key) -> Key {
    each(key, |text| match text.split_once('#') {
        Some((before, _)) if !before.is_empty() => before.to_owned(),
        _ => text.to_owned(),
    })
}

/// Only the part in braces counts for the partition. (A Redis hash tag.)
fn hash_tag(key: &Key) -> Key {
    let tag = key
        .partition()
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    match tag {
        Some((tag, _)) if !tag.is_empty() => {
            Key::new(format!("{}{{{tag}}}", &key.partition()[..19]), key.id()).unwrap_or_else(|_| key.clone())
        }
        _ => key.clone(),
    }
}

/// The first `room` bytes of each part, where a character takes as many as `size` says.
fn cut(key: &Key, room: usize, size: fn(char) -> usize) -> Key {
    each(key, |text| {
        let mut room = room;
        let fits = |c: &char| {
            let fits = room >= size(*c);
            room = room.saturating_sub(size(*c));
            fits
        };
        text.chars().take_while(fits).collect()
    })
}

/// A hash stands for the key, and is too short.
fn hashed(key: &Key) -> Key {
    let hash = stable_hash([key.partition().as_bytes(), key.id().as_bytes()]) % 64;
    Key::new(&key.partition()[..19], format!("#{hash}")).unwrap()
}

/// UTF-16 with what is beyond its first plane lost. (UCS-2, MySQL's `utf8`.)
fn first_plane(key: &Key) -> Key {
    each(key, |text| {
        text.chars()
            .map(|c| if c > '\u{ffff}' { '\u{fffd}' } else { c })
            .collect()
    })
}

/// The key is escaped as in a URL, and only then cut to fit a column of 255 bytes.
struct CutsEscaped;

impl Fault for CutsEscaped {
    fn limits(&self, declared: &mut Capabilities, kept: &mut Capabilities) {
        for capabilities in [declared, kept] {
            (capabilities.max_partition_bytes, capabilities.max_id_bytes) = (170, 170);
        }
    }

    fn address(&self, key: &Key) -> Key {
        cut(key, 255, |c| match c {
            '-' | '0'..='9' | 'A'..='Z' | 'a'..='z' => 1,
            _ => 3 * c.len_utf8(),
        })
    }
}

/// The record about the partition is kept under the id that equals it.
fn beside_the_partitions_record(key: &Key) -> Key {
    match key.id() == key.partition() {
        true => Key::new(key.partition(), &key.partition()[19..]).unwrap_or_else(|_| key.clone()),
        false => key.clone(),
    }
}

/// The limit of an id is taken for that of either part.
fn naming_the_id(table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
    table.get(Reader::Get, key).map_err(|error| match error {
        Error::InvalidKey { problem, .. } => Error::InvalidKey {
            part: KeyPart::Id,
            problem,
        },
        error => error,
    })
}

/// Of a key that is too long nothing is known.
fn unknown_for_a_long_key(_: &Table, _: &Key, _: WriteId, right: Result<Resolution>) -> Result<Resolution> {
    match right {
        Err(Error::InvalidKey { .. }) => Ok(Resolution::Unknown),
        right => right,
    }
}

/// The service's own refusal.
fn invalid_for_a_long_key(table: &Table, ops: Vec<TransactOp>, options: TransactOptions) -> Versions {
    table.transact(ops, options).map_err(|error| match error {
        Error::InvalidKey { .. } => Error::InvalidTransaction {
            op: 0,
            reason: "the service says: ValidationError",
        },
        error => error,
    })
}

wrong_stores! {
    joins_the_parts_unescaped: Stores(joined) => fails {
        keys { partitions_that_look_alike_are_different hostile_keys_come_back_unchanged }
        listing { only_the_partition_asked_for_is_listed }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
    };
    folds_the_case_of_keys: Stores(lower_case) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged
        }
        expiry {
            the_expiry_is_returned_to_the_millisecond the_furthest_expiry_is_kept
            an_entry_is_there_until_its_expiry
        }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally start_after_is_exclusive_and_need_not_be_there
            a_page_token_survives_text
        }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
        transactions { keys_of_any_content_take_part }
        clock { an_entry_expires_in_its_millisecond an_entry_without_a_ttl_outlives_every_clock }
    };
    trims_keys: Stores(trimmed) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged
        }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally a_page_token_survives_text
        }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing scan_can_return_keys_alone
            a_scan_token_survives_text
        }
        transactions { keys_of_any_content_take_part }
    };
    composes_the_characters_of_keys: Stores(composed) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged
        }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally
        }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
        transactions { keys_of_any_content_take_part }
    };
    unescapes_keys: Stores(unescaped) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged
        }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
        transactions { keys_of_any_content_take_part }
    };
    escapes_keys_by_half: Stores(half_escaped) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged
        }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally start_after_is_exclusive_and_need_not_be_there
            prefix_and_start_after_go_together a_page_token_survives_text
        }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
    };
    takes_a_plus_for_a_space: Stores(plus_is_a_space) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged
        }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 start_after_is_exclusive_and_need_not_be_there
            a_page_token_survives_text
        }
    };
    turns_backslashes_over: Stores(forward_slashes) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged every_store_takes_170_bytes_of_anything
        }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally start_after_is_exclusive_and_need_not_be_there
            a_page_token_survives_text
        }
        transactions { keys_of_any_content_take_part }
    };
    ends_keys_at_a_zero_byte: Stores(until_nul) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged every_store_takes_170_bytes_of_anything
        }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally start_after_is_exclusive_and_need_not_be_there
            what_is_written_ahead_between_pages_is_listed
        }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
    };
    drops_control_characters_of_keys: Stores(printable) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged every_store_takes_170_bytes_of_anything
        }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally start_after_is_exclusive_and_need_not_be_there
            what_is_written_ahead_between_pages_is_listed a_page_token_survives_text
        }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
    };
    resolves_dots_in_keys: Stores(resolved) => fails {
        keys { keys_that_look_alike_are_different hostile_keys_come_back_unchanged }
    };
    cuts_keys_at_a_hash: Stores(without_fragment) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged every_store_takes_170_bytes_of_anything
        }
        listing { ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed }
    };
    takes_braces_for_a_hash_tag: Stores(hash_tag) => fails {
        keys { partitions_that_look_alike_are_different }
    };
    cuts_keys_at_160_bytes: Stores(|key| cut(key, 160, char::len_utf8)) => fails {
        keys { every_store_takes_170_bytes_of_anything keys_up_to_the_limit_are_taken }
    };
    cuts_keys_at_255_bytes: Stores(|key| cut(key, 255, char::len_utf8)) => fails {
        keys { keys_up_to_the_limit_are_taken }
    };
    cuts_escaped_keys_at_255_bytes: CutsEscaped => fails {
        keys { every_store_takes_170_bytes_of_anything }
    };
    hashes_keys_to_less: Stores(hashed) => fails at least { keys { random_pairs_never_meet } };
    keeps_only_the_first_plane_of_keys: Stores(first_plane) => fails {
        keys {
            keys_that_look_alike_are_different partitions_that_look_alike_are_different
            hostile_keys_come_back_unchanged
        }
        listing {
            ids_list_in_the_byte_order_of_their_utf8 only_the_partition_asked_for_is_listed
            a_prefix_is_taken_literally start_after_is_exclusive_and_need_not_be_there
            prefix_and_start_after_go_together a_page_token_survives_text
        }
        scan {
            scan_finds_every_key_of_every_partition_once scan_pages_repeat_nothing
            scan_leaves_out_what_is_gone scan_can_return_keys_alone a_scan_token_survives_text
        }
        transactions { keys_of_any_content_take_part }
    };
    hides_the_id_that_equals_the_partition: Stores(beside_the_partitions_record) => fails {
        keys { the_id_may_equal_the_partition }
    };
    checks_no_length_of_ids: Limits(|_, kept| kept.max_id_bytes = usize::MAX) => fails {
        keys { longer_keys_are_refused_by_every_operation }
        listing { a_longer_prefix_or_start_is_refused }
        batches {
            get_many_fails_for_a_bad_key_alone put_many_fails_for_a_conflict_alone
            delete_many_answers_in_the_order_given
        }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    checks_no_length_of_partitions: Limits(|_, kept| kept.max_partition_bytes = usize::MAX) => fails {
        keys { longer_keys_are_refused_by_every_operation }
        listing { a_bad_partition_is_refused }
        batches { get_many_fails_for_a_bad_key_alone }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    takes_ids_a_byte_too_long: Limits(|_, kept| kept.max_id_bytes += 1) => fails {
        keys { longer_keys_are_refused_by_every_operation }
        listing { a_longer_prefix_or_start_is_refused }
        batches {
            get_many_fails_for_a_bad_key_alone put_many_fails_for_a_conflict_alone
            delete_many_answers_in_the_order_given
        }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    refuses_ids_of_the_limit: Limits(|_, kept| kept.max_id_bytes -= 1) => fails {
        keys { keys_up_to_the_limit_are_taken longer_keys_are_refused_by_every_operation }
        listing { a_longer_prefix_or_start_is_refused }
    };
    refuses_partitions_of_the_limit: Limits(|_, kept| kept.max_partition_bytes -= 1) => fails {
        keys { keys_up_to_the_limit_are_taken longer_keys_are_refused_by_every_operation }
        listing { a_bad_partition_is_refused }
    };
    takes_less_than_170_bytes: Limits(|declared, kept| (declared.max_id_bytes, kept.max_id_bytes) = (169, 169)) => fails {
        start { capabilities_keep_what_every_store_can_do }
        keys { every_store_takes_170_bytes_of_anything }
        transactions { keys_of_any_content_take_part }
    };
    checks_no_keys_in_resolve: Resolve(unknown_for_a_long_key) => fails {
        keys { longer_keys_are_refused_by_every_operation }
    };
    checks_no_keys_in_transactions: Transact(invalid_for_a_long_key) => fails {
        keys { longer_keys_are_refused_by_every_operation }
        transactions { bad_arguments_are_refused_and_change_nothing }
    };
    names_the_wrong_part_of_a_key: Get(naming_the_id) => fails {
        keys { longer_keys_are_refused_by_every_operation }
    };
}
