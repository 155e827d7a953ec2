//! Values: bytes that read back as they were written.

use std::time::Duration;

use statestore_api::{Bytes, Capabilities, Consistency, Error, PutOptions, StateStore as _, Ttl};

use crate::Subject;

/// A missing key is `None`, never an error.
pub async fn a_missing_key_is_none(subject: &Subject) {
    subject.assert_absent(&subject.key("missing")).await;
}

/// A value is bytes, whatever they are.
pub async fn a_value_reads_back_as_written(subject: &Subject) {
    let all_bytes: Vec<u8> = (0..=u8::MAX).collect();
    let values: [(&str, &[u8]); 8] = [
        ("one byte", b"x"),
        ("zero byte", b"\0"),
        (
            "json",
            br#"{"items":[{"sku":"A-1","n":2,"price":19.99}],"note":null}"#,
        ),
        (
            "xml",
            "<cart user=\"42\"><item>Äpfel &amp; Birnen</item></cart>".as_bytes(),
        ),
        ("unicode", "naïve 日本 🛒 \u{10FFFF}".as_bytes()),
        ("every byte", &all_bytes),
        ("not utf-8", b"\xff\xfe\xc3\x28 text \xed\xa0\x80"),
        ("white space", b"  \r\n\t "),
    ];
    for (id, value) in values {
        let key = subject.key(id);
        let put = subject
            .store()
            .put(&key, Bytes::copy_from_slice(value), Default::default())
            .await;
        put.unwrap_or_else(|error| panic!("{id}: {error}"));
    }
    for (id, value) in values {
        assert_eq!(subject.entry(&subject.key(id)).await.value, value, "{id}");
    }
}

/// A value may have no bytes.
pub async fn an_empty_value_is_not_a_missing_one(subject: &Subject) {
    let key = subject.key("empty");
    subject.put(&key, "").await;
    assert_eq!(subject.entry(&key).await.value, "");
    subject.put(&key, "x").await;
    subject.put(&key, "").await;
    assert_eq!(subject.entry(&key).await.value, "");
}

/// A put writes the whole value.
pub async fn put_replaces_the_value(subject: &Subject) {
    let key = subject.key("replaced");
    for value in [
        "a longer value than the next",
        "short",
        "text again",
        "\u{0}\u{1}",
    ] {
        subject.put(&key, value).await;
        subject.assert_value(&key, value).await;
    }
}

/// Sizes at which services split, compress or refuse.
pub async fn sizes_around_the_services_boundaries_are_kept(subject: &Subject) {
    let limit = subject.store().capabilities().max_value_bytes;
    let boundaries = [
        1500,
        4 << 10,
        32 << 10,
        64 << 10,
        128 << 10,
        Capabilities::PORTABLE_VALUE_BYTES,
        1 << 20,
    ];
    let sizes = boundaries
        .into_iter()
        .flat_map(|size| [size - 1, size, size + 1])
        .filter(|size| *size <= limit);
    let key = subject.key("sized");
    // Text and binary, since stores may keep them differently; larger and smaller in turn.
    for size in sizes {
        for pattern in [&b"The quick brown fox. "[..], &[0x00, 0xff, 0xc3, 0x28]] {
            let mut value = pattern.repeat(size.div_ceil(pattern.len()));
            value.truncate(size);
            let value = Bytes::from(value);
            let put = subject.store().put(&key, value.clone(), Default::default()).await;
            put.unwrap_or_else(|error| panic!("{size} bytes: {error}"));
            assert!(
                subject.entry(&key).await.value == value,
                "{size} bytes read back differently"
            );
        }
    }
}

