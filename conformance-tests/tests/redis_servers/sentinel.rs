use statestore_conformance::servers::redis::RedisSentinel;

use super::*;

async fn start(options: RedisOptions) -> RedisSentinel {
    let before = Instant::now();
    let sentinel = RedisSentinel::start(options).await.unwrap();
    println!("started in {:?}", before.elapsed());
    sentinel
}

/// Kills the primary, sees another in its place, and the old one come back as a replica.
async fn survives_a_kill(sentinel: &RedisSentinel) {
    let old = sentinel.primary().await.unwrap();
    command(old, "SET a 1").await;
    sentinel.wait_until_whole().await.unwrap();

    let before = Instant::now();
    old.kill().unwrap();
    let new = sentinel.wait_for_failover(old).await.unwrap();
    println!("failed over in {:?}", before.elapsed());
    assert_ne!(new.addr(), old.addr());
    assert_eq!(sentinel.primary().await.unwrap().addr(), new.addr());
    assert_eq!(command(new, "SET a 2").await, "OK");

    let before = Instant::now();
    old.restart().await.unwrap();
    sentinel.wait_until_whole().await.unwrap();
    println!("whole again in {:?}", before.elapsed());
    assert_eq!(sentinel.primary().await.unwrap().addr(), new.addr());
    assert_eq!(command(old, "GET a").await, "2");
    assert!(refusal(old, "SET a 3").await.starts_with("READONLY "));
}

#[tokio::test]
async fn a_replica_is_promoted_when_the_primary_is_killed() {
    let sentinel = start(RedisOptions::default()).await;
    let [one, two, three] = sentinel.addrs()[..] else {
        panic!()
    };
    assert_eq!(
        sentinel.url(),
        format!("redis-sentinel://{one},{two},{three}/statestore")
    );
    let first = sentinel.primary().await.unwrap();
    assert_eq!(first.addr(), sentinel.servers()[0].addr());
    survives_a_kill(&sentinel).await;
    let before = Instant::now();
    drop(sentinel);
    println!("ended in {:?}", before.elapsed());
}

#[tokio::test]
async fn a_replica_is_promoted_when_the_primary_is_suspended() {
    let sentinel = start(RedisOptions::default()).await;
    let old = sentinel.primary().await.unwrap();
    old.suspend().unwrap();
    let new = sentinel.wait_for_failover(old).await.unwrap();
    old.resume().unwrap();
    sentinel.wait_until_whole().await.unwrap();
    assert_eq!(sentinel.primary().await.unwrap().addr(), new.addr());
}

#[tokio::test]
async fn two_sentinels_are_enough() {
    let sentinel = start(RedisOptions::default()).await;
    sentinel.sentinels()[0].kill().unwrap();
    let old = sentinel.primary().await.unwrap();
    old.kill().unwrap();
    sentinel.wait_for_failover(old).await.unwrap();
    sentinel.sentinels()[0].restart().await.unwrap();
    old.restart().await.unwrap();
    sentinel.wait_until_whole().await.unwrap();
}

#[tokio::test]
async fn they_have_users_and_tls() {
    let sentinel = start(
        RedisOptions::default()
            .tls()
            .append_only()
            .user("app", "pw", "~* +@all"),
    )
    .await;
    let url = sentinel.url();
    assert!(
        url.starts_with(&format!("rediss-sentinel://app:pw@{},", sentinel.addrs()[0])),
        "{url}"
    );
    survives_a_kill(&sentinel).await;
}

#[tokio::test]
async fn its_futures_can_be_spawned() {
    let spawned = tokio::spawn(async {
        let sentinel = RedisSentinel::shared().await?;
        sentinel.wait_until_whole().await?;
        let primary = sentinel.primary().await?;
        if sentinel.servers().is_empty() {
            sentinel.wait_for_failover(primary).await?;
        }
        Ok::<_, ServerError>(sentinel.url())
    });
    assert_eq!(
        spawned.await.unwrap().unwrap(),
        RedisSentinel::shared().await.unwrap().url()
    );
}
