use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statestore::{Error, ErrorKind, PutOptions, Ttl, Typed, UpdateOptions};
use statestore_conformance::Subject;

use crate::network::Network;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
}

fn carts(subject: &Subject) -> Typed<Cart> {
    Typed::new(Arc::clone(subject.store()))
}

fn cart(item: &str) -> Cart {
    Cart {
        items: vec![item.to_owned()],
    }
}

/// Many tasks, each of which adds an item of its own.
async fn all_add(carts: &Typed<Cart>, key: &statestore::Key, tasks: usize) {
    let adding: Vec<_> = (0..tasks)
        .map(|task| {
            let options = UpdateOptions::default().with_max_attempts(1000);
            let (carts, key) = (carts.clone().with_update_options(options), key.clone());
            tokio::spawn(async move {
                let added = carts.update(&key, |cart| {
                    cart.get_or_insert_default().items.push(task.to_string());
                    Ok(())
                });
                added.await
            })
        })
        .collect();
    for task in adding {
        task.await.unwrap().unwrap();
    }
    let mut items = carts.get(key).await.unwrap().unwrap().value.items;
    items.sort_by_key(|item| item.parse::<usize>().unwrap());
    assert_eq!(items, (0..tasks).map(|task| task.to_string()).collect::<Vec<_>>());
}

pub(crate) async fn a_value_comes_back_with_its_version(subject: &mut Subject, _: Network) {
    let (carts, key) = (carts(subject), subject.key("cart"));
    assert_eq!(carts.get(&key).await.unwrap(), None);
    let first = carts.compare_and_set(&key, None, &cart("lamp")).await.unwrap();
    let read = carts.get(&key).await.unwrap().unwrap();
    assert_eq!((read.value, read.version), (cart("lamp"), first.clone()));

    carts
        .compare_and_set(&key, Some(&first), &cart("chair"))
        .await
        .unwrap();
    for stale in [Some(&first), None] {
        let error = carts
            .compare_and_set(&key, stale, &cart("table"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(carts.get(&key).await.unwrap().unwrap().value, cart("chair"));
    subject.assert_value(&key, r#"{"items":["chair"]}"#).await;

    carts.delete(&key, Default::default()).await.unwrap();
    subject.assert_absent(&key).await;
}

pub(crate) async fn updates_at_once_are_all_kept(subject: &mut Subject, _: Network) {
    all_add(&carts(subject), &subject.key("cart"), 16).await;
}

pub(crate) async fn what_does_not_decode_is_left_as_it_is(subject: &mut Subject, _: Network) {
    let (carts, key) = (carts(subject), subject.key("cart"));
    let version = subject.put(&key, r#"{"goods":["secret lamp"]}"#).await;
    let mut called = false;
    let updated = carts.update(&key, |cart| {
        called = true;
        *cart = Some(Cart::default());
        Ok(())
    });
    let error = updated.await.unwrap_err();
    assert!(matches!(error, Error::Codec { .. }), "{error}");
    assert!(!called, "the function has nothing to decide on");
    assert_eq!(carts.get(&key).await.unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(subject.entry(&key).await.version, version);
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

pub(crate) async fn an_update_that_changes_nothing_writes_nothing(subject: &mut Subject, _: Network) {
    let (carts, key) = (carts(subject), subject.key("cart"));
    let version = carts.put(&key, &cart("lamp"), Default::default()).await.unwrap();
    let count = carts.update(&key, |cart| Ok(cart.as_ref().map_or(0, |cart| cart.items.len())));
    assert_eq!(count.await.unwrap(), 1);
    assert_eq!(subject.entry(&key).await.version, version);

    let missing = subject.key("missing");
    carts.update(&missing, |_| Ok(())).await.unwrap();
    subject.assert_absent(&missing).await;

    // Nothing left is a delete.
    carts.update(&key, |cart| Ok(cart.take())).await.unwrap();
    subject.assert_absent(&key).await;
}

pub(crate) async fn an_update_keeps_the_expiry(subject: &mut Subject, _: Network) {
    let (carts, key) = (carts(subject), subject.key("cart"));
    let hour = Duration::from_secs(3600);
    carts
        .put(&key, &cart("lamp"), PutOptions::expiring(Ttl::After(hour)))
        .await
        .unwrap();
    let before = subject.entry(&key).await.expires_at;
    let add = |carts: Typed<Cart>| {
        let key = key.clone();
        async move {
            let add = carts.update(&key, |cart| {
                cart.get_or_insert_default().items.push("chair".to_owned());
                Ok(())
            });
            add.await.unwrap();
        }
    };
    add(carts.clone()).await;
    assert_eq!(subject.entry(&key).await.expires_at, before);
    add(carts.with_ttl(Ttl::After(2 * hour))).await;
    assert!(subject.entry(&key).await.expires_at > before);
}

pub(crate) async fn an_old_schema_is_upgraded(subject: &mut Subject, _: Network) {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Counted {
        items: Vec<(String, u32)>,
    }

    let key = subject.key("cart");
    let (old, new) = (
        carts(subject),
        Typed::<Counted>::new(Arc::clone(subject.store())).with_schema(3, |old| {
            assert_eq!(old.schema(), 1);
            let cart: Cart = old.decode()?;
            let items = cart.items.into_iter().map(|item| (item, 1)).collect();
            Ok(Counted { items })
        }),
    );
    old.put(&key, &cart("lamp"), Default::default()).await.unwrap();
    let upgraded = Counted {
        items: vec![("lamp".to_owned(), 1)],
    };
    assert_eq!(new.get(&key).await.unwrap().unwrap().value, upgraded);
    subject.assert_value(&key, r#"{"items":["lamp"]}"#).await;

    // An update writes it in the new schema, and an old program then keeps its hands off.
    new.update(&key, |_| Ok(())).await.unwrap();
    assert_eq!(new.get(&key).await.unwrap().unwrap().value, upgraded);
    let written = subject.entry(&key).await;
    assert_eq!(
        written.value,
        r#"{"schema_version":3,"state":{"items":[["lamp",1]]}}"#
    );
    let error = old
        .update(&key, |cart| {
            *cart = Some(Cart::default());
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert_eq!(subject.entry(&key).await.version, written.version);
}

pub(crate) async fn updates_are_applied_once_although_replies_are_lost(
    subject: &mut Subject,
    network: Network,
) {
    let key = subject.key("cart");
    let instance = network.instance(7).await;
    let carts = Typed::<Cart>::new(instance.store());
    for item in 0..30 {
        let added = carts.update(&key, |cart| {
            cart.get_or_insert_default().items.push(item.to_string());
            Ok(())
        });
        added.await.unwrap();
    }
    let items = carts.get(&key).await.unwrap().unwrap().value.items;
    assert_eq!(items, (0..30).map(|item| item.to_string()).collect::<Vec<_>>());
    assert!(instance.faults() > 3);
}
