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
    // Kept open until the end, for what the process prints after its line.
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let line = lines
        .by_ref()
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
