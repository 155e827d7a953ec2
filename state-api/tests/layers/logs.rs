use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use statestore_api::layer::{Retry, RetryPolicy};
use statestore_api::{Key, StateStore, StateStoreExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::indeterminate;
use crate::scripted::Step::{Lose, Refuse};
use crate::scripted::{Scripted, throttled, unanswered};

/// Keeps the events of this crate that come from one thread. It is there for the whole process: a subscriber for a thread
/// alone may miss what another thread, which has none, has come by before.
#[derive(Clone)]
struct Events(Arc<Mutex<Vec<(Level, String)>>>, ThreadId);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("statestore_api")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if thread::current().id() != self.1 {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }
}

#[tokio::test(start_paused = true)]
async fn retries_are_logged_without_keys_and_values() {
    let events = Events(Arc::default(), thread::current().id());
    tracing::subscriber::set_global_default(events.clone()).unwrap();
    let scripted = Scripted::new(&[Lose(unanswered), Refuse(throttled), Refuse(throttled)]);
    let store = Retry::new(scripted, RetryPolicy::default().with_max_attempts(2));
    let key = Key::new("secret-partition", "secret-id").unwrap();
    let error = store.create(&key, "secret-value").await.unwrap_err();
    let (id, _) = indeterminate(&error);
    store.get(&key, Default::default()).await.unwrap();
    store.get(&key, Default::default()).await.unwrap();

    let events = events.0.lock().unwrap();
    let [retried, given_up, read] = &events[..] else {
        panic!("{events:?}");
    };
    let put = format!("operation=\"put\" write_id={id} ");
    for (event, level, parts) in [
        (
            retried,
            Level::DEBUG,
            [&put[..], "kind=Unavailable", "attempt=1", "wait="],
        ),
        (
            given_up,
            Level::WARN,
            [&put, "kind=Throttled", "attempts=2", "all 2 attempts are used up"],
        ),
        (
            read,
            Level::DEBUG,
            ["operation=\"get\" ", "kind=Throttled", "attempt=1", "wait="],
        ),
    ] {
        assert_eq!(event.0, level, "{event:?}");
        assert!(
            parts.iter().all(|part| event.1.contains(part)),
            "{event:?}: {parts:?}"
        );
        assert!(!event.1.contains("secret"), "{event:?}");
    }
}
