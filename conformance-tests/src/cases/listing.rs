//! Listings: the ids of a partition in order, page by page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::TryStreamExt as _;
use statestore_api::{
    Bytes, Consistency, Error, ErrorKind, Item, Key, KeyPart, KeyProblem, ListOptions, PageToken, Projection,
    PutOptions, ScanOptions, StateStore, StateStoreExt as _, Ttl,
};
use tokio::task::JoinSet;

use crate::Subject;
use crate::expect::{ok, refused};

/// Characters at which encodings, orders and query languages go wrong: the ends of each length in UTF-8, those that
/// UTF-16 orders differently (from U+E000 before U+10000), controls, separators, wildcards, quotes and digits.
#[rustfmt::skip]
const BOUNDARIES: [char; 66] = [
    '\0', '\u{1}', '\t', '\n', '\r', '\u{1f}', ' ', '!', '"', '#', '$', '%', '&', '\'', '(', ')', '*', '+',
    ',', '-', '.', '/', '0', '1', '9', ':', ';', '<', '=', '>', '?', '@', 'A', 'Z', '[', '\\', ']', '^', '_',
    '`', 'a', 'z', '{', '|', '}', '~', '\u{7f}', '\u{80}', '\u{9f}', '\u{a0}', 'é', 'ÿ', '\u{301}', '\u{7ff}',
    '\u{800}', '\u{2028}', '\u{d7ff}', '\u{e000}', '\u{f8ff}', '\u{feff}', '\u{fffd}', '\u{ffff}',
    '\u{10000}', '\u{1f6d2}', '\u{10fffe}', '\u{10ffff}',
];

/// How many pages without an item may follow each other before a listing counts as endless.
const EMPTY_PAGES: usize = 1000;

/// Whether the store declares that it does not list. If so, it has to say that when it is asked to, and the case is
/// done.
pub(super) async fn is_refused(subject: &Subject) -> bool {
    let store = subject.store();
    if store.capabilities().listing {
        return false;
    }
    let answers = [
        (
            "list_page",
            store.list_page(&subject.partition(""), Default::default()).await,
        ),
        ("scan_page", store.scan_page(Default::default()).await),
    ];
    for (call, answer) in answers {
        let what = format!("`{call}` of a store that declares no listing");
        refused(&what, answer, ErrorKind::Unsupported);
    }
    true
}

/// A listing under way, page by page. Checks of each page what holds of all.
struct Walk<'a> {
    subject: &'a Subject,
    partition: String,
    options: ListOptions,
    /// What was listed so far.
    items: Vec<Item>,
    ended: bool,
    empty_pages: usize,
}

impl<'a> Walk<'a> {
    fn new(subject: &'a Subject, partition: &str, options: &ListOptions) -> Self {
        Self {
            subject,
            partition: subject.partition(partition),
            options: options.clone(),
            items: Vec::new(),
            ended: false,
            empty_pages: 0,
        }
    }

    /// The query, for people.
    fn query(&self) -> String {
        let options = &self.options;
        format!(
            "listing {:?} (prefix {:?}, start after {:?}, pages of {})",
            self.partition, options.prefix, options.start_after, options.page_size
        )
    }

    /// Takes the next page. Returns how many items it had.
    async fn step(&mut self) -> usize {
        let query = self.query();
        assert!(!self.ended, "{query} has ended already");
        let store = self.subject.store();
        let page = ok(
            &query,
            store.list_page(&self.partition, self.options.clone()).await,
        );
        let count = page.items.len();
        assert!(
            count <= self.options.page_size,
            "{query} returned {count} items in one page"
        );
        self.empty_pages = if count == 0 { self.empty_pages + 1 } else { 0 };
        assert!(
            self.empty_pages <= EMPTY_PAGES,
            "{query} does not end: {EMPTY_PAGES} pages without an item"
        );
        for item in page.items {
            self.take(item, &query);
        }
        self.ended = page.next.is_none();
        self.options.page_token = page.next;
        count
    }

    fn take(&mut self, item: Item, query: &str) {
        let (partition, id) = (item.key.partition(), item.key.id());
        assert_eq!(
            partition, self.partition,
            "{query} returned a key of another partition"
        );
        assert!(
            id.starts_with(&self.options.prefix),
            "{query} returned {id:?}, which has another prefix"
        );
        assert!(
            id > self.options.start_after.as_str(),
            "{query} returned {id:?}, which is not behind the start"
        );
        if let Some(last) = self.items.last() {
            let last = last.key.id();
            assert_ne!(id, last, "{query} returned an id twice");
            assert!(id > last, "{query} returned {id:?} behind {last:?}");
        }
        assert_eq!(
            item.entry.is_some(),
            self.options.projection == Projection::Entries,
            "{query} was asked for {:?}, but the entry of {id:?} is {:?}",
            self.options.projection,
            item.entry
        );
        self.items.push(item);
    }

    /// Takes pages until some item was listed and more are to come.
    async fn begin(&mut self) {
        while self.step().await == 0 {}
        assert!(
            !self.ended,
            "{} ended behind {:?}, before the last",
            self.query(),
            self.last()
        );
    }

