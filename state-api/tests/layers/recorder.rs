use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, OnceLock};
use std::thread::{self, ThreadId};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps what this crate tells `tracing`, apart by the thread that a test runs on. It is there for the whole process: a subscriber for a
/// thread alone may miss what another thread, which has none, has come by before.
struct Recorder {
    spans: Mutex<Vec<(ThreadId, Span)>>,
    events: Mutex<Vec<(ThreadId, Told)>>,
}

/// A span, with the fields that were recorded.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// How often it is held.
    handles: usize,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) level: Level,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// The span that it was told in, by its place among the spans of its thread.
    pub(crate) within: Option<usize>,
}

impl Span {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handles == 0
    }
}

static RECORDER: OnceLock<Recorder> = OnceLock::new();

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn recorder() -> &'static Recorder {
    RECORDER.get_or_init(|| Recorder {
        spans: Mutex::default(),
        events: Mutex::default(),
    })
}

/// Begins to listen, or goes on to.
pub(crate) fn listen() {
    // There is one for the process: who comes later finds it.
    let _ = tracing::subscriber::set_global_default(recorder());
}

fn of_this_thread<T: Clone>(told: &Mutex<Vec<(ThreadId, T)>>) -> Vec<T> {
    let told = told.lock().unwrap();
    let own = told
        .iter()
        .filter(|(thread, _)| *thread == thread::current().id());
    own.map(|(_, told)| told.clone()).collect()
}

/// The spans of this thread so far.
pub(crate) fn spans() -> Vec<Span> {
    of_this_thread(&recorder().spans)
}

/// The one span of this thread so far.
pub(crate) fn span() -> Span {
    let spans = spans();
    let [span] = &spans[..] else {
        panic!("{spans:?}");
    };
    span.clone()
}

/// The events of this thread so far.
pub(crate) fn events() -> Vec<Told> {
    of_this_thread(&recorder().events)
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Recorder {
    fn change(&self, id: &Id, change: impl FnOnce(&mut Span)) {
        let place = usize::try_from(id.into_u64()).unwrap() - 1;
        change(&mut self.spans.lock().unwrap()[place].1);
    }
}

impl Subscriber for &'static Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("statestore")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut span = Span {
            level: *attributes.metadata().level(),
            target: attributes.metadata().target(),
            fields: BTreeMap::new(),
            handles: 1,
        };
        attributes.record(&mut Fields(&mut span.fields));
        let mut spans = self.spans.lock().unwrap();
        spans.push((thread::current().id(), span));
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        self.change(id, |span| values.record(&mut Fields(&mut span.fields)));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        let left = ENTERED.with_borrow_mut(Vec::pop);
        assert_eq!(left, Some(id.into_u64()), "spans are left in order");
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.change(id, |span| span.handles += 1);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        self.change(&id, |span| span.handles -= 1);
        false
    }

    fn event(&self, event: &Event<'_>) {
        let own = thread::current().id();
        let within = ENTERED.with_borrow(|entered| entered.last().copied()).map(|id| {
            let spans = self.spans.lock().unwrap();
            let before = &spans[..usize::try_from(id).unwrap() - 1];
            before.iter().filter(|(thread, _)| *thread == own).count()
        });
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let told = Told {
            level: *event.metadata().level(),
            fields,
            within,
        };
        self.events.lock().unwrap().push((own, told));
    }
}
