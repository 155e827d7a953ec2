//! Damaged files, and those that are none of a store.

use super::*;

#[tokio::test]
async fn an_empty_file_is_refused() {
    let place = Place::new();
    fs::write(place.path(), b"").unwrap();
    refused(&place.path(), ErrorKind::Corrupt, "remove it").await;
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let text = b"[store]\nurl = \"memory:\"\n".repeat(500);
    for content in [
        &b"x"[..],
        b"redb",
        b"redb\x1a\x0a\xa9\x0d\x0a",
        b"\0",
        &[0; 100_000],
        &text,
    ] {
        let place = Place::new();
        fs::write(place.path(), content).unwrap();
        refused(&place.path(), ErrorKind::Corrupt, "").await;
    }
}

#[tokio::test]
async fn a_database_of_something_else_is_refused() {
    const TABLE: TableDefinition<'_, &str, u64> = TableDefinition::new("entries");
    for crash in [false, true] {
        let place = Place::new();
        let database = Database::create(place.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(TABLE)
            .unwrap()
            .insert("format", 1)
            .unwrap();
        transaction.commit().unwrap();
        let path = match crash {
            // As a crash leaves it, so that opening it would repair it.
            true => {
                let copy = place.directory.path().join("copy.redb");
                fs::copy(place.path(), &copy).unwrap();
                copy
            }
            false => place.path(),
        };
        drop(database);
        refused(&path, ErrorKind::Corrupt, "something else").await;
        Database::open(path).unwrap();
    }
}

#[tokio::test]
async fn a_format_of_the_future_is_refused() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("statestore");
    let place = Place::with_entries(3).await;
    let database = Database::open(place.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    refused(&place.path(), ErrorKind::Corrupt, "format 2").await;
}

#[tokio::test]
async fn other_tables_are_refused() {
    const ENTRIES: TableDefinition<'_, &str, u64> = TableDefinition::new("entries");
    const OURS: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("entries");
    for other in [false, true] {
        let place = Place::with_entries(3).await;
        let database = Database::open(place.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.delete_table(OURS).unwrap();
        if other {
            transaction.open_table(ENTRIES).unwrap().insert("x", 1).unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        refused(&place.path(), ErrorKind::Corrupt, "other tables").await;
    }
}

#[tokio::test]
async fn an_entry_of_an_unknown_format_is_refused_and_left_as_it_is() {
    const ENTRIES: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("entries");
    let place = Place::with_entries(3).await;
    let database = Database::open(place.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    let strange = (&b"p"[..], &b"00001"[..]);
    transaction
        .open_table(ENTRIES)
        .unwrap()
        .insert(strange, &b"\x09secret"[..])
        .unwrap();
    transaction.commit().unwrap();
    drop(database);

    let store = place.open().await;
    let strange_key = key(1);
    let put = || store.put(&strange_key, value(1), Default::default());
    let errors = [
        store.get(&strange_key, Default::default()).await.unwrap_err(),
        put().await.unwrap_err(),
        store.delete(&strange_key, Default::default()).await.unwrap_err(),
        store.list_page("p", Default::default()).await.unwrap_err(),
        store
            .resolve(&strange_key, WriteId::new(), &Precondition::None)
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(
            error.to_string().contains("`p/00001`") && error.to_string().contains("format 9"),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("secret"));
    }
    // The others are not touched by it.
    for n in [0, 2] {
        assert_eq!(
            store
                .get(&key(n), Default::default())
                .await
                .unwrap()
                .unwrap()
                .value,
            value(n)
        );
    }
    store.close().await.unwrap();
    let database = Database::open(place.path()).unwrap();
    let entries = database.begin_read().unwrap().open_table(ENTRIES).unwrap();
    assert_eq!(entries.get(strange).unwrap().unwrap().value(), b"\x09secret");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let place = Place::with_entries(300).await;
    let whole = fs::read(place.path()).unwrap();
    let mut rng = Rng::with_seed(3);
    let lengths = [
        1,
        9,
        10,
        320,
        4095,
        4096,
        4097,
        whole.len() - 4096,
        whole.len() - 1,
    ];
    for len in lengths
        .into_iter()
        .chain((0..20).map(|_| rng.usize(1..whole.len())))
    {
        fs::write(place.path(), &whole[..len]).unwrap();
        refused(&place.path(), ErrorKind::Corrupt, "").await;
    }
    fs::write(place.path(), &whole).unwrap();
    has(&place.open().await, 300).await;
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_whole() {
    let place = Place::with_entries(300).await;
    let whole = fs::read(place.path()).unwrap();
    let mut refusals = 0;
    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        let mut damaged = whole.clone();
        // Mostly in the header and the first pages, where there is something to damage.
        let end = [400, 4096 * 8, whole.len()][rng.usize(..3)];
        match rng.bool() {
            true => damaged[rng.usize(..end)] ^= 1 << rng.u8(..8),
            false => {
                let start = rng.usize(..end);
                let end = whole.len().min(start + 512);
                rng.fill(&mut damaged[start..end]);
            }
        }
        fs::write(place.path(), &damaged).unwrap();
        match EmbeddedStore::open(place.path()).await {
            Ok(store) => {
                has(&store, 300).await;
                let page = store
                    .list_page("p", ListOptions::default().with_page_size(1000))
                    .await
                    .unwrap();
                assert_eq!(page.items.len(), 300);
                store.close().await.unwrap();
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{seed}: {error}");
                assert!(
                    fs::read(place.path()).unwrap() == damaged,
                    "{seed}: the file was changed"
                );
                refusals += 1;
            }
        }
    }
    assert!(refusals > 20, "{refusals}");
}

#[tokio::test]
async fn damage_that_was_not_looked_for_is_met_without_a_panic() {
    let place = Place::with_entries(300).await;
    let whole = fs::read(place.path()).unwrap();
    let mut refusals = 0;
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let mut damaged = whole.clone();
        for _ in 0..4 {
            let start = rng.usize(4096..whole.len() - 256);
            rng.fill(&mut damaged[start..start + 256]);
        }
        fs::write(place.path(), &damaged).unwrap();
        let options = EmbeddedOptions::default().with_verify(false).with_cache_bytes(0);
        let mut check = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{seed}: {error}");
            refusals += 1;
        };
        let store = match EmbeddedStore::open_with(place.path(), options).await {
            Ok(store) => store,
            Err(error) => {
                check(error);
                continue;
            }
        };
        for n in (0..300).step_by(10) {
            match store.get(&key(n), Default::default()).await {
                Ok(entry) => assert!(entry.is_none_or(|entry| entry.value == value(n))),
                Err(error) => check(error),
            }
            if let Err(error) = store.put(&key(n), value(n), Default::default()).await {
                check(error);
            }
        }
        let _ = store.close().await;
    }
    assert!(refusals > 20, "{refusals}");
}

#[tokio::test]
async fn a_damaged_entry_is_found_without_verifying_the_file() {
    let place = Place::with_entries(50).await;
    let mut bytes = fs::read(place.path()).unwrap();
    let secret = value(7);
    let places: Vec<usize> = bytes
        .windows(secret.len())
        .enumerate()
        .filter(|(_, part)| *part == secret)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(place.path(), &bytes).unwrap();
    refused(&place.path(), ErrorKind::Corrupt, "restore it").await;
    let options = EmbeddedOptions::default().with_verify(false);
    let store = EmbeddedStore::open_with(place.path(), options).await.unwrap();
    let error = store.get(&key(7), Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(
        store
            .get(&key(8), Default::default())
            .await
            .unwrap()
            .unwrap()
            .value,
        value(8)
    );
}
