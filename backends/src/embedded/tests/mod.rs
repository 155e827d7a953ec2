//! What happens when the disk fails. What needs no such disk is in `backends/tests/embedded_*.rs`.

mod disk;
mod faults;
mod group;
mod power;

use std::future::poll_fn;
use std::task::Poll;

use statestore_api::Result;

use self::disk::Disk;
use super::{EmbeddedOptions, EmbeddedStore};

/// Runs all at once, each to its end.
async fn all<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    poll_fn(|context| {
        let mut pending = false;
        for (one, done) in all.iter_mut().filter(|(_, done)| done.is_none()) {
            match one.as_mut().poll(context) {
                Poll::Ready(value) => *done = Some(value),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, done)| done).collect()
}

async fn open(disk: &Disk) -> Result<EmbeddedStore> {
    EmbeddedStore::open_at(disk.place(), EmbeddedOptions::default()).await
}
