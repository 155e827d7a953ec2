use std::sync::Arc;
use std::time::Duration;

use statestore::patterns::{Sessions, TowerSessions};
use statestore_conformance::Subject;
use tower_sessions::Session;
use tower_sessions::session::Id;

use crate::network::Network;

const IDLE: Duration = Duration::from_secs(3600);

pub(crate) async fn clicks_at_once_are_all_kept(subject: &mut Subject, _: Network) {
    let sessions = Sessions::<Vec<u32>>::new(Arc::clone(subject.store()), IDLE);
    let id = sessions.start(&vec![]).await.unwrap();
    let clicks = (0..8).map(|click| {
        sessions.update(&id, move |cart| {
            cart.push(click);
            Ok(())
        })
    });
    for click in futures::future::join_all(clicks).await {
        assert_eq!(click.unwrap(), Some(()));
    }
    let mut cart = sessions.get(&id).await.unwrap().unwrap();
    cart.sort_unstable();
    assert_eq!(cart, (0..8).collect::<Vec<_>>());

    let new = sessions.change_id(&id).await.unwrap().unwrap();
    assert_eq!(sessions.get(&id).await.unwrap(), None);
    assert_eq!(sessions.get(&new).await.unwrap().unwrap().len(), 8);
    sessions.end(&new).await.unwrap();
    assert_eq!(sessions.update(&new, |_| Ok(())).await.unwrap(), None);
}

pub(crate) async fn a_session_expires_and_each_use_moves_that(subject: &mut Subject, _: Network) {
    let idle = Duration::from_secs(2);
    let sessions = Sessions::<u32>::new(Arc::clone(subject.store()), idle);
    let id = sessions.start(&1).await.unwrap();
    let first = subject.now() + idle;
    subject.wait_until(first - idle / 2).await;
    let second = subject.now() + idle;
    assert_eq!(sessions.get(&id).await.unwrap(), Some(1));
    subject.wait_until(first).await;
    // On a machine that was held up for long it may have expired rightly.
    if subject.now() < second - idle / 4 {
        assert_eq!(sessions.update(&id, |value| Ok(*value)).await.unwrap(), Some(1));
    }
    subject.wait_until(subject.now() + idle).await;
    assert_eq!(sessions.get(&id).await.unwrap(), None);
}

/// Requests of one visitor, each of which has read the session before any writes it.
async fn requests_at_once(store: TowerSessions) {
    let store = Arc::new(store);
    let visitor = Session::new(None, Arc::clone(&store), None);
    visitor.insert("cart", ["book"]).await.unwrap();
    visitor.save().await.unwrap();
    let request = |id: Option<Id>| Session::new(id, Arc::clone(&store), None);
    let requests: Vec<_> = (0..5).map(|_| request(visitor.id())).collect();
    for (item, request) in requests.iter().enumerate() {
        let mut cart = request.get::<Vec<String>>("cart").await.unwrap().unwrap();
        cart.push(item.to_string());
        request.insert("cart", cart).await.unwrap();
        request.insert(&format!("seen {item}"), true).await.unwrap();
    }
    let saved = futures::future::join_all(requests.iter().map(Session::save)).await;
    assert!(saved.iter().all(Result::is_ok), "{saved:?}");

    let later = request(visitor.id());
    let mut cart = later.get::<Vec<String>>("cart").await.unwrap().unwrap();
    cart.sort();
    assert_eq!(cart, ["0", "1", "2", "3", "4", "book"]);
    for item in 0..5 {
        assert_eq!(later.get(&format!("seen {item}")).await.unwrap(), Some(true));
    }
    later.save().await.unwrap();
    later.flush().await.unwrap();
    assert!(
        requests[0].save().await.is_err(),
        "an ended session is not brought back"
    );
    assert_eq!(request(requests[1].id()).get_value("cart").await.unwrap(), None);
}

pub(crate) async fn requests_of_tower_sessions_lose_nothing(subject: &mut Subject, _: Network) {
    requests_at_once(TowerSessions::new(Arc::clone(subject.store()))).await;
}

/// One after the other, since where others write in between, a store may not be able to tell.
pub(crate) async fn saves_are_applied_once_although_replies_are_lost(_: &mut Subject, network: Network) {
    let instance = network.instance(9).await;
    let store = Arc::new(TowerSessions::new(instance.store()));
    let visitor = Session::new(None, Arc::clone(&store), None);
    visitor.insert("cart", Vec::<u32>::new()).await.unwrap();
    visitor.save().await.unwrap();
    for item in 0..20 {
        let request = Session::new(visitor.id(), Arc::clone(&store), None);
        let mut cart = request.get::<Vec<u32>>("cart").await.unwrap().unwrap();
        cart.push(item);
        request.insert("cart", cart).await.unwrap();
        request.save().await.unwrap();
    }
    let request = Session::new(visitor.id(), store, None);
    let cart = request.get::<Vec<u32>>("cart").await.unwrap().unwrap();
    assert_eq!(cart, (0..20).collect::<Vec<_>>());
    assert!(instance.faults() > 3);
}
