//! `outrigger-bench`: Outrigger beside Envoy, HAProxy and nginx, measured on this machine. `make bench` runs it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use outrigger_loadtests::bench::{
    cases::CASES,
    certificates::Certificates,
    peers::{self, Kind, Place},
    results::Results,
    run,
};

/// Compares Outrigger with Envoy, HAProxy and nginx.
#[derive(Parser)]
#[command(name = "outrigger-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, print tables and write results
    Run(run::Args),
    /// List tests and proxies
    List,
    /// Write tables and picture of results again
    Report {
        /// JSON lines of a run
        file: PathBuf,
        /// The picture [comparison.svg beside the file]
        #[arg(long, value_name = "FILE")]
        picture: Option<PathBuf>,
    },
    /// Print a proxy's configuration
    Render {
        /// outrigger, envoy, haproxy or nginx
        peer: String,
        /// See loadtests/peers/README.md
        mode: String,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::List => {
            list();
            Ok(())
        }
        Command::Report { file, picture } => report(&file, picture),
        Command::Render { peer, mode } => render(&peer, &mode),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    for case in CASES {
        println!("{:18} {}", case.name, case.what);
    }
    for peer in peers::find(Path::new(".")) {
        println!("{:18} {} ({})", peer.kind.name(), peer.version(), peer.program.display());
    }
}

fn report(file: &Path, picture: Option<PathBuf>) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let results = Results::parse(&text).with_context(|| file.display().to_string())?;
    let folder = file.parent().unwrap_or(Path::new("."));
    run::write(&results, folder, &picture.unwrap_or_else(|| folder.join("comparison.svg")))
}

fn render(peer: &str, mode: &str) -> Result<()> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == peer).with_context(|| format!("{peer}: no such proxy"))?;
    let mode = peers::mode(mode).with_context(|| format!("{mode}: no such mode"))?;
    let file = |name: &str| PathBuf::from(name);
    let certificates =
        Certificates { certificate: file("workload.pem"), key: file("workload.key"), both: file("both.pem"), authority: file("ca.pem") };
    let place = Place { port: 7100, origins: &[7200, 7201, 7202, 7203], work: Path::new("work"), certificates: &certificates, threads: 1 };
    let rendered = peers::render(kind, mode, &place, Path::new("loadtests/peers"))?;
    print!("{}", rendered.text);
    for (name, text) in rendered.files {
        print!("--- {name}\n{text}");
    }
    Ok(())
}
