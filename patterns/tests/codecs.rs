//! Each codec gives back what was put in, and takes nothing that is not its own.
#![cfg(all(feature = "xml", feature = "messagepack", feature = "cbor"))]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use statestore_api::{Error, ErrorKind, Key, MemoryStore, StateStore};
use statestore_patterns::Typed;
use statestore_patterns::codec::{Cbor, Codec, Json, MessagePack, Xml};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    #[serde(default)]
    lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Line {
    item: String,
    price: i32,
}

fn orders() -> Vec<Order> {
    let line = |item: &str, price| Line {
        item: item.to_owned(),
        price,
    };
    vec![
        Order::default(),
        Order {
            id: u64::MAX,
            customer: "Zoë & Søn <\"'>  \u{1F600} ]]> &amp;".to_owned(),
            lines: vec![line("lamp", 1), line(" spaced\tout\n", i32::MIN)],
            note: Some("1".to_owned()),
        },
    ]
}

fn key() -> Key {
    "user-42/order".parse().unwrap()
}

/// Every value comes back, in this schema and in a later one.
async fn round_trip<C: Codec<Order> + Clone>(codec: C) {
    for schema in [1, 2, u32::MAX] {
        let typed = Typed::with_codec(MemoryStore::new(), codec.clone())
            .with_schema(schema, |_| panic!("there is nothing to upgrade"));
        for order in orders() {
            typed.put(&key(), &order, Default::default()).await.unwrap();
            let read = typed.get(&key()).await.unwrap().unwrap().value;
            assert_eq!(read, order, "{codec:?}, schema {schema}");
        }
    }
}

#[tokio::test]
async fn values_come_back() {
    round_trip(Json).await;
    round_trip(Xml::default()).await;
    round_trip(Xml::with_root("o")).await;
    round_trip(MessagePack).await;
    round_trip(Cbor).await;
}

/// What `codec` stores for `value`.
fn stored<T, C: Codec<T>>(codec: C, schema: u32, value: &T) -> Vec<u8> {
    let typed = Typed::with_codec(MemoryStore::new(), codec).with_schema(schema, |_| unreachable!());
    typed.encode(&key(), value).unwrap().to_vec()
}

fn read<T: Debug, C: Codec<T>>(codec: C, stored: &[u8]) -> Result<T, Error> {
    Typed::with_codec(MemoryStore::new(), codec).decode(&key(), stored)
}

#[track_caller]
fn assert_refused<T: Debug>(result: Result<T, Error>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Codec);
}

#[test]
fn no_codec_takes_what_another_wrote() {
    // Small numbers and short texts mean something in every one of the binary formats.
    fn check<T>(values: &[T])
    where
        T: Debug + Serialize + serde::de::DeserializeOwned,
    {
        for value in values {
            let xml = Xml::with_root("v");
            let written = [
                stored(Json, 1, value),
                stored(MessagePack, 1, value),
                stored(Cbor, 1, value),
                stored(xml, 1, value),
            ];
            for (writer, bytes) in written.iter().enumerate() {
                let taken = [
                    read::<T, _>(Json, bytes).is_ok(),
                    read::<T, _>(MessagePack, bytes).is_ok(),
                    read::<T, _>(Cbor, bytes).is_ok(),
                    read::<T, _>(xml, bytes).is_ok(),
                ];
                let own: [bool; 4] = std::array::from_fn(|reader| reader == writer);
                assert_eq!(taken, own, "{value:?} written by {writer}");
            }
        }
    }
    check(&[0_u64, 1, 0x31, 0x61, 127, 255, 65535]);
    check(&["a".to_owned(), "1".to_owned()]);
    check(&orders());
}

#[test]
fn raw_bytes_of_a_binary_format_are_no_value_of_ours() {
    let mut raw = Vec::new();
    ciborium::into_writer(&7_u64, &mut raw).unwrap();
    assert_refused(read::<u64, _>(Cbor, &raw));
    assert_refused(read::<u64, _>(MessagePack, &rmp_serde::to_vec(&7_u64).unwrap()));
    assert_refused(read::<u64, _>(Xml::default(), b"7"));
}

#[test]
fn bytes_behind_a_value_are_refused() {
    for tail in ["0", "x", "\u{1}"] {
        let longer = |mut stored: Vec<u8>| {
            stored.extend(tail.as_bytes());
            stored
        };
        let order = &orders()[1];
        assert_refused(read::<Order, _>(Json, &longer(stored(Json, 1, order))));
        assert_refused(read::<Order, _>(Json, &longer(stored(Json, 2, order))));
        assert_refused(read::<Order, _>(
            MessagePack,
            &longer(stored(MessagePack, 1, order)),
        ));
        assert_refused(read::<Order, _>(Cbor, &longer(stored(Cbor, 1, order))));
    }
}

