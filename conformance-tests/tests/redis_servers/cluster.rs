use statestore_conformance::servers::redis::{RedisCluster, slot_of};

use super::*;

async fn start() -> RedisCluster {
    RedisCluster::start(RedisOptions::default()).await.unwrap()
}

/// The nodes' places whose answer to this command is this.
async fn places_where(cluster: &RedisCluster, words: &str, answer: &str) -> Vec<usize> {
    let mut places = Vec::new();
    for (place, node) in cluster.nodes().iter().enumerate() {
        let words: Vec<_> = words.split(' ').collect();
        if matches!(node.command(&words).await, Ok(reply) if reply.text() == answer) {
            places.push(place);
        }
    }
    places
}

#[tokio::test]
async fn a_cluster_is_whole_when_it_has_started() {
    let before = Instant::now();
    let cluster = start().await;
    println!("started in {:?}", before.elapsed());
    let url = cluster.url();
    assert!(
        url.starts_with(&format!(
            "redis-cluster://{},127.0.0.1:",
            cluster.nodes()[0].addr()
        )),
        "{url}"
    );
    for key in ["a", "b", "c"] {
        let primary = cluster.primary_of(key).await.unwrap();
        assert_eq!(command(primary, &format!("SET {key} {key}")).await, "OK");
        let set = places_where(&cluster, &format!("SET {key} {key}"), "OK").await;
        assert_eq!(cluster.nodes()[set[0]].addr(), primary.addr());
        assert_eq!(set.len(), 1, "one node takes it, the others say MOVED");
        assert!(cluster.replica_of(primary).await.unwrap().is_some());
    }
    let before = Instant::now();
    drop(cluster);
    println!("ended in {:?}", before.elapsed());
}

#[tokio::test]
async fn a_replica_takes_over_from_a_killed_primary_which_comes_back_as_its_replica() {
    let cluster = start().await;
    let old = cluster.primary_of("a").await.unwrap();
    let replica = cluster.replica_of(old).await.unwrap().unwrap();
    command(old, "SET a 1").await;
    cluster.wait_until_whole().await.unwrap();

    let before = Instant::now();
    old.kill().unwrap();
    cluster.wait_for_failover(old).await.unwrap();
    println!("failed over in {:?}", before.elapsed());
    let new = cluster.primary_of("a").await.unwrap();
    assert_eq!(new.addr(), replica.addr());
    command(new, "SET a 2").await;

    let before = Instant::now();
    old.restart().await.unwrap();
    cluster.wait_until_whole().await.unwrap();
    println!("whole again in {:?}", before.elapsed());
    assert_eq!(cluster.primary_of("a").await.unwrap().addr(), new.addr());
    assert_eq!(cluster.replica_of(new).await.unwrap().unwrap().addr(), old.addr());
    assert!(refusal(old, "GET a").await.starts_with("MOVED "));
}

#[tokio::test]
async fn a_replica_takes_over_from_a_suspended_primary() {
    let cluster = start().await;
    let old = cluster.primary_of("a").await.unwrap();
    old.suspend().unwrap();
    cluster.wait_for_failover(old).await.unwrap();
    let new = cluster.primary_of("a").await.unwrap();
    assert_ne!(new.addr(), old.addr());
    old.resume().unwrap();
    cluster.wait_until_whole().await.unwrap();
    assert_eq!(cluster.primary_of("a").await.unwrap().addr(), new.addr());
}

#[tokio::test]
async fn slots_migrate_with_their_keys() {
    let cluster = start().await;
    let slot = slot_of("{t}");
    let from = cluster.primary_of_slot(slot).await.unwrap();
    let mut primaries = cluster.nodes()[..3].iter();
    let to = primaries.find(|node| node.addr() != from.addr()).unwrap();
    for number in 0..250 {
        command(from, &format!("SET {{t}}{number} {number}")).await;
    }

    let migration = cluster.start_migration(slot, to).await.unwrap();
    assert_eq!(
        (migration.from().addr(), migration.to().addr()),
        (from.addr(), to.addr())
    );
    migration.move_keys(&["{t}1", "{t}missing"]).await.unwrap();
    assert_eq!(command(from, "GET {t}2").await, "2");
    assert!(refusal(from, "GET {t}1").await.starts_with("ASK "));
    assert!(refusal(from, "MGET {t}1 {t}2").await.starts_with("TRYAGAIN "));
    migration.move_all().await.unwrap();
    migration.finish().await.unwrap();

    for number in 0..250 {
        assert_eq!(
            command(to, &format!("GET {{t}}{number}")).await,
            number.to_string()
        );
    }
    assert!(refusal(from, "GET {t}1").await.starts_with("MOVED "));
    assert_eq!(cluster.primary_of_slot(slot).await.unwrap().addr(), to.addr());

    cluster.migrate_slot(slot, to).await.unwrap();
    cluster.migrate_slot(slot, from).await.unwrap();
    assert_eq!(command(from, "GET {t}249").await, "249");
    cluster.wait_until_whole().await.unwrap();
}

#[tokio::test]
async fn a_cluster_has_users_and_tls() {
    let options = RedisOptions::default().tls().user("app", "pw", "~* +@all");
    let cluster = RedisCluster::start(options).await.unwrap();
    let url = cluster.url();
    let first = &cluster.nodes()[0];
    assert!(
        url.starts_with(&format!("rediss-cluster://app:pw@{},127.0.0.1:", first.addr())),
        "{url}"
    );
    let port = first.addr().port().to_string();
    let ca = first.ca_file().unwrap().to_str().unwrap();
    let as_app = |words: &[&str]| {
        let user = ["--user", "app", "--pass", "pw", "--no-auth-warning"];
        let tls = ["-c", "-p", &port, "--tls", "--cacert", ca];
        redis_cli(&[&tls[..], &user, words].concat())
    };
    // With -c the client follows to each key's node, over TLS.
    for key in ["a", "b", "c", "d", "e"] {
        assert_eq!(as_app(&["SET", key, "1"]).lines().last(), Some("OK"));
    }
    let slot = slot_of("a");
    let from = cluster.primary_of_slot(slot).await.unwrap();
    let mut primaries = cluster.nodes()[..3].iter();
    let to = primaries.find(|node| node.addr() != from.addr()).unwrap();
    cluster.migrate_slot(slot, to).await.unwrap();
    assert_eq!(command(to, "GET a").await, "1");

    to.kill().unwrap();
    cluster.wait_for_failover(to).await.unwrap();
    to.restart().await.unwrap();
    cluster.wait_until_whole().await.unwrap();
}

#[tokio::test]
async fn its_futures_can_be_spawned() {
    let spawned = tokio::spawn(async {
        let cluster = RedisCluster::shared().await?;
        cluster.wait_until_whole().await?;
        let primary = cluster.primary_of("a").await?;
        cluster.migrate_slot(slot_of("a"), primary).await?;
        if cluster.nodes().is_empty() {
            cluster.wait_for_failover(primary).await?;
        }
        Ok::<_, ServerError>(cluster.url())
    });
    assert_eq!(
        spawned.await.unwrap().unwrap(),
        RedisCluster::shared().await.unwrap().url()
    );
}
