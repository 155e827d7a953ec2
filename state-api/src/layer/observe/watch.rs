use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tracing::field::Empty;
use tracing::{Level, Span, info_span, span_enabled};

use super::answer::{Answer, Entries};
use super::call::Call;
use super::{Failure, Settings};
use crate::error::{Error, ErrorKind};
use crate::layer::retries;

/// The spans' target, by which they are filtered.
const TARGET: &str = "statestore::observe";

/// What takes the place of an error's kind when the caller dropped the call.
const CANCELLED: &str = "Cancelled";

impl Settings {
    /// Whether anybody would be told of a call.
    pub(super) fn heard(&self) -> bool {
        #[cfg(feature = "opentelemetry")]
        if self.metrics.is_some() {
            return true;
        }
        self.on_error.is_some() || self.spans && span_enabled!(target: TARGET, Level::INFO)
    }

    /// Makes a call, and tells of it.
    pub(super) fn watch<'f, A: Answer + 'f>(
        &'f self,
        call: Call<'f>,
        mut made: BoxFuture<'f, A>,
    ) -> BoxFuture<'f, A> {
        if !self.heard() {
            return made;
        }
        Box::pin(async move {
            let mut watch = Watch::begin(self, call);
            let answer = poll_fn(|cx| watch.poll(&mut made, cx)).await;
            watch.answered(&answer);
            answer
        })
    }

    fn span(&self, call: &Call<'_>) -> Span {
        if !self.spans {
            return Span::none();
        }
        let about = self.keys.then_some(&call.about);
        // The integers are signed, since the bridge to OpenTelemetry makes text of others.
        info_span!(
            target: TARGET,
            "statestore",
            otel.name = %Name(call.operation, self),
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            db.system.name = &*self.system,
            db.namespace = self.namespace.as_deref(),
            db.collection.name = self.collection.as_deref(),
            db.operation.name = call.operation,
            db.operation.batch.size = call.batch.filter(|size| *size > 1).map(signed),
            db.operation.parameter.key = about.and_then(|about| about.key()).map(display),
            db.operation.parameter.keys = about.and_then(|about| about.batch()).map(display),
            db.operation.parameter.partition = about.and_then(|about| about.partition()),
            db.response.returned_rows = Empty,
            error.type = Empty,
            statestore.attempts = Empty,
            statestore.bytes_written = call.written.map(signed),
            statestore.bytes_read = Empty,
        )
    }
}

/// A span's name: `put app-state`.
struct Name<'a>(&'static str, &'a Settings);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(operation, settings) = self;
        f.write_str(operation)?;
        match settings.collection.as_ref().or(settings.namespace.as_ref()) {
            Some(target) => write!(f, " {target}"),
            None => Ok(()),
        }
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A call that is under way. When it is dropped without an answer, it was cancelled.
struct Watch<'a> {
    settings: &'a Settings,
    call: Call<'a>,
    span: Span,
    retries: u32,
    ended: bool,
    #[cfg(feature = "opentelemetry")]
    measured: Option<super::metrics::Measured<'a>>,
}

impl<'a> Watch<'a> {
    fn begin(settings: &'a Settings, call: Call<'a>) -> Self {
        Self {
            settings,
            span: settings.span(&call),
            retries: 0,
            ended: false,
            #[cfg(feature = "opentelemetry")]
            measured: settings
                .metrics
                .as_ref()
                .map(|metrics| super::metrics::Measured::begin(metrics, settings, &call)),
            call,
        }
    }

    fn poll<A>(&mut self, made: &mut BoxFuture<'_, A>, cx: &mut Context<'_>) -> Poll<A> {
        let _entered = self.span.enter();
        let (polled, retries) = retries::within(|| made.as_mut().poll(cx));
        self.retries = self.retries.saturating_add(retries);
        polled
    }

    fn answered(mut self, answer: &impl Answer) {
        let error = answer.error();
        self.end(
            error.map(|error| format!("{:?}", error.kind())),
            error,
            answer.entries(),
        );
        let (Some(error), Some(on_error)) = (error, &self.settings.on_error) else {
            return;
        };
        let shown = self.settings.keys;
        let about = &self.call.about;
        let failure = Failure {
            operation: self.call.operation,
            error,
            attempts: self.attempts(),
            keys: if shown { about.keys() } else { &[] },
            partition: about.partition().filter(|_| shown),
        };
        self.span.in_scope(|| on_error(&failure));
    }

    fn attempts(&self) -> u32 {
        self.retries.saturating_add(1)
    }

    /// Tells how it ended, once.
    fn end(&mut self, error_type: Option<String>, error: Option<&Error>, read: Option<Entries>) {
        self.ended = true;
        let span = &self.span;
        span.record("statestore.attempts", i64::from(self.attempts()));
        if let Some(read) = read {
            span.record("db.response.returned_rows", signed(read.count));
            span.record("statestore.bytes_read", signed(read.bytes));
        }
        if let Some(error_type) = &error_type {
            span.record("error.type", &**error_type);
            match error {
                // That others were first is an answer, and no failure of the store.
                Some(error) if error.kind() == ErrorKind::Conflict => (),
                Some(error) if self.settings.keys => {
                    span.record("otel.status_description", tracing::field::display(error));
                }
                _ => {
                    span.record("otel.status_code", "ERROR");
                }
            }
        }
        #[cfg(feature = "opentelemetry")]
        if let Some(measured) = self.measured.take() {
            measured.end(&self.call, read, error_type, self.retries);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Some(CANCELLED.to_owned()), None, None);
        }
    }
}
