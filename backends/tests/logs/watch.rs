use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A subscriber to everything that looks for canaries. (No crate that we use logs by `log`.)
#[derive(Clone)]
pub(crate) struct Watch(Arc<State>);

struct State {
    canaries: Vec<String>,
    lines: AtomicU64,
    spans: AtomicU64,
    targets: Mutex<HashMap<u64, String>>,
    leaks: Mutex<BTreeSet<String>>,
}

impl Watch {
    pub(crate) fn install(canaries: Vec<String>) -> Self {
        let watch = Self(Arc::new(State {
            canaries,
            lines: AtomicU64::new(0),
            spans: AtomicU64::new(0),
            targets: Mutex::default(),
            leaks: Mutex::default(),
        }));
        tracing::subscriber::set_global_default(watch.clone()).unwrap();
        watch
    }

    /// How many lines there were, and the targets of those with a canary.
    pub(crate) fn seen(&self) -> (u64, BTreeSet<String>) {
        let leaks = self.0.leaks.lock().unwrap().clone();
        (self.0.lines.load(Ordering::SeqCst), leaks)
    }

    /// Looks at a line, unless its target is known to show canaries.
    fn look(&self, target: &str, fields: impl FnOnce(&mut Line)) {
        self.0.lines.fetch_add(1, Ordering::SeqCst);
        if self.0.leaks.lock().unwrap().contains(target) {
            return;
        }
        let mut line = Line::default();
        fields(&mut line);
        if self.0.canaries.iter().any(|canary| line.0.contains(canary)) {
            self.0.leaks.lock().unwrap().insert(target.to_owned());
        }
    }
}

/// How much of a line to look at: a value begins with its canary.
const LONGEST: usize = 16 * 1024;

/// All fields of a line, up to a length at which those who format them are told to stop.
#[derive(Default)]
struct Line(String);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        if self.0.len() < LONGEST {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self, "{field}={value:?} ");
    }
}

impl Subscriber for Watch {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let target = span.metadata().target();
        self.look(target, |line| span.record(line));
        let id = self.0.spans.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.targets.lock().unwrap().insert(id, target.to_owned());
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let target = self.0.targets.lock().unwrap().get(&span.into_u64()).cloned();
        self.look(&target.unwrap_or_default(), |line| values.record(line));
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.look(event.metadata().target(), |line| event.record(line));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}
