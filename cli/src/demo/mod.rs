//! `outrigger demo`: the shopfront brought up, seven things shown, each line measured.

mod bed;
mod chance;
mod cost;
mod faults;
mod log;
mod mtls;
mod report;
mod retries;
mod rollout;
mod split;

use std::process::ExitCode;

use anyhow::{Result, bail};
use bed::Bed;
use report::Section;

use crate::stdio;

/// Runs the shopfront on this machine and counts its answers
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Ends with 0 when every check holds, with 1 when one does not, with 2 when the demo could not run.

Example:
  outrigger demo --keep     leave it running afterwards, with commands to try")]
pub struct Args {
    /// Leave the shopfront running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Output format
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: Output,
}

/// How the figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Tables for people.
    Text,
    /// One JSON document, for scripts.
    Json,
}

/// Runs the demo. The exit code is 0 when every check holds, else 1.
///
/// # Errors
/// The demo cannot run at all: not root, or a pod that does not become ready.
pub fn run(args: &Args) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("needs root: every pod gets a network namespace with iptables rules of its own");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(show(args))
}

async fn show(args: &Args) -> Result<ExitCode> {
    let text = args.output == Output::Text;
    if text {
        stdio::print_line("Outrigger: the shopfront, seven pods behind a gateway")?;
    }
    let bed = Bed::start(text).await?;
    let outcome = tokio::select! {
        outcome = all_parts(&bed, text) => outcome,
        signal = interrupted() => signal.and_then(|()| bail!("interrupted")),
    };
    let sections = match outcome {
        Ok(sections) => sections,
        Err(error) => {
            bed.shutdown().await;
            return Err(error);
        }
    };
    let ok = sections.iter().all(Section::ok);
    let concluded = conclude(args, &bed, &sections, ok).await;
    bed.shutdown().await;
    concluded?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The parts in order, each printed as soon as it is measured.
async fn all_parts(bed: &Bed, text: bool) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    show_part(&mut sections, split::at_the_gateway(bed).await?, text)?;
    show_part(&mut sections, split::inside_the_mesh(bed).await?, text)?;
    show_part(&mut sections, mtls::section(bed).await?, text)?;
    show_part(&mut sections, faults::section(bed).await?, text)?;
    show_part(&mut sections, retries::section(bed).await?, text)?;
    show_part(&mut sections, rollout::section(bed).await?, text)?;
    show_part(&mut sections, cost::section(bed).await?, text)?;
    Ok(sections)
}

fn show_part(sections: &mut Vec<Section>, section: Section, text: bool) -> Result<()> {
    if text {
        let mut shown = Vec::new();
        section.write(sections.len() + 1, &mut shown, report::colour())?;
        stdio::print_bytes(&shown).map(|_reader| ())?;
    }
    sections.push(section);
    Ok(())
}

async fn conclude(args: &Args, bed: &Bed, sections: &[Section], ok: bool) -> Result<()> {
    stdio::print_line(&match args.output {
        Output::Text => verdict(sections, ok),
        Output::Json => serde_json::json!({ "ok": ok, "parts": sections }).to_string(),
    })?;
    if args.keep {
        stdio::print(&bed.commands()?)?;
        interrupted().await?;
    }
    Ok(())
}

fn verdict(sections: &[Section], ok: bool) -> String {
    let checks = || sections.iter().flat_map(|section| &section.checks);
    let held = checks().filter(|check| check.ok).count();
    let verdict = if ok { "every check holds" } else { "NOT every check holds" };
    format!("\n{held} of {} checks: {verdict}.", checks().count())
}

/// Resolves at Ctrl-C or SIGTERM.
async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
