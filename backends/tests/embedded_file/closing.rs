//! Closing, dropping, and calls that are dropped half way.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_finishes_what_is_under_way_and_releases_the_file() {
    for round in 0..20 {
        let place = Place::new();
        let store = place.open().await;
        let puts: Vec<_> = (0..50)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.put(&key(n), value(n), Default::default()).await })
            })
            .collect();
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        store.close().await.unwrap();
        let again = place.open().await;
        for (n, put) in puts.into_iter().enumerate() {
            let there = again.get(&key(n), Default::default()).await.unwrap();
            match put.await.unwrap() {
                Ok(version) => assert_eq!(there.unwrap().version, version),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                    assert!(there.is_none());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_closed_store_refuses_each_call_and_closes_again() {
    let place = Place::new();
    let store = place.open().await;
    let clone = store.clone();
    let (first, second) = (store.clone(), store.clone());
    let both = (
        tokio::spawn(async move { first.close().await }),
        tokio::spawn(async move { second.close().await }),
    );
    both.0.await.unwrap().unwrap();
    both.1.await.unwrap().unwrap();
    clone.close().await.unwrap();
    let key = key(0);
    let errors = [
        clone.ready().await.unwrap_err(),
        clone.get(&key, Default::default()).await.unwrap_err(),
        clone
            .get_many(std::slice::from_ref(&key), Default::default())
            .await
            .remove(0)
            .unwrap_err(),
        clone.put(&key, value(0), Default::default()).await.unwrap_err(),
        clone.delete(&key, Default::default()).await.unwrap_err(),
        clone
            .touch(&key, Ttl::None, Default::default())
            .await
            .unwrap_err(),
        clone
            .resolve(&key, WriteId::new(), &Precondition::None)
            .await
            .unwrap_err(),
        clone.list_page("p", Default::default()).await.unwrap_err(),
        clone.scan_page(Default::default()).await.unwrap_err(),
        clone
            .transact(vec![TransactOp::delete(key.clone())], Default::default())
            .await
            .unwrap_err(),
        clone.sweep().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(error.to_string().contains("closed"), "{error}");
    }
}

#[tokio::test]
async fn dropping_the_last_clone_releases_the_file() {
    let place = Place::new();
    let store = place.open().await;
    let clone = store.clone();
    fill(&store, 3).await;
    drop(store);
    has(&clone, 3).await;
    refused(&place.path(), ErrorKind::InUse, "").await;
    drop(clone);
    let deadline = Instant::now() + Duration::from_secs(10);
    let again = loop {
        match EmbeddedStore::open(place.path()).await {
            Ok(store) => break store,
            Err(error) => assert!(
                error.kind() == ErrorKind::InUse && Instant::now() < deadline,
                "{error}"
            ),
        }
    };
    has(&again, 3).await;
}

#[test]
fn a_store_outlives_the_runtime_that_opened_it() {
    let place = Place::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = runtime().block_on(async {
        let store = place.open().await;
        // Dropped half way by the end of the runtime.
        for n in 100..120 {
            let store = store.clone();
            tokio::spawn(async move { store.put(&key(n), value(n), Default::default()).await });
        }
        fill(&store, 3).await;
        store
    });
    runtime().block_on(has(&store, 3));
    runtime().block_on(store.close()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_dropped_half_way_poison_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let mut rng = Rng::with_seed(5);
    for n in 0..300 {
        let store = store.clone();
        let polls = rng.usize(0..4);
        let call = async move {
            let _ = store.put(&key(n % 10), value(n), Default::default()).await;
            let _ = store.get(&key(n % 10), Default::default()).await;
            let _ = store.list_page("p", Default::default()).await;
            let _ = store.sweep().await;
        };
        let mut call = Box::pin(call);
        for _ in 0..polls {
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(call.as_mut().poll(context).is_ready())
            });
            if polled.await {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    fill(&store, 20).await;
    has(&store, 20).await;
    store.close().await.unwrap();
    has(&place.open().await, 20).await;
}
