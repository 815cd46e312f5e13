//! `outrigger load`: sends requests, counts who answered, and compares with what was expected.

mod command;
mod compare;
mod files;
mod html;
mod merge;

use std::{io::IsTerminal, process::ExitCode};

use outrigger_loadtests::{
    Report, Run,
    args::{Args, Output},
    find_max::{Found, Probe, Search},
    plan::Plan,
    progress::Progress,
    table::{self, Paint},
};
use tokio::signal::unix::{SignalKind, signal};

pub use self::command::Load;
use crate::{sidecar, stdio};

/// Options or a target that cannot be used, as clap has it for options it refuses itself.
const UNUSABLE: u8 = 2;
/// As a shell reports a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Carries the plan out and prints the report, also of a run that a signal cut short; or works with reports. Ends with 1
/// when a demand was not met or nothing was answered, with 2 when the plan cannot be carried out, or a file not be used.
pub fn run(load: &Load) -> ExitCode {
    let done = match load {
        Load::Run(args) => {
            let _told_at_the_end = args.sidecar.quit_proxy.then(|| sidecar::Quit);
            carry_out(args)
        }
        Load::WithReports(reports) => reports.run(),
    };
    done.unwrap_or_else(|error| {
        stdio::warn(&format!("outrigger: {error:#}"));
        ExitCode::from(UNUSABLE)
    })
}

fn carry_out(args: &Args) -> anyhow::Result<ExitCode> {
    let plan = args.plan()?;
    // A page that cannot be written is known before the run, not after half an hour of it.
    args.html.as_deref().map_or(Ok(()), files::writable)?;
    if let Some(time) = args.sidecar.wait_for_proxy {
        sidecar::wait(time)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let good = runtime.block_on(async {
        match args.search() {
            Some(search) => find_max(args, &search, &plan).await,
            None => single(args, plan).await,
        }
    })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One run. `true` when all demands were met and something was answered.
async fn single(args: &Args, plan: Plan) -> anyhow::Result<bool> {
    let run = Run::prepare(plan)?;
    let progress = Progress::start(&run);
    let finished = run.finish(stop()?).await;
    progress.finish();
    let mut report = finished?;
    let met = args.demands.judge(&mut report);
    // The page first: a standard output that takes nothing must not cost it.
    page(args, &report)?;
    present(&report, args.output)?;
    let answered = report.error_count() < report.requests;
    if !answered && report.requests > 0 {
        stdio::warn(&format!("outrigger: none of {} requests was answered", report.requests));
    }
    Ok(met && answered)
}

/// Resolves at SIGINT or SIGTERM; another one ends the program at once.
fn stop() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            std::process::exit(INTERRUPTED);
        });
    })
}

/// The search for the highest rate. `true` when there is one.
async fn find_max(args: &Args, search: &Search, plan: &Plan) -> anyhow::Result<bool> {
    let mut said = Ok(());
    let show = |probe: &Probe| {
        if said.is_ok() {
            said = say(args.output, &probe_line(probe));
        }
    };
    let found = search.run(plan, stop()?, show).await?;
    found.report.iter().try_for_each(|report| page(args, report))?;
    said?;
    match args.output {
        Output::Json => stdio::print(&(serde_json::to_string(&found)? + "\n"))?,
        Output::Text => {
            let report = |report| format!("\n{}", table::render(report, Paint::for_terminal(std::io::stdout().is_terminal())));
            let report = found.report.as_ref().map(report).unwrap_or_default();
            stdio::print(&format!("{report}\n{}\n", verdict(&found, search)))?;
        }
    }
    Ok(found.rate.is_some())
}

/// Probes are shown as they end: among the text, or beside the JSON.
fn say(output: Output, line: &str) -> anyhow::Result<()> {
    match output {
        Output::Text => stdio::print_line(line),
        Output::Json => {
            stdio::warn(line);
            Ok(())
        }
    }
}

fn probe_line(probe: &Probe) -> String {
    let checks = probe.checks.iter().map(|check| format!("{} {}{}", check.name, check.got, if check.ok { "" } else { " (!)" }));
    let limited = if probe.limits.is_empty() { "" } else { "   the generator itself may be the limit" };
    format!(
        "{:>10}/s  {}  {}{limited}",
        table::number(probe.rate),
        if probe.ok { "good" } else { "bad " },
        checks.collect::<Vec<_>>().join("  ")
    )
}

fn verdict(found: &Found, search: &Search) -> String {
    let early = if found.interrupted { " (interrupted)" } else { "" };
    match found.rate {
        Some(rate) if rate >= search.most => format!("{} holds at {rate}/s, the highest rate to be tried{early}", found.slo),
        Some(rate) => format!("highest rate with {}: {rate}/s{early}", found.slo),
        None if found.probes.is_empty() => "interrupted before the first probe was over".to_owned(),
        None => format!("no rate tried meets {}{early}", found.slo),
    }
}

/// Writes the page with plots, if one is wanted.
fn page(args: &Args, report: &Report) -> anyhow::Result<()> {
    args.html.as_ref().map_or(Ok(()), |file| files::write(file, &outrigger_loadtests::html::render(report)))
}

/// Prints the report. With JSON on standard output, what was demanded and missed goes to standard error.
fn present(report: &Report, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Text => stdio::print(&table::render(report, Paint::for_terminal(std::io::stdout().is_terminal())))?,
        Output::Json => {
            stdio::print(&(serde_json::to_string(report)? + "\n"))?;
            if report.checks.iter().any(|check| !check.ok) {
                let checks = table::render_checks(&report.checks, Paint::for_terminal(std::io::stderr().is_terminal()));
                stdio::warn(checks.trim_end());
            }
        }
    }
    Ok(())
}
