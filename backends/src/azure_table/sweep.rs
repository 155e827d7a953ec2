//! What the service does not do by itself: removing what has expired.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use statestore_api::Result;
use tokio::time::{Instant, sleep_until};

use super::AzureTableStore;
use super::codec::{EXPIRES_MS, FORMAT_NUMBER};
use super::error::{is_condition, is_missing};
use super::rest::{self, Change, Entity, Kind, Query};

/// How many expired entities are asked for at once: the most that the service gives.
const PAGE: usize = 1000;

/// How many are removed at once.
const CONCURRENCY: usize = 8;

impl AzureTableStore {
    /// Removes what has expired, each entity under the ETag that it was found with: one that was written since stays.
    pub(super) async fn sweep_expired(&self) -> Result<u64> {
        let now = self.now();
        let filter = format!("{EXPIRES_MS} gt 0L and {EXPIRES_MS} le {now}L and f eq {FORMAT_NUMBER}");
        // Each removal has a start of its own, at the pace that is allowed.
        let pace = Duration::from_secs(1) / self.sweep_rate;
        let (mut start, mut swept, mut from) = (Instant::now(), 0, None);
        loop {
            let query = Query {
                filter: Some(&filter),
                select: Some("PartitionKey,RowKey,Timestamp"),
                top: PAGE,
                from: from.as_ref(),
            };
            let page = self.client.query(&query).await;
            let (entities, next) = page.map_err(|fault| self.context(false, 0).error(fault))?;
            self.saw_table();
            let removals = entities.into_iter().map(|entity| {
                start = (start + pace).max(Instant::now());
                (start, entity)
            });
            let removals: Vec<_> = removals.collect();
            let mut removed = stream::iter(removals)
                .map(|(start, entity)| async move {
                    sleep_until(start).await;
                    self.remove(&entity).await
                })
                .buffer_unordered(CONCURRENCY);
            while let Some(removed) = removed.next().await {
                swept += u64::from(removed?);
            }
            match next {
                None => return Ok(swept),
                next => from = next,
            }
        }
    }

    /// Whether the entity was there still, as it was found, and was removed.
    async fn remove(&self, entity: &Entity) -> Result<bool> {
        let Some((place, etag)) = rest::place_of(entity).zip(rest::etag_of(entity)) else {
            return Ok(false);
        };
        let change = Change {
            kind: Kind::Delete(etag),
            place,
            body: Vec::new(),
        };
        match self.client.change(change).await {
            Ok(_) => Ok(true),
            Err(fault) if is_condition(&fault) || is_missing(&fault) => Ok(false),
            Err(fault) => Err(self.context(true, 0).error(fault)),
        }
    }
}
