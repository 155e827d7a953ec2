//! What the numbers were measured on, and with.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// The crates whose versions a reader wants.
const CRATES: [&str; 15] = [
    "aws-sdk-dynamodb",
    "azure_data_tables",
    "dashmap",
    "firestore",
    "fjall",
    "libsqlite3-sys",
    "moka",
    "object_store",
    "opendal",
    "openkeyv",
    "redb",
    "redis",
    "rusqlite",
    "sled",
    "tokio",
];

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) rust: String,
    /// The disk's file system that `target/` is on.
    pub(crate) disk: String,
    pub(crate) load_before: String,
    pub(crate) date: String,
    /// Name and version.
    pub(crate) crates: Vec<(String, String)>,
    /// Each service, and what it ran on.
    pub(crate) services: Vec<(String, String)>,
}

impl Machine {
    pub(crate) fn look(folder: &std::path::Path) -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default()
                .to_owned();
            line.split_once(':')
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let kib = field("/proc/meminfo", "MemTotal");
        let kib: u64 = kib
            .split(' ')
            .next()
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0);
        let folder = folder.display().to_string();
        let disk = output("df", &["--output=fstype", &folder]);
        Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib / 1024 / 1024 + 1,
            kernel: output("uname", &["-sr"]),
            rust: output("rustc", &["--version"]),
            disk: disk.lines().last().unwrap_or_default().to_owned(),
            load_before: fs::read_to_string("/proc/loadavg")
                .unwrap_or_default()
                .split(' ')
                .take(1)
                .collect(),
            date: output("date", &["-u", "+%Y-%m-%d"]),
            crates: crates(),
            services: Vec::new(),
        }
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// What the lock file says. Of several versions of one crate the last, which is ours.
fn crates() -> Vec<(String, String)> {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let (_, rest) = lock.rsplit_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    CRATES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), version(name)?)))
        .collect()
}
