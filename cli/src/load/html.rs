//! `outrigger load html`: a page of a report.

use std::{path::PathBuf, process::ExitCode};

use outrigger_loadtests::html::render;

use super::files;
use crate::stdio;

/// Arguments of `outrigger load html`.
#[derive(clap::Args)]
pub struct Arguments {
    /// A report written with -o json; - is standard input
    #[arg(value_name = "FILE")]
    report: PathBuf,
    /// Where to; standard output if not given
    #[arg(value_name = "PAGE")]
    page: Option<PathBuf>,
}

/// Writes the page.
///
/// # Errors
/// A file that cannot be read or is no report; a page that cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let page = render(&files::read(&arguments.report)?);
    match &arguments.page {
        Some(path) => files::write(path, &page)?,
        None => stdio::print(&page)?,
    }
    Ok(ExitCode::SUCCESS)
}
