use std::collections::{BTreeMap, HashMap};
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
    values: Vec<String>,
    credentials: Vec<String>,
    lines: AtomicU64,
    spans: AtomicU64,
    targets: Mutex<HashMap<u64, String>>,
    leaks: Mutex<BTreeMap<String, Leak>>,
}

/// What a target shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leak {
    pub(crate) values: bool,
    pub(crate) credentials: bool,
    /// How many of its lines were looked at since it showed something.
    lines: u32,
}

/// How many lines of a target to look at that shows values: whether it shows credentials too is known by then.
const ENOUGH: u32 = 2_000;

impl Watch {
    pub(crate) fn install(values: Vec<String>, credentials: Vec<String>) -> Self {
        let watch = Self(Arc::new(State {
            values,
            credentials,
            lines: AtomicU64::new(0),
            spans: AtomicU64::new(0),
            targets: Mutex::default(),
            leaks: Mutex::default(),
        }));
        tracing::subscriber::set_global_default(watch.clone()).unwrap();
        watch
    }

    /// How many lines there were since the last time, and the targets of those with a canary.
    pub(crate) fn take(&self) -> (u64, BTreeMap<String, Leak>) {
        let leaks = std::mem::take(&mut *self.0.leaks.lock().unwrap());
        (self.0.lines.swap(0, Ordering::SeqCst), leaks)
    }

    /// Looks at a line, unless enough is known of its target.
    fn look(&self, target: &str, fields: impl FnOnce(&mut Line)) {
        self.0.lines.fetch_add(1, Ordering::SeqCst);
        let known = self
            .0
            .leaks
            .lock()
            .unwrap()
            .get(target)
            .copied()
            .unwrap_or_default();
        if known.lines >= ENOUGH {
            return;
        }
        let mut line = Line::default();
        fields(&mut line);
        let shows = |canaries: &[String]| canaries.iter().any(|canary| line.0.contains(canary));
        let (values, credentials) = (shows(&self.0.values), shows(&self.0.credentials));
        if values || credentials || known != Leak::default() {
            let mut leaks = self.0.leaks.lock().unwrap();
            let leak = leaks.entry(target.to_owned()).or_default();
            leak.values |= values;
            leak.credentials |= credentials;
            leak.lines += 1;
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
