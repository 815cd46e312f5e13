//! `outrigger proxy sidecar|router`: the data plane of one workload.

use std::process::ExitCode;

use outrigger_proxy::bootstrap::{Args, Environment, Settings, USAGE, interface_addresses};

use crate::failure::WrongUsage;
use crate::stdio;

/// The command line as written; [`Args::parse`] reads it, because flags of newer templates must be skipped.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct ProxyArgs {
    /// Role and options; see `outrigger proxy --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ROLE [OPTIONS]")]
    words: Vec<String>,
}

/// Serves until the process is told to end.
///
/// # Errors
/// A wrong command line, and those of [`outrigger_proxy::runtime::run`].
pub fn run(args: ProxyArgs) -> anyhow::Result<ExitCode> {
    let Some(args) = Args::parse(&args.words).map_err(|error| WrongUsage::from_parser(&error))? else {
        stdio::print(USAGE)?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut warnings = Vec::new();
    let settings = Settings::resolve(args, &Environment::of_process(), &interface_addresses(), &mut warnings)?;
    outrigger_proxy::runtime::run(settings, warnings, crate::sys::release_free_memory)
}
