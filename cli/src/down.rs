//! `outrigger down`: ends a run from another terminal, and removes what crashed ones left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_testbed::run::{self, cleanup, state::State};

use crate::stdio;

/// How long a run may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `outrigger down`.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the run [default: the only one that is up]
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
    for crashed in cleanup::remove_crashed() {
        stdio::print_line(&format!("removed what the crashed run {crashed:?} had left behind"))?;
        if args.name.as_ref() == Some(&crashed) {
            return Ok(());
        }
    }
    let live: Vec<String> = run::names().into_iter().filter(|name| State::read(&run::folder(name)).is_ok()).collect();
    let chosen = match (&args.name, live.as_slice()) {
        (Some(name), _) if live.contains(name) => vec![name.clone()],
        (Some(name), _) => bail!("no run named {name:?} is up"),
        (None, several) if args.all => several.to_vec(),
        (None, [only]) => vec![only.clone()],
        (None, []) => {
            return stdio::print_line("no run is up");
        }
        (None, several) => bail!("several runs are up; choose with --name, or --all: {}", several.join(", ")),
    };
    chosen.iter().try_for_each(|name| end(name))
}

fn end(name: &str) -> Result<()> {
    let folder = run::folder(name);
    let state = State::read(&folder)?;
    // Not a group or a name: exactly the process that holds this run's lock.
    kill(Pid::from_raw(i32::try_from(state.pid)?), Signal::SIGTERM)?;
    let deadline = Instant::now() + PATIENCE;
    while is_up(&folder) {
        if Instant::now() > deadline {
            bail!("run {name:?} (process {}) does not end", state.pid);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    stdio::print_line(&format!("run {name:?} has ended"))
}

/// A run holds its lock until everything is removed; its folder may stay (`up --keep`).
fn is_up(folder: &Path) -> bool {
    matches!(run::try_lock(folder), Ok(None)) || (folder.exists() && !folder.join("lock").exists())
}
