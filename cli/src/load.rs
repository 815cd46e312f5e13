//! `outrigger load`: sends requests, counts who answered, and compares with what was expected.

use std::{io::IsTerminal, process::ExitCode};

use outrigger_loadtests::{
    Report,
    args::{Args, Output},
    run_until,
    table::{self, Paint},
};
use tokio::signal::unix::{SignalKind, signal};

/// Carries the plan out and prints the report, also of a run that a signal cut short. Ends with 1 when an expectation
/// was given and not met.
///
/// # Errors
/// A plan that cannot be carried out at all.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = args.plan()?;
    let properties: Vec<String> = plan.count_by.iter().map(|property| property.name.clone()).collect();
    let mut report = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        run_until(plan, stop).await
    })?;
    report.run.count_by = properties;
    let met = args.demands.judge(&mut report);
    present(&report, args.output)?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the report. With JSON on standard output, what was demanded and missed goes to standard error.
pub(crate) fn present(report: &Report, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Text => print!("{}", table::render(report, Paint::for_terminal(std::io::stdout().is_terminal()))),
        Output::Json => {
            println!("{}", serde_json::to_string(report)?);
            if report.checks.iter().any(|check| !check.ok) {
                eprint!("{}", table::render_checks(&report.checks, Paint::for_terminal(std::io::stderr().is_terminal())));
            }
        }
    }
    Ok(())
}
