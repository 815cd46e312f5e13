//! `outrigger down`: ends a run from another terminal, and removes what crashed ones left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_testbed::run::{self, cleanup, state::State};

use crate::stdio;

/// How long a run may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `outrigger down`.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the run [default: the only one that is up among those that were started without a name]
    #[arg(long, conflicts_with = "all")]
    name: Option<String>,
    /// End all runs
    #[arg(long)]
    all: bool,
}

/// Ends runs and waits until they are gone.
///
/// # Errors
/// When there is no such run, or it does not end.
pub fn run(args: Args) -> Result<()> {
    let crashed = cleanup::remove_crashed();
    crashed.iter().try_for_each(|name| say_removed(name))?;
    if args.name.as_ref().is_some_and(|name| crashed.contains(name)) {
        return Ok(());
    }
    let live: Vec<String> = run::names().into_iter().filter(|name| State::read(&run::folder(name)).is_ok()).collect();
    if live.is_empty() && args.name.is_none() {
        return stdio::print_line("no run is up");
    }
    end_each(&choose(&args, live)?, end)
}

/// Which of the runs that are up are meant. Who gave a run a name said that there are others, or is a test: it ends by its name,
/// and never because somebody meant their own.
fn choose(args: &Args, live: Vec<String>) -> Result<Vec<String>> {
    if let Some(name) = &args.name {
        ensure!(live.contains(name), "no run named {name:?} is up");
        return Ok(vec![name.clone()]);
    }
    if args.all {
        return Ok(live);
    }
    let unnamed: Vec<String> = live.iter().filter(|name| run::is_default(name)).cloned().collect();
    match unnamed.len() {
        1 => Ok(unnamed),
        0 => bail!("what is up was given a name and ends by it; choose with --name, or --all: {}", live.join(", ")),
        _ => bail!("several runs are up; choose with --name, or --all: {}", live.join(", ")),
    }
}

/// Ends each of them, whatever becomes of the others.
fn end_each(names: &[String], end: impl Fn(&str) -> Result<()>) -> Result<()> {
    let failed: Vec<String> = names.iter().filter_map(|name| Some(format!("{:#}", end(name).err()?))).collect();
    ensure!(failed.is_empty(), failed.join("; "));
    Ok(())
}

fn end(name: &str) -> Result<()> {
    let folder = run::folder(name);
    // Without a state it has ended by itself, or another `down` was faster.
    if let Ok(state) = State::read(&folder) {
        if ask(&folder, state.pid)? {
            let paths: Vec<String> = state.paths.iter().map(|path| path.display().to_string()).collect();
            stdio::print_line(&format!("ending run {name:?} (process {}) of {}", state.pid, paths.join(", ")))?;
        }
        ensure!(is_gone_soon(&folder, state.pid), "run {name:?} (process {}) does not end", state.pid);
        // The lock is free too when the process died on the way.
        cleanup::remove_crashed().iter().try_for_each(|name| say_removed(name))?;
        let left = State::read(&folder).is_ok_and(|left| left.pid == state.pid);
        ensure!(!left, "what the crashed run {name:?} left behind cannot be removed: {}", folder.display());
    }
    stdio::print_line(&format!("run {name:?} has ended"))
}

/// Asks the process of a run to end; false when it has, and its number may be anybody's: nobody holds the run's lock.
fn ask(folder: &Path, pid: u32) -> Result<bool> {
    match run::try_lock(folder) {
        Ok(None) => {}
        Ok(Some(_)) => return Ok(false),
        Err(_) if !folder.join("lock").exists() => return Ok(false),
        Err(error) => return Err(error),
    }
    // Not a group or a name: exactly that process.
    match kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the run of this process to be over; another may have taken its name.
fn is_gone_soon(folder: &Path, pid: u32) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while is_up(folder) && !State::read(folder).is_ok_and(|other| other.pid != pid) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

fn say_removed(crashed: &str) -> Result<()> {
    stdio::print_line(&format!("removed what the crashed run {crashed:?} had left behind"))
}

/// A run holds its lock until everything is removed; its folder may stay (`up --keep`).
fn is_up(folder: &Path) -> bool {
    matches!(run::try_lock(folder), Ok(None)) || (folder.exists() && !folder.join("lock").exists())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    fn chosen(name: Option<&str>, all: bool, live: &[&str]) -> Result<Vec<String>, String> {
        let args = Args { name: name.map(str::to_owned), all };
        choose(&args, live.iter().map(ToString::to_string).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_name_the_only_run_that_has_none_of_its_own_ends_and_never_a_named_one() {
        assert_eq!(chosen(None, false, &["default", "soak-7"]), Ok(vec!["default".to_owned()]));
        assert_eq!(chosen(None, false, &["default-2"]), Ok(vec!["default-2".to_owned()]));
        let named = chosen(None, false, &["default-shop", "soak-7"]).expect_err("both have a name");
        assert!(named.ends_with("choose with --name, or --all: default-shop, soak-7"), "{named}");
        let several = chosen(None, false, &["default", "default-2", "soak-7"]).expect_err("two of them");
        assert!(several.starts_with("several runs are up"), "{several}");
    }

    #[test]
    fn a_name_ends_that_run_and_all_ends_every_one() {
        assert_eq!(chosen(Some("soak-7"), false, &["default", "soak-7"]), Ok(vec!["soak-7".to_owned()]));
        assert_eq!(chosen(Some("other"), false, &["default"]), Err("no run named \"other\" is up".to_owned()));
        assert_eq!(chosen(None, true, &["default", "soak-7"]), Ok(vec!["default".to_owned(), "soak-7".to_owned()]));
    }

    #[test]
    fn a_run_that_does_not_end_keeps_no_other_from_ending() {
        let ended = RefCell::new(Vec::new());
        let end = |name: &str| {
            ended.borrow_mut().push(name.to_owned());
            if name == "b" { Ok(()) } else { bail!("{name} does not end") }
        };
        let failed = end_each(&["a", "b", "c"].map(str::to_owned), end).expect_err("two of them");
        assert_eq!((failed.to_string().as_str(), ended.take().join(" ").as_str()), ("a does not end; c does not end", "a b c"));
    }

    #[test]
    fn a_run_that_has_ended_by_itself_is_no_error() {
        end(&format!("ended-{}", std::process::id())).expect("it has ended");
    }

    /// The folder of a run that belongs to the process.
    fn folder(pid: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("lock"), "").expect("a file");
        let state = serde_json::json!({
            "run": "r", "pid": pid, "program": "", "subnet": {"index": 1, "v6": false}, "paths": [], "settled": true, "published": 0,
            "pods": [], "services": []
        });
        fs::write(folder.path().join("state.json"), state.to_string()).expect("a file");
        folder
    }

    #[test]
    fn only_the_holder_of_the_lock_is_asked_to_end() {
        let mut process = Command::new("sleep").arg("60").spawn().expect("a process");
        let folder = folder(process.id());
        let asked = ask(folder.path(), process.id());
        assert!(matches!(asked, Ok(false)), "nobody holds the lock: {asked:?}");
        let lock = run::try_lock(folder.path());
        let asked = ask(folder.path(), process.id());
        assert!(matches!((&lock, &asked), (Ok(Some(_)), Ok(true))), "{lock:?} {asked:?}");
        assert_eq!(process.wait().expect("its end").signal(), Some(Signal::SIGTERM as i32));
    }

    #[test]
    fn a_run_is_gone_once_another_has_taken_its_name() {
        let folder = folder(2);
        let _lock = run::try_lock(folder.path()).expect("a lock file").expect("free");
        assert!(is_gone_soon(folder.path(), 1));
    }
}
