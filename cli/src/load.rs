//! `outrigger load`: sends requests, counts who answered, and compares with what was expected.

use std::process::ExitCode;

use outrigger_loadtests::{
    Report,
    args::{Args, Output},
    run_until, table,
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
    let report = runtime.block_on(async {
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
    match args.output {
        Output::Json => println!("{}", serde_json::to_string(&report)?),
        Output::Text => print!("{}", table::render(&report)),
    }
    Ok(verdict(args, &report))
}

/// Judges the report; whatever is wrong goes to standard error, so that JSON on standard output stays whole.
fn verdict(args: &Args, report: &Report) -> ExitCode {
    let errors = report.error_count();
    if errors > 0 {
        eprintln!("warning: {errors} of {} requests got no complete answer", report.requests);
    }
    let Some(expectation) = &args.expect else { return ExitCode::SUCCESS };
    let verdicts = expectation.check(&report.versions, args.tolerance);
    let met = errors == 0 && verdicts.iter().all(|verdict| verdict.ok);
    eprint!("{}", table::render_verdicts(&verdicts));
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
