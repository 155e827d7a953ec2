//! Section `memory`: the heap that an idle client holds, and a call under way.

use std::path::Path;
use std::process::Stdio;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::args::{Args, Effort};
use crate::programs;
use crate::progress::Progress;
use crate::services::Service;

pub(crate) const SECTION: &str = "memory-use";

/// Bytes of the heap.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Held {
    pub(crate) service: &'static str,
    /// By a client that has connected and does nothing.
    pub(crate) client: i64,
    /// By each of many gets that have been sent and not answered.
    pub(crate) call: Option<i64>,
}

pub(crate) async fn run(args: &Args, folder: &Path) -> Vec<Held> {
    let names: Vec<_> = Service::NAMES
        .into_iter()
        .filter(|name| args.wants(&format!("{SECTION}/{name}")))
        .collect();
    let (clients, calls) = if args.effort == Effort::Smoke {
        (2, 4)
    } else {
        (20, 200)
    };
    let mut progress = Progress::new(SECTION, names.len());
    let mut held = Vec::new();
    for name in names {
        progress.step(name);
        let service = Service::start(name, folder).await;
        let url = match (&service.remote, name) {
            (Some(remote), _) => (remote.url)(remote.addr),
            (None, "embedded") => {
                let files = tempfile::Builder::new()
                    .prefix("clients-")
                    .tempdir_in(folder)
                    .expect("a folder");
                format!("file:{}/{{}}.redb", files.keep().display())
            }
            (None, _) => "memory:".to_owned(),
        };
        let calls = if service.remote.is_some() { calls } else { 0 };
        let mut program = Command::new(programs::sibling("statestore-bench-memory"))
            .args([clients.to_string(), calls.to_string(), url.clone()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(program.stdout.take().expect("piped")).lines();
        let mut number = async || {
            let line = lines.next_line().await.expect("a line").expect("a line");
            line.parse::<i64>().expect("a number")
        };
        let client = number().await;
        let call = if calls > 0 {
            service.suspend();
            program
                .stdin
                .take()
                .expect("piped")
                .write_all(b"now\n")
                .await
                .expect("it reads");
            let call = number().await;
            service.resume();
            Some(call)
        } else {
            None
        };
        program.wait().await.expect("it ends");
        if let Some(files) = url.strip_prefix("file:") {
            let files = Path::new(files).parent().expect("a folder");
            std::fs::remove_dir_all(files).expect("the folder goes");
        }
        held.push(Held {
            service: service.name,
            client,
            call,
        });
    }
    held
}
