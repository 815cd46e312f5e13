//! `outrigger load compare`: whether one side is faster.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use outrigger_loadtests::{
    Report,
    args::Output,
    compare::{Verdict, compare, render},
    table::Paint,
};

use super::files;
use crate::stdio;

/// Arguments of `outrigger load compare`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Reports of the side compared to, written with -o json
    #[arg(value_delimiter = ',', required = true, num_args = 1, value_name = "A1,A2,...")]
    a: Vec<PathBuf>,
    /// Reports of the side in question
    #[arg(value_delimiter = ',', required = true, num_args = 1, value_name = "B1,B2,...")]
    b: Vec<PathBuf>,
    /// End with status 1 when B is slower in any metric
    #[arg(long)]
    fail_if_slower: bool,
    /// Output format
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: Output,
}

/// Prints the verdicts.
///
/// # Errors
/// Files that cannot be read, or are no reports.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let read = |paths: &[PathBuf]| {
        let named = paths.iter().map(|path| Ok((path.display().to_string(), files::read(path)?)));
        named.collect::<anyhow::Result<Vec<(String, Report)>>>()
    };
    let comparison = compare(&read(&arguments.a)?, &read(&arguments.b)?);
    match arguments.output {
        Output::Text => stdio::print(&render(&comparison, Paint::for_terminal(std::io::stdout().is_terminal())))?,
        Output::Json => stdio::print(&(serde_json::to_string(&comparison)? + "\n"))?,
    }
    let slower = comparison.metrics.iter().any(|metric| metric.verdict == Verdict::Slower);
    Ok(if slower && arguments.fail_if_slower { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