    /// Takes all the pages that are left.
    async fn finish(mut self) -> Vec<Item> {
        while !self.ended {
            self.step().await;
        }
        self.items
    }

    /// The id that was listed last: where the next page starts.
    fn last(&self) -> &str {
        self.items.last().map_or("", |item| item.key.id())
    }
}

async fn list(subject: &Subject, partition: &str, options: &ListOptions) -> Vec<Item> {
    Walk::new(subject, partition, options).finish().await
}

fn ids_of(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.key.id()).collect()
}

/// Lists, and expects those of `ids` that `options` select, each with its id as its value.
async fn assert_selects<I: AsRef<str>>(subject: &Subject, partition: &str, ids: &[I], options: &ListOptions) {
    let items = list(subject, partition, options).await;
    let selected = ids
        .iter()
        .map(AsRef::as_ref)
        .filter(|id: &&str| id.starts_with(&options.prefix) && *id > options.start_after.as_str());
    let query = Walk::new(subject, partition, options).query();
    assert_listed(&query, &items, selected);
}

/// Expects these ids, each with its id as its value. Their order was checked on the way.
fn assert_listed<'a>(query: &str, items: &[Item], expected: impl Iterator<Item = &'a str>) {
    let listed: BTreeSet<&str> = ids_of(items).into_iter().collect();
    let expected: BTreeSet<&str> = expected.collect();
    let missing: Vec<_> = expected.difference(&listed).take(5).collect();
    let excess: Vec<_> = listed.difference(&expected).take(5).collect();
    assert!(
        missing.is_empty(),
        "{query} left out {} of {} ids: {missing:?}",
        expected.len() - expected.intersection(&listed).count(),
        expected.len()
    );
    assert!(
        excess.is_empty(),
        "{query} returned what is not there: {excess:?}"
    );
    for item in items {
        if let Some(entry) = &item.entry {
            let id = item.key.id();
            assert_eq!(entry.value, id, "{query} returned another value for {id:?}");
        }
    }
}

/// Puts all keys at once, each with its id as its value.
pub(super) async fn fill(subject: &Subject, keys: &[Key], options: &PutOptions) {
    let puts = keys
        .iter()
        .map(|key| (key.clone(), Bytes::from(key.id().to_owned()), options.clone()))
        .collect();
    for (key, put) in keys.iter().zip(subject.store().put_many(puts).await) {
        ok(&format!("putting {key:?}"), put);
    }
}

/// Puts these ids, in no particular order, each as its own value.
async fn fill_ids<I: AsRef<str>>(subject: &Subject, partition: &str, ids: &[I]) {
    let mut keys = keys(subject, partition, ids);
    fastrand::shuffle(&mut keys);
    fill(subject, &keys, &PutOptions::default()).await;
}

/// Puts all keys and waits until they have expired.
pub(super) async fn fill_expired(subject: &Subject, keys: &[Key]) {
    let life = Duration::from_millis(150);
    fill(subject, keys, &PutOptions::expiring(Ttl::After(life))).await;
    subject.wait_until(subject.now() + life).await;
}

fn keys<I: AsRef<str>>(subject: &Subject, partition: &str, ids: &[I]) -> Vec<Key> {
    ids.iter()
        .map(|id| subject.key_in(partition, id.as_ref()))
        .collect()
}

/// Ids that list in the order of their numbers.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("id-{number:04}")).collect()
}

fn pages_of(page_size: usize) -> ListOptions {
    ListOptions::default().with_page_size(page_size)
}

/// The token that a page of one item ends with.
async fn token(subject: &Subject, partition: &str, options: &ListOptions) -> PageToken {
    let options = options.clone().with_page_size(1);
    let mut walk = Walk::new(subject, partition, &options);
    walk.begin().await;
    walk.options
        .page_token
        .unwrap_or_else(|| panic!("a page of one item should not be the last one"))
}

/// What a token may turn into on its way, and text that never was one.
pub(super) fn damaged(token: &PageToken) -> Vec<String> {
    let text = token.to_string();
    let mut damaged = vec![
        String::new(),
        "0".to_owned(),
        "garbage".to_owned(),
        "AAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        "null".to_owned(),
        "../..".to_owned(),
        "\0".to_owned(),
        "=".to_owned(),
        "🛒".to_owned(),
        "A".repeat(10_000),
        format!("{text}{text}"),
        format!(" {text}"),
    ];
    damaged.extend(["A", "=", " ", "\n", "%"].map(|end| format!("{text}{end}")));
    for (place, c) in text.char_indices() {
        damaged.push(text[..place].to_owned());
        for other in ["A", "b", "7", "_", "!"] {
            let mut changed = text.clone();
            changed.replace_range(place..place + c.len_utf8(), other);
            damaged.push(changed);
        }
    }
    damaged.retain(|other| *other != text);
    damaged
}

