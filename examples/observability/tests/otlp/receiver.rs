use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A collector that takes OTLP over HTTP, and keeps what it was sent.
pub(crate) struct Receiver {
    endpoint: String,
    traces: Bodies,
    metrics: Bodies,
    task: JoinHandle<()>,
}

type Bodies = Arc<Mutex<Vec<Bytes>>>;

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (traces, metrics) = (Bodies::default(), Bodies::default());
        let keep = |bodies: &Bodies| {
            let bodies = bodies.clone();
            post(async move |body: Bytes| bodies.lock().unwrap().push(body))
        };
        let router = Router::new()
            .route("/v1/traces", keep(&traces))
            .route("/v1/metrics", keep(&metrics));
        Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            traces,
            metrics,
            task: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The spans, in the order in which they began, and what they are of.
    pub(crate) fn spans(&self) -> (Vec<Span>, Vec<Resource>) {
        let (mut spans, mut resources) = (Vec::new(), Vec::new());
        for body in self.traces.lock().unwrap().iter() {
            for of_one in ExportTraceServiceRequest::decode(body.clone())
                .unwrap()
                .resource_spans
            {
                resources.extend(of_one.resource);
                spans.extend(of_one.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        spans.sort_by_key(|span| span.start_time_unix_nano);
        (spans, resources)
    }

    /// The metrics as they were sent last.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let metrics = self.metrics.lock().unwrap();
        let last = metrics.last().expect("metrics were sent").clone();
        let of_all = ExportMetricsServiceRequest::decode(last)
            .unwrap()
            .resource_metrics;
        let scopes = of_all.into_iter().flat_map(|of_one| of_one.scope_metrics);
        scopes.flat_map(|scope| scope.metrics).collect()
    }

    /// Whether a text is anywhere in the bytes that were sent.
    pub(crate) fn was_sent(&self, text: &str) -> bool {
        let bodies = [&self.traces, &self.metrics];
        let mut bodies = bodies
            .into_iter()
            .flat_map(|bodies| bodies.lock().unwrap().clone());
        bodies.any(|body| body.windows(text.len()).any(|part| part == text.as_bytes()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Attributes as text: strings as they are, integers with a `#`.
pub(crate) fn attributes(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => format!("#{number}"),
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|attribute| (&*attribute.key, text(&attribute.value)))
        .collect()
}
