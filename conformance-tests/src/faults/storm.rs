use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use statestore_api::{Error, GetOptions, Key, StateStore, StateStoreExt as _, WriteId};

use super::FaultSubject;
use crate::expect::ok;
use crate::proxy::{Fault, RandomFaults};

const CLIENTS: usize = 48;
const INCREMENTS: u64 = 6;
const CUTS: u32 = 12;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Many clients count up, each on a key of its own, while all connections are cut again and again and half of the new
/// ones are refused. Each increment is applied once, and when the storm is over everything works on as before, with no
/// more connections than clients.
///
/// # Panics
/// When that is not so.
pub async fn storm(subject: FaultSubject) {
    let subject = Arc::new(subject);
    let partition = format!("s-{}", WriteId::new());
    let seed = fastrand::u64(..);
    subject.proxy.inject_randomly(Some(RandomFaults {
        seed,
        percent: 50,
        within: 3,
        faults: vec![Fault::Refuse, Fault::LoseReply, Fault::CutRequest],
    }));
    let clients = (0..CLIENTS).map(|number| {
        let (subject, partition) = (subject.clone(), partition.clone());
        tokio::spawn(async move {
            let store = subject.store(TIMEOUT, true).await;
            let key = ok("a key", Key::new(partition, number.to_string()));
            let uncertain = count_up(&*store, &key).await;
            (store, key, uncertain)
        })
    });
    let clients: Vec<_> = clients.collect();
    for _ in 0..CUTS {
        tokio::time::sleep(Duration::from_millis(30)).await;
        subject.proxy.cut_all();
    }
    // The seed says which connections met which fault.
    let clients = join_all(clients).await.into_iter();
    let clients: Vec<_> = clients
        .map(|client| client.unwrap_or_else(|error| panic!("seed {seed}: {error}")))
        .collect();
    subject.proxy.inject_randomly(None);
    for (store, key, uncertain) in &clients {
        let entry = ok(
            "reading on when it is over",
            store.get(key, GetOptions::default()).await,
        );
        let entry = entry.unwrap_or_else(|| panic!("seed {seed}: {key} is gone"));
        let count: u64 = String::from_utf8_lossy(&entry.value).parse().unwrap_or(0);
        assert!(
            (INCREMENTS - uncertain..=INCREMENTS).contains(&count),
            "seed {seed}: {key} counts {count}, after {INCREMENTS} increments of which {uncertain} are uncertain"
        );
    }
    let counts = subject.proxy.counts();
    assert!(counts.open_connections <= CLIENTS as u64, "seed {seed}: {counts}");
    for (_, key, _) in &clients {
        // What cannot be deleted stays, which disturbs nobody.
        drop(
            subject
                .direct()
                .await
                .delete(key, statestore_api::Precondition::None.into())
                .await,
        );
    }
}

/// Returns how many increments may or may not have been applied.
async fn count_up(store: &dyn StateStore, key: &Key) -> u64 {
    let mut uncertain = 0;
    let mut done = 0;
    while done < INCREMENTS {
        let Ok(entry) = store.get(key, GetOptions::default()).await else {
            continue;
        };
        let count: u64 = entry.as_ref().map_or(0, |entry| {
            String::from_utf8_lossy(&entry.value).parse().unwrap_or(0)
        });
        let version = entry.as_ref().map(|entry| &entry.version);
        match store.compare_and_set(key, version, (count + 1).to_string()).await {
            Ok(_) => done += 1,
            Err(Error::Conflict(conflict)) => panic!("nobody else writes: {conflict:?}"),
            Err(error) if error.may_have_applied() => {
                uncertain += 1;
                done += 1;
            }
            Err(error) if error.is_retryable() => {}
            Err(error) => panic!("an error that should not be: {error} ({error:?})"),
        }
    }
    uncertain
}
