//! `outrigger pod-exec`: becomes a process of a pod. Internal; the testbed and `outrigger exec` start it.
//!
//! It joins the pod's network, takes a private view of the files, gives up root and then *is* the container's
//! program: no supervisor stays between, so the process id the testbed knows is the application's.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Pid, Uid, getppid, setgroups, sethostname, setresgid, setresuid, setsid};

use super::root;
use super::spec::{DEFAULT_PATH, Spec};
use crate::network::NetNs;

/// The subcommand by which this module is reached.
const SUBCOMMAND: &str = "pod-exec";
/// How long a container may be on its way in.
const ENTRY: Duration = Duration::from_secs(30);

/// Arguments of `outrigger pod-exec`.
#[derive(Clone, Debug, clap::Args)]
pub struct PodExec {
    /// The pod's folder in the run's state.
    #[arg(long)]
    pub pod: PathBuf,
    /// Which container's surroundings to take.
    #[arg(long)]
    pub container: String,
    /// Process id of the running container, to share its files instead of taking a fresh view of them.
    #[arg(long)]
    pub join: Option<i32>,
    /// End together with this parent process, and lead a session of its own.
    #[arg(long)]
    pub parent: Option<i32>,
    /// Run as root instead of the container's user.
    #[arg(long)]
    pub root: bool,
    /// Program and arguments instead of the container's.
    #[arg(last = true)]
    pub argv: Vec<String>,
}

/// Replaces the calling process; returns only on failure. Call it before any thread is started.
///
/// # Errors
/// When the pod is gone, a volume is missing or the program does not exist.
pub fn pod_exec(arguments: &PodExec) -> Result<()> {
    let mut spec = Spec::read(&arguments.pod, &arguments.container)?;
    if !arguments.argv.is_empty() {
        spec.argv.clone_from(&arguments.argv);
    }
    if arguments.root {
        (spec.uid, spec.gid, spec.groups) = (0, 0, Vec::new());
    }
    if arguments.parent.is_some() {
        setsid().context("leaving the caller's session")?;
    }
    NetNs::named(&spec.netns).enter()?;
    match arguments.join {
        Some(pid) => join(pid)?,
        None => isolate(arguments, &spec)?,
    }
    become_user(&spec)?;
    if let Some(parent) = arguments.parent {
        die_with(parent)?;
    }
    run(&spec)
}

fn join(pid: i32) -> Result<()> {
    until_entered(pid)?;
    let open = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}")).context("the container is not running");
    let (files, name) = (open("mnt")?, open("uts")?);
    // Threads of one process share their root folder until told otherwise, and such a process may not change it.
    unshare(CloneFlags::CLONE_FS)?;
    setns(name, CloneFlags::CLONE_NEWUTS)?;
    setns(files, CloneFlags::CLONE_NEWNS).context("entering the container's files")
}

/// Waits until the container's process has become its program. Before that it is still on its way in: its files may be the
/// host's, and whoever joined it then would write there.
fn until_entered(pid: i32) -> Result<()> {
    let begun = Instant::now();
    loop {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).context("the container is not running")?;
        if line.is_empty() {
            // In the midst of an exec, before its new arguments are in place, or dead and not yet waited for.
            if is_dead(pid)? {
                bail!("the container is not running");
            }
        } else if line.split(|byte| *byte == 0).nth(1) != Some(SUBCOMMAND.as_bytes()) {
            return Ok(());
        }
        if begun.elapsed() > ENTRY {
            bail!("the container has not started within {ENTRY:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the process is a zombie or about to be none (proc_pid_stat(5): the state follows the name in parentheses).
fn is_dead(pid: i32) -> Result<bool> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the container is not running")?;
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    Ok(matches!(state, Some('Z' | 'X' | 'x') | None))
}

fn isolate(arguments: &PodExec, spec: &Spec) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
    sethostname(&spec.hostname)?;
    root::build(&arguments.pod.join("root"), &spec.mounts, spec.read_only_root)
}

/// Leaving uid 0 clears the permitted and effective capabilities (capabilities(7)), and without new privileges
/// nothing brings them back.
fn become_user(spec: &Spec) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(spec.uid), Gid::from_raw(spec.gid));
    let groups: Vec<Gid> = spec.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid).with_context(|| format!("becoming uid {uid}"))?;
    if !uid.is_root() {
        prctl::set_no_new_privs()?;
    }
    Ok(())
}

/// Changing the user clears the signal, so it is set last; the parent may have died before.
fn die_with(parent: i32) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != Pid::from_raw(parent) {
        bail!("the testbed has ended");
    }
    Ok(())
}

fn run(spec: &Spec) -> Result<()> {
    let Some((program, rest)) = spec.argv.split_first() else { bail!("no command to run") };
    if let Some(folder) = &spec.working_dir {
        let _ = std::fs::create_dir_all(folder);
        std::env::set_current_dir(folder).with_context(|| format!("no working directory {}", folder.display()))?;
    }
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(&spec.env);
    if !spec.env.contains_key("PATH") {
        command.env("PATH", DEFAULT_PATH);
    }
    Err(command.exec()).with_context(|| format!("running `{program}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_on_its_way_in_is_waited_for() -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join(SUBCOMMAND), "sleep 0.3\nexec sleep 30\n")?;
        let mut entering = Command::new("sh").arg(SUBCOMMAND).current_dir(folder.path()).spawn()?;
        let pid = i32::try_from(entering.id())?;
        let waited = until_entered(pid);
        let program = std::fs::read(format!("/proc/{pid}/cmdline"))?;
        entering.kill()?;
        let mut dead = false;
        for _ in 0..1000 {
            dead = is_dead(pid)?;
            if dead {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let joined_dead = until_entered(pid);
        entering.wait()?;
        waited?;
        assert_eq!(program, b"sleep\x0030\x00");
        assert!(dead && joined_dead.is_err(), "it is dead, though nobody has waited for it");
        assert!(until_entered(pid).is_err(), "it has ended");
        Ok(())
    }
}
