//! Reads of many keys: BatchGetItem in chunks of 100.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures::stream::{self, StreamExt};
use statestore_api::backend::check;
use statestore_api::{Consistency, Entry, Error, Key, Result};

use super::DynamoDbStore;
use super::codec::{self, Found, Item};
use super::connection::read;
use crate::batch::{again, in_order};

/// How many keys DynamoDB takes in one request.
const CHUNK: usize = 100;

/// How many chunks are under way at once.
const CONCURRENCY: usize = 8;

/// How often DynamoDB may leave a whole request unprocessed before the rest is given up as throttled.
const MOST_IDLE_ROUNDS: u32 = 6;

/// The upper bound of the first wait for what was left unprocessed; it doubles each time nothing came.
const BASE_DELAY: Duration = Duration::from_millis(25);

/// What became of one key.
type Read = Result<Option<Entry>>;

impl DynamoDbStore {
    pub(super) async fn get_all(&self, keys: &[Key], consistency: Consistency) -> Vec<Read> {
        // A key that is refused does not stop the others, and DynamoDB takes no key twice in a request.
        let mut seen = HashSet::new();
        let wanted: Vec<Key> = keys
            .iter()
            .filter(|key| check::key(&self.capabilities, key).is_ok() && seen.insert(*key))
            .cloned()
            .collect();
        let chunks: Vec<Vec<Key>> = wanted.chunks(CHUNK).map(<[Key]>::to_vec).collect();
        let chunks: Vec<HashMap<Key, Read>> = stream::iter(chunks)
            .map(|chunk| self.get_chunk(chunk, consistency))
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        in_order(keys, chunks.into_iter().flatten().collect(), |key| {
            check::key(&self.capabilities, key)
        })
    }

    /// What is under these keys; those that are not there are left out.
    async fn get_chunk(&self, keys: Vec<Key>, consistency: Consistency) -> HashMap<Key, Read> {
        let mut found = HashMap::with_capacity(keys.len());
        let mut wanted = keys;
        let mut idle_rounds = 0;
        while !wanted.is_empty() {
            let answer = self.get_once(&wanted, consistency).await;
            let left = match answer {
                Ok((items, left)) => {
                    let now = self.now();
                    for item in items {
                        let Ok(key) = codec::key_of(&item) else { continue };
                        let entry = Found::decode(&key, item).map(|found| found.into_entry(now));
                        found.insert(key, entry);
                    }
                    left
                }
                Err(error) => {
                    for key in wanted.drain(1..) {
                        found.insert(key, Err(again(&error)));
                    }
                    found.extend(wanted.pop().map(|first| (first, Err(error))));
                    return found;
                }
            };
            idle_rounds = if left.len() < wanted.len() {
                0
            } else {
                idle_rounds + 1
            };
            wanted = left;
            if idle_rounds > MOST_IDLE_ROUNDS {
                let throttled = || Error::Throttled {
                    retry_after: None,
                    source: None,
                };
                found.extend(wanted.into_iter().map(|key| (key, Err(throttled()))));
                return found;
            }
            if !wanted.is_empty() {
                let bound = BASE_DELAY.saturating_mul(1 << idle_rounds);
                tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
            }
        }
        found
    }

    /// One request: the items that came, and the keys that DynamoDB left unprocessed, because it was too much at once or too
    /// fast.
    async fn get_once(&self, keys: &[Key], consistency: Consistency) -> Result<(Vec<Item>, Vec<Key>)> {
        let ready = self.connection.ready().await?;
        let keys = KeysAndAttributes::builder()
            .set_keys(Some(keys.iter().map(codec::key_item).collect()))
            .consistent_read(consistency == Consistency::Strong)
            .build()
            .map_err(|error| Error::Config {
                reason: "the SDK does not take the request".to_owned(),
                source: Some(error.into()),
            })?;
        let request = ready.client.batch_get_item().request_items(&*self.table, keys);
        let answer = read!(ready, request)
            .await
            .map_err(|error| self.context(&ready, false).error(error))?;
        // There is one table, under whichever name the answer has it.
        let items = answer.responses.unwrap_or_default().into_values().flatten();
        let left = answer.unprocessed_keys.unwrap_or_default().into_values();
        let left = left.flat_map(|left| left.keys).map(|item| codec::key_of(&item));
        Ok((items.collect(), left.collect::<Result<_>>()?))
    }
}
