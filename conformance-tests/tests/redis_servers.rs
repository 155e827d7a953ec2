//! Starting, disturbing and ending real Redis servers.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::env;
use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use statestore_conformance::servers::redis::{RedisOptions, RedisServer};
use statestore_conformance::servers::{ServerError, wait_for};

/// For what takes a moment, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(20);

async fn start(options: RedisOptions) -> RedisServer {
    RedisServer::start(options).await.unwrap()
}

async fn command(server: &RedisServer, words: &str) -> String {
    let words: Vec<_> = words.split(' ').collect();
    server.command(&words).await.unwrap().text()
}

/// The error that a command ends in.
async fn refusal(server: &RedisServer, words: &str) -> String {
    let words: Vec<_> = words.split(' ').collect();
    match server.command(&words).await {
        Err(ServerError::Command { answer, .. }) => answer,
        other => panic!("`{words:?}` gave {other:?}"),
    }
}

/// What `redis-cli` prints to these arguments.
fn redis_cli(arguments: &[&str]) -> String {
    let run = |program| {
        Command::new(program)
            .args(arguments)
            .env_remove("REDISCLI_AUTH")
            .output()
    };
    let output = run("redis-cli").or_else(|_| run("valkey-cli")).unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap().trim_end().to_owned()
}

fn is_open(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_secs(2)).is_ok()
}

fn runs(pid: u32) -> bool {
    let found = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output();
    let state = String::from_utf8(found.unwrap().stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// Waits until nothing is left of a server.
async fn assert_gone(addr: SocketAddr, pid: u32, folder: &Path) {
    wait_for("nothing is left of the server", SOON, || async {
        match (is_open(addr), runs(pid), folder.exists()) {
            (false, false, false) => Ok(()),
            left => Err(format!("(port open, process runs, folder exists) is {left:?}")),
        }
    })
    .await
    .unwrap();
}

mod standalone {
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
}

mod access {
    use super::*;

    #[tokio::test]
    async fn the_default_user_can_have_a_password() {
        let server = start(RedisOptions::default().password("se cret")).await;
        assert_eq!(server.url(), format!("redis://:se%20cret@{}", server.addr()));
        let port = server.addr().port().to_string();
        let with_password = redis_cli(&["-p", &port, "--no-auth-warning", "--pass", "se cret", "PING"]);
        assert_eq!(with_password, "PONG");
        assert!(redis_cli(&["-p", &port, "PING"]).starts_with("NOAUTH"));
        assert_eq!(command(&server, "ACL WHOAMI").await, "statestore-tests");
    }

    #[tokio::test]
    async fn a_user_may_do_what_its_rules_say() {
        let server = start(RedisOptions::default().user("app", "pw", "~app:* -@all +get +set")).await;
        assert_eq!(server.url(), format!("redis://app:pw@{}", server.addr()));
        let port = server.addr().port().to_string();
        let as_app = |words: &[&str]| {
            let user = ["-p", &port, "--no-auth-warning", "--user", "app", "--pass", "pw"];
            redis_cli(&[&user, words].concat())
        };
        assert_eq!(as_app(&["SET", "app:a", "1"]), "OK");
        assert!(as_app(&["SET", "other", "1"]).starts_with("NOPERM"));
        assert!(as_app(&["DEL", "app:a"]).starts_with("NOPERM"));
        assert!(redis_cli(&["-p", &port, "GET", "app:a"]).starts_with("NOAUTH"));
        assert_eq!(command(&server, "GET app:a").await, "1");
    }
}

mod process_end {
    use super::*;

    const ROLE: &str = "STATESTORE_TEST_HOLDS_A_SERVER";

    /// Not a test, but the process that another test kills.
    #[tokio::test]
    #[ignore = "run by the other tests of this module, as a process of its own"]
    async fn holder() {
        let Ok(role) = env::var(ROLE) else { return };
        let server = RedisServer::shared().await.unwrap();
        command(server, "SET a 1").await;
        if role == "suspended" {
            server.suspend().unwrap();
        }
        let folder = server.process().folder().parent().unwrap();
        println!(
            "\nholds {} {} {}",
            server.addr(),
            server.process().pid(),
            folder.display()
        );
        stdout().flush().unwrap();
        match &*role {
            "ends" => {}
            "aborts" => std::process::abort(),
            _ => std::future::pending().await,
        }
    }

    /// Lets a process of its own start the shared server, ends that process, and sees the server go.
    async fn server_ends_with(role: &str) {
        let mut holder = Command::new(env::current_exe().unwrap())
            .args(["--exact", "process_end::holder", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let line = lines
            .map(Result::unwrap)
            .find(|line| line.starts_with("holds "))
            .unwrap();
        let words: Vec<_> = line.split(' ').collect();
        if matches!(role, "killed" | "suspended") {
            holder.kill().unwrap();
        }
        holder.wait().unwrap();
        assert_gone(
            words[1].parse().unwrap(),
            words[2].parse().unwrap(),
            Path::new(words[3]),
        )
        .await;
    }

    #[tokio::test]
    async fn by_its_end_takes_a_static_server_along() {
        server_ends_with("ends").await;
    }

    #[tokio::test]
    async fn by_abort_takes_the_server_along() {
        server_ends_with("aborts").await;
    }

    #[tokio::test]
    async fn by_sigkill_takes_the_server_along() {
        server_ends_with("killed").await;
    }

    #[tokio::test]
    async fn by_sigkill_takes_a_suspended_server_along() {
        server_ends_with("suspended").await;
    }
}

#[tokio::test]
async fn starting_takes_no_time_to_speak_of() {
    let before = Instant::now();
    drop(start(RedisOptions::default()).await);
    assert!(before.elapsed() < SOON);
    println!("started and stopped in {:?}", before.elapsed());
}
