use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};

use super::Settings;
use super::answer::Entries;
use super::call::Call;

/// The bounds that the conventions give for the duration, in seconds.
const DURATION_BOUNDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The instruments of a store.
#[derive(Clone)]
pub(super) struct Metrics {
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
    retries: Counter<u64>,
    io: Counter<u64>,
}

impl Metrics {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            duration: meter
                .f64_histogram("db.client.operation.duration")
                .with_unit("s")
                .with_description("Duration of database client operations.")
                .with_boundaries(DURATION_BOUNDS.to_vec())
                .build(),
            active: meter
                .i64_up_down_counter("statestore.client.active_operations")
                .with_unit("{operation}")
                .with_description("Calls of a store that are under way.")
                .build(),
            retries: meter
                .u64_counter("statestore.client.retries")
                .with_unit("{retry}")
                .with_description("Attempts of calls of a store after their first.")
                .build(),
            io: meter
                .u64_counter("statestore.client.io")
                .with_unit("By")
                .with_description("Values that calls of a store brought and returned, retries not counted.")
                .build(),
        }
    }
}

/// The measuring of one call.
pub(super) struct Measured<'a> {
    metrics: &'a Metrics,
    attributes: Vec<KeyValue>,
    began: Instant,
}

impl<'a> Measured<'a> {
    pub(super) fn begin(metrics: &'a Metrics, settings: &Settings, call: &Call<'_>) -> Self {
        let mut attributes = Vec::with_capacity(5);
        attributes.push(KeyValue::new("db.system.name", settings.system.clone()));
        attributes.push(KeyValue::new("db.operation.name", call.operation));
        let names = [
            ("db.namespace", &settings.namespace),
            ("db.collection.name", &settings.collection),
        ];
        for (attribute, name) in names {
            attributes.extend(name.iter().map(|name| KeyValue::new(attribute, name.clone())));
        }
        metrics.active.add(1, &attributes);
        Self {
            metrics,
            attributes,
            began: Instant::now(),
        }
    }

    pub(super) fn end(
        mut self,
        call: &Call<'_>,
        read: Option<Entries>,
        error_type: Option<String>,
        retries: u32,
    ) {
        let took = self.began.elapsed();
        self.metrics.active.add(-1, &self.attributes);
        if retries > 0 {
            self.metrics.retries.add(retries.into(), &self.attributes);
        }
        let io = [("read", read.map(|read| read.bytes)), ("write", call.written)];
        for (direction, bytes) in io {
            if let Some(bytes) = bytes {
                self.attributes
                    .push(KeyValue::new("statestore.io.direction", direction));
                self.metrics.io.add(bytes as u64, &self.attributes);
                self.attributes.pop();
            }
        }
        self.attributes
            .extend(error_type.map(|error_type| KeyValue::new("error.type", error_type)));
        self.metrics.duration.record(took.as_secs_f64(), &self.attributes);
    }
}
