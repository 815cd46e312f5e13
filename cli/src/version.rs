//! `outrigger version`: what this program is. pilot-agent answers to the same.

use std::process::ExitCode;

use serde_json::json;

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
/// None; the type is that of all subcommands.
pub fn run(args: &VersionArgs) -> anyhow::Result<ExitCode> {
    let linking = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    match args.output {
        Some(Format::Json) => println!("{}", json!({ "version": VERSION, "platform": platform, "linking": linking })),
        Some(Format::Yaml) => println!("version: {VERSION}\nplatform: {platform}\nlinking: {linking}"),
        None if args.short => println!("{VERSION}"),
        None => println!("outrigger {VERSION} ({platform}, {linking})"),
    }
    Ok(ExitCode::SUCCESS)
}
