//! Whether the pod's other containers still run anything: how the proxy of a Job learns that its work is done.
//!
//! Needs a process namespace that the containers share (`shareProcessNamespace: true`): `/proc` then shows all their
//! processes. Each container has a control group of its own and `/proc/PID/cgroup` may be read by everyone, so a process of
//! this container is one whose group reads like ours. Process 1 belongs to the pod itself. An exit status cannot be seen:
//! an application that failed has ended too.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc::ESRCH;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// The same while a container has yet to be seen: one that ends between two looks never is.
const PERIOD_OF_STARTS: Duration = Duration::from_millis(100);

/// The processes of the pod's other containers.
#[derive(Debug)]
pub struct Companions {
    proc: PathBuf,
    /// Our own, and that of process 1.
    other_groups: [String; 2],
    /// Control groups, and thereby containers, that have run something.
    seen: BTreeSet<String>,
    containers: usize,
}

impl Companions {
    /// Those of this pod, which has so many containers beside this one; 0 counts as one.
    ///
    /// # Errors
    /// Why they cannot be seen, and what to do about it.
    pub fn of_this_pod(containers: usize) -> Result<Companions, &'static str> {
        Companions::below(Path::new("/proc"), containers)
    }

    fn below(proc: &Path, containers: usize) -> Result<Companions, &'static str> {
        let group = |process: &str| fs::read_to_string(proc.join(process).join("cgroup")).ok();
        let own_group = group("self").ok_or("/proc/self/cgroup cannot be read")?;
        let first_group = group("1")
            .filter(|first| *first != own_group)
            .ok_or("the pod's containers do not share a process namespace: set shareProcessNamespace: true in the pod's spec")?;
        Ok(Companions {
            proc: proc.to_owned(),
            other_groups: [own_group, first_group],
            seen: BTreeSet::new(),
            containers: containers.max(1),
        })
    }

    /// Waits until every container has run something and nothing of them is left. A look that fails proves nothing: it is
    /// told once and repeated.
    pub async fn ended(&mut self) {
        let mut told = false;
        loop {
            match self.look() {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) if !told => {
                    tracing::warn!(target: "main", "cannot look for the application's processes: {error}; looking again until it works");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(if self.all_seen() { PERIOD } else { PERIOD_OF_STARTS }).await;
        }
    }

    fn all_seen(&self) -> bool {
        self.seen.len() >= self.containers
    }

    /// Whether every container has been seen and none is left.
    fn look(&mut self) -> io::Result<bool> {
        let alive = self.alive()?;
        let none = alive.is_empty();
        self.seen.extend(alive);
        Ok(none && self.all_seen())
    }

    /// The control groups of applications that have a process.
    fn alive(&self) -> io::Result<BTreeSet<String>> {
        let mut groups = BTreeSet::new();
        for entry in fs::read_dir(&self.proc)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok_and(|pid| pid > 1)) {
                groups.extend(self.group_elsewhere(&entry.path())?);
            }
        }
        Ok(groups)
    }

    /// The group of an application's process that is alive. One that ends between two readings is not alive; neither is one
    /// that only waits to be reaped.
    fn group_elsewhere(&self, process: &Path) -> io::Result<Option<String>> {
        let group = unless_gone(fs::read_to_string(process.join("cgroup")))?;
        let Some(group) = group.filter(|group| !self.other_groups.contains(group)) else { return Ok(None) };
        let stat = unless_gone(fs::read_to_string(process.join("stat")))?;
        Ok(stat.filter(|stat| is_alive(stat)).map(|_| group))
    }
}

/// What was read of a process; `None` if it has ended. Any other failure, such as too many open files, says nothing about it.
fn unless_gone(read: io::Result<String>) -> io::Result<Option<String>> {
    match read {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => Ok(None),
        Err(error) => Err(error),
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

    fn looked(companions: &mut Companions) -> bool {
        companions.look().expect("looked")
    }

    #[test]
    fn the_end_comes_when_the_last_process_of_another_container_is_gone() {
        let proc = proc(&[("1", "pause", "S"), ("self", "", "S"), ("9", "", "S"), ("20", "../app", "S"), ("21", "../app", "S")]);
        let mut companions = Companions::below(proc.path(), 1).expect("shared");
        assert!(!looked(&mut companions));
        fs::remove_dir_all(proc.path().join("20")).expect("removed");
        assert!(!looked(&mut companions));
        add(proc.path(), "21", "../app", "Z");
        assert!(looked(&mut companions), "a zombie runs nothing");
    }

    #[test]
    fn before_the_first_process_was_seen_nothing_has_ended() {
        let proc = proc(&[("1", "pause", "S"), ("self", "", "S"), ("9", "", "S")]);
        let mut companions = Companions::below(proc.path(), 1).expect("shared");
        assert!(!looked(&mut companions));
        add(proc.path(), "20", "../app", "R");
        assert!(!looked(&mut companions));
        fs::remove_dir_all(proc.path().join("20")).expect("removed");
        assert!(looked(&mut companions));
    }

    #[test]
    fn a_pod_whose_containers_share_no_processes_is_told_what_to_set() {
        let proc = proc(&[("1", "", "S"), ("self", "", "S")]);
        assert!(Companions::below(proc.path(), 1).expect_err("not shared").contains("shareProcessNamespace: true"));
    }

    #[test]
    fn a_container_that_has_yet_to_start_is_waited_for() {
        let proc = proc(&[("1", "pause", "S"), ("self", "", "S"), ("9", "", "S"), ("20", "../first", "S"), ("21", "../first", "S")]);
        let mut companions = Companions::below(proc.path(), 2).expect("shared");
        assert!(!looked(&mut companions));
        fs::remove_dir_all(proc.path().join("20")).expect("removed");
        fs::remove_dir_all(proc.path().join("21")).expect("removed");
        assert!(!looked(&mut companions), "the second has not started");
        add(proc.path(), "30", "../second", "R");
        assert!(!looked(&mut companions));
        fs::remove_dir_all(proc.path().join("30")).expect("removed");
        assert!(looked(&mut companions));
    }

    #[test]
    fn a_look_that_fails_does_not_count_as_the_end() {
        let proc = proc(&[("1", "pause", "S"), ("self", "", "S"), ("20", "../app", "S")]);
        let mut companions = Companions::below(proc.path(), 1).expect("shared");
        assert!(!looked(&mut companions));
        for file in ["cgroup", "stat"] {
            let file = proc.path().join("20").join(file);
            let content = fs::read(&file).expect("read");
            fs::remove_file(&file).expect("removed");
            fs::create_dir(&file).expect("something that cannot be read");
            companions.look().expect_err("unknown");
            fs::remove_dir(&file).expect("removed");
            fs::write(&file, content).expect("written");
        }
        let elsewhere = proc.path().with_extension("away");
        fs::rename(proc.path(), &elsewhere).expect("moved");
        companions.look().expect_err("unknown");
        fs::rename(&elsewhere, proc.path()).expect("moved back");
        assert!(!looked(&mut companions), "it runs still");
    }
}
