//! `outrigger iptables`: the pod's init step, which writes the capture rules. Also answers to `istio-iptables`, the name that
//! pod specs rendered for Istio use.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use outrigger_iptables_init::{Args, Outcome, lenient};

use crate::stdio;

/// Shown below `--help`.
pub const EXAMPLES: &str = "Examples:
  outrigger iptables -u 1337 -i '*' -b '*' -d 15090,15021,15020   what the init container of a sidecar runs
  outrigger iptables -i '*' -b '*' --explain                       what each rule would be for; changes nothing
  outrigger iptables -m TPROXY -i '*' -b '*' --dry-run             the rules as text
  outrigger iptables --cleanup-only --network-namespace /run/netns/pod

Exit codes: 0 done or in place already; 1 refused or failed, with the former rules standing; 126 --run-validation failed;
2 a flag that is not known. Every flag is also an environment variable: its name in capitals, `-` as `_`.";

/// What follows `istio-iptables`, unparsed. A template newer than this binary may pass flags it does not know; those are
/// ignored with a warning (contract section 0). Under its own name the command refuses them: there they are typing errors.
#[derive(clap::Args)]
pub struct Lenient {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Writes, removes or shows the rules.
///
/// # Errors
/// Only if the outcome cannot be written to standard output; failures of the command itself are reported here and become the exit code
/// (126 for a failed `--run-validation`, else 1).
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let args = args.with_environment(|name| std::env::var(name).ok());
    log_to_stderr(&args);
    match outrigger_iptables_init::run(args) {
        Ok(outcome) => report(&outcome).map(|()| ExitCode::SUCCESS),
        Err(error) => {
            stdio::warn(&format!("outrigger: {error}"));
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

/// The same under Istio's name.
///
/// # Errors
/// As [`run`]. Help and arguments that no parser would take end the process here.
pub fn run_as_istio(lenient: Lenient) -> anyhow::Result<ExitCode> {
    let (args, ignored) = lenient::parse(lenient.arguments).unwrap_or_else(|error| error.exit());
    for argument in ignored {
        stdio::warn(&format!("outrigger: warning: `{argument}` is not known here and is ignored"));
    }
    run(args)
}

fn report(outcome: &Outcome) -> anyhow::Result<()> {
    let text = match outcome {
        Outcome::DryRun(text) => text,
        Outcome::Applied => "capture rules are in place\n",
        Outcome::AlreadyInPlace => "capture rules were in place already\n",
        Outcome::CleanedUp => "capture rules are removed\n",
        Outcome::Skipped => "capture rules are left to the CNI plugin\n",
    };
    stdio::print(text)
}

/// Standard output carries the result, so the log goes to standard error. A line that cannot be written there is lost, as with
/// [`stdio::warn`]: the subscriber's own complaint about it would go the same way, and end the program with a panic.
fn log_to_stderr(args: &Args) {
    let as_json = matches!(args.log_as_json.as_deref(), Some("true" | "1"));
    let level = match args.log_output_level.as_deref().and_then(|levels| levels.rsplit(':').next()) {
        Some("debug") => tracing::Level::DEBUG,
        Some("warn" | "warning") => tracing::Level::WARN,
        Some("error" | "fatal" | "none") => tracing::Level::ERROR,
        _ => tracing::Level::INFO,
    };
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_max_level(level)
        .with_ansi(std::io::stderr().is_terminal());
    // A second initialisation would be an error and changes nothing.
    let _ = if as_json { log.json().try_init() } else { log.try_init() };
}
