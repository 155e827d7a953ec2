//! Pages of a partition and of the whole store: queries that order by name, and so need no index.

use std::ops::Bound;

use firestore::gcloud_sdk::google::firestore::v1::run_query_request::QueryType;
use firestore::gcloud_sdk::google::firestore::v1::structured_query::{
    CollectionSelector, Direction, FieldReference, Order, Projection as Select,
};
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{
    Cursor, Document, PartitionQueryRequest, RunQueryRequest, StructuredQuery, Value, partition_query_request,
};
use firestore::gcloud_sdk::tonic::Code;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use statestore_api::backend::{ListQuery, check, expiry};
use statestore_api::{
    Clock, Error, Item as Line, Key, ListOptions, Page, PageToken, Projection, Result, ScanOptions,
};

use super::FirestoreStore;
use super::codec::{self, EXPIRES};
use super::connection::{streamed, to_its_end, unary};
use super::ids;

/// A page ends early behind this many bytes of values, live or expired, so that a thousand large values need not be in memory at once.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// The name of a document's name in a query.
const NAME: &str = "__name__";

/// A part of all documents in the order of their names.
#[derive(Clone, Debug, Default)]
struct Range {
    /// `None`: from the first.
    start: Option<Cursor>,
    /// `None`: to the last.
    end: Option<Cursor>,
}

/// What a query found.
#[derive(Debug, Default)]
struct FoundLines {
    lines: Vec<Line>,
    /// The name of the last document, if there may be more behind it.
    last: Option<String>,
    /// The first name that stands for no key.
    foreign: Option<String>,
}

impl FirestoreStore {
    pub(super) async fn list(&self, partition: &str, options: ListOptions) -> Result<Page> {
        let query = ListQuery::new(&self.capabilities, partition, &options)?;
        let (start, before) = match query.start() {
            Bound::Included(id) => (Some(id), true),
            Bound::Excluded(id) => (Some(id), false),
            Bound::Unbounded => (None, true),
        };
        // A start behind the end would be refused.
        if !before && start.is_some_and(|after| !query.belongs(after)) {
            return Ok(Page::default());
        }
        let cursor = |id: &str, before| cursor(self.names.place(partition, id), before);
        let structured = StructuredQuery {
            start_at: start.map(|id| cursor(id, before)),
            end_at: ids::behind(&options.prefix).map(|id| cursor(&id, true)),
            ..self.by_name(false, options.projection)
        };
        let names = self.names.of_partition(partition);
        let (parent, projection) = (self.names.partition(partition), options.projection);
        let key = move |name: &str| names.key(name);
        let found = self.query(parent, structured, options.page_size, projection, key);
        let found = found.await?;
        if let Some(name) = found.foreign {
            return Err(not_ours(&name));
        }
        let last = found.last.and_then(|name| self.names.key(&name));
        Ok(Page::new(found.lines, last.map(|last| query.next(last.id()))))
    }

    pub(super) async fn scan(&self, options: ScanOptions) -> Result<Page> {
        let after = options
            .page_token
            .as_ref()
            .map(|token| token.open_text(&["scan"]))
            .transpose()?;
        let range = Range {
            start: after.map(|path| cursor(format!("{}{path}", self.names.root()), false)),
            end: None,
        };
        let (items, next) = self.scan_range(&range, &options).await?;
        let token = |last: String| {
            let path = last.strip_prefix(&self.names.root()).unwrap_or(&last);
            PageToken::seal(&["scan"], path.as_bytes())
        };
        Ok(Page::new(items, next.map(token)))
    }

