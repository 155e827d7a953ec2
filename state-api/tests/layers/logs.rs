use statestore_api::layer::{Retry, RetryPolicy};
use statestore_api::{Key, StateStore, StateStoreExt};
use tracing::Level;

use crate::indeterminate;
use crate::recorder;
use crate::scripted::Step::{Lose, Refuse};
use crate::scripted::{Scripted, throttled, unanswered};

#[tokio::test(start_paused = true)]
async fn retries_are_logged_without_keys_and_values() {
    recorder::listen();
    let scripted = Scripted::new(&[Lose(unanswered), Refuse(throttled), Refuse(throttled)]);
    let store = Retry::new(scripted, RetryPolicy::default().with_max_attempts(2));
    let key = Key::new("secret-partition", "secret-id").unwrap();
    let error = store.create(&key, "secret-value").await.unwrap_err();
    let (id, _) = indeterminate(&error);
    store.get(&key, Default::default()).await.unwrap();
    store.get(&key, Default::default()).await.unwrap();

    let events = recorder::events();
    let [retried, given_up, read] = &events[..] else {
        panic!("{events:?}");
    };
    let id = id.to_string();
    for (event, level, parts) in [
        (
            retried,
            Level::DEBUG,
            &[
                ("operation", "put"),
                ("write_id", &id),
                ("kind", "Unavailable"),
                ("attempt", "1"),
                ("message", "a store's call failed and is tried again"),
            ][..],
        ),
        (
            given_up,
            Level::WARN,
            &[
                ("operation", "put"),
                ("write_id", &id),
                ("kind", "Throttled"),
                ("attempts", "2"),
                (
                    "message",
                    "a store's call failed and is not tried again: all 2 attempts are used up",
                ),
            ],
        ),
        (
            read,
            Level::DEBUG,
            &[("operation", "get"), ("kind", "Throttled"), ("attempt", "1")],
        ),
    ] {
        assert_eq!(event.level, level, "{event:?}");
        for (field, expected) in parts {
            assert_eq!(event.fields[field], *expected, "{event:?}");
        }
        assert!(!format!("{event:?}").contains("secret"), "{event:?}");
    }
    for event in [retried, read] {
        assert!(event.fields.contains_key("wait"), "{event:?}");
    }
    assert!(!read.fields.contains_key("write_id"), "{read:?}");
}
