//! `outrigger load merge`: one report of several.

use std::{path::PathBuf, process::ExitCode};

use outrigger_loadtests::{
    Demands,
    args::Output,
    html,
    merge::merge,
    report::{mixed_schemas, several_targets},
};

use super::{files, present};
use crate::stdio;

/// Arguments of `outrigger load merge`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Reports written with -o json; - is standard input
    #[arg(required = true, value_name = "FILE")]
    reports: Vec<PathBuf>,
    /// What has to hold of all together.
    #[command(flatten)]
    demands: Demands,
    /// Write the merged report also as one HTML file with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Output format
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: Output,
}

/// Prints the merged report. Ends with 1 when a demand is not met.
///
/// # Errors
/// Files that cannot be read, or are no reports.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let reports = arguments.reports.iter().map(|path| files::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    for note in [several_targets(reports.iter()), mixed_schemas(reports.iter())].into_iter().flatten() {
        stdio::warn(&format!("outrigger: note: {note}"));
    }
    let mut merged = merge(reports);
    let met = arguments.demands.judge(&mut merged);
    if let Some(file) = &arguments.html {
        files::write(file, &html::render(&merged))?;
    }
    present(&merged, arguments.output)?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
