//! A cart whose store's calls are traced and measured: two clicks at once, an order, a list.
//!
//! Run with `cargo run -p statestore-observability`, and a collector at `OTEL_EXPORTER_OTLP_ENDPOINT`.

use std::process::ExitCode;

use statestore::Precondition::{Absent, Matches};
use statestore::layer::Observe;
use statestore::{ErrorKind, Key, ListOptions, StateStore, TransactOp};
use statestore_observability::Telemetry;
use tracing::{Instrument as _, info_span, warn};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let telemetry = Telemetry::start()?;
    let url = std::env::var("STATESTORE_URL").unwrap_or_else(|_| "memory:".to_owned());
    let store = statestore::open(&url).await?;
    // Spans and metrics come with it. A function for errors goes around.
    let store = Observe::new(store).without_spans().on_error(|failure| {
        if failure.kind() != ErrorKind::Conflict {
            warn!("{failure}");
        }
    });

    // What a function does in each invocation: handle the event in a span of its own, then send, then answer.
    let handled = handle(&store).instrument(info_span!("handle event")).await;
    if let Err(error) = telemetry.flush().await {
        warn!("traces and metrics are not sent: {error}");
    }
    let answer = match handled {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // it is in the trace
    };

    store.close().await?;
    if let Err(error) = telemetry.shutdown().await {
        warn!("the last traces and metrics are not sent: {error}");
    }
    Ok(answer)
}

async fn handle(store: &impl StateStore) -> Result<()> {
    let cart: Key = "user-42/cart".parse()?;
    let order: Key = "user-42/order-7".parse()?;
    store.delete(&cart, Default::default()).await?;
    store.delete(&order, Default::default()).await?;

    // Two clicks at once: one of them is told that the other was faster.
    let (one, other) = tokio::join!(
        store.put(&cart, "one apple".into(), Absent.into()),
        store.put(&cart, "one pear".into(), Absent.into()),
    );
    let version = one.or(other)?;

    // The order is placed and the cart emptied, or neither.
    let ops = vec![
        TransactOp::put(order.clone(), "one piece of fruit").when(Absent),
        TransactOp::delete(cart.clone()).when(Matches(version)),
    ];
    store.transact(ops, Default::default()).await?;
    for entry in store.get_many(&[cart, order], Default::default()).await {
        entry?;
    }
    store.list_page("user-42", ListOptions::default()).await?;
    Ok(())
}