/// A partition that holds nothing, or nothing any more, has no items.
pub async fn an_empty_partition_lists_nothing(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let ids = ["a", "b", "c"];
    fill_ids(subject, "emptied", &ids).await;
    assert_selects(subject, "emptied", &ids, &pages_of(2)).await;
    for id in ids {
        subject.delete(&subject.key_in("emptied", id)).await;
    }
    for partition in ["never written", "emptied"] {
        for options in [
            ListOptions::default(),
            pages_of(1),
            ListOptions::default().with_prefix("a"),
            ListOptions::default().with_start_after("a"),
        ] {
            assert_selects(subject, partition, &[""; 0], &options).await;
        }
    }
}

/// Ids list in the byte order of their UTF-8, on every backend, whatever they contain.
pub async fn ids_list_in_the_byte_order_of_their_utf8(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    #[rustfmt::skip]
    let words = [
        ".", "..", "...", "__x__", "__", "a  ", " a", "  ", "10", "010", "1e1", "-1", "a.b", "a/b/c", "//",
        "\\\\", "e\u{301}", "null", "true", "\u{10ffff}\u{10ffff}\u{10ffff}", "\0\0\0", "\0a\0",
    ];
    let ids: BTreeSet<String> = BOUNDARIES
        .iter()
        .flat_map(|c| {
            [
                format!("{c}"),
                format!("a{c}"),
                format!("a{c}b"),
                format!("{c}{c}"),
            ]
        })
        .chain(words.map(str::to_owned))
        .collect();
    let ids: Vec<String> = ids.into_iter().collect();
    fill_ids(subject, "order", &ids).await;
    for page_size in [1000, 7] {
        assert_selects(subject, "order", &ids, &pages_of(page_size)).await;
    }
}

