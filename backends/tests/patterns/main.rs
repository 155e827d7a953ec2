//! The patterns on every store, each of which a macro gives a test of each case: `redis::lease::…`. Those in which something is
//! lost have a network that fails between the pattern and the store, see [`network`].

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "also in the helpers of tests"
)]

mod counter;
mod idempotency;
mod lease;
#[cfg_attr(
    not(any(
        feature = "azure-table",
        feature = "dynamodb",
        feature = "firestore",
        feature = "redis"
    )),
    allow(dead_code, reason = "no store is on the wire")
)]
mod network;
mod outbox;
mod rate_limit;
mod session;
#[macro_use]
mod stores;
mod typed;

on_every_store! {
    typed {
        a_value_comes_back_with_its_version
        updates_at_once_are_all_kept
        what_does_not_decode_is_left_as_it_is
        an_update_that_changes_nothing_writes_nothing
        an_update_keeps_the_expiry
        an_old_schema_is_upgraded
        updates_are_applied_once_although_replies_are_lost
    }
    counter {
        additions_at_once_are_all_counted
        it_never_leaves_its_range
        shards_add_up
        what_is_said_to_be_counted_is_although_replies_are_lost
    }
    lease {
        one_at_a_time_does_what_it_guards
        a_dead_holders_lease_is_taken_over_with_a_higher_token
        a_late_write_is_refused
        it_is_held_although_replies_are_lost
    }
    idempotency {
        it_is_run_once_and_its_result_replayed
        of_many_at_once_one_is_run_and_all_get_its_result
        a_dead_ones_deadline_passes
        it_is_run_once_although_replies_are_lost
    }
    rate_limit {
        a_window_lets_no_more_through_at_once
        a_window_ends
        a_bucket_lets_no_more_through_at_once
        a_window_lets_as_many_through_although_replies_are_lost
    }
    session {
        clicks_at_once_are_all_kept
        a_session_expires_and_each_use_moves_that
        requests_of_tower_sessions_lose_nothing
        saves_are_applied_once_although_replies_are_lost
    }
    outbox {
        an_order_and_its_events_are_written_as_one
        updates_at_once_keep_all_events
        every_order_is_placed_once_whatever_is_lost_or_killed
    }
}
