//! `outrigger injector`: the webhook that puts the proxy into pods, with the controllers that keep it supplied.

use std::io::IsTerminal as _;

use outrigger_injector::control;
use tracing_subscriber::EnvFilter;

/// What the injector is started with, and how it logs.
#[derive(clap::Args)]
#[command(after_help = control::args::EXAMPLES)]
// The flattened arguments have a group of the same name.
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    injector: control::Args,
    /// What is logged: a level, or `target=level` pairs separated by commas; targets are `injector` and `webhook`
    #[arg(long, env = "INJECTOR_LOG", default_value = "warn,injector=info,webhook=info", value_name = "FILTER")]
    log: EnvFilter,
    /// Log as JSON, one object a line
    #[arg(long, env = "INJECTOR_LOG_AS_JSON")]
    log_as_json: bool,
}

/// Serves until told to end.
///
/// # Errors
/// Those of [`control::run`].
pub fn run(args: Args) -> anyhow::Result<()> {
    // That a line cannot be written cannot be told to anybody: the subscriber would panic over it.
    let log = tracing_subscriber::fmt()
        .with_env_filter(args.log)
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    if args.log_as_json {
        log.json().init()
    } else {
        log.init()
    }
    control::run(args.injector)
}