/// The same for random ids of up to 170 bytes, with random prefixes and starts.
///
/// The partition's name, which each failure shows, ends with the seed of [`fastrand::Rng::with_seed`].
pub async fn random_ids_list_in_order(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let seed = fastrand::u64(..);
    let partition = format!("-seed-{seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ids = Vec::new();
    while ids.len() < 200 {
        let id = random_id(&mut random, &ids);
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    fill_ids(subject, &partition, &ids).await;
    for page_size in [1000, 13] {
        assert_selects(subject, &partition, &ids, &pages_of(page_size)).await;
    }
    for _ in 0..60 {
        let [prefix, start] = [0, 1].map(|_| {
            let id = &ids[random.usize(..ids.len())];
            let end = id.floor_char_boundary(random.usize(..=id.len().min(12)));
            if random.bool() { &id[..end] } else { id }.to_owned()
        });
        for options in [
            pages_of(100).with_prefix(&prefix),
            pages_of(100).with_start_after(&start),
            pages_of(3).with_prefix(&prefix).with_start_after(&start),
        ] {
            assert_selects(subject, &partition, &ids, &options).await;
        }
    }
}

/// Half of them begin as another does, so that their order is decided late.
fn random_id(random: &mut fastrand::Rng, others: &[String]) -> String {
    let mut id = String::new();
    if !others.is_empty() && random.bool() {
        let other = &others[random.usize(..others.len())];
        id.push_str(&other[..other.floor_char_boundary(random.usize(..=other.len()))]);
    }
    let length = if random.bool() {
        random.usize(1..=8)
    } else {
        random.usize(1..=170)
    };
    loop {
        let c = if random.u8(..8) > 0 {
            BOUNDARIES[random.usize(..BOUNDARIES.len())]
        } else {
            random.char(..)
        };
        if id.len() + c.len_utf8() > 170 {
            return id;
        }
        id.push(c);
        if id.len() >= length {
            return id;
        }
    }
}

/// A listing is of one partition, however alike others' names are.
pub async fn only_the_partition_asked_for_is_listed(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    #[rustfmt::skip]
    let partitions = [
        "", "o", "p", "p\0", "p\u{1}", "p ", "p!", "p#", "p%", "p-", "p.", "p/", "p/a", "p0", "p:", "p\\",
        "p_", "p{", "p}", "p~", "p\u{7f}", "p\u{ffff}", "p\u{10000}", "p\u{10ffff}", "pp", "P", "q", "é",
        "e\u{301}",
    ];
    let ids = ["\0", "!", "/a", "0", "a", "p", "~", "\u{10ffff}"];
    let mut puts = Vec::new();
    for partition in partitions {
        for id in ids {
            puts.push((
                subject.key_in(partition, id),
                Bytes::from(format!("{partition}|{id}")),
                PutOptions::default(),
            ));
        }
    }
    fastrand::shuffle(&mut puts);
    for put in subject.store().put_many(puts).await {
        ok("a put", put);
    }
    // One more key in one of them alone, and one less.
    let alone = subject.key_in("p/", "alone");
    subject.put(&alone, "p/|alone").await;
    subject.delete(&subject.key_in("p0", "a")).await;
    for partition in partitions {
        for options in [pages_of(100), pages_of(3)] {
            let items = list(subject, partition, &options).await;
            let mut expected = ids.to_vec();
            match partition {
                "p/" => expected.insert(5, "alone"),
                "p0" => expected.retain(|id| *id != "a"),
                _ => {}
            }
            assert_eq!(ids_of(&items), expected, "the ids listed in {partition:?}");
            for item in &items {
                let value = item.entry.as_ref().map(|entry| entry.value.clone());
                let own = Bytes::from(format!("{partition}|{}", item.key.id()));
                assert_eq!(
                    value,
                    Some(own),
                    "the value of {:?} in {partition:?}",
                    item.key.id()
                );
            }
        }
    }
}

/// A prefix is text: no character of it is a wildcard, an escape or a bound.
pub async fn a_prefix_is_taken_literally(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    #[rustfmt::skip]
    let literal = [
        "%", "_", "\\", "*", "?", "[", "]", "[ab]", "'", "\"", "^", "$", ".", ".*", "(", "{", "|", "\0", "\n",
        " ", "/", "\u{7f}", "\u{80}", "\u{7ff}", "\u{800}", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10000}",
        "\u{10ffff}", "é", "e", "e\u{301}", "A", "a",
    ];
    let mut ids: BTreeSet<String> = ["b", "ab", "axb", "axxb", "Axb", "z"].map(str::to_owned).into();
    for text in literal {
        ids.extend([
            text.to_owned(),
            format!("{text}{text}"),
            format!("a{text}"),
            format!("a{text}b"),
        ]);
    }
    let ids: Vec<String> = ids.into_iter().collect();
    fill_ids(subject, "prefix", &ids).await;
    // Each id is a prefix of itself; some are of others, and some texts are of none.
    let none = [
        "a%b%",
        "ax%",
        "a_b_",
        "nothing",
        "\u{10ffff}\u{10ffff}\u{10ffff}",
        "a\u{10ffff}c",
        "\0\0\0",
    ];
    for prefix in ids.iter().map(String::as_str).chain(none) {
        assert_selects(subject, "prefix", &ids, &pages_of(100).with_prefix(prefix)).await;
    }
    for prefix in ["", "a", "a%", "\u{10ffff}", "a\u{10ffff}", "é", "e"] {
        assert_selects(subject, "prefix", &ids, &pages_of(2).with_prefix(prefix)).await;
    }
}

/// A listing starts behind the id it is given, which need not be there.
pub async fn start_after_is_exclusive_and_need_not_be_there(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let mut ids: Vec<String> = BOUNDARIES.iter().map(|c| format!("{c}m")).collect();
    ids.extend(["a", "aa", "aaa", "a\0", "b", "\u{10ffff}n"].map(str::to_owned));
    fill_ids(subject, "start", &ids).await;
    // At each id, right before it, right behind it, and outside of all.
    let mut starts: BTreeSet<String> = ["\0", "\u{10ffff}", "\u{10ffff}\u{10ffff}\u{10ffff}"]
        .map(str::to_owned)
        .into();
    for id in &ids {
        let mut before = id.clone();
        before.pop();
        starts.extend([id.clone(), format!("{id}\0"), before]);
    }
    starts.remove("");
    for start in &starts {
        assert_selects(subject, "start", &ids, &pages_of(100).with_start_after(start)).await;
    }
    for start in ["a", "an", "\u{ffff}m", "\u{10ffff}m"] {
        assert_selects(subject, "start", &ids, &pages_of(1).with_start_after(start)).await;
    }
}

/// A prefix and a start limit a listing both.
pub async fn prefix_and_start_after_go_together(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    #[rustfmt::skip]
    let ids = [
        "a", "a.", "a/", "a/1", "a/2", "a/3", "a/\u{ffff}", "a/\u{10ffff}", "a/\u{10ffff}/1", "a0", "b",
        "b/1", "b/2",
    ];
    #[rustfmt::skip]
    let starts = [
        "", "Z", "a", "a.", "a.9", "a/", "a/1", "a/15", "a/3", "a/\u{10ffff}", "a/\u{10ffff}/2", "a0", "a1",
        "b/1", "b/2", "z",
    ];
    fill_ids(subject, "both", &ids).await;
    for prefix in ["", "a", "a/", "a/\u{10ffff}", "b", "b/", "c"] {
        for start in starts {
            for page_size in [100, 2] {
                let options = pages_of(page_size).with_prefix(prefix).with_start_after(start);
                assert_selects(subject, "both", &ids, &options).await;
            }
        }
    }
}

/// A listing shows of each entry what a read of its key shows.
pub async fn entries_are_listed_as_get_shows_them(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let hour = Duration::from_secs(3600);
    let values: [(&str, &[u8], Ttl); 7] = [
        ("binary", b"\xff\xfe\0\x80", Ttl::None),
        ("empty", b"", Ttl::None),
        ("expires after", b"x", Ttl::After(hour)),
        ("expires at", b"y", Ttl::At(subject.now() + hour)),
        ("overwritten", b"first", Ttl::After(hour)),
        ("text", "naïve 日本 🛒".as_bytes(), Ttl::None),
        ("touched", b"kept", Ttl::None),
    ];
    for (id, value, ttl) in values {
        let put = subject
            .store()
            .put(
                &subject.key(id),
                Bytes::copy_from_slice(value),
                PutOptions::expiring(ttl),
            )
            .await;
        ok(&format!("putting {id:?}"), put);
    }
    subject.put(&subject.key("overwritten"), "second").await;
    let touch = subject
        .store()
        .touch(&subject.key("touched"), Ttl::After(hour), Default::default())
        .await;
    ok("the touch", touch);

    let mut entries = BTreeMap::new();
    for (id, ..) in values {
        entries.insert(id, subject.entry(&subject.key(id)).await);
    }
    assert_eq!(entries["touched"].value, "kept", "the touched value");
    for page_size in [100, 2] {
        let items = list(subject, "", &pages_of(page_size)).await;
        assert_eq!(ids_of(&items), values.map(|(id, ..)| id), "pages of {page_size}");
        for item in items {
            let (id, read) = (item.key.id(), &entries[item.key.id()]);
            let listed = item.entry.expect("the walk has seen it");
            assert_eq!(listed.value, read.value, "the value listed of {id:?}");
            assert_eq!(listed, *read, "what is listed of {id:?} is not what a read shows");
        }
    }
    let items = list(subject, "", &pages_of(3)).await;
    for item in items {
        let version = item.entry.map(|entry| entry.version);
        let set = subject
            .store()
            .compare_and_set(&item.key, version.as_ref(), "new")
            .await;
        ok(
            &format!("using the version that is listed of `{}`", item.key),
            set,
        );
    }
}

/// An eventual listing may miss the last writes, but is never wrong about what it shows.
pub async fn an_eventual_listing_is_answered(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let ids = numbered(12);
    fill_ids(subject, "eventual", &ids).await;
    for page_size in [100, 5] {
        let mut options = pages_of(page_size);
        options.consistency = Consistency::Eventual;
        let items = list(subject, "eventual", &options).await;
        let there: Vec<&str> = ids
            .iter()
            .map(String::as_str)
            .filter(|id| ids_of(&items).contains(id))
            .collect();
        assert_listed("an eventual listing", &items, there.into_iter());
    }
}

/// Keys can be listed without their entries.
pub async fn keys_alone_can_be_listed(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let ids = numbered(12);
    fill_ids(subject, "keys", &ids).await;
    fill_expired(subject, &keys(subject, "keys", &["id-", "id-0003x", "id-9999"])).await;
    for page_size in [100, 5, 1] {
        let options = pages_of(page_size).with_projection(Projection::Keys);
        assert_selects(subject, "keys", &ids, &options).await;
        assert_selects(subject, "keys", &ids, &options.clone().with_prefix("id-000")).await;
        assert_selects(subject, "keys", &ids, &options.with_start_after("id-0009")).await;
    }
}

/// Pages follow in order, skip nothing and repeat nothing, whatever their size. A token can be used again, and with
/// another page size and projection than it came from.
pub async fn pages_follow_in_order_and_repeat_nothing(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let ids = numbered(25);
    fill_ids(subject, "pages", &ids).await;
    for page_size in [1, 2, 3, 5, 24, 25, 26, 1000] {
        assert_selects(subject, "pages", &ids, &pages_of(page_size)).await;
        let what = format!("the stream of pages of {page_size}");
        let partition = subject.partition("pages");
        let stream = subject.store().list(&partition, pages_of(page_size));
        let streamed: Vec<Item> = ok(&what, stream.try_collect().await);
        assert_eq!(ids_of(&streamed), ids, "{what}");
    }
    let mut walk = Walk::new(subject, "pages", &pages_of(4));
    while !walk.ended {
        walk.step().await;
        let Some(token) = walk.options.page_token.clone() else {
            continue;
        };
        let rest = ids.iter().map(String::as_str).filter(|id| *id > walk.last());
        for options in [
            pages_of(4),
            pages_of(7),
            pages_of(5).with_projection(Projection::Keys),
        ] {
            let options = options.with_page_token(token.clone());
            let again = list(subject, "pages", &options).await;
            let query = format!("behind {:?}, {}", walk.last(), walk.query());
            assert_listed(&query, &again, rest.clone());
        }
    }
}

/// More keys than fit in any service's page are listed, too.
pub async fn more_than_a_thousand_keys_are_listed(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let ids = numbered(1100);
    fill_ids(subject, "many", &ids).await;
    for page_size in [1, 64, 999, 1000] {
        let options = pages_of(page_size).with_projection(Projection::Keys);
        assert_selects(subject, "many", &ids, &options).await;
    }
    assert_selects(subject, "many", &ids, &ListOptions::default()).await;
    assert_selects(subject, "many", &ids, &pages_of(1000).with_start_after("id-0049")).await;
    assert_selects(subject, "many", &ids, &pages_of(1000).with_prefix("id-0")).await;
}

/// A page that a service cuts short, because its values are large, is followed by the rest.
pub async fn large_values_are_listed_over_more_pages(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let size = subject.store().capabilities().max_value_bytes.min(100 << 10);
    let keys = keys(subject, "large", &numbered(50));
    let puts = keys
        .iter()
        .zip(0..)
        .map(|(key, byte)| (key.clone(), vec![byte; size].into(), PutOptions::default()))
        .collect();
    for put in subject.store().put_many(puts).await {
        ok(&format!("putting {size} bytes"), put);
    }
    for page_size in [1000, 13] {
        let items = list(subject, "large", &pages_of(page_size)).await;
        let listed: Vec<&Key> = items.iter().map(|item| &item.key).collect();
        assert_eq!(listed, keys.iter().collect::<Vec<_>>(), "pages of {page_size}");
        for (item, byte) in items.iter().zip(0..) {
            let value = item.entry.as_ref().map(|entry| &entry.value[..]);
            assert!(
                value == Some(&vec![byte; size][..]),
                "the value of `{}` is listed differently",
                item.key
            );
        }
    }
}

/// What is deleted or has expired is not listed, and is again when it is written again.
pub async fn deleted_and_expired_entries_are_not_listed(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    // Runs of each, at both ends too, so that whole pages have nothing to show.
    let ids = numbered(60);
    let group = |wanted: usize| {
        let of = ids
            .iter()
            .enumerate()
            .filter(move |(place, _)| place / 7 % 3 == wanted);
        of.map(|(_, id)| id.as_str()).collect::<Vec<_>>()
    };
    let (expired, kept, deleted) = (group(0), group(1), group(2));
    fill_ids(subject, "gone", &kept).await;
    fill_ids(subject, "gone", &deleted).await;
    for id in &deleted {
        subject.delete(&subject.key_in("gone", id)).await;
    }
    fill_expired(subject, &keys(subject, "gone", &expired)).await;
    for page_size in [100, 7, 2, 1] {
        for projection in [Projection::Entries, Projection::Keys] {
            let options = pages_of(page_size).with_projection(projection);
            assert_selects(subject, "gone", &kept, &options).await;
        }
    }
    assert_selects(subject, "gone", &kept, &pages_of(3).with_prefix("id-001")).await;
    assert_selects(subject, "gone", &kept, &pages_of(3).with_start_after(expired[1])).await;
    assert_selects(subject, "gone", &kept, &pages_of(3).with_start_after(deleted[1])).await;

    let mut there = kept;
    for id in [expired[0], expired[9], deleted[3]] {
        subject.put(&subject.key_in("gone", id), id).await;
        there.push(id);
    }
    assert_selects(subject, "gone", &there, &pages_of(5)).await;
}

/// What is deleted between two pages is left out of the second, and of the others nothing, even where the deleted
/// key is the one the token stands at.
pub async fn what_is_deleted_between_pages_is_left_out(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let ids = numbered(15);
    for page_size in [1, 3] {
        // The key that each token stands at goes.
        let partition = format!("at-the-token-{page_size}");
        fill_ids(subject, &partition, &ids).await;
        let mut walk = Walk::new(subject, &partition, &pages_of(page_size));
        while !walk.ended {
            if walk.step().await > 0 {
                subject.delete(&subject.key_in(&partition, walk.last())).await;
            }
        }
        assert_listed(&walk.query(), &walk.items, ids.iter().map(String::as_str));

        // So do all that were listed, and every other one of those to come.
        let partition = format!("ahead-{page_size}");
        fill_ids(subject, &partition, &ids).await;
        let mut walk = Walk::new(subject, &partition, &pages_of(page_size));
        walk.begin().await;
        let listed = walk.items.len();
        for id in ids[..listed].iter().chain(ids[listed..].iter().step_by(2)) {
            subject.delete(&subject.key_in(&partition, id)).await;
        }
        let query = walk.query();
        let left = ids[..listed]
            .iter()
            .chain(ids[listed..].iter().skip(1).step_by(2));
        assert_listed(&query, &walk.finish().await, left.map(String::as_str));

        // And all that were to come.
        let partition = format!("all-{page_size}");
        fill_ids(subject, &partition, &ids).await;
        let mut walk = Walk::new(subject, &partition, &pages_of(page_size));
        walk.begin().await;
        let listed = walk.items.len();
        for id in &ids[listed..] {
            subject.delete(&subject.key_in(&partition, id)).await;
        }
        let query = walk.query();
        assert_listed(
            &query,
            &walk.finish().await,
            ids[..listed].iter().map(String::as_str),
        );
    }
}

/// What is written between two pages is listed if it is behind the token, and not if it is before it.
pub async fn what_is_written_ahead_between_pages_is_listed(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    for page_size in [1, 3] {
        let partition = format!("written-{page_size}");
        let ids = numbered(12);
        fill_ids(subject, &partition, &ids).await;
        let mut walk = Walk::new(subject, &partition, &pages_of(page_size));
        walk.begin().await;
        let last = walk.last().to_owned();
        let ahead = [
            format!("{last}\0"),
            format!("{last}x"),
            "id-0010x".to_owned(),
            "z".to_owned(),
        ];
        // The walk itself fails when it comes to see what is written before its token.
        let before = [
            "a".to_owned(),
            "id-".to_owned(),
            last[..last.len() - 1].to_owned(),
        ];
        let written: Vec<&String> = before.iter().chain(&ahead).collect();
        fill_ids(subject, &partition, &written).await;
        let query = walk.query();
        let expected = ids.iter().chain(&ahead).map(String::as_str);
        assert_listed(&query, &walk.finish().await, expected);
        let all: Vec<&String> = ids.iter().chain(written).collect();
        assert_selects(subject, &partition, &all, &pages_of(page_size)).await;
    }
}

/// While others write, each listing has all that was there throughout, once and in order.
pub async fn writers_disturb_no_listing(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let stable = numbered(60);
    fill_ids(subject, "busy", &stable).await;
    let mut writers = Churn::start(subject, |writer| match writer {
        // One overwrites what stays; the others' keys come and go between it.
        0 => (keys(subject, "busy", &stable), false),
        _ => {
            let passing: Vec<_> = (0..60).map(|number| format!("id-{number:04}-{writer}")).collect();
            (keys(subject, "busy", &passing), true)
        }
    });
    while writers.goes_on(10, 300).await {
        for page_size in [7, 1000] {
            let items = list(subject, "busy", &pages_of(page_size)).await;
            let listed: BTreeSet<&str> = ids_of(&items).into_iter().collect();
            let missing: Vec<_> = stable.iter().filter(|id| !listed.contains(id.as_str())).collect();
            assert!(
                missing.is_empty(),
                "while others wrote, pages of {page_size} left out {missing:?}, which were there throughout"
            );
            for item in &items {
                let value = item.entry.as_ref().map(|entry| &entry.value[..]);
                assert_eq!(
                    value,
                    Some(item.key.id().as_bytes()),
                    "the value of `{}`",
                    item.key
                );
            }
        }
    }
    writers.end().await;
}

/// Writers beside a case that reads.
pub(super) struct Churn {
    writers: JoinSet<()>,
    writes: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    rounds: usize,
}

impl Churn {
    const WRITERS: usize = 3;

    /// Starts writers. `work` says for each which keys it writes, over and over, and whether it deletes them in between.
    pub(super) fn start(subject: &Subject, work: impl Fn(usize) -> (Vec<Key>, bool)) -> Self {
        let mut churn = Self {
            writers: JoinSet::new(),
            writes: Arc::default(),
            stop: Arc::default(),
            rounds: 0,
        };
        for writer in 0..Self::WRITERS {
            let (keys, deletes) = work(writer);
            churn.writers.spawn(write_on(
                subject.store().clone(),
                keys,
                deletes,
                churn.writes.clone(),
                churn.stop.clone(),
            ));
        }
        churn
    }

    /// Whether the reader has to go on, until it has made so many rounds beside so many writes.
    pub(super) async fn goes_on(&mut self, rounds: usize, writes: usize) -> bool {
        let written = self.writes.load(Ordering::Relaxed);
        // A writer that failed has said so by its panic.
        if let Some(ended) = self.writers.try_join_next() {
            ended.unwrap_or_else(|error| panic!("a writer failed: {error}"));
        }
        assert!(
            self.rounds < 10_000,
            "beside {} rounds of reads the store made {written} writes",
            self.rounds
        );
        self.rounds += 1;
        tokio::task::yield_now().await;
        self.rounds <= rounds || written < writes
    }

    pub(super) async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended.unwrap_or_else(|error| panic!("a writer failed: {error}"));
        }
    }
}

