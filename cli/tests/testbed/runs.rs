//! Runs as processes: several at a time, ended by signal, crashed, and the commands that look into them.

use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_testbed::run;
use outrigger_testbed::run::state::State;

use crate::bed::{PATIENCE, PROGRAM, app, assert_gone, unique_name};

struct Up {
    child: Child,
    name: String,
    _folder: tempfile::TempDir,
}

impl Up {
    fn start(purpose: &str) -> Up {
        Up::printing_to(purpose, Stdio::null())
    }

    fn printing_to(purpose: &str, stdout: Stdio) -> Up {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), app("front", 2)).unwrap();
        let name = unique_name(purpose);
        let mut command = Command::new(PROGRAM);
        command.args(["up", "--name", &name, "-f"]).arg(folder.path());
        let child = command.stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
        Up { child, name, _folder: folder }
    }

    fn state(&self) -> Option<State> {
        State::read(&run::folder(&self.name)).ok()
    }

    fn wait_ready(&self) -> State {
        let begun = Instant::now();
        loop {
            if let Some(state) = self.state().filter(|state| state.settled) {
                return state;
            }
            assert!(begun.elapsed() < PATIENCE, "not ready: {:?}", self.state());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn signal(&mut self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.child.wait().unwrap();
    }
}

/// A pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

fn outrigger(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_runs_go_on_side_by_side_and_a_signal_ends_one_without_trace() {
    let (mut one, mut two) = (Up::start("one"), Up::start("two"));
    let (first, second) = (one.wait_ready(), two.wait_ready());
    assert_ne!(first.subnet, second.subnet);
    one.signal(Signal::SIGINT);
    assert_gone(&one.name);
    assert!(two.state().is_some_and(|state| state.settled));
    two.signal(Signal::SIGTERM);
    assert_gone(&two.name);
}

#[test]
fn a_name_can_be_taken_once_only() {
    let mut up = Up::start("taken");
    up.wait_ready();
    let folder = tempfile::tempdir().unwrap();
    let second = outrigger(&["up", "--name", &up.name, "-f", folder.path().to_str().unwrap()]);
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("is up already"));
    up.signal(Signal::SIGTERM);
    assert_gone(&up.name);
}

#[test]
fn after_kill_9_no_container_lives_on_and_the_rest_is_removed_by_down() {
    let mut up = Up::start("crash");
    let state = up.wait_ready();
    let pids: Vec<i32> = state.pods.iter().flat_map(|pod| &pod.containers).filter_map(|container| container.pid).collect();
    assert_eq!(pids.len(), 2);
    up.signal(Signal::SIGKILL);
    let begun = Instant::now();
    while pids.iter().any(|pid| kill(Pid::from_raw(*pid), None).is_ok()) {
        assert!(begun.elapsed() < PATIENCE, "containers outlive the testbed");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // Another test's `up` may have found it first, and that is as good.
    let down = outrigger(&["down", "--name", &up.name]);
    assert!(down.status.success() || String::from_utf8_lossy(&down.stderr).contains("no run named"), "{down:?}");
    assert_gone(&up.name);
}

/// Whether a signal waits for a process that is stopped.
fn is_pending(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (signal as u32 - 1)) != 0
}

#[test]
fn down_removes_what_a_run_leaves_that_dies_while_it_is_told_to_end() {
    let mut up = Up::start("dies");
    let state = up.wait_ready();
    let pid = Pid::from_raw(up.child.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    let down = Command::new(PROGRAM).args(["down", "--name", &up.name]).stdout(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !is_pending(up.child.id(), Signal::SIGTERM) {
        assert!(begun.elapsed() < PATIENCE, "`down` tells the run nothing");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    up.signal(Signal::SIGKILL);
    let down = down.wait_with_output().unwrap();
    assert!(down.status.success(), "{down:?}");
    assert_gone(&up.name);
    let (said, name) = (stdout(&down), &up.name);
    let path = state.paths[0].display();
    // First it may have removed a run that another test let crash.
    assert!(said.contains(&format!("ending run {name:?} (process {pid}) of {path}\n")), "{said}");
    assert!(said.ends_with(&format!("run {name:?} has ended\n")), "{said}");
}

#[test]
fn ps_logs_exec_and_down_work_from_another_terminal() {
    let mut up = Up::start("commands");
    let state = up.wait_ready();
    let name = up.name.as_str();
    let pod = state.pods[0].name.as_str();
    let listing = stdout(&outrigger(&["ps", "--name", name]));
    assert!(listing.starts_with("NAMESPACE") && listing.contains(pod), "{listing}");
    let json: serde_json::Value = serde_json::from_slice(&outrigger(&["ps", "--name", name, "-o", "json"]).stdout).unwrap();
    assert_eq!(json["pods"][0]["name"], pod);
    let hello = outrigger(&["exec", "--name", name, pod, "--", "sh", "-c", "hostname; exit 7"]);
    assert_eq!((stdout(&hello), hello.status.code()), (format!("{pod}\n"), Some(7)));
    let log = outrigger(&["logs", "--name", name, pod]);
    assert!(log.status.success());
    let nobody = outrigger(&["logs", "--name", name, "nobody"]);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("there are: default/front-"));
    let down = outrigger(&["down", "--name", name]);
    assert!(down.status.success(), "{down:?}");
    up.child.wait().unwrap();
    assert_gone(name);
}

#[test]
fn a_run_and_the_commands_about_it_go_on_when_nobody_reads_them() {
    let mut up = Up::printing_to("unread", unread());
    let state = up.wait_ready();
    let pod = state.pods[0].name.as_str();
    for command in [vec!["ps"], vec!["ps", "-o", "json"], vec!["logs", pod]] {
        let arguments = [&command[..1], &["--name", &up.name], &command[1..]].concat();
        let said = Command::new(PROGRAM).args(&arguments).stdout(unread()).output().unwrap();
        assert!(said.status.success() && said.stderr.is_empty(), "{arguments:?}: {said:?}");
    }
    let said = Command::new(PROGRAM).args(["ps", "--name", &up.name]).stdout(full()).output().unwrap();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("cannot write to standard output"), "{said:?}");
    kill(Pid::from_raw(up.child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(up.child.wait().unwrap().code(), Some(0));
    assert_gone(&up.name);
}

#[test]
fn up_that_cannot_say_anything_for_a_full_disk_fails_and_leaves_nothing() {
    let mut up = Up::printing_to("full", full());
    assert_eq!(up.child.wait().unwrap().code(), Some(1));
    assert_gone(&up.name);
}

#[test]
fn without_root_up_says_what_it_needs() {
    // The program may lie below a folder that only root can enter; a copy does not.
    let folder = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let copy = folder.path().join("outrigger");
    std::fs::copy(PROGRAM, &copy).unwrap();
    let output = Command::new("setpriv").args(["--reuid", "65534", "--clear-groups"]).arg(&copy).args(["up", "-f", "/"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("root"), "{output:?}");
}
