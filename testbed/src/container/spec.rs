//! A container as needed at the moment it starts: everything decided, nothing left to look up.
//!
//! The testbed writes it as JSON into the pod's folder; `outrigger pod-exec` reads it there, also for `outrigger
//! exec`, which is how a command gets exactly the container's surroundings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Where programs are looked for when an image would have set no other path.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the container finds the running `outrigger` program, whatever its place on the host.
pub const PROGRAM: &str = "/usr/local/bin/outrigger";

/// One container of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Name of the network namespace.
    pub netns: String,
    /// What `hostname` prints.
    pub hostname: String,
    /// Program and arguments; the program is searched in `PATH` of [`Spec::env`].
    pub argv: Vec<String>,
    /// The whole environment; nothing of the caller's is inherited.
    pub env: BTreeMap<String, String>,
    /// Working directory; created if it does not exist.
    pub working_dir: Option<PathBuf>,
    /// User to become.
    pub uid: u32,
    /// Group to become.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Whether the file system outside the mounts is read only.
    pub read_only_root: bool,
    /// Files and folders placed into the container's view, outer ones before those inside them.
    pub mounts: Vec<Mount>,
}

/// A file or folder of the host that the container sees somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: PathBuf,
    /// Whether the container may not write.
    pub read_only: bool,
}

impl Mount {
    /// A mount the container cannot write to.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Mount {
        Mount { source: source.into(), target: target.into(), read_only: true }
    }

    /// A mount the container can write to.
    pub fn writable(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Mount {
        Mount { source: source.into(), target: target.into(), read_only: false }
    }
}

impl Spec {
    /// The file that describes container `name` in a pod's folder.
    pub fn file(pod: &Path, name: &str) -> PathBuf {
        pod.join(format!("{name}.container.json"))
    }

    /// Reads the description of container `name`.
    ///
    /// # Errors
    /// When the pod has no such container.
    pub fn read(pod: &Path, name: &str) -> Result<Spec> {
        let file = Spec::file(pod, name);
        let text = std::fs::read_to_string(&file).with_context(|| format!("no container {name}: {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))
    }

    /// Writes the description, readable by root alone: the environment may hold secrets.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, pod: &Path, name: &str) -> Result<()> {
        crate::run::files::write_private(&Spec::file(pod, name), serde_json::to_string_pretty(self)?.as_bytes())
    }
}
