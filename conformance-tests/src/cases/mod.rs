//! The sentences of the contract, one function each, in groups.
//!
//! A case takes a [`Subject`](crate::Subject) and panics when its store does not keep the sentence. It looks at the
//! store through the public API alone, at keys of its own.

use crate::Case;

pub mod batches;
pub mod cancellation;
pub mod clock;
pub mod conditions;
pub mod exactly_once;
pub mod expiry;
pub mod keys;
pub mod listing;
pub mod model;
pub mod races;
pub mod restart;
pub mod scan;
pub mod start;
pub mod touch;
pub mod transactions;
pub mod values;
pub mod versions;

/// The cases that every store has to pass.
#[must_use]
pub fn contract() -> Vec<Case> {
    crate::__contract_cases! { case_list, }
}

/// The cases for a store that can be closed and opened again.
#[must_use]
pub fn restart() -> Vec<Case> {
    crate::__restart_cases! { case_list, }
}

/// The cases for a store whose clock can be set.
#[must_use]
pub fn clock() -> Vec<Case> {
    crate::__clock_cases! { case_list, }
}

/// Calls a macro with some arguments and the list of [`contract`].
#[doc(hidden)]
#[macro_export]
macro_rules! __contract_cases {
    ($callback:path, $($arguments:tt)*) => {
        $callback! { $($arguments)*
            start {
                ready_succeeds_and_may_be_repeated
                capabilities_keep_what_every_store_can_do
                what_is_not_declared_is_refused
                one_instance_serves_many_tasks
                close_may_be_repeated
                a_closed_store_serves_or_says_that_it_is_closed
            }
            keys {
                keys_that_look_alike_are_different
                partitions_that_look_alike_are_different
                hostile_keys_come_back_unchanged
                random_pairs_never_meet
                every_store_takes_170_bytes_of_anything
                keys_up_to_the_limit_are_taken
                longer_keys_are_refused_by_every_operation
                the_id_may_equal_the_partition
            }
            values {
                a_missing_key_is_none
                a_value_reads_back_as_written
                an_empty_value_is_not_a_missing_one
                put_replaces_the_value
                sizes_around_the_services_boundaries_are_kept
                the_largest_value_is_kept
                a_larger_value_is_refused_and_changes_nothing
                changing_a_returned_buffer_changes_nothing
                a_deleted_key_is_none
                deleting_a_missing_key_succeeds
                delete_then_put_starts_afresh
                an_acknowledged_write_is_seen_by_the_next_read
                an_eventual_read_is_answered
            }
            versions {
                put_returns_the_version_that_reads_show
                every_write_makes_a_new_version
                a_version_survives_text
                no_version_is_reused_after_a_delete
                no_version_is_reused_after_an_expiry
                no_version_is_given_to_two_writers
                a_version_matches_no_other_key
                what_is_no_version_is_refused
                a_version_of_another_store_never_matches
            }
            conditions {
                none_always_holds
                absent_holds_when_the_key_is_gone
                absent_conflicts_when_the_key_is_there
                exists_holds_when_the_key_is_there
                exists_conflicts_when_the_key_is_gone
                matches_holds_for_the_current_version
                matches_conflicts_for_a_stale_version
                matches_never_creates_a_key_that_is_gone
                matches_conflicts_after_delete_and_recreate
                matches_compares_versions_not_values
                delete_takes_every_condition
                delete_with_a_stale_version_conflicts
                delete_with_a_version_of_a_key_that_is_gone_conflicts
                a_refused_write_changes_nothing
                a_conflict_shows_what_is_there
                compare_and_set_creates_and_replaces
            }
            races {
                of_many_writers_with_one_version_one_wins
                of_many_creators_one_wins
                of_many_takers_of_an_expired_key_one_wins
                of_many_deleters_one_wins
                increments_add_up
                each_version_is_replaced_once
                update_gives_up_and_says_how_often_it_tried
            }
            exactly_once {
                a_repeated_create_is_answered_and_not_written_again
                a_repeated_compare_and_set_is_answered_and_not_written_again
                a_repeated_unconditional_put_is_answered_and_not_written_again
                a_repeated_touch_is_answered_and_not_applied_again
                a_different_put_with_the_same_write_id_is_not_written
                a_replaced_write_is_remembered
                a_forgotten_write_is_indeterminate
                an_unconditional_write_is_applied_at_least_once
                a_late_first_attempt_changes_nothing
                a_retry_of_a_write_that_never_arrived_is_applied
                a_write_that_lost_the_race_is_told_apart
                a_create_repeated_after_a_delete_makes_a_new_version
                a_write_repeated_after_its_expiry_is_no_conflict
                a_retry_whose_expiry_has_passed_is_refused_or_answered
                a_compare_and_set_repeated_after_a_delete_is_indeterminate
                a_repeated_delete_that_finds_the_key_gone_is_indeterminate
                a_repeated_delete_that_finds_a_newer_version_conflicts
                a_repeated_unconditional_delete_succeeds
                a_first_attempt_is_never_indeterminate
                two_attempts_at_once_are_one_write
                two_attempts_and_a_rival_have_one_winner
                one_write_id_on_two_keys_is_two_writes
                resolve_tells_what_became_of_a_write
                a_repeated_transaction_is_answered_and_not_applied_again
                a_repeated_transaction_that_cannot_be_told_is_indeterminate
                a_transaction_that_lost_the_race_is_told_apart
                two_attempts_of_a_transaction_at_once_are_one
            }
            expiry {
                an_entry_without_a_ttl_never_expires
                the_expiry_is_returned_to_the_millisecond
                a_ttl_counts_from_the_write
                fractions_of_a_millisecond_round_up
                the_furthest_expiry_is_kept
                an_entry_is_there_until_its_expiry
                an_expired_entry_is_gone_for_every_read
                an_expired_entry_is_gone_for_scans
                an_expired_entry_is_gone_for_every_condition
                an_expired_entry_can_be_replaced
                a_put_without_a_ttl_clears_the_expiry
                a_put_with_a_ttl_replaces_the_expiry
                keep_keeps_the_expiry
                what_was_kept_still_expires
                keep_takes_nothing_from_an_expired_entry
                a_refused_write_leaves_the_expiry
                a_ttl_that_is_not_in_the_future_is_refused
                a_ttl_that_is_too_far_is_refused
                sweep_removes_nothing_that_is_there
            }
            touch {
                touch_moves_the_expiry_and_keeps_the_value
                touch_can_shorten_and_clear_the_expiry
                touch_makes_a_new_version
                touch_takes_conditions
                touch_never_creates_or_revives
                touch_for_an_absent_key_is_refused
                a_refused_touch_changes_nothing
            }
            listing {
                an_empty_partition_lists_nothing
                ids_list_in_the_byte_order_of_their_utf8
                random_ids_list_in_order
                only_the_partition_asked_for_is_listed
                a_prefix_is_taken_literally
                start_after_is_exclusive_and_need_not_be_there
                prefix_and_start_after_go_together
                entries_are_listed_as_get_shows_them
                an_eventual_listing_is_answered
                keys_alone_can_be_listed
                pages_follow_in_order_and_repeat_nothing
                more_than_a_thousand_keys_are_listed
                large_values_are_listed_over_more_pages
                deleted_and_expired_entries_are_not_listed
                what_is_deleted_between_pages_is_left_out
                what_is_written_ahead_between_pages_is_listed
                writers_disturb_no_listing
                a_page_token_survives_text
                a_token_of_another_query_is_refused
                a_damaged_token_is_refused
                page_sizes_out_of_range_are_refused
                a_bad_partition_is_refused
                a_longer_prefix_or_start_is_refused
            }
            scan {
                scan_finds_every_key_of_every_partition_once
                scan_pages_repeat_nothing
                scan_leaves_out_what_is_gone
                scan_can_return_keys_alone
                writers_disturb_no_scan
                a_scan_token_survives_text
                scan_refuses_what_is_no_token_of_it
                scan_page_sizes_out_of_range_are_refused
            }
            batches {
                get_many_answers_in_the_order_asked
                batches_of_nothing_do_nothing
                get_many_takes_any_number_of_keys
                get_many_takes_more_than_a_reply_holds
                an_eventual_get_many_is_answered
                get_many_fails_for_a_bad_key_alone
                put_many_answers_in_the_order_given
                put_many_takes_any_number_of_keys
                put_many_fails_for_a_conflict_alone
                put_many_writes_a_key_twice_in_order
                delete_many_answers_in_the_order_given
                delete_many_takes_any_number_of_keys
            }
            transactions {
                puts_deletes_and_checks_apply_together
                versions_are_returned_for_puts
                an_empty_transaction_does_nothing
                a_failed_condition_anywhere_changes_nothing
                every_condition_that_holds_lets_pass
                a_conflict_names_the_operation
                checks_alone_change_nothing
                deleting_a_missing_key_is_no_failure
                expiry_works_in_transactions
                an_expired_entry_counts_as_absent
                keys_of_any_content_take_part
                a_hundred_operations_apply
                more_operations_are_refused
                more_bytes_are_refused
                a_key_twice_is_refused
                two_partitions_are_refused
                bad_arguments_are_refused_and_change_nothing
                of_many_transactions_on_one_version_one_wins
                transfers_keep_the_sum
                no_reader_sees_half_a_transaction
            }
            cancellation {
                dropped_calls_leave_the_store_working
                the_answer_to_a_dropped_call_reaches_nobody_else
                a_dropped_write_is_whole_or_not_there
                a_dropped_write_that_is_retried_is_applied_once
                a_dropped_transaction_is_whole_or_not_there
            }
            model {
                random_sequences_agree_with_a_map
            }
        }
    };
}

/// The same with the list of [`restart`].
#[doc(hidden)]
#[macro_export]
macro_rules! __restart_cases {
    ($callback:path, $($arguments:tt)*) => {
        $callback! { $($arguments)*
            restart {
                every_acknowledged_write_is_there
                no_version_is_reused
                a_lost_reply_is_resolved
                a_retry_is_recognised
                expiry_goes_on
            }
        }
    };
}

/// The same with the list of [`clock`].
#[doc(hidden)]
#[macro_export]
macro_rules! __clock_cases {
    ($callback:path, $($arguments:tt)*) => {
        $callback! { $($arguments)*
            clock {
                an_entry_expires_in_its_millisecond
                a_ttl_is_at_least_a_millisecond
                an_entry_without_a_ttl_outlives_every_clock
                a_clock_ahead_only_shortens_lives
                a_clock_behind_only_prolongs_lives
                a_write_counts_whatever_the_clock_shows
                sweep_removes_what_has_expired
            }
        }
    };
}
