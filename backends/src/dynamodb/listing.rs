//! Pages of a partition (Query) and of the whole table (Scan).

use std::collections::HashMap;
use std::ops::Bound;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use statestore_api::backend::{ListQuery, check};
use statestore_api::{
    Consistency, Error, Item as Line, Key, ListOptions, Page, PageToken, Projection, Result, ScanOptions,
};

use super::DynamoDbStore;
use super::codec::{self, Found, Item};
use super::connection::read;

/// Expired items are not sent over.
const LIVE: &str = "attribute_not_exists(x) OR x>:now";

/// All that a listing of keys needs.
const KEYS: &str = "pk,sk";

impl DynamoDbStore {
    pub(super) async fn query(&self, partition: &str, options: ListOptions) -> Result<Page> {
        let query = ListQuery::new(&self.capabilities, partition, &options)?;
        let prefix = &options.prefix;
        let after = match query.start() {
            Bound::Excluded(after) => Some(after),
            Bound::Included(_) | Bound::Unbounded => None,
        };
        // DynamoDB refuses a start that lies outside of what is asked for: behind the prefix nothing is left.
        if after.is_some_and(|after| !query.belongs(after)) {
            return Ok(Page::default());
        }

        let ready = self.connection.ready().await?;
        let now = self.now();
        let mut values = HashMap::from([
            (":now".to_owned(), codec::number(now)),
            (":pk".to_owned(), AttributeValue::S(partition.to_owned())),
        ]);
        let condition = if prefix.is_empty() {
            "pk=:pk"
        } else {
            values.insert(":sk".to_owned(), AttributeValue::S(prefix.clone()));
            "pk=:pk AND begins_with(sk,:sk)"
        };
        let request = ready
            .client
            .query()
            .table_name(&*self.table)
            .key_condition_expression(condition)
            .filter_expression(LIVE)
            .set_expression_attribute_values(Some(values))
            .set_projection_expression(projection(options.projection))
            .consistent_read(options.consistency == Consistency::Strong)
            .limit(limit(options.page_size))
            .set_exclusive_start_key(after.map(|after| codec::place(partition, after)));
        let answer = read!(ready, request)
            .await
            .map_err(|error| self.context(&ready, false).error(error))?;
        let items = lines(answer.items.unwrap_or_default(), options.projection, now)?;
        let next = answer
            .last_evaluated_key
            .map(|last| codec::key_of(&last))
            .transpose()?;
        Ok(Page::new(items, next.map(|last| query.next(last.id()))))
    }

    pub(super) async fn scan_table(&self, options: ScanOptions, part: Option<(u16, u16)>) -> Result<Page> {
        check::page_size(options.page_size)?;
        let named = part.map(|(segment, of)| (segment.to_string(), of.to_string()));
        let query = match &named {
            Some((segment, of)) => vec!["scan", segment, of],
            None => vec!["scan"],
        };
        let after = options
            .page_token
            .as_ref()
            .map(|token| token.open_key(&query))
            .transpose()?;
        let ready = self.connection.ready().await?;
        let now = self.now();
        let request = ready
            .client
            .scan()
            .table_name(&*self.table)
            .filter_expression(LIVE)
            .expression_attribute_values(":now", codec::number(now))
            .set_projection_expression(projection(options.projection))
            .consistent_read(options.consistency == Consistency::Strong)
            .limit(limit(options.page_size))
            .set_segment(part.map(|(segment, _)| segment.into()))
            .set_total_segments(part.map(|(_, of)| of.into()))
            .set_exclusive_start_key(after.as_ref().map(codec::key_item));
        let answer = read!(ready, request)
            .await
            .map_err(|error| self.context(&ready, false).error(error))?;
        let items = lines(answer.items.unwrap_or_default(), options.projection, now)?;
        let next = answer
            .last_evaluated_key
            .map(|last| codec::key_of(&last))
            .transpose()?;
        Ok(Page::new(
            items,
            next.map(|last: Key| PageToken::seal_key(&query, &last)),
        ))
    }

    /// A page of one of `of` parts of the table, which several workers can read side by side. Its token is good for that part only.
    ///
    /// # Errors
    /// [`InvalidOptions`](Error::InvalidOptions) unless `segment` is below `of`; else as for
    /// [`scan_page`](statestore_api::StateStore::scan_page).
    pub async fn scan_segment_page(&self, segment: u16, of: u16, options: ScanOptions) -> Result<Page> {
        if segment >= of {
            return Err(Error::InvalidOptions {
                reason: "of n segments of a scan the last is number n - 1",
            });
        }
        self.scan_table(options, Some((segment, of))).await
    }

    /// All items of the table, read in this many parts side by side, each in pages of `options.page_size`.
    ///
    /// It takes capacity as fast as DynamoDB gives it: with few segments other traffic suffers less.
    pub fn scan_in_segments(&self, segments: u16, options: ScanOptions) -> BoxStream<'_, Result<Line>> {
        let of = segments.max(1);
        let parts = (0..of).map(|segment| {
            let mut options = options.clone();
            options.page_token = None;
            stream::try_unfold(Some(options), move |options| async move {
                let Some(mut options) = options else {
                    return Ok::<_, Error>(None);
                };
                let page = self.scan_segment_page(segment, of, options.clone()).await?;
                let next = page.next.map(|token| {
                    options.page_token = Some(token);
                    options
                });
                Ok(Some((stream::iter(page.items.into_iter().map(Ok)), next)))
            })
            .try_flatten()
            .boxed()
        });
        stream::select_all(parts).boxed()
    }
}

fn projection(projection: Projection) -> Option<String> {
    (projection == Projection::Keys).then(|| KEYS.to_owned())
}

fn limit(page_size: usize) -> i32 {
    i32::try_from(page_size).unwrap_or(i32::MAX)
}

fn lines(items: Vec<Item>, projection: Projection, now: u64) -> Result<Vec<Line>> {
    let line = |item: Item| {
        let key = codec::key_of(&item)?;
        if projection == Projection::Keys {
            return Ok(Some(Line::new(key, None)));
        }
        let entry = Found::decode(&key, item)?.into_entry(now);
        Ok(entry.map(|entry| Line::new(key, Some(entry))))
    };
    items
        .into_iter()
        .filter_map(|item| line(item).transpose())
        .collect()
}
