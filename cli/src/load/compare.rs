//! `outrigger load compare`: whether one side is faster.

use std::{convert::Infallible, io::IsTerminal, path::PathBuf, process::ExitCode, str::FromStr};

use anyhow::bail;

use outrigger_loadtests::{
    Report,
    args::Output,
    compare::{compare, render},
    table::Paint,
};

use super::files;
use crate::stdio;

/// Arguments of `outrigger load compare`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Reports of the side compared to, written with -o json; several with commas between them
    #[arg(value_name = "A1,A2,...")]
    a: Runs,
    /// Reports of the side in question, likewise
    #[arg(value_name = "B1,B2,...")]
    b: Runs,
    /// For more than two arguments clap would say no more than that it did not expect them.
    #[arg(hide = true)]
    more: Vec<String>,
    /// End with status 1 when B is slower in any metric, or fails more
    #[arg(long)]
    fail_if_slower: bool,
    /// Output format
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: Output,
}

/// The runs of one side.
#[derive(Clone, Debug)]
struct Runs(Vec<PathBuf>);

impl FromStr for Runs {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.split(',').map(PathBuf::from).collect()))
    }
}

/// Prints the verdicts.
///
/// # Errors
/// Files that cannot be read, or are no reports; more than two sides.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if !arguments.more.is_empty() {
        bail!(
            "{} arguments, but there are two sides: put commas between the runs of a side, as in `compare a1.json,a2.json b1.json,b2.json`",
            2 + arguments.more.len()
        );
    }
    let read = |paths: &[PathBuf]| {
        let named = paths.iter().map(|path| Ok((path.display().to_string(), files::read(path)?)));
        named.collect::<anyhow::Result<Vec<(String, Report)>>>()
    };
    let comparison = compare(&read(&arguments.a.0)?, &read(&arguments.b.0)?);
    match arguments.output {
        Output::Text => stdio::print(&render(&comparison, Paint::for_terminal(std::io::stdout().is_terminal())))?,
        Output::Json => stdio::print(&(serde_json::to_string(&comparison)? + "\n"))?,
    }
    Ok(if comparison.is_worse() && arguments.fail_if_slower { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
