//! The program as a user starts it: `outrigger up` as a child process, its output, and what it leaves on the machine.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_testbed::run::{self, state::State};

use crate::bed::{PATIENCE, PROGRAM};

/// A running `outrigger up`; interrupted when dropped.
pub struct Up {
    pub name: String,
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Up {
    /// Starts it over a folder. The run's name is `name` with this process's number.
    pub fn start(name: &str, folder: &Path) -> Result<Up> {
        let name = format!("{name}-{}", std::process::id());
        let mut command = Command::new(PROGRAM);
        command.args(["up", "--name", &name, "-f"]).arg(folder);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let said = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().context("piped")?, &said);
        collect(child.stderr.take().context("piped")?, &said);
        Ok(Up { name, child, said })
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("not poisoned").clone()
    }

    /// Waits until it has said this.
    pub fn wait_for(&self, text: &str) -> Result<()> {
        self.wait(&format!("it says {text:?}"), || Ok(self.said().contains(text)))
    }

    /// Waits until something holds.
    pub fn wait(&self, what: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
        let begin = Instant::now();
        while !condition()? {
            ensure!(begin.elapsed() < PATIENCE, "never: {what}; it said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The run as it has written it down.
    pub fn state(&self) -> Result<State> {
        State::read(&run::folder(&self.name))
    }

    /// Runs a command in a pod by `outrigger exec`.
    pub fn exec(&self, pod: &str, argv: &[&str]) -> Result<Output> {
        let output = Command::new(PROGRAM).args(["exec", "--name", &self.name, pod, "--"]).args(argv).output()?;
        Ok(output)
    }

    /// Statuses that so many requests from a pod get, as curl prints them.
    pub fn statuses(&self, pod: &str, url: &str, count: usize) -> Result<Vec<String>> {
        let answers = (0..count).map(|_| self.exec(pod, &["curl", "-s", "-o", "/dev/null", "-m", "10", "-w", "%{http_code}", url]));
        answers.map(|output| Ok(String::from_utf8_lossy(&output?.stdout).into_owned())).collect()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begin.elapsed() > PATIENCE {
                bail!("`up` does not end; it said:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ctrl-C; it must end with status 0.
    pub fn interrupt(&mut self) -> Result<()> {
        self.signal(Signal::SIGINT)?;
        let status = self.ended()?;
        ensure!(status.success(), "{status}; it said:\n{}", self.said());
        Ok(())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal(Signal::SIGINT);
            if self.ended().is_err() {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = into.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            into.lock().expect("not poisoned").push_str(&(line + "\n"));
        }
    });
}

/// Everything by which a run can be found on the machine.
pub struct Traces {
    name: String,
    /// Interface on the host by index: the next run may give its own the same name.
    link: u32,
    /// Main processes of containers.
    containers: Vec<i32>,
    /// All processes that were in its network namespaces, with the time of their start: numbers are used again.
    processes: Vec<(i32, String)>,
}

impl Traces {
    /// Of a run that is up.
    pub fn of(up: &Up) -> Result<Traces> {
        let state = up.state()?;
        let containers = state.pods.iter().flat_map(|pod| &pod.containers).filter_map(|container| container.pid).collect();
        let inode = |netns: &str| fs::metadata(Path::new("/run/netns").join(netns)).map(|file| (file.dev(), file.ino()));
        let namespaces = state.pods.iter().map(|pod| Ok(inode(&pod.netns)?)).collect::<Result<Vec<_>>>()?;
        let link = nix::net::if_::if_nametoindex(state.subnet.host_link().as_str())?;
        let traces = Traces { name: up.name.clone(), link, containers, processes: members(&namespaces) };
        // A search that finds nothing while the run is up would prove nothing afterwards.
        for part in ["namespace", "interface", "folder", "process"] {
            ensure!(traces.left().iter().any(|found| found.starts_with(part)), "no {part} of a run that is up");
        }
        Ok(traces)
    }

    /// What there is of the run now.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let prefix = outrigger_testbed::network::namespace_prefix(&self.name);
        let names = fs::read_dir("/run/netns").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        left.extend(names.filter(|name| name.starts_with(&prefix)).map(|name| format!("namespace {name}")));
        let interfaces = nix::net::if_::if_nameindex().map(|all| all.iter().any(|interface| interface.index() == self.link));
        if interfaces.unwrap_or(true) {
            left.push(format!("interface {}", self.link));
        }
        if run::folder(&self.name).exists() {
            left.push(format!("folder {}", run::folder(&self.name).display()));
        }
        left.extend(self.processes().into_iter().map(|pid| format!("process {pid}")));
        left
    }

    /// Those of the run's processes that are still there.
    pub fn processes(&self) -> Vec<i32> {
        self.processes.iter().filter(|(pid, start)| start_time(*pid).as_ref() == Some(start)).map(|(pid, _)| *pid).collect()
    }

    /// Whether the containers' own processes have ended.
    pub fn containers_ended(&self) -> bool {
        let alive = self.processes();
        self.containers.iter().all(|pid| !alive.contains(pid))
    }

    /// Nothing may be left, now or within a moment.
    pub fn gone(&self) -> Result<()> {
        let begin = Instant::now();
        while !self.left().is_empty() {
            ensure!(begin.elapsed() < Duration::from_secs(5), "left of {}: {:?}", self.name, self.left());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// All processes in some network namespaces.
fn members(namespaces: &[(u64, u64)]) -> Vec<(i32, String)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let inside = |pid: &i32| {
        let namespace = fs::metadata(format!("/proc/{pid}/ns/net")).map(|file| (file.dev(), file.ino()));
        namespace.is_ok_and(|namespace| namespaces.contains(&namespace))
    };
    all.filter(inside).filter_map(|pid| Some((pid, start_time(pid)?))).collect()
}

/// Field 22 of `proc(5)`, stat; none once the process is gone or only waits to be reaped.
fn start_time(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let state = fields.first()?;
    (*state != "Z").then(|| fields.get(19).map(ToString::to_string)).flatten()
}

/// Runs `outrigger` to its end.
pub fn outrigger(arguments: &[&str]) -> Result<(ExitStatus, String)> {
    let output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output()?;
    Ok((output.status, String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)))
}
