//! `outrigger iptables`: the pod's init step, which writes the capture rules. Also answers to `istio-iptables`, the name that
//! pod specs rendered for Istio use.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as _, Command, FromArgMatches as _};
use outrigger_iptables_init::{Args, Outcome};

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
            eprintln!("outrigger iptables: {error}");
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

/// The same under Istio's name.
///
/// # Errors
/// As [`run`], and for arguments that no parser would take.
pub fn run_as_istio(lenient: Lenient) -> anyhow::Result<ExitCode> {
    let (args, ignored) = parse_leniently(lenient.arguments)?;
    for argument in ignored {
        eprintln!("outrigger iptables: warning: `{argument}` is not known here and is ignored");
    }
    run(args)
}

/// Drops unknown arguments one by one; a value that followed one is then unknown as well.
fn parse_leniently(mut arguments: Vec<String>) -> anyhow::Result<(Args, Vec<String>)> {
    let mut ignored = Vec::new();
    loop {
        let command =
            Args::augment_args(Command::new("istio-iptables").no_binary_name(true)).about("Write, remove or show the capture rules");
        let error = match command.try_get_matches_from(&arguments) {
            Ok(matches) => return Ok((Args::from_arg_matches(&matches)?, ignored)),
            Err(error) => error,
        };
        let position = unknown(&error).and_then(|name| arguments.iter().position(|argument| is(argument, &name)));
        match position {
            Some(position) => ignored.push(arguments.remove(position)),
            None if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => error.exit(),
            None => return Err(error).context("istio-iptables"),
        }
    }
}

fn unknown(error: &clap::Error) -> Option<String> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(name))) => Some(name.clone()),
        _ => None,
    }
}

fn is(argument: &str, name: &str) -> bool {
    argument.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || !name.starts_with("--"))
}

fn report(outcome: &Outcome) -> anyhow::Result<()> {
    let text = match outcome {
        Outcome::DryRun(rules) => rules,
        Outcome::Applied => "capture rules are in place\n",
        Outcome::AlreadyInPlace => "capture rules were in place already\n",
        Outcome::CleanedUp => "capture rules are removed\n",
        Outcome::Skipped => "capture rules are left to the CNI plugin\n",
    };
    std::io::stdout().write_all(text.as_bytes()).context("standard output")
}

/// Standard output carries the result, so the log goes to standard error.
fn log_to_stderr(args: &Args) {
    let as_json = matches!(args.log_as_json.as_deref(), Some("true" | "1"));
    let level = match args.log_output_level.as_deref().and_then(|levels| levels.rsplit(':').next()) {
        Some("debug") => tracing::Level::DEBUG,
        Some("warn" | "warning") => tracing::Level::WARN,
        Some("error" | "fatal" | "none") => tracing::Level::ERROR,
        _ => tracing::Level::INFO,
    };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_ansi(std::io::stderr().is_terminal());
    // A second initialisation would be an error and changes nothing.
    let _ = if as_json { log.json().try_init() } else { log.try_init() };
}

#[cfg(test)]
mod tests {
    use super::parse_leniently;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn unknown_flags_and_their_values_are_left_out_and_told() {
        let (args, ignored) = parse_leniently(words("-p 15001 --brand-new=1 -i * --newer value -Z -b *")).unwrap();
        assert_eq!(args.envoy_port.as_deref(), Some("15001"));
        assert_eq!(args.istio_service_cidr.as_deref(), Some("*"));
        assert_eq!(args.istio_inbound_ports.as_deref(), Some("*"));
        assert_eq!(ignored, ["--brand-new=1", "--newer", "value", "-Z"]);
    }

    #[test]
    fn a_known_flag_without_its_value_is_still_an_error() {
        assert!(parse_leniently(words("-p")).is_err());
    }
}
