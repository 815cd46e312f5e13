//! `outrigger exec`: a command inside a pod.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::running::Selector;

/// Arguments of `outrigger exec`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: Selector,
    /// Pod: NAME, NAMESPACE/NAME, or the unique beginning of a name
    pod: String,
    /// Container whose user, files and environment to take [default: the application's]
    #[arg(short, long)]
    container: Option<String>,
    /// Run as root instead of the container's user
    #[arg(long)]
    root: bool,
    /// Program and arguments, after `--`
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Replaces this process by the command; returns only on failure.
///
/// # Errors
/// When there is no such run, pod or container.
pub fn run(args: Args) -> Result<()> {
    let state = args.run.state()?;
    let pod = state.pod(&args.pod)?;
    let container = pod.container(args.container.as_deref())?;
    // The program of the run, not this one: they may be of different versions.
    let mut command = Command::new(&state.program);
    command.arg("pod-exec").arg("--pod").arg(&pod.folder).arg("--container").arg(&container.name);
    if let Some(pid) = container.pid {
        command.arg("--join").arg(pid.to_string());
    }
    if args.root {
        command.arg("--root");
    }
    command.arg("--").args(&args.command);
    Err(command.exec()).with_context(|| format!("running {}", state.program.display()))
}