    /// All items of the store, read in up to this many parts side by side, each in pages of `options.page_size`.
    ///
    /// Firestore says where to part (`PartitionQuery`), and makes a part of at least 128 documents: a small store has fewer parts.
    ///
    /// # Errors
    /// In the stream: those of [`scan_page`](statestore_api::StateStore::scan_page).
    pub fn scan_in_parts(&self, parts: u16, options: ScanOptions) -> BoxStream<'_, Result<Line>> {
        stream::once(async move {
            check::page_size(options.page_size)?;
            let ranges = self.ranges(parts).await?;
            let parts = ranges
                .into_iter()
                .map(|range| self.scan_all(range, options.clone()));
            Ok::<_, Error>(stream::select_all(parts))
        })
        .try_flatten()
        .boxed()
    }

    fn scan_all(&self, range: Range, options: ScanOptions) -> BoxStream<'_, Result<Line>> {
        stream::try_unfold(Some((range, options)), move |state| async move {
            let Some((mut range, options)) = state else {
                return Ok::<_, Error>(None);
            };
            let (items, next) = self.scan_range(&range, &options).await?;
            let state = next.map(|last| {
                range.start = Some(cursor(last, false));
                (range, options)
            });
            Ok(Some((stream::iter(items.into_iter().map(Ok)), state)))
        })
        .try_flatten()
        .boxed()
    }

    /// Where Firestore would part a scan, in the names' order.
    async fn ranges(&self, parts: u16) -> Result<Vec<Range>> {
        let mut ranges = vec![Range::default()];
        if parts < 2 {
            return Ok(ranges);
        }
        let request = PartitionQueryRequest {
            parent: self.names.root(),
            partition_count: i64::from(parts) - 1,
            query_type: Some(partition_query_request::QueryType::StructuredQuery(
                self.by_name(true, Projection::Entries),
            )),
            ..Default::default()
        };
        let mut client = self.connection.client().await?;
        let context = self.context(false);
        let request = unary(request, context.timeout);
        let cursors = match client.partition_query(request).await {
            Ok(answer) => answer.into_inner().partitions,
            // The emulators do not have it.
            Err(status) if status.code() == Code::Unimplemented => return Ok(ranges),
            Err(status) => return Err(self.failed(context, status)),
        };
        let mut ends: Vec<String> = cursors.into_iter().filter_map(name_of).collect();
        ends.sort_unstable_by(|a, b| a.split('/').cmp(b.split('/')));
        for end in ends {
            // The document of this name is the first of the next part.
            let end = Some(cursor(end, true));
            if let Some(last) = ranges.last_mut() {
                last.end.clone_from(&end);
            }
            ranges.push(Range {
                start: end,
                end: None,
            });
        }
        Ok(ranges)
    }

    /// A page of this range: its items, and the name of its last document, if there may be more.
    async fn scan_range(&self, range: &Range, options: &ScanOptions) -> Result<(Vec<Line>, Option<String>)> {
        check::page_size(options.page_size)?;
        let query = StructuredQuery {
            start_at: range.start.clone(),
            end_at: range.end.clone(),
            ..self.by_name(true, options.projection)
        };
        let (root, names) = (self.names.root(), self.names.clone());
        let key = move |name: &str| names.key(name);
        let found = self.query(root, query, options.page_size, options.projection, key);
        // Another may have a collection of this name somewhere else: what is foreign is passed over.
        let found = found.await?;
        Ok((found.lines, found.last))
    }

    fn by_name(&self, of_all_partitions: bool, projection: Projection) -> StructuredQuery {
        let field = |path: &str| FieldReference {
            field_path: path.to_owned(),
        };
        StructuredQuery {
            select: (projection == Projection::Keys).then(|| Select {
                fields: vec![field(EXPIRES)],
            }),
            from: vec![CollectionSelector {
                collection_id: self.names.items().to_owned(),
                all_descendants: of_all_partitions,
            }],
            order_by: vec![Order {
                field: Some(field(NAME)),
                direction: Direction::Ascending.into(),
            }],
            ..Default::default()
        }
    }

    /// The first documents of a query, whose names stand for these keys, and whether there may be more.
    async fn query(
        &self,
        parent: String,
        query: StructuredQuery,
        page_size: usize,
        projection: Projection,
        key: impl Fn(&str) -> Option<Key> + Send + 'static,
    ) -> Result<FoundLines> {
        let request = RunQueryRequest {
            parent,
            query_type: Some(QueryType::StructuredQuery(StructuredQuery {
                limit: Some(i32::try_from(page_size).unwrap_or(i32::MAX)),
                ..query
            })),
            ..Default::default()
        };
        let mut client = self.connection.client().await?;
        let context = self.context(false);
        let request = streamed(request, context.timeout);
        let clock = self.clock.clone();
        let answers = to_its_end(async move {
            let mut answers = client.run_query(request).await?.into_inner();
            let (mut found, mut failed) = (FoundLines::default(), None);
            let (mut last, mut documents, mut bytes) = (None, 0, 0);
            while let Some(answer) = answers.message().await? {
                let Some(mut document) = answer.document else {
                    continue;
                };
                // Each is read while the next is on its way.
                let name = std::mem::take(&mut document.name);
                bytes += codec::value_len(&document);
                match key(&name) {
                    Some(key) => match line(key, document, projection, &*clock) {
                        Ok(line) => found.lines.extend(line),
                        // The stream is read to its end all the same.
                        Err(error) => failed = failed.or(Some(error)),
                    },
                    None => found.foreign = found.foreign.or_else(|| Some(name.clone())),
                }
                last = Some(name);
                documents += 1;
                if bytes > PAGE_BYTES {
                    break;
                }
            }
            found.last = last.filter(|_| documents >= page_size || bytes > PAGE_BYTES);
            Ok(failed.map_or(Ok(found), Err))
        });
        match answers.await {
            Ok(found) => found,
            Err(status) => Err(self.failed(context, status)),
        }
    }
}

fn cursor(name: String, before: bool) -> Cursor {
    Cursor {
        values: vec![Value {
            value_type: Some(ValueType::ReferenceValue(name)),
        }],
        before,
    }
}

fn name_of(cursor: Cursor) -> Option<String> {
    match cursor.values.into_iter().next()?.value_type? {
        ValueType::ReferenceValue(name) => Some(name),
        _ => None,
    }
}

#[inline]
fn line(key: Key, document: Document, projection: Projection, clock: &dyn Clock) -> Result<Option<Line>> {
    let now = || expiry::to_ms(clock.now());
    if projection == Projection::Keys {
        let live = codec::is_live(&key, &document, now())?;
        return Ok(live.then(|| Line::new(key, None)));
    }
    let entry = codec::entry(&key, document, now)?;
    Ok(entry.map(|entry| Line::new(key, Some(entry))))
}

fn not_ours(name: &str) -> Error {
    Error::Corrupt {
        what: format!("the document `{}`", name.escape_debug()),
        reason: "its name stands for no key".to_owned(),
        source: None,
    }
}
