use super::*;

#[tokio::test]
async fn a_dropped_server_is_gone_at_once() {
    let server = start(RedisOptions::default()).await;
    assert_eq!(server.url(), format!("redis://{}", server.addr()));
    assert_eq!(command(&server, "PING").await, "PONG");
    let (addr, pid) = (server.addr(), server.process().pid());
    let folder = server.process().folder().parent().unwrap().to_owned();
    assert!(runs(pid) && is_open(addr) && folder.exists());

    drop(server);
    assert!(!runs(pid), "the process runs");
    assert!(!is_open(addr), "the port is open");
    assert!(!folder.exists(), "the folder is there");
}

#[tokio::test]
async fn several_run_side_by_side() {
    let servers = futures::future::join_all((0..4).map(|_| start(RedisOptions::default()))).await;
    for (number, server) in servers.iter().enumerate() {
        command(server, &format!("SET number {number}")).await;
    }
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(command(server, "GET number").await, number.to_string());
    }
}

#[tokio::test]
async fn the_shared_server_is_one() {
    let (one, two) = tokio::join!(RedisServer::shared(), RedisServer::shared());
    assert_eq!(one.unwrap().addr(), two.unwrap().addr());
}

#[tokio::test]
async fn a_unix_socket_is_there() {
    let server = start(RedisOptions::default()).await;
    let socket = server.unix_socket();
    assert_eq!(redis_cli(&["-s", socket.to_str().unwrap(), "PING"]), "PONG");
}

#[tokio::test]
async fn a_suspended_server_is_silent_until_it_is_resumed() {
    let server = start(RedisOptions::default()).await;
    command(&server, "SET a 1").await;
    server.suspend().unwrap();
    assert!(!server.is_running());
    let silent = server.command(&["GET", "a"]).await;
    assert!(matches!(silent, Err(ServerError::Io { .. })), "{silent:?}");
    server.resume().unwrap();
    assert!(server.is_running());
    assert_eq!(command(&server, "GET a").await, "1");
}

#[tokio::test]
async fn a_suspended_server_can_be_dropped() {
    let server = start(RedisOptions::default()).await;
    let (addr, pid) = (server.addr(), server.process().pid());
    server.suspend().unwrap();
    drop(server);
    assert!(!runs(pid) && !is_open(addr));
}

#[tokio::test]
async fn a_killed_server_comes_back_on_its_port_without_its_data() {
    let server = start(RedisOptions::default()).await;
    let url = server.url();
    command(&server, "SET a 1").await;
    server.kill().unwrap();
    assert!(!server.is_running() && !is_open(server.addr()));
    let ended = server.suspend();
    assert!(matches!(ended, Err(ServerError::Ended { .. })), "{ended:?}");
    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_eq!(command(&server, "GET a").await, "(nil)");
}

#[tokio::test]
async fn an_append_only_server_keeps_what_it_acknowledged() {
    let server = start(RedisOptions::default().append_only()).await;
    for number in 0..10 {
        command(&server, &format!("SET a {number}")).await;
        server.kill().unwrap();
        server.restart().await.unwrap();
        assert_eq!(command(&server, "GET a").await, number.to_string());
    }
}

#[tokio::test]
async fn full_memory_is_refused() {
    let server = start(RedisOptions::default().max_memory(1)).await;
    let answer = refusal(&server, "SET a 1").await;
    assert!(answer.starts_with("OOM "), "{answer}");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let error = RedisServer::start(RedisOptions::default().config("no-such-line", ["1"])).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("no-such-line"), "{error}");
}

#[tokio::test]
async fn its_futures_can_be_spawned() {
    let started = tokio::spawn(async {
        let server = RedisServer::start(RedisOptions::default()).await?;
        server.restart().await?;
        server.info("server").await
    });
    assert!(started.await.unwrap().unwrap().contains("redis_version:"));
}

#[tokio::test]
async fn starting_takes_no_time_to_speak_of() {
    let before = Instant::now();
    drop(start(RedisOptions::default()).await);
    assert!(before.elapsed() < SOON);
    println!("started and stopped in {:?}", before.elapsed());
}
