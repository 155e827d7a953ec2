//! Traces and metrics of a function over OTLP, to a collector beside it: the part to copy.
//!
//! The collector is a layer of the Lambda function or a sidecar of the Cloud Run service, and the standard variables say where it is
//! and what this is: `OTEL_EXPORTER_OTLP_ENDPOINT` (else `http://localhost:4318`), `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, RetryPolicy, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// How long the collector may take. It is beside the function, whose answers wait for it: nothing is sent twice either.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What sends traces and metrics, until it is shut down.
#[derive(Clone, Debug)]
pub struct Telemetry {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Telemetry {
    /// Begins to collect, for the whole process. Open stores behind that: they take their meter when they are opened.
    ///
    /// # Errors
    /// When a variable is malformed, or something collects already.
    pub fn start() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let client: Arc<dyn HttpClient> = Arc::new(OnRuntime {
            client: HyperClient::with_default_connector(TIMEOUT, None),
            runtime: Handle::current(),
        });
        let resource = Resource::builder().build();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(client.clone())
            .with_retry_policy(RetryPolicy::disabled());
        let traces = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(exporter.build()?)
            .build();
        let exporter = MetricExporter::builder()
            .with_http()
            .with_shared_http_client(client)
            .with_retry_policy(RetryPolicy::disabled());
        let metrics = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_periodic_exporter(exporter.build()?)
            .build();
        opentelemetry::global::set_meter_provider(metrics.clone());

        // Of the SDKs inside of a store nothing goes into traces: at `TRACE` some show values (see docs/logs.md).
        let ours = Targets::new()
            .with_target("statestore", Level::DEBUG)
            .with_target("observability", Level::INFO);
        let spans = tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_tracer(traces.tracer("statestore"))
            .with_filter(ours);
        let logs = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_filter(Targets::new().with_default(Level::WARN));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(spans).with(logs))?;
        Ok(Self { traces, metrics })
    }

    /// Sends what there is: at the end of each invocation, before the platform freezes the process.
    ///
    /// # Errors
    /// When the collector did not take it. The function's answer should not depend on that.
    pub async fn flush(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Self { traces, metrics } = self.clone();
        both(move || traces.force_flush(), move || metrics.force_flush()).await
    }

    /// Sends what there is, and ends: on `SIGTERM`, or at the end of a program.
    ///
    /// # Errors
    /// When the collector did not take it.
    pub async fn shutdown(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Self { traces, metrics } = self;
        both(move || traces.shutdown(), move || metrics.shutdown()).await
    }
}

/// Does both at once. They block their threads, and the runtime has to go on sending.
async fn both(
    one: impl FnOnce() -> OTelSdkResult + Send + 'static,
    other: impl FnOnce() -> OTelSdkResult + Send + 'static,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (one, other) = (spawn_blocking(one), spawn_blocking(other));
    let (one, other) = (one.await?, other.await?);
    Ok(one.and(other)?)
}

/// A client for exporters, which call it on threads of their own, where no runtime is.
#[derive(Debug)]
struct OnRuntime {
    client: HyperClient,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        sending.await?
    }
}
