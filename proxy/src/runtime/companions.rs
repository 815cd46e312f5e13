//! Whether the pod's other containers still run anything: how the proxy of a Job learns that its work is done.
//!
//! Needs a process namespace that the containers share (`shareProcessNamespace: true`): `/proc` then shows all their
//! processes. Each container has a control group of its own and `/proc/PID/cgroup` may be read by everyone, so a process of
//! this container is one whose group reads like ours. Process 1 belongs to the pod itself. An exit status cannot be seen:
//! an application that failed has ended too.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(500);

/// The processes of the pod's other containers.
#[derive(Debug)]
pub struct Companions {
    proc: PathBuf,
    own_group: String,
    seen: bool,
}

impl Companions {
    /// Those of this pod.
    ///
    /// # Errors
    /// Why they cannot be seen, and what to do about it.
    pub fn of_this_pod() -> Result<Companions, &'static str> {
        Companions::below(Path::new("/proc"))
    }

    fn below(proc: &Path) -> Result<Companions, &'static str> {
        let group = |process: &str| fs::read_to_string(proc.join(process).join("cgroup")).ok();
        let own_group = group("self").ok_or("/proc/self/cgroup cannot be read")?;
        if group("1").is_none_or(|first| first == own_group) {
            return Err("the pod's containers do not share a process namespace: set shareProcessNamespace: true in the pod's spec");
        }
        Ok(Companions { proc: proc.to_owned(), own_group, seen: false })
    }

    /// Waits until there was one and none is left.
    pub async fn ended(&mut self) {
        while !self.look() {
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Whether there was one before and none is left.
    fn look(&mut self) -> bool {
        let any = self.any();
        self.seen |= any;
        self.seen && !any
    }

    fn any(&self) -> bool {
        let entries = fs::read_dir(&self.proc).into_iter().flatten().flatten();
        let processes = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok_and(|pid| pid > 1)));
        processes.into_iter().any(|entry| self.is_alive_elsewhere(&entry.path()))
    }

    /// One that ends between two readings is not alive; neither is one that only waits to be reaped.
    fn is_alive_elsewhere(&self, process: &Path) -> bool {
        let elsewhere = fs::read_to_string(process.join("cgroup")).is_ok_and(|group| group != self.own_group);
        elsewhere && fs::read_to_string(process.join("stat")).is_ok_and(|stat| is_alive(&stat))
    }
}

/// The state behind the name, which stands in parentheses and may hold any character.
fn is_alive(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `/proc` with these processes: number, group, state.
    fn proc(processes: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (process, group, state) in processes {
            add(folder.path(), process, group, state);
        }
        folder
    }

    fn add(proc: &Path, process: &str, group: &str, state: &str) {
        let process = proc.join(process);
        fs::create_dir_all(&process).expect("made");
        fs::write(process.join("cgroup"), format!("0::/{group}\n")).expect("written");
        fs::write(process.join("stat"), format!("7 (a) S (b) {state} 0 7")).expect("written");
    }

    #[test]
    fn the_end_comes_when_the_last_process_of_another_container_is_gone() {
        let proc = proc(&[("1", "pause", "S"), ("self", "", "S"), ("9", "", "S"), ("20", "../app", "S"), ("21", "../app", "S")]);
        let mut companions = Companions::below(proc.path()).expect("shared");
        assert!(!companions.look());
        fs::remove_dir_all(proc.path().join("20")).expect("removed");
        assert!(!companions.look());
        add(proc.path(), "21", "../app", "Z");
        assert!(companions.look(), "a zombie runs nothing");
    }

    #[test]
    fn before_the_first_process_was_seen_nothing_has_ended() {
        let proc = proc(&[("1", "pause", "S"), ("self", "", "S"), ("9", "", "S")]);
        let mut companions = Companions::below(proc.path()).expect("shared");
        assert!(!companions.look());
        add(proc.path(), "20", "../app", "R");
        assert!(!companions.look());
        fs::remove_dir_all(proc.path().join("20")).expect("removed");
        assert!(companions.look());
    }

    #[test]
    fn a_pod_whose_containers_share_no_processes_is_told_what_to_set() {
        let proc = proc(&[("1", "", "S"), ("self", "", "S")]);
        assert!(Companions::below(proc.path()).expect_err("not shared").contains("shareProcessNamespace: true"));
    }
}
