//! A Chromium without a window, driven by its DevTools protocol over a pipe: no port, and it ends when this process does.
//!
//! <https://chromedevtools.github.io/devtools-protocol/>

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use statestore_conformance::servers::Group;
use tokio::sync::oneshot;

/// As `scripts/setup-chromium` looks for it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// How long a command may take on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(60);

/// One for all tests, each of which has a [context](Chromium::context) of its own in it.
static CHROMIUM: LazyLock<Chromium> = LazyLock::new(Chromium::start);

/// A running browser.
pub(super) struct Chromium {
    last: Mutex<(u64, ChildStdin)>,
    waiting: Arc<Waiting>,
    /// With the browser's profile. Never dropped: it goes when this process ends.
    group: Arc<Group>,
}

/// Who waits for the answer to which command. It is closed when the browser has ended.
type Waiting = Mutex<Option<HashMap<u64, oneshot::Sender<Value>>>>;

impl Chromium {
    pub(super) fn get() -> &'static Self {
        &CHROMIUM
    }

    fn start() -> Self {
        let program = program().expect(
            "there is no chromium on the PATH: run `scripts/setup-chromium`, or name it in STATESTORE_CHROMIUM",
        );
        let group = Group::new("chromium").unwrap();
        // It reads commands from the third file and writes its answers to the fourth.
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(r#"exec "$@" 3<&0 4>&1 </dev/null >output.log 2>&1"#)
            .arg("sh")
            .arg(program)
            .arg("--remote-debugging-pipe")
            .arg(format!(
                "--user-data-dir={}",
                group.folder().join("profile").display()
            ))
            // It shows this shop's page alone, and may have to run as root or in a container.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
            ])
            .args([
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
            ])
            .args([
                "--disable-component-update",
                "--disable-sync",
                "--no-proxy-server",
            ])
            .current_dir(group.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let answers = Arc::clone(&waiting);
        thread::spawn(move || {
            hand_out(from, &answers);
            let _ = child.wait();
        });
        Self {
            last: Mutex::new((0, to)),
            waiting,
            group,
        }
    }

    /// A browser's profile of its own: no cookie of another.
    pub(super) async fn context(&self) -> String {
        let context = self.call(None, "Target.createBrowserContext", json!({})).await;
        context["browserContextId"].as_str().unwrap().to_owned()
    }

    /// Sends a command to the browser or, with a session, to one of its pages, and waits for the result.
    pub(super) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let answer = self.send(session, method, params);
        let answer = tokio::time::timeout(LIMIT, answer).await;
        let mut answer = match answer {
            Ok(Ok(answer)) => answer,
            failed => panic!("{method}: {failed:?}; chromium said:\n{}", self.output()),
        };
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }

    /// The command is on its way when this returns.
    fn send(&self, session: Option<&str>, method: &str, params: Value) -> oneshot::Receiver<Value> {
        let (answer, answered) = oneshot::channel();
        let mut last = self.last.lock().unwrap();
        last.0 += 1;
        let id = last.0;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        if let Some(waiting) = &mut *self.waiting.lock().unwrap() {
            waiting.insert(id, answer);
        }
        // When the browser has ended, nobody answers, which the receiver tells.
        let _ = last.1.write_all(format!("{command}\0").as_bytes());
        answered
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.group.folder().join("output.log")).unwrap_or_default()
    }
}

fn hand_out(from: ChildStdout, waiting: &Waiting) {
    for message in BufReader::new(from).split(0).map_while(Result::ok) {
        let message: Value = serde_json::from_slice(&message).unwrap();
        let id = message["id"].as_u64();
        let mut waiting = waiting.lock().unwrap();
        if let Some(waiting) = id.and_then(|id| waiting.as_mut()?.remove(&id)) {
            let _ = waiting.send(message);
        }
    }
    waiting.lock().unwrap().take();
}

fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("STATESTORE_CHROMIUM").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let in_folders = |name| folders.iter().map(move |folder: &PathBuf| folder.join(name));
    NAMES
        .into_iter()
        .flat_map(in_folders)
        .find(|program| Path::is_file(program))
}