async fn write_on(
    store: Arc<dyn StateStore>,
    keys: Vec<Key>,
    deletes: bool,
    writes: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) {
    for (round, key) in keys.iter().cycle().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let done = if deletes && round / keys.len() % 2 == 1 {
            store.delete(key, Default::default()).await
        } else {
            let value = Bytes::from(key.id().to_owned());
            store.put(key, value, Default::default()).await.map(drop)
        };
        ok(&format!("writing {key:?} beside a reader"), done);
        writes.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

/// A page token is printable and the same after a way through text.
pub async fn a_page_token_survives_text(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let ids: Vec<String> = BOUNDARIES.iter().map(|c| format!("{c}'\"%\n{c}")).collect();
    fill_ids(subject, "text", &ids).await;
    let mut walk = Walk::new(subject, "text", &pages_of(1));
    while !walk.ended {
        walk.step().await;
        walk.options.page_token = walk.options.page_token.map(|token| through_text(&token));
    }
    assert_listed(
        "listing with tokens through text",
        &walk.items,
        ids.iter().map(String::as_str),
    );
}

/// The token after a way through text, which it has to survive.
pub(super) fn through_text(token: &PageToken) -> PageToken {
    let text = token.to_string();
    assert!(
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
        "a page token is of `A-Z a-z 0-9 - _`: {text:?}"
    );
    let parsed: PageToken = ok(&format!("parsing {text:?}"), text.parse());
    assert_eq!(parsed, *token, "the token after a way through text");
    parsed
}

/// A page token is bound to its query: another partition's, prefix's or start's is [`Error::InvalidToken`], and so is
/// a scan's.
pub async fn a_token_of_another_query_is_refused(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let ids = ["a", "ab", "ab1", "ab2", "b", "b1", "b2", "pa", "pa1"];
    for partition in ["p", "pa", "q"] {
        fill_ids(subject, partition, &ids).await;
    }
    let queries = [
        ("p", "", ""),
        ("q", "", ""),
        ("pa", "", ""),
        ("p", "a", ""),
        ("p", "", "a"),
        ("p", "ab", ""),
        ("p", "", "ab"),
        ("p", "a", "ab"),
        ("p", "ab", "a"),
        ("pa", "b", ""),
        ("pa", "", "b"),
        ("p", "b", "a"),
    ];
    let options = |prefix: &str, start: &str| pages_of(1).with_prefix(prefix).with_start_after(start);
    let page = async |(partition, prefix, start): (&str, &str, &str), token: PageToken| {
        let options = options(prefix, start).with_page_token(token);
        subject
            .store()
            .list_page(&subject.partition(partition), options)
            .await
    };
    for from in queries {
        let token = token(subject, from.0, &options(from.1, from.2)).await;
        for to in queries {
            let answer = page(to, token.clone()).await;
            if from == to {
                ok(&format!("its own token given to {from:?}"), answer);
            } else {
                refused(
                    &format!("a token of {from:?} given to {to:?}"),
                    answer,
                    ErrorKind::InvalidToken,
                );
            }
        }
    }
    let scanned = subject
        .store()
        .scan_page(ScanOptions::default().with_page_size(1))
        .await;
    let scanned = ok("the scan", scanned);
    let token = scanned
        .next
        .expect("a scan of many keys has more than a page of one");
    for query in queries {
        let answer = page(query, token.clone()).await;
        refused(
            &format!("a scan's token given to {query:?}"),
            answer,
            ErrorKind::InvalidToken,
        );
    }
}

/// A page token that was changed, cut, or never was one is [`Error::InvalidToken`].
pub async fn a_damaged_token_is_refused(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    fill_ids(subject, "damaged", &["a", "b", "c"]).await;
    let token = token(subject, "damaged", &ListOptions::default()).await;
    for text in damaged(&token) {
        let Ok(parsed) = text.parse::<PageToken>() else {
            continue;
        };
        let options = ListOptions::default().with_page_token(parsed);
        let answer = subject
            .store()
            .list_page(&subject.partition("damaged"), options)
            .await;
        let what = format!("the token {text:?} (it was {:?})", token.to_string());
        refused(&what, answer, ErrorKind::InvalidToken);
    }
}

/// A page holds 1 to [`ListOptions::MAX_PAGE_SIZE`] items; another size is [`Error::InvalidOptions`].
pub async fn page_sizes_out_of_range_are_refused(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let ids = ["a", "b"];
    fill_ids(subject, "sizes", &ids).await;
    for page_size in [1, ListOptions::MAX_PAGE_SIZE] {
        assert_selects(subject, "sizes", &ids, &pages_of(page_size)).await;
    }
    for page_size in [0, ListOptions::MAX_PAGE_SIZE + 1, usize::MAX] {
        let answer = subject
            .store()
            .list_page(&subject.partition("sizes"), pages_of(page_size))
            .await;
        refused(
            &format!("pages of {page_size}"),
            answer,
            ErrorKind::InvalidOptions,
        );
    }
}

/// A prefix or a start that is longer than an id may be is refused as such.
pub async fn a_longer_prefix_or_start_is_refused(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let longest = subject.store().capabilities().max_id_bytes;
    let text = |size| "x".repeat(size);
    for (size, taken) in [(longest, true), (longest + 1, false)] {
        let options = ListOptions::default();
        for options in [
            options.clone().with_prefix(text(size)),
            options.with_start_after(text(size)),
        ] {
            let answer = subject.store().list_page(&subject.partition(""), options).await;
            match answer {
                Ok(page) if taken => assert_eq!(page.items, [], "of an empty partition"),
                Err(Error::InvalidKey {
                    part: KeyPart::Id,
                    problem: KeyProblem::TooLong { size, limit },
                }) if !taken => {
                    assert_eq!((size, limit), (longest + 1, longest));
                }
                other => panic!("a prefix or start of {size} bytes, where {longest} are allowed: {other:?}"),
            }
        }
    }
}

/// A partition that is empty or too long is [`Error::InvalidKey`], here too.
pub async fn a_bad_partition_is_refused(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let store = subject.store();
    let answer = store.list_page("", Default::default()).await;
    assert!(
        matches!(
            answer,
            Err(Error::InvalidKey {
                part: KeyPart::Partition,
                problem: KeyProblem::Empty
            })
        ),
        "an empty partition should be refused as such: {answer:?}"
    );
    let longest = store.capabilities().max_partition_bytes;
    let name = "x".repeat(longest - subject.partition("").len());
    assert_selects(subject, &name, &[""; 0], &ListOptions::default()).await;
    let answer = store
        .list_page(&subject.partition(&format!("{name}x")), Default::default())
        .await;
    match answer {
        Err(Error::InvalidKey {
            part: KeyPart::Partition,
            problem: KeyProblem::TooLong { size, limit },
        }) => assert!(size > limit, "{size} bytes are not more than {limit}"),
        other => panic!(
            "a partition of {} bytes should be refused as too long: {other:?}",
            longest + 1
        ),
    }
}
