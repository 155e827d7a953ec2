//! Keys: two different ones never meet, and every one comes back as it was.

use std::collections::{BTreeMap, HashSet};

use futures::TryStreamExt as _;
use proptest::prelude::{Strategy, any, prop};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use statestore_api::{
    Bytes, Capabilities, Error, ErrorKind, GetOptions, Item, Key, KeyPart, KeyProblem, ListOptions,
    Precondition, StateStore, StateStoreExt, TransactOp, Ttl, WriteId,
};

use crate::Subject;
use crate::expect::{ok, refused};

/// Names that services, encodings and careless joins mistake for one another.
#[rustfmt::skip]
pub(crate) const ALIKE: &[&str] = &[
    // Separators, and text split elsewhere.
    "a", "a/b", "a//b", "/a/b", "a/b/", "a/", "/a", "/", "//", "a\\b", "a|b", "a||b", "a:b", "a::b", "a#b",
    "a?b", "a&b=c", "a;b", "a,b", "a.b", "a-b", "a_b", "a__b", "a~b", "a b", "a+b", "a%b",
    // What an escape of one may look like.
    "%2F", "%2f", "%252F", "a%2Fb", "a%2fb", "a%252Fb", "a_2Fb", "a_002Fb", "a=2Fb", "a~1b", "a~0b",
    "&#47;", "\\u002f", "%", "%%", "%00", "%zz", "+", "%20", "%2B",
    // Quotes and query languages.
    "'", "''", "\"", "`", "a'b", "a''b", "' or '1'='1", "a\"b", "$a", "${a}", "{a}", "{}", "{", "}",
    "a{b}c", "{a}b", "[a]", "(a)", "<a>", "*", "a*", "?", "_", "__", "^", "@a", "!", "=", "a=b", "--",
    "$.a", "%s",
    // Names that mean something to a path or a service.
    ".", "..", "...", "./a", "../a", "a/.", "a/..", "__a__", "__id7__", "__name__", "____", "null", "NULL",
    "nil", "true", "NaN", "0", "00", "-0", "1", "01", "1.0", "1e0",
    // Case, and characters that look the same.
    "A", "B", "b", "Ab", "aB", "AB", "ß", "ẞ", "ss", "SS", "İ", "i", "I", "ı", "K", "\u{212a}", "é",
    "e\u{301}", "Å", "\u{212b}", "A\u{30a}", "ﬁ", "fi", "а", "ä", "a\u{308}", "１",
    // White space and what cannot be seen.
    " ", "  ", " a", "a ", "a  ", "\ta", "a\t", "a\n", "a\r", "a\r\n", "\u{a0}", "\u{a0}a", "\u{200b}",
    "a\u{200b}", "\u{feff}a", "a.", "a..", "\u{ad}", "\u{202e}a", "\u{3000}",
    // Control characters.
    "\0", "a\0", "a\0b", "\0\0", "\u{1}", "\u{1f}", "\u{7f}", "\u{80}", "\u{85}", "\u{9f}", "\u{1b}[31m",
    // Other scripts, and the ends of each length of UTF-8.
    "Корзина", "корзина", "购物车", "カート", "ｶｰﾄ", "عربة", "🛒", "👨‍👩‍👧", "\u{7ff}", "\u{800}", "\u{d7ff}",
    "\u{e000}", "\u{fffd}", "\u{ffff}", "\u{10000}", "\u{10ffff}",
    // What people use.
    "user-42", "user-43", "2026-11-23T10:00:00Z", "a@b.c", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
    "https://x.y/z?q#f",
];

/// Writes a value of its own under each key, and reads all of them back after that.
async fn never_meet(subject: &Subject, keys: &[Key]) {
    let puts = keys
        .iter()
        .enumerate()
        .map(|(place, key)| (key.clone(), place.to_string().into(), Default::default()));
    for (key, result) in keys.iter().zip(subject.store().put_many(puts.collect()).await) {
        ok(&format!("putting {key:?}"), result);
    }
    let results = subject.store().get_many(keys, GetOptions::default()).await;
    for ((place, key), result) in keys.iter().enumerate().zip(results) {
        let entry = ok(&format!("reading {key:?}"), result).unwrap_or_else(|| panic!("{key:?} is not there"));
        let by: usize = std::str::from_utf8(&entry.value)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(usize::MAX);
        assert!(by == place, "{key:?} was overwritten by {:?}", keys.get(by));
    }
    // One that goes takes no other with it.
    let (gone, rest) = keys.split_at(keys.len() / 2);
    let deletes = gone.iter().map(|key| (key.clone(), Default::default())).collect();
    for (key, result) in gone.iter().zip(subject.store().delete_many(deletes).await) {
        ok(&format!("deleting {key:?}"), result);
    }
    let results = subject.store().get_many(rest, GetOptions::default()).await;
    for (key, result) in rest.iter().zip(results) {
        assert!(
            ok(&format!("reading {key:?}"), result).is_some(),
            "{key:?} went with another key"
        );
    }
}