/// A value may have [`max_value_bytes`](Capabilities::max_value_bytes), of any content.
pub async fn the_largest_value_is_kept(subject: &Subject) {
    let limit = subject.store().capabilities().max_value_bytes;
    for (id, byte) in [("text", b'x'), ("binary", 0xff)] {
        for size in [limit - 1, limit] {
            let value = Bytes::from(vec![byte; size]);
            let key = subject.key(id);
            let put = subject.store().put(&key, value.clone(), Default::default()).await;
            put.unwrap_or_else(|error| panic!("{size} bytes of {id}: {error}"));
            assert!(
                subject.entry(&key).await.value == value,
                "{size} bytes of {id} read back differently"
            );
        }
    }
}

/// Over [`max_value_bytes`](Capabilities::max_value_bytes) it is [`Error::ValueTooLarge`].
pub async fn a_larger_value_is_refused_and_changes_nothing(subject: &Subject) {
    let limit = subject.store().capabilities().max_value_bytes;
    let key = subject.key("large");
    subject.put(&key, "small").await;
    let before = subject.entry(&key).await;
    let put = subject
        .store()
        .put(&key, vec![b'x'; limit + 1].into(), Default::default())
        .await;
    match put {
        Err(Error::ValueTooLarge { size, limit: named }) => assert_eq!((size, named), (limit + 1, limit)),
        other => panic!("{} bytes should be refused as too large: {other:?}", limit + 1),
    }
    assert_eq!(subject.entry(&key).await, before);
}

/// What a read returned is the caller's own.
pub async fn changing_a_returned_buffer_changes_nothing(subject: &Subject) {
    let key = subject.key("buffer");
    subject.put(&key, "original").await;
    if let Ok(mut buffer) = subject.entry(&key).await.value.try_into_mut() {
        buffer.fill(b'#');
    }
    subject.assert_value(&key, "original").await;
}

/// After a delete the key is gone, for good.
pub async fn a_deleted_key_is_none(subject: &Subject) {
    let key = subject.key("deleted");
    subject.put(&key, "x").await;
    subject.delete(&key).await;
    subject.assert_absent(&key).await;
}

/// A delete without a condition has nothing to fail on.
pub async fn deleting_a_missing_key_succeeds(subject: &Subject) {
    let key = subject.key("missing");
    subject.delete(&key).await;
    subject.put(&key, "x").await;
    subject.delete(&key).await;
    subject.delete(&key).await;
    subject.assert_absent(&key).await;
}

/// A key can be used again, and has nothing of what it was.
pub async fn delete_then_put_starts_afresh(subject: &Subject) {
    let key = subject.key("reborn");
    let hour = Ttl::After(Duration::from_secs(3600));
    subject.put_with(&key, "first", PutOptions::expiring(hour)).await;
    subject.delete(&key).await;
    subject.put(&key, "second").await;
    let entry = subject.assert_value(&key, "second").await;
    assert_eq!(entry.expires_at, None);
}

/// A read sees every write that was acknowledged before it began, from any task.
pub async fn an_acknowledged_write_is_seen_by_the_next_read(subject: &Subject) {
    let key = subject.key("read-your-writes");
    for round in 0..20 {
        let value = round.to_string();
        subject.put(&key, &value).await;
        let (store, read_key) = (subject.store().clone(), key.clone());
        let read = tokio::spawn(async move { store.get(&read_key, Default::default()).await });
        let entry = read
            .await
            .expect("the task ends")
            .expect("the read succeeds")
            .expect("the key is there");
        assert_eq!(entry.value, value);
        if round % 5 == 4 {
            subject.delete(&key).await;
            subject.assert_absent(&key).await;
        }
    }
}

/// An eventual read may miss the last writes, but is never wrong about what it shows.
pub async fn an_eventual_read_is_answered(subject: &Subject) {
    let key = subject.key("eventual");
    subject.put(&key, "one").await;
    subject.put(&key, "two").await;
    let got = subject
        .store()
        .get(&key, Consistency::Eventual.into())
        .await
        .expect("the read succeeds");
    if let Some(entry) = got {
        assert!(
            entry.value == "one" || entry.value == "two",
            "neither value was read"
        );
    }
}
