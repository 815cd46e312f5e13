//! `check.toml`, as `examples/README.md` documents it.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, path::PathBuf};

use serde::Deserialize;

/// Answers by value.
pub type Counts = BTreeMap<String, u64>;

/// One folder of `examples/tasks`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Task {
    pub title: String,
    /// Which of Istio's tasks it is the equivalent of; for people.
    #[serde(rename = "subject")]
    pub _subject: String,
    /// It changes the mesh as a whole.
    #[serde(default)]
    pub alone: bool,
    #[serde(rename = "check")]
    pub checks: Vec<Check>,
    /// Not in the file: where it was read from.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// One run of requests and what is expected of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Check {
    pub name: String,
    pub from: String,
    pub url: String,
    #[serde(default = "ten")]
    pub requests: u64,
    #[serde(default = "one")]
    pub concurrency: usize,
    #[serde(default = "get")]
    pub method: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub http2: bool,
    #[serde(default)]
    pub grpc: bool,
    #[serde(default)]
    pub new_connections: bool,
    pub connect: Option<SocketAddr>,
    pub ca: Option<PathBuf>,
    pub identity: Option<Identity>,
    #[serde(default)]
    pub apply: BTreeMap<String, String>,
    pub expect: Expect,
}

/// A client certificate and its key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// What must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    #[serde(default)]
    pub errors: u64,
    pub status: Option<Counts>,
    pub version: Option<Counts>,
    pub pods: Option<Counts>,
    pub grpc_status: Option<Counts>,
    #[serde(default)]
    pub count: BTreeMap<String, Counts>,
    #[serde(default)]
    pub tolerance: u64,
    #[serde(default)]
    pub at_least: AtLeast,
    pub only_status: Option<Vec<u16>>,
    pub turns: Option<Turns>,
    #[serde(default)]
    pub latency_ms: LatencyMs,
}

/// Minimum counts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtLeast {
    #[serde(default)]
    pub status: Counts,
    #[serde(default)]
    pub count: BTreeMap<String, Counts>,
}

/// Pods that take turns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turns {
    pub pods: usize,
    pub spread: u64,
}

/// Bounds in milliseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LatencyMs {
    pub at_least: Option<u64>,
    pub median_at_most: Option<u64>,
}

fn ten() -> u64 {
    10
}

fn one() -> usize {
    1
}

fn get() -> String {
    "GET".into()
}

impl Task {
    /// The folder's name, which is also its namespace.
    pub fn name(&self) -> &str {
        self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// All tasks, by name.
pub fn all() -> Vec<Task> {
    let root = root();
    let entries = std::fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("readable folder").path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.iter().map(|folder| read(folder)).collect()
}

/// `examples/tasks` of this repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/tasks")
}

fn read(folder: &Path) -> Task {
    let file = folder.join("check.toml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let task: Task = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Task { folder: folder.to_path_buf(), ..task }
}