/// Two ids that look alike, or mean something to a service, are two.
pub async fn keys_that_look_alike_are_different(subject: &Subject) {
    let keys: Vec<_> = ALIKE.iter().map(|id| subject.key(id)).collect();
    never_meet(subject, &keys).await;
}

/// Two partitions that look alike are two, and so is a key whose text is split elsewhere.
pub async fn partitions_that_look_alike_are_different(subject: &Subject) {
    let mut keys: Vec<_> = ALIKE.iter().map(|name| subject.key_in(name, "id")).collect();
    for (partition, id) in [
        ("ab", "c"),
        ("a", "bc"),
        ("a/b", "c"),
        ("a", "b/c"),
        ("a\0", "b"),
        ("a", "\0b"),
        ("a|", "b"),
        ("a", "|b"),
    ] {
        keys.push(subject.key_in(partition, id));
    }
    never_meet(subject, &keys).await;
}

/// The encoding into the service is reversible: a listing returns each id as it was written.
pub async fn hostile_keys_come_back_unchanged(subject: &Subject) {
    if !subject.store().capabilities().listing {
        return never_meet(subject, &[subject.key("'"), subject.key("/")]).await;
    }
    let partition = "/ \\ # ? % ' \" . \u{1} é {} 🛒 ";
    let keys: BTreeMap<Key, &str> = ALIKE
        .iter()
        .map(|id| (subject.key_in(partition, id), *id))
        .collect();
    let puts = keys
        .iter()
        .map(|(key, id)| (key.clone(), Bytes::from_static(id.as_bytes()), Default::default()));
    for (key, result) in keys.keys().zip(subject.store().put_many(puts.collect()).await) {
        ok(&format!("putting {key:?}"), result);
    }
    let partition = subject.partition(partition);
    let listing = subject.store().list(&partition, ListOptions::default());
    let items: Vec<Item> = ok("listing", listing.try_collect().await);
    let mut listed: BTreeMap<Key, Bytes> = items
        .into_iter()
        .map(|item| (item.key, item.entry.expect("entries were asked for").value))
        .collect();
    for (key, id) in &keys {
        assert_eq!(
            listed.remove(key).as_deref(),
            Some(id.as_bytes()),
            "{key:?} is not listed as it was written"
        );
    }
    assert!(
        listed.is_empty(),
        "listed, but never written: {:?}",
        listed.keys()
    );
}

/// The same over pairs that nobody thought of.
pub async fn random_pairs_never_meet(subject: &Subject) {
    // A small alphabet makes texts that are close to each other.
    let close = prop::collection::vec(
        prop::sample::select(vec![
            "a",
            "A",
            "%",
            "2",
            "F",
            "/",
            "_",
            "\0",
            "~",
            "é",
            "\u{10000}",
            ".",
        ]),
        1..5,
    )
    .prop_map(|parts| parts.concat());
    let any_text = prop::collection::vec(any::<char>(), 1..12).prop_map(String::from_iter);
    let text = proptest::prop_oneof![3 => close, 1 => any_text];
    let pairs = prop::collection::hash_set((text.clone(), text), 200);
    let mut runner = TestRunner::default();
    let pairs: HashSet<(String, String)> = pairs
        .new_tree(&mut runner)
        .expect("there are enough pairs")
        .current();
    let keys: Vec<_> = pairs
        .iter()
        .map(|(partition, id)| subject.key_in(partition, id))
        .collect();
    never_meet(subject, &keys).await;
}

