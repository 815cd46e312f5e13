//! Finding the run that a command is about.

use std::path::PathBuf;

use anyhow::{Result, bail};
use outrigger_testbed::run::state::State;
use outrigger_testbed::run::{self, ROOT};

/// `--name` of commands about a run.
#[derive(clap::Args)]
pub struct Selector {
    /// Name of the run [default: the only one that is up]
    #[arg(long)]
    pub name: Option<String>,
}

impl Selector {
    /// The folder of the run.
    ///
    /// # Errors
    /// When there is none of that name, or several without one being named.
    pub fn folder(&self) -> Result<PathBuf> {
        let live: Vec<String> = run::names().into_iter().filter(|name| State::read(&run::folder(name)).is_ok()).collect();
        match (&self.name, live.as_slice()) {
            (Some(name), _) if live.contains(name) => Ok(run::folder(name)),
            (Some(name), _) => bail!("no run named {name:?} is up (looked in {ROOT}); there are: {}", live.join(", ")),
            (None, [only]) => Ok(run::folder(only)),
            (None, []) => bail!("no run is up: start one with `outrigger up -f FOLDER`"),
            (None, several) => bail!("several runs are up; choose with --name: {}", several.join(", ")),
        }
    }

    /// The run's state.
    ///
    /// # Errors
    /// As [`Selector::folder`].
    pub fn state(&self) -> Result<State> {
        State::read(&self.folder()?)
    }
}
