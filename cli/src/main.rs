//! `outrigger`: one binary for every role. Each subcommand is a thin function in a file of its own.

mod stand_in;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A service-mesh data plane that understands Istio's API.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The sample application of `outrigger up`
    #[command(hide = true)]
    StandIn(outrigger_testbed::stand_in::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::StandIn(args) => stand_in::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error:#}");
            ExitCode::FAILURE
        }
    }
}