/// 170 bytes in each part are taken, whatever they are.
pub async fn every_store_takes_170_bytes_of_anything(subject: &Subject) {
    let room = Capabilities::PORTABLE_KEY_BYTES - subject.partition("").len();
    let mut keys = Vec::new();
    for character in [
        'a',
        '/',
        '\\',
        '#',
        '?',
        '%',
        '\'',
        '"',
        ' ',
        '.',
        '_',
        '{',
        '\0',
        '\u{1f}',
        '\u{7f}',
        '\u{9f}',
        'é',
        '購',
        '\u{ffff}',
        '\u{10ffff}',
    ] {
        let fill = |bytes: usize, last: &str| {
            let text = character
                .to_string()
                .repeat((bytes - last.len()) / character.len_utf8());
            let rest = "x".repeat(bytes - last.len() - text.len());
            text + &rest + last
        };
        // Some differ in their last byte alone: what is cut off of an encoded key makes them meet.
        for (partition, id) in [("a", "a"), ("a", "b"), ("b", "a")] {
            let id = fill(Capabilities::PORTABLE_KEY_BYTES, id);
            let key = subject.key_in(&fill(room, partition), &id);
            assert_eq!((key.partition().len(), key.id().len()), (170, 170));
            keys.push(key);
        }
        keys.push(subject.key_in("", &fill(Capabilities::PORTABLE_KEY_BYTES - 4, "")));
    }
    never_meet(subject, &keys).await;
}

/// The exact limits are in the capabilities.
pub async fn keys_up_to_the_limit_are_taken(subject: &Subject) {
    let capabilities = subject.store().capabilities();
    let room = capabilities.max_partition_bytes - subject.partition("").len();
    let id = capabilities.max_id_bytes;
    // Keys that differ in their last byte alone: what is cut off makes them meet.
    let long = |size: usize, last: &str| "k".repeat(size - 1) + last;
    let keys = [
        subject.key_in(&long(room, "a"), "id"),
        subject.key_in(&long(room, "b"), "id"),
        subject.key_in(&long(room - 1, "a"), "id"),
        subject.key(&long(id, "a")),
        subject.key(&long(id, "b")),
        subject.key(&long(id - 1, "a")),
        subject.key_in(&long(room, "a"), &long(id, "a")),
    ];
    never_meet(subject, &keys).await;
}

/// A longer one is refused by every operation, with the limit's name and before anything is done.
pub async fn longer_keys_are_refused_by_every_operation(subject: &Subject) {
    let store = subject.store();
    let capabilities = store.capabilities();
    let (partition_limit, id_limit) = (capabilities.max_partition_bytes, capabilities.max_id_bytes);
    let room = partition_limit - subject.partition("").len();
    let long_partition = subject.key_in(&"p".repeat(room + 1), "id");
    let long_id = subject.key(&"i".repeat(id_limit + 1));
    let good = Key::new(long_partition.partition(), "id").expect("neither part is empty");
    for (key, expected, limit) in [
        (&long_partition, KeyPart::Partition, partition_limit),
        (&long_id, KeyPart::Id, id_limit),
        (&good, KeyPart::Partition, partition_limit),
    ] {
        let transaction = vec![TransactOp::put(key.clone(), "x")];
        let results = [
            ("get", store.get(key, Default::default()).await.map(drop)),
            (
                "get_many",
                store
                    .get_many(std::slice::from_ref(key), Default::default())
                    .await
                    .remove(0)
                    .map(drop),
            ),
            (
                "put",
                store.put(key, "x".into(), Default::default()).await.map(drop),
            ),
            ("create", store.create(key, "x").await.map(drop)),
            ("delete", store.delete(key, Default::default()).await),
            (
                "touch",
                store.touch(key, Ttl::None, Default::default()).await.map(drop),
            ),
            (
                "resolve",
                store
                    .resolve(key, WriteId::new(), &Precondition::None)
                    .await
                    .map(drop),
            ),
            (
                "transact",
                store.transact(transaction, Default::default()).await.map(drop),
            ),
        ];
        for (operation, result) in results {
            match refused(
                &format!("{operation} of a key that is too long"),
                result,
                ErrorKind::InvalidKey,
            ) {
                Error::InvalidKey {
                    part,
                    problem: KeyProblem::TooLong { size, limit: named },
                } => {
                    assert_eq!((part, named), (expected, limit), "{operation}");
                    assert!(size > limit, "{operation}: {size} bytes are not too long");
                }
                error => panic!("{operation}: the error does not name the limit: {error}"),
            }
        }
    }
}

/// `"settings"` names a partition and the id in it.
pub async fn the_id_may_equal_the_partition(subject: &Subject) {
    let partition = subject.partition("settings");
    let key: Key = partition.parse().expect("any text is a key");
    let same = subject.key_in("settings", &partition);
    assert_eq!(key, same);
    subject.put(&key, "x").await;
    subject.assert_value(&same, "x").await;
    subject
        .assert_absent(&subject.key_in("settings", "settings"))
        .await;
}