#[test]
fn a_cut_value_is_refused() {
    let order = &orders()[1];
    fn check<C: Codec<Order> + Clone>(codec: C, stored: &[u8]) {
        for end in 0..stored.len() {
            assert!(
                read::<Order, _>(codec.clone(), &stored[..end]).is_err(),
                "{codec:?} took {end} of {} bytes",
                stored.len()
            );
        }
    }
    check(Json, &stored(Json, 1, order));
    check(Xml::default(), &stored(Xml::default(), 1, order));
    check(MessagePack, &stored(MessagePack, 1, order));
    check(Cbor, &stored(Cbor, 1, order));
}

#[test]
fn the_first_schema_is_stored_bare_and_a_later_one_is_still_text() {
    #[derive(Serialize, Deserialize)]
    struct Cart {
        items: u32,
    }
    let cart = Cart { items: 2 };
    let text = |stored: Vec<u8>| String::from_utf8(stored).unwrap();
    assert_eq!(text(stored(Json, 1, &cart)), r#"{"items":2}"#);
    assert_eq!(
        text(stored(Json, 2, &cart)),
        r#"{"schema_version":2,"state":{"items":2}}"#
    );
    let xml = Xml::default();
    assert_eq!(text(stored(xml, 1, &cart)), "<Cart><items>2</items></Cart>");
    assert_eq!(
        text(stored(xml, 2, &cart)),
        r#"<?statestore schema="2"?><Cart><items>2</items></Cart>"#
    );
}

#[test]
fn a_state_that_looks_like_an_envelope_is_not_opened() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Lookalike {
        schema_version: u32,
        state: u32,
    }
    let value = Lookalike {
        schema_version: 9,
        state: 8,
    };
    assert_eq!(
        read::<Lookalike, _>(Json, &stored(Json, 1, &value)).unwrap(),
        value
    );
}

#[test]
fn what_xml_cannot_hold_is_refused_when_it_is_written() {
    let typed = Typed::<Order, _>::with_codec(MemoryStore::new(), Xml::default());
    for customer in ["\u{0}", "a\u{1}b"] {
        let order = Order {
            customer: customer.to_owned(),
            ..Order::default()
        };
        if let Ok(stored) = typed.encode(&key(), &order) {
            assert_eq!(typed.decode(&key(), &stored).unwrap(), order, "{customer:?}");
        }
    }
    // A map has no root element's name, and a number no element.
    let map = Typed::<BTreeMap<String, u32>, _>::with_codec(MemoryStore::new(), Xml::default());
    assert_refused(map.encode(&key(), &BTreeMap::from([("a".to_owned(), 1)])));
}

#[tokio::test]
async fn an_error_names_the_key_and_never_shows_the_value() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Other {
        customer: u64,
    }
    let order = &orders()[1];
    let whole = |error: Error| {
        let mut text = format!("{error:?}");
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = next {
            text += &format!(" | {error}");
            next = error.source();
        }
        text
    };
    for error in [
        read::<Other, _>(Json, &stored(Json, 1, order)),
        read::<Other, _>(Xml::default(), &stored(Xml::default(), 1, order)),
        read::<Other, _>(MessagePack, &stored(MessagePack, 1, order)),
        read::<Other, _>(Cbor, &stored(Cbor, 1, order)),
    ]
    .map(|result| whole(result.unwrap_err()))
    {
        assert!(error.contains("user-42/order"), "{error}");
        assert!(!error.contains("Zo"), "{error}");
    }
    let missing = read::<Line, _>(Json, b"{}").unwrap_err();
    assert!(
        whole(missing).contains("missing field `item` (line 1"),
        "what is missing helps"
    );
}

#[tokio::test]
async fn an_upgrade_knows_the_schema_and_its_error_is_kept() {
    let store = MemoryStore::new();
    let of = |schema| {
        Typed::<u64, _>::with_codec(store.clone(), MessagePack).with_schema(schema, |old| {
            match old.schema() {
                1 => Ok(old.decode::<String>()?.parse()?),
                2 => Ok(old.decode::<u64>()? * 10),
                other => Err(format!("no way up from {other}").into()),
            }
        })
    };
    let first = Typed::<String, _>::with_codec(store.clone(), MessagePack);
    first
        .put(&key(), &"7".to_owned(), Default::default())
        .await
        .unwrap();
    assert_eq!(of(3).get(&key()).await.unwrap().unwrap().value, 7);
    of(2).put(&key(), &5, Default::default()).await.unwrap();
    assert_eq!(of(3).get(&key()).await.unwrap().unwrap().value, 50);
    of(3).put(&key(), &5, Default::default()).await.unwrap();
    assert_refused(of(4).get(&key()).await);
    let before = store.get(&key(), Default::default()).await.unwrap();
    assert_refused(of(4).update(&key(), |_| Ok(())).await);
    assert_eq!(store.get(&key(), Default::default()).await.unwrap(), before);
    // A newer one than the program knows.
    assert_refused(of(2).get(&key()).await);
}
