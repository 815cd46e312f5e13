//! Removing what a run made: processes, namespaces, the link to the host, its folder. The ordinary end of a run and
//! the removal of a crashed one are the same thing.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::network::{NetNs, command, host_links, namespace_prefix};

/// How long killed processes may take to disappear.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last state of a run that has ended in order, whose logs the user wanted to keep.
pub const KEPT: &str = "ended.json";

/// Removes everything of the run except its folder and its lock file. The caller holds the lock.
///
/// # Errors
/// When the folder's contents cannot be removed.
pub fn remove_leftovers(run: &str) -> Result<()> {
    let folder = Path::new(super::ROOT).join(run);
    remove_network(run);
    for entry in fs::read_dir(&folder)?.flatten() {
        if entry.file_name() == "lock" {
            continue;
        }
        let path = entry.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

/// Kills the processes of a run and removes its namespaces and its interface on the host.
pub fn remove_network(run: &str) {
    let namespaces = NetNs::with_prefix(&namespace_prefix(run));
    kill_members(&namespaces);
    for namespace in &namespaces {
        namespace.delete();
    }
    // It would vanish together with the node namespace, but some time later; the range must be free now.
    for link in host_links(run) {
        let _ = command::ip_batch(&format!("link del {link}\n"));
    }
}

/// Removes the runs whose process has ended without doing so itself, and says which.
pub fn remove_crashed() -> Vec<String> {
    let mut removed = Vec::new();
    let Ok(_turn) = super::take_turn() else { return removed };
    for run in super::names() {
        let folder = Path::new(super::ROOT).join(&run);
        if folder.join(KEPT).exists() {
            continue;
        }
        // Holding the lock means that nobody else does.
        let Ok(Some(lock)) = super::try_lock(&folder) else { continue };
        if remove_leftovers(&run).is_ok() && fs::remove_dir_all(&folder).is_ok() {
            removed.push(run);
        }
        drop(lock);
    }
    removed
}

/// Kills every process that is in one of these namespaces, and waits until they are gone: a container's main process
/// dies with the testbed, but what that had started does not.
fn kill_members(namespaces: &[NetNs]) {
    let inodes: HashSet<(u64, u64)> =
        namespaces.iter().filter_map(|namespace| fs::metadata(namespace.path()).ok()).map(|m| (m.dev(), m.ino())).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let members = members(&inodes);
        if members.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in members {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn members(inodes: &HashSet<(u64, u64)>) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = Pid::this();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|pid| *pid != own)
        .filter(|pid| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| inodes.contains(&(m.dev(), m.ino()))))
        .collect()
}
