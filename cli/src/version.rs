//! `outrigger version`: what this program is. pilot-agent answers to the same.

use std::process::ExitCode;

use serde_json::json;

use crate::stdio;

/// How to say it; the flags are pilot-agent's.
#[derive(clap::Args)]
pub struct VersionArgs {
    /// The number alone
    #[arg(short, long)]
    short: bool,
    /// Machine-readable output
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Json,
    Yaml,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the version.
///
/// # Errors
/// It cannot be printed.
pub fn run(args: &VersionArgs) -> anyhow::Result<ExitCode> {
    let linking = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    stdio::print_line(&match args.output {
        Some(Format::Json) => json!({ "version": VERSION, "platform": platform, "linking": linking }).to_string(),
        Some(Format::Yaml) => format!("version: {VERSION}\nplatform: {platform}\nlinking: {linking}"),
        None if args.short => VERSION.to_owned(),
        None => format!("outrigger {VERSION} ({platform}, {linking})"),
    })?;
    Ok(ExitCode::SUCCESS)
}
