//! `outrigger down`: ends a run from another terminal, and removes what crashed ones left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
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
    choose(&args, live)?.iter().try_for_each(|name| end(name))
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

fn end(name: &str) -> Result<()> {
    let folder = run::folder(name);
    let state = State::read(&folder)?;
    let paths: Vec<String> = state.paths.iter().map(|path| path.display().to_string()).collect();
    stdio::print_line(&format!("ending run {name:?} (process {}) of {}", state.pid, paths.join(", ")))?;
    // Not a group or a name: exactly the process that holds this run's lock.
    kill(Pid::from_raw(i32::try_from(state.pid)?), Signal::SIGTERM)?;
    let deadline = Instant::now() + PATIENCE;
    while is_up(&folder) {
        if Instant::now() > deadline {
            bail!("run {name:?} (process {}) does not end", state.pid);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // The lock is free too when the process died on the way.
    let crashed = cleanup::remove_crashed();
    crashed.iter().try_for_each(|name| say_removed(name))?;
    stdio::print_line(&format!("run {name:?} has ended"))
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
}
