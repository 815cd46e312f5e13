//! `outrigger-bench`: Outrigger beside Envoy, HAProxy and nginx, measured on this machine. `make bench` runs it.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use outrigger_loadtests::bench::{
    agree,
    cases::CASES,
    certificates::Certificates,
    floor,
    peers::{self, Kind, Place},
    results::Results,
    run, stdio,
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
    List {
        /// The tests' names alone, in one line, as --only takes them
        #[arg(long)]
        names: bool,
    },
    /// Write tables and picture of results again
    Report {
        /// JSON lines of a run
        file: PathBuf,
        /// The picture [comparison.svg beside the file]
        #[arg(long, value_name = "FILE")]
        picture: Option<PathBuf>,
    },
    /// Compare the ratios of a run with those that orbench.py found; ends with 1 when some are apart
    Agree {
        /// JSON lines of a run of this program
        ours: PathBuf,
        /// What orbench.py --out has written
        theirs: PathBuf,
        /// By how much two ratios may differ, in percent
        #[arg(long, default_value_t = 10.0, value_name = "PERCENT")]
        tolerance: f64,
        /// Leave out what was measured while other programs used more CPUs
        #[arg(long, default_value_t = 0.2, value_name = "CPUS")]
        disturbed: f64,
        /// Write the table here as well, as Markdown
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Pass requests on, and nothing else: what a start takes of which nothing is a proxy
    Pass {
        /// Of 127.0.0.1
        port: u16,
        /// The origin's
        origin: u16,
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
        Command::Agree { ours, theirs, tolerance, disturbed, out } => {
            match agree(&ours, &theirs, tolerance / 100.0, disturbed, out.as_deref()) {
                Ok(true) => Ok(()),
                Ok(false) => return ExitCode::FAILURE,
                Err(error) => Err(error),
            }
        }
        Command::List { names: true } => stdio::print_line(&CASES.map(|case| case.name).join(",")),
        Command::List { names: false } => list(),
        Command::Report { file, picture } => report(&file, picture),
        Command::Pass { port, origin } => floor::run(port, origin).map(|never| match never {}).with_context(|| format!("port {port}")),
        Command::Render { peer, mode } => render(&peer, &mode),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            stdio::warn(&format!("outrigger-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<()> {
    for case in CASES {
        stdio::print_line(&format!("{:18} {}", case.name, case.what))?;
    }
    for peer in peers::find(Path::new(".")) {
        stdio::print_line(&format!("{:18} {} ({})", peer.kind.name(), peer.version(), peer.program.display()))?;
    }
    Ok(())
}

fn report(file: &Path, picture: Option<PathBuf>) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let results = Results::parse(&text).with_context(|| file.display().to_string())?;
    let folder = file.parent().unwrap_or(Path::new("."));
    run::write(&results, folder, &picture.unwrap_or_else(|| folder.join("comparison.svg")))
}

/// Whether all ratios agree.
fn agree(ours: &Path, theirs: &Path, tolerance: f64, disturbed: f64, out: Option<&Path>) -> Result<bool> {
    let read = |file: &Path| std::fs::read_to_string(file).with_context(|| file.display().to_string());
    let mine = Results::parse(&read(ours)?).with_context(|| ours.display().to_string())?;
    let other = agree::theirs(&read(theirs)?).with_context(|| theirs.display().to_string())?;
    let (mine, mine_out) = agree::quiet(mine, disturbed);
    let (other, other_out) = agree::quiet(other, disturbed);
    let mut agreement = agree::compare(&mine, &other, tolerance);
    if mine_out + other_out > 0 {
        let why = format!("others used more than {disturbed} CPUs meanwhile");
        agreement.notes.push(format!("Left out are {mine_out} measurements of `make bench` and {other_out} of the other program: {why}."));
    }
    ensure!(agreement.compared > 0, "no test and proxy in common: {}", agreement.notes.join(" "));
    stdio::print(&agreement.text())?;
    if let Some(file) = out {
        std::fs::write(file, agreement.document(&mine)).with_context(|| file.display().to_string())?;
        stdio::print_line(&format!("written: {}", file.display()))?;
    }
    Ok(agreement.apart.is_empty())
}

fn render(peer: &str, mode: &str) -> Result<()> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == peer).with_context(|| format!("{peer}: no such proxy"))?;
    let mode = peers::mode(mode).with_context(|| format!("{mode}: no such mode"))?;
    let file = |name: &str| PathBuf::from(name);
    let certificates =
        Certificates { certificate: file("workload.pem"), key: file("workload.key"), both: file("both.pem"), authority: file("ca.pem") };
    let place = Place { port: 7100, origins: &[7200, 7201, 7202, 7203], work: Path::new("work"), certificates: &certificates, threads: 1 };
    let rendered = peers::render(kind, mode, &place, Path::new("loadtests/peers"))?;
    stdio::print(&rendered.text)?;
    for (name, text) in rendered.files {
        stdio::print(&format!("--- {name}\n{text}"))?;
    }
    Ok(())
}
