//! `outrigger ps`: the pods of a run.

use anyhow::Result;

use crate::running::Selector;
use crate::stdio;
use crate::up::pods_table;

/// Arguments of `outrigger ps`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: Selector,
    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Prints the run's pods.
///
/// # Errors
/// When no run is up.
pub fn run(args: Args) -> Result<()> {
    let state = args.run.state()?;
    match args.output {
        Output::Table => stdio::print(&pods_table(&state)),
        Output::Json => stdio::print_line(&serde_json::to_string_pretty(&state)?),
    }
}
