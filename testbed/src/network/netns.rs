//! Network namespaces by name, kept where `ip netns` keeps them, so that `ip netns exec` finds a pod too.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

const FOLDER: &str = "/run/netns";

/// A named network namespace. Dropping the value leaves the namespace alone; [`NetNs::delete`] removes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetNs {
    name: String,
}

impl NetNs {
    /// Makes a namespace of this name.
    ///
    /// # Errors
    /// When the name is taken or the caller may not (root is needed).
    pub fn create(name: &str) -> Result<NetNs> {
        share_folder().with_context(|| format!("preparing {FOLDER} (root is needed)"))?;
        let namespace = NetNs { name: name.to_owned() };
        let path = namespace.path();
        OpenOptions::new().write(true).create_new(true).open(&path).with_context(|| format!("making the network namespace {name}"))?;
        let made = in_thread(|| -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        })
        .and_then(|made| made);
        if let Err(error) = made {
            let _ = std::fs::remove_file(&path);
            return Err(error.context(format!("making the network namespace {name} (root is needed)")));
        }
        Ok(namespace)
    }

    /// The namespace of this name, whether or not it exists.
    pub fn named(name: &str) -> NetNs {
        NetNs { name: name.to_owned() }
    }

    /// All namespaces whose names begin with `prefix`.
    pub fn with_prefix(prefix: &str) -> Vec<NetNs> {
        let Ok(entries) = std::fs::read_dir(FOLDER) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .map(|name| NetNs { name })
            .collect()
    }

    /// Name, as `ip netns list` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// Runs `work` inside the namespace, on a thread of its own; processes and sockets made there belong to it.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        in_thread(|| {
            self.enter()?;
            Ok(work())
        })?
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// When the namespace is gone or the caller may not.
    pub fn enter(&self) -> Result<()> {
        let file = File::open(self.path()).with_context(|| format!("no network namespace {}", self.name))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering network namespace {}", self.name))
    }

    /// Removes the name; the kernel frees the namespace with its interfaces once no process is left in it.
    pub fn delete(&self) {
        let path = self.path();
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::debug!(namespace = self.name, %error, "namespace not removed");
        }
    }
}

/// As `ip netns` does: the folder must propagate, or a namespace removed here would live on in the mount namespaces
/// that other programs made meanwhile.
fn share_folder() -> Result<()> {
    std::fs::create_dir_all(FOLDER)?;
    let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
    match mount(None::<&str>, FOLDER, None::<&str>, shared, None::<&str>) {
        Err(Errno::EINVAL) => {
            mount(Some(FOLDER), FOLDER, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
            Ok(mount(None::<&str>, FOLDER, None::<&str>, shared, None::<&str>)?)
        }
        other => Ok(other?),
    }
}

fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let handle = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        handle.join().map_err(|_| anyhow!("a thread inside a network namespace ended unexpectedly"))
    })
}
