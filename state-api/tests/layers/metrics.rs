use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{
    Counter, Histogram, HistogramBuilder, InstrumentBuilder, InstrumentProvider, Meter, SyncInstrument,
    UpDownCounter,
};
use statestore_api::layer::{Observe, Retry, RetryPolicy, Timeout};
use statestore_api::{StateStore, StateStoreExt};

use crate::key;
use crate::scripted::Step::{Hang, Lose, Pass, Refuse};
use crate::scripted::{Scripted, throttled, unanswered};

/// What was measured: the instrument and its unit, the number, the attributes less the names of the store.
#[derive(Default)]
struct Measured {
    measured: Mutex<Vec<(String, String, String)>>,
    bounds: Mutex<Option<Vec<f64>>>,
}

/// An instrument that keeps all that it measures.
struct Kept(String, Arc<Measured>);

/// A meter whose instruments keep all that they measure.
struct Provider(Arc<Measured>);

fn meter() -> (Meter, Arc<Measured>) {
    let measured = Arc::<Measured>::default();
    (Meter::new(Arc::new(Provider(measured.clone()))), measured)
}

impl Measured {
    /// What was measured since the last time, in its order. Durations are `-`.
    fn take(&self) -> Vec<(String, String, String)> {
        std::mem::take(&mut *self.measured.lock().unwrap())
    }
}

impl<T: Display> SyncInstrument<T> for Kept {
    fn measure(&self, measurement: T, attributes: &[KeyValue]) {
        let value = |name: &str| {
            let found = attributes.iter().find(|attribute| attribute.key.as_str() == name);
            found.map(|attribute| attribute.value.to_string())
        };
        assert_eq!(value("db.system.name").unwrap(), "test.db");
        assert_eq!(value("db.namespace").unwrap(), "tests");
        assert_eq!(value("db.collection.name").unwrap(), "layers");
        let mut told = value("db.operation.name").unwrap();
        let rest = ["statestore.io.direction", "error.type"];
        for value in rest.iter().filter_map(|name| value(name)) {
            told += &format!(" {value}");
        }
        assert_eq!(attributes.len(), 3 + told.split(' ').count(), "{attributes:?}");
        let number = if self.0.ends_with("duration s") {
            "-".to_owned()
        } else {
            measurement.to_string()
        };
        let mut measured = self.1.measured.lock().unwrap();
        measured.push((self.0.clone(), number, told));
    }
}

impl Provider {
    fn kept<T>(&self, builder: &InstrumentBuilder<'_, T>) -> Arc<Kept> {
        let name = format!("{} {}", builder.name, builder.unit.as_deref().unwrap());
        Arc::new(Kept(name, self.0.clone()))
    }
}

impl InstrumentProvider for Provider {
    fn u64_counter(&self, builder: InstrumentBuilder<'_, Counter<u64>>) -> Counter<u64> {
        Counter::new(self.kept(&builder))
    }

    fn i64_up_down_counter(&self, builder: InstrumentBuilder<'_, UpDownCounter<i64>>) -> UpDownCounter<i64> {
        UpDownCounter::new(self.kept(&builder))
    }

    fn f64_histogram(&self, builder: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        *self.0.bounds.lock().unwrap() = builder.boundaries;
        let name = format!("{} {}", builder.name, builder.unit.as_deref().unwrap());
        Histogram::new(Arc::new(Kept(name, self.0.clone())))
    }
}

fn named<S: StateStore>(store: S, meter: &Meter) -> Observe<S> {
    Observe::new(store)
        .with_system("test.db")
        .with_namespace("tests")
        .with_collection("layers")
        .without_spans()
        .with_meter(meter)
}

/// `expected` is an instrument, its number and the attributes a line.
fn assert_measured(measured: &Measured, expected: &[[&str; 3]]) {
    let expected = expected.iter().map(|line| line.map(str::to_owned).into());
    assert_eq!(measured.take(), expected.collect::<Vec<_>>());
}

const ACTIVE: &str = "statestore.client.active_operations {operation}";
const DURATION: &str = "db.client.operation.duration s";
const IO: &str = "statestore.client.io By";
const RETRIES: &str = "statestore.client.retries {retry}";

#[tokio::test(start_paused = true)]
async fn each_call_is_measured() {
    let (meter, measured) = meter();
    let steps = [Lose(unanswered), Pass];
    let store = named(Retry::new(Scripted::new(&steps), RetryPolicy::default()), &meter);
    store.create(&key("one"), "12345").await.unwrap();
    assert_measured(
        &measured,
        &[
            [ACTIVE, "1", "put"],
            [ACTIVE, "-1", "put"],
            [RETRIES, "1", "put"],
            [IO, "5", "put write"],
            [DURATION, "-", "put"],
        ],
    );
    store.create(&key("one"), "123").await.unwrap_err();
    assert_measured(
        &measured,
        &[
            [ACTIVE, "1", "put"],
            [ACTIVE, "-1", "put"],
            [IO, "3", "put write"],
            [DURATION, "-", "put Conflict"],
        ],
    );
    let keys = [key("one"), key("two")];
    for result in store.get_many(&keys, Default::default()).await {
        result.unwrap();
    }
    assert_measured(
        &measured,
        &[
            [ACTIVE, "1", "get_many"],
            [ACTIVE, "-1", "get_many"],
            [IO, "5", "get_many read"],
            [DURATION, "-", "get_many"],
        ],
    );
    let bounds = measured.bounds.lock().unwrap().clone();
    assert_eq!(
        bounds.unwrap(),
        [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_under_way_no_more() {
    let (meter, measured) = meter();
    let steps = [Refuse(throttled), Hang];
    let store = named(Retry::new(Scripted::new(&steps), RetryPolicy::default()), &meter);
    let store = Timeout::new(store, Duration::from_secs(1));
    store.get(&key("one"), Default::default()).await.unwrap_err();
    assert_measured(
        &measured,
        &[
            [ACTIVE, "1", "get"],
            [ACTIVE, "-1", "get"],
            [RETRIES, "1", "get"],
            [DURATION, "-", "get Cancelled"],
        ],
    );
}
