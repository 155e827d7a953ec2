//! Scans: every key of every partition. Others may use the store at the same time, so these cases look only at what is
//! in partitions of their own.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use statestore_api::{
    Entry, ErrorKind, Item, Key, ListOptions, PageToken, Projection, PutOptions, ScanOptions,
    StateStore as _, StateStoreExt as _,
};

use super::listing::{Churn, damaged, fill, fill_expired, is_refused, through_text};
use crate::Subject;
use crate::expect::{ok, refused};

/// How many pages a scan may have before it counts as endless.
const PAGES: usize = 20_000;

/// What a scan found.
#[derive(Default)]
struct Scan {
    /// What was found in partitions of the case.
    own: BTreeMap<Key, Option<Entry>>,
    /// What of it was returned more than once.
    repeated: BTreeSet<Key>,
    /// How many items there were in all.
    count: usize,
}

impl Scan {
    fn take(&mut self, subject: &Subject, item: Item, projection: Projection) {
        self.count += 1;
        if !item.key.partition().starts_with(&subject.partition("")) {
            return;
        }
        assert_eq!(
            item.entry.is_some(),
            projection == Projection::Entries,
            "a scan was asked for {projection:?}, but the entry of {:?} is {:?}",
            item.key,
            item.entry
        );
        if self.own.insert(item.key.clone(), item.entry).is_some() {
            self.repeated.insert(item.key);
        }
    }
}

/// Scans the store, page by page, and checks of each page what holds of all. `carry` is applied to each token.
async fn scan(subject: &Subject, options: &ScanOptions, carry: impl Fn(&PageToken) -> PageToken) -> Scan {
    let mut options = options.clone();
    let mut found = Scan::default();
    for _ in 0..PAGES {
        let size = options.page_size;
        let page = subject.store().scan_page(options.clone()).await;
        let page = ok(&format!("a scan by pages of {size}"), page);
        let items = page.items.len();
        assert!(items <= size, "a page of {size} has {items} items");
        for item in page.items {
            found.take(subject, item, options.projection);
        }
        match page.next {
            Some(token) => options.page_token = Some(carry(&token)),
            None => return found,
        }
    }
    panic!("a scan did not end within {PAGES} pages: {} items", found.count);
}

async fn scan_by(subject: &Subject, options: &ScanOptions) -> Scan {
    scan(subject, options, PageToken::clone).await
}

fn everything() -> ScanOptions {
    ScanOptions::default().with_page_size(ListOptions::MAX_PAGE_SIZE)
}

/// A page size that makes many pages of the store, but not too many, whatever others keep in it.
async fn small_pages(subject: &Subject) -> ScanOptions {
    let count = scan_by(subject, &everything()).await.count;
    ScanOptions::default().with_page_size((count / 100).clamp(3, ListOptions::MAX_PAGE_SIZE))
}

/// Keys in many partitions, whose names are alike and hostile.
fn spread(subject: &Subject) -> Vec<Key> {
    #[rustfmt::skip]
    let partitions = [
        "", "p", "p/", "p0", "p\0", "pp", "P", "é", "e\u{301}", "\u{ffff}", "\u{10ffff}", "{p}", "p'\"",
        "%2F", "*",
    ];
    let ids = ["/a", "a", "\0", "p", "\u{10ffff}", "a b "];
    partitions
        .iter()
        .flat_map(|partition| ids.iter().map(|id| subject.key_in(partition, id)))
        .collect()
}

fn assert_found<'a>(scan: &Scan, expected: impl IntoIterator<Item = &'a Key>) {
    let expected: BTreeSet<&Key> = expected.into_iter().collect();
    let found: BTreeSet<&Key> = scan.own.keys().collect();
    let missing: Vec<_> = expected.difference(&found).take(5).collect();
    let excess: Vec<_> = found.difference(&expected).take(5).collect();
    assert!(missing.is_empty(), "the scan left out {missing:?}");
    assert!(
        excess.is_empty(),
        "the scan returned what is not there: {excess:?}"
    );
    let repeated: Vec<_> = scan.repeated.iter().take(5).collect();
    assert!(
        repeated.is_empty(),
        "the scan returned more than once {repeated:?}"
    );
}

/// A scan walks every partition and shows each entry once, as a read does.
pub async fn scan_finds_every_key_of_every_partition_once(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let keys = spread(subject);
    fill(subject, &keys, &PutOptions::default()).await;
    let scanned = scan_by(subject, &everything()).await;
    assert_found(&scanned, &keys);
    let entries = subject.store().get_many(&keys, Default::default()).await;
    for (key, entry) in keys.iter().zip(entries) {
        let entry = ok(&format!("reading {key:?}"), entry);
        assert_eq!(scanned.own[key], entry, "what the scan shows of {key:?}");
        let value = scanned.own[key].as_ref().map(|entry| &entry.value[..]);
        assert_eq!(value, Some(key.id().as_bytes()), "the value scanned of {key:?}");
    }
}

/// A scan by small pages finds the same, none twice; so does the stream of its pages.
pub async fn scan_pages_repeat_nothing(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let keys = spread(subject);
    fill(subject, &keys, &PutOptions::default()).await;
    let small = small_pages(subject).await;
    assert_found(&scan_by(subject, &small).await, &keys);
    let mut streamed = Scan::default();
    let mut stream = subject.store().scan(small);
    loop {
        match stream.try_next().await {
            Ok(Some(item)) => streamed.take(subject, item, Projection::Entries),
            Ok(None) => break,
            Err(error) => panic!("streaming a scan failed: {error}"),
        }
    }
    assert_found(&streamed, &keys);
}

