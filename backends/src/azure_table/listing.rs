//! Pages of a partition, and of the whole table.

use std::ops::Bound;

use statestore_api::backend::{ListQuery, check, expiry};
use statestore_api::{Error, Item, Key, ListOptions, Page, PageToken, Projection, Result, ScanOptions};

use super::AzureTableStore;
use super::codec::{self, Found, PARTITION, ROW};
use super::key;
use super::rest::{self, Continuation, Entity, Query};

/// What a scan's tokens are bound to.
const SCAN: &[&str] = &["scan"];

impl AzureTableStore {
    pub(super) async fn list(&self, partition: &str, options: ListOptions) -> Result<Page> {
        let query = ListQuery::new(&self.capabilities, partition, &options)?;
        let filter = filter(partition, &query, &options.prefix);
        let mut from = None;
        loop {
            // A page that the service ends early may have nothing in it: there is no id yet to go on from.
            let (entities, next) = self
                .page(
                    Some(&filter),
                    options.projection,
                    options.page_size,
                    from.as_ref(),
                )
                .await?;
            let Some(last) = entities.last() else {
                match next {
                    None => return Ok(Page::default()),
                    next => from = next,
                }
                continue;
            };
            let last = key_of(last)?;
            let token = next.map(|_| query.next(last.id()));
            return Ok(Page::new(self.items(entities, options.projection)?, token));
        }
    }

    pub(super) async fn scan(&self, options: ScanOptions) -> Result<Page> {
        check::page_size(options.page_size)?;
        let from = options.page_token.as_ref().map(opened).transpose()?;
        let (entities, next) = self
            .page(None, options.projection, options.page_size, from.as_ref())
            .await?;
        let token = next.as_ref().map(sealed);
        Ok(Page::new(self.items(entities, options.projection)?, token))
    }

    async fn page(
        &self,
        filter: Option<&str>,
        projection: Projection,
        top: usize,
        from: Option<&Continuation>,
    ) -> Result<(Vec<Entity>, Option<Continuation>)> {
        let query = Query {
            filter,
            select: (projection == Projection::Keys).then_some(codec::KEYS_AND_EXPIRY),
            top,
            from,
        };
        let page = self.client.query(&query).await;
        let page = page.map_err(|fault| self.context(false, 0).error(fault))?;
        self.saw_table();
        Ok(page)
    }

    /// Those of the entities that have not expired.
    fn items(&self, entities: Vec<Entity>, projection: Projection) -> Result<Vec<Item>> {
        let now = self.now();
        let item = |entity: Entity| {
            let key = key_of(&entity)?;
            if projection == Projection::Keys {
                let expires_ms =
                    codec::expiry_of(&entity).ok_or_else(|| unreadable("its expiry `x` is no time"))?;
                return Ok(expiry::is_live(expires_ms, now).then(|| Item::new(key, None)));
            }
            let etag = rest::etag_of(&entity).ok_or_else(|| unreadable("the service tells no ETag of it"))?;
            let entry = Found::decode(&key, &etag, entity)?.into_entry(now);
            Ok(entry.map(|entry| Item::new(key, Some(entry))))
        };
        entities
            .into_iter()
            .filter_map(|entity| item(entity).transpose())
            .collect()
    }
}

/// What the service is asked for: the rows of `partition` from the query's start to the end of its prefix.
///
/// The encoding of keys leaves no quote in them.
fn filter(partition: &str, query: &ListQuery<'_>, prefix: &str) -> String {
    let mut filter = format!("PartitionKey eq '{}'", key::encode(partition.as_bytes()));
    match query.start() {
        Bound::Unbounded => {}
        Bound::Included(id) => filter += &format!(" and RowKey ge '{}'", key::encode(id.as_bytes())),
        Bound::Excluded(id) => filter += &format!(" and RowKey gt '{}'", key::encode(id.as_bytes())),
    }
    if let Some(end) = key::end_of(prefix) {
        filter += &format!(" and RowKey lt '{end}'");
    }
    filter
}

fn key_of(entity: &Entity) -> Result<Key> {
    let text = |name| codec::text_of(entity, name).unwrap_or_default();
    key::key_of(text(PARTITION), text(ROW))
}

fn unreadable(reason: &str) -> Error {
    Error::Corrupt {
        what: "an entity".to_owned(),
        reason: reason.to_owned(),
        source: None,
    }
}

/// The service's continuation is text of its own, without line breaks.
fn sealed(next: &Continuation) -> PageToken {
    let row = next
        .row
        .as_ref()
        .map(|row| format!("\n{row}"))
        .unwrap_or_default();
    PageToken::seal(SCAN, format!("{}{row}", next.partition).as_bytes())
}

fn opened(token: &PageToken) -> Result<Continuation> {
    let text = token.open_text(SCAN)?;
    let (partition, row) = match text.split_once('\n') {
        Some((partition, row)) => (partition, Some(row)),
        None => (text.as_str(), None),
    };
    Ok(Continuation {
        partition: partition.to_owned(),
        row: row.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use statestore_api::Capabilities;

    use super::*;

    #[test]
    fn a_page_is_a_range_of_rows() {
        let capabilities = Capabilities::portable("test");
        let page = |prefix: &str, after: &str| {
            let options = ListOptions::default().with_prefix(prefix).with_start_after(after);
            filter(
                "p'1",
                &ListQuery::new(&capabilities, "p'1", &options).unwrap(),
                prefix,
            )
        };
        assert_eq!(page("", ""), "PartitionKey eq 'p$271'");
        assert_eq!(page("", "a"), "PartitionKey eq 'p$271' and RowKey gt 'a'");
        assert_eq!(
            page("a/", ""),
            "PartitionKey eq 'p$271' and RowKey ge 'a.~' and RowKey lt 'a0'"
        );
    }

    #[test]
    fn a_scan_goes_on_where_the_service_says() {
        for row in [None, Some("1!8!cm93".to_owned())] {
            let partition = "1!4!cA--".to_owned();
            let next = Continuation { partition, row };
            assert_eq!(opened(&sealed(&next)).unwrap(), next);
        }
    }
}
