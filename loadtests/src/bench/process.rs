//! Processes under measurement: started on a CPU, watched through `/proc`, ended with all their children.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::machine;

/// CPU time used by some processes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cpu {
    /// Nanoseconds on a CPU, of all threads, by the scheduler's own count.
    pub run: u64,
    /// Clock ticks in user mode.
    pub user: u64,
    /// Clock ticks in the kernel.
    pub system: u64,
}

impl std::ops::Sub for Cpu {
    type Output = Cpu;
    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu {
            run: self.run.saturating_sub(earlier.run),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

impl Cpu {
    /// The kernel's share of the time, when there were enough ticks to tell.
    pub fn system_share(&self) -> Option<f64> {
        let all = self.user + self.system;
        (all >= 20).then(|| self.system as f64 / all as f64)
    }
}

/// Reads what these processes have used so far. One that is gone counts nothing.
pub fn cpu(pids: &[i32]) -> Cpu {
    let mut sum = Cpu::default();
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum.run += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        }
        if let Some(stat) = Stat::read(*pid) {
            sum.user += stat.user;
            sum.system += stat.system;
        }
    }
    sum
}

/// Memory of some processes, in KiB, as `smaps_rollup` has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident.
    pub rss: u64,
    /// Resident, pages shared with others counted in parts.
    pub pss: u64,
}

/// Reads the memory of these processes.
pub fn memory(pids: &[i32]) -> Memory {
    let mut sum = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let field = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        sum.rss += field("Rss:");
        sum.pss += field("Pss:");
    }
    sum
}

/// Fields of `/proc/PID/stat`.
struct Stat {
    parent: i32,
    user: u64,
    system: u64,
    /// Of children that have ended and were waited for.
    children: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = text.get(text.rfind(')')? + 2..)?.split_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let mut ticks = fields.skip(9).map(|field| field.parse::<u64>().unwrap_or(0));
        let (user, system) = (ticks.next()?, ticks.next()?);
        Some(Stat { parent, user, system, children: ticks.next()? + ticks.next()? })
    }
}

fn all() -> HashMap<i32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, Stat::read(pid)?))).collect()
}

/// A process with its descendants.
pub fn family(root: i32) -> Vec<i32> {
    let all = all();
    all.keys().copied().filter(|pid| descends(&all, *pid, root)).collect()
}

fn descends(all: &HashMap<i32, Stat>, mut pid: i32, root: i32) -> bool {
    loop {
        if pid == root {
            return true;
        }
        match all.get(&pid) {
            Some(stat) if stat.parent > 0 => pid = stat.parent,
            _ => return false,
        }
    }
}

/// Clock ticks used so far by everything on this machine that does not belong to this process.
pub fn foreign_ticks() -> u64 {
    let all = all();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    all.iter().filter(|(pid, _)| !descends(&all, **pid, own)).map(|(_, stat)| stat.user + stat.system + stat.children).sum()
}

/// A started program.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// When it was started.
    pub started: Instant,
}

impl Process {
    /// Starts a program, on one CPU if that is given, its output in the file `log`.
    ///
    /// # Errors
    /// The program cannot be started, the log not be written.
    pub fn start(command: &mut Command, cpu: Option<usize>, log: &Path) -> io::Result<Process> {
        let output = fs::File::create(log)?;
        // A process group of its own, so that Ctrl-C reaches only this program, which then ends the others in order.
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let started = Instant::now();
        let child = machine::on_cpu(cpu, || command.spawn());
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", command.get_program().display()));
        Ok(Process { child: child.map_err(named)?, log: log.to_owned(), started })
    }

    /// This process and its descendants.
    pub fn pids(&self) -> Vec<i32> {
        i32::try_from(self.child.id()).map(family).unwrap_or_default()
    }

    /// Fails when the process has ended, with the end of its log.
    ///
    /// # Errors
    /// As said.
    pub fn check(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(io::Error::other(format!("ended with {status}: {}", self.tail()))),
        }
    }

    /// The last lines that it wrote.
    pub fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ").chars().take(400).collect()
    }

    /// Sends a signal to the process itself.
    pub fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits for its end, for at most so long; `false` when it still runs.
    pub fn ended_within(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(2));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let ended = self.ended_within(Duration::from_secs(1));
        // Workers usually end with their parent. If not, they still are in its group, which is its own.
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        if !ended {
            drop(self.child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_a_process_with_its_children_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'while :; do :; done' & wait"]);
        let process = Process::start(&mut command, None, &folder.path().join("log")).expect("started");
        thread::sleep(Duration::from_millis(300));
        let pids = process.pids();
        assert_eq!(pids.len(), 2, "the shell and its child");
        let before = cpu(&pids);
        thread::sleep(Duration::from_millis(300));
        assert!((cpu(&pids) - before).run > 1_000_000, "the busy child is seen");
        assert!(memory(&pids).rss > 0);
        drop(process);
        thread::sleep(Duration::from_millis(50));
        let end = cpu(&pids);
        thread::sleep(Duration::from_millis(100));
        assert!((cpu(&pids) - end).run == 0, "the child does not go on");
    }

    #[test]
    fn a_program_that_ends_early_says_so_with_its_last_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such port; exit 3"]);
        let mut process = Process::start(&mut command, None, &folder.path().join("log")).expect("started");
        assert!(process.ended_within(Duration::from_secs(10)));
        let error = process.check().expect_err("it has ended").to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such port"), "{error}");
    }
}