/// What is deleted or has expired is in no scan, and is again when it is written again.
pub async fn scan_leaves_out_what_is_gone(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let keys = spread(subject);
    let group = |wanted: usize| -> Vec<Key> {
        let of = keys.iter().enumerate();
        of.filter(|(place, _)| place % 3 == wanted)
            .map(|(_, key)| key.clone())
            .collect()
    };
    let (kept, deleted, expired) = (group(0), group(1), group(2));
    fill(subject, &kept, &PutOptions::default()).await;
    fill(subject, &deleted, &PutOptions::default()).await;
    for key in &deleted {
        subject.delete(key).await;
    }
    fill_expired(subject, &expired).await;
    assert_found(&scan_by(subject, &everything()).await, &kept);
    let small = small_pages(subject).await;
    assert_found(&scan_by(subject, &small).await, &kept);
    assert_found(
        &scan_by(subject, &everything().with_projection(Projection::Keys)).await,
        &kept,
    );

    let again = [&deleted[0], &expired[0]];
    for key in again {
        subject.put(key, "again").await;
    }
    assert_found(&scan_by(subject, &everything()).await, kept.iter().chain(again));
}

/// A scan can return keys without their entries.
pub async fn scan_can_return_keys_alone(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let keys = spread(subject);
    fill(subject, &keys, &PutOptions::default()).await;
    for options in [everything(), small_pages(subject).await] {
        let options = options.with_projection(Projection::Keys);
        assert_found(&scan_by(subject, &options).await, &keys);
    }
}

/// While others write, a scan has all that was there throughout, and nothing that was gone before.
pub async fn writers_disturb_no_scan(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let stable = spread(subject);
    fill(subject, &stable, &PutOptions::default()).await;
    let gone = subject.key("gone");
    subject.put(&gone, "gone").await;
    subject.delete(&gone).await;
    let small = small_pages(subject).await;
    let mut writers = Churn::start(subject, |writer| match writer {
        0 => (stable.clone(), false),
        _ => {
            let passing = stable.iter().enumerate().map(|(number, key)| {
                let name = key.partition().trim_start_matches(&subject.partition(""));
                // Some beside what stays, some in partitions that come and go.
                if number % 2 == 0 {
                    subject.key_in(name, &format!("{}-{writer}", key.id()))
                } else {
                    subject.key_in(&format!("{name}-{writer}-{number}"), "a")
                }
            });
            (passing.collect(), true)
        }
    });
    while writers.goes_on(3, 300).await {
        let scanned = scan_by(subject, &small).await;
        for key in &stable {
            assert!(
                scanned.own.contains_key(key),
                "while others wrote, a scan left out {key:?}, which was there throughout"
            );
            // What comes and goes may be met again; what stays may not.
            assert!(
                !scanned.repeated.contains(key),
                "while others wrote, a scan returned {key:?} more than once"
            );
        }
        assert!(
            !scanned.own.contains_key(&gone),
            "a scan returned {gone:?}, which was gone before"
        );
    }
    writers.end().await;
}

/// A scan's token is printable and the same after a way through text.
pub async fn a_scan_token_survives_text(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let keys = spread(subject);
    fill(subject, &keys, &PutOptions::default()).await;
    let small = small_pages(subject).await;
    assert_found(&scan(subject, &small, through_text).await, &keys);
}

/// What is no token of a scan, a listing's included, is [`ErrorKind::InvalidToken`].
pub async fn scan_refuses_what_is_no_token_of_it(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    let keys = ["a", "b", "c"].map(|id| subject.key(id));
    fill(subject, &keys, &PutOptions::default()).await;
    let store = subject.store();
    let one = ScanOptions::default().with_page_size(1);
    let scan_from = async |token: PageToken| store.scan_page(one.clone().with_page_token(token)).await;

    let first = store.scan_page(one.clone()).await;
    let first = ok("the scan", first);
    let token = first
        .next
        .expect("a scan of three keys has more than a page of one");
    let own = scan_from(token.clone()).await;
    ok("a scan with its own token", own);

    for options in [
        ListOptions::default(),
        ListOptions::default().with_start_after("a"),
    ] {
        let listed = store
            .list_page(&subject.partition(""), options.with_page_size(1))
            .await;
        let listed = ok("the listing", listed);
        let token = listed
            .next
            .expect("a listing of more keys has more than a page of one");
        refused(
            "a listing's token given to a scan",
            scan_from(token).await,
            ErrorKind::InvalidToken,
        );
    }
    for text in damaged(&token) {
        let Ok(parsed) = text.parse::<PageToken>() else {
            continue;
        };
        let what = format!("the scan's token {text:?} (it was {:?})", token.to_string());
        refused(&what, scan_from(parsed).await, ErrorKind::InvalidToken);
    }
}

/// A page of a scan holds 1 to [`ListOptions::MAX_PAGE_SIZE`] items; another size is [`ErrorKind::InvalidOptions`].
pub async fn scan_page_sizes_out_of_range_are_refused(subject: &Subject) {
    if is_refused(subject).await {
        return;
    }
    fill(subject, &[subject.key("a")], &PutOptions::default()).await;
    for page_size in [0, ListOptions::MAX_PAGE_SIZE + 1, usize::MAX] {
        let answer = subject
            .store()
            .scan_page(ScanOptions::default().with_page_size(page_size))
            .await;
        refused(
            &format!("pages of {page_size}"),
            answer,
            ErrorKind::InvalidOptions,
        );
    }
}
