//! What one request costs, in quantities that do not depend on how fast or how busy a machine is: user instructions, heap
//! allocations and system calls, compared with what `loadtests/counts.toml` records.
//!
//! Needs root, valgrind and an up-to-date `target/release/outrigger`, which `make test` and `make counts` build first: what is
//! counted is what users run, so a build with other options would count something else. `COUNTS=record` in the environment
//! writes the record instead of comparing with it; `COUNTS_ONLY=plain,http2` measures some scenarios, `COUNTS_DETAILS=1` tells where
//! instructions and allocations come from, `COUNTS_BINARY=path` measures another build, `COUNTS_KEEP=folder` keeps the profiles.

mod areas;
mod binary;
mod callgrind;
mod client;
mod compare;
mod http1;
mod http2;
mod machine;
mod measure;
mod origin;
mod preload;
mod recorded;
mod scenario;
mod stream;
mod subject;
mod trace;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use compare::{Counts, Table};
use preload::Extra;
use scenario::Scenario;

#[test]
fn no_request_costs_more_than_recorded_or_than_its_budget() -> Result<()> {
    let Some(binary) = binary::release()? else { return Ok(()) };
    let key = machine::key()?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.toml");
    let recorded = recorded::load(&path)?.remove(&key).unwrap_or_default();
    let now = confirmed(&binary, &recorded)?;
    let names: Vec<&str> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
    say(&format!("\nPer request, {key}:\n{}", compare::render(&names, &recorded, &now)));
    if std::env::var("COUNTS").is_ok_and(|word| word == "record") {
        recorded::record(&path, &key, &now, &names)?;
        say(&format!("Recorded in {}.", path.display()));
        return verdict(&Table::new(), &now);
    }
    let unknown: Table = now.clone().into_iter().filter(|(name, _)| !recorded.contains_key(name)).collect();
    if !unknown.is_empty() {
        recorded::record(&path, &key, &unknown, &names)?;
        let what = if recorded.is_empty() { "NOTHING WAS COMPARED: this compiler and processor" } else { "New scenarios" };
        say(&format!("WARNING: {what} had no counts yet in {}. They are recorded there now; commit them.", path.display()));
    }
    verdict(&recorded, &now)
}

fn verdict(recorded: &Table, now: &Table) -> Result<()> {
    let over = compare::over_budget(now);
    if !over.is_empty() {
        bail!("A request costs more than its budget:\n{}", compare::render_rises("budget", &over));
    }
    let rises = compare::rises(recorded, now);
    if !rises.is_empty() {
        let table = compare::render_rises("recorded", &rises);
        bail!("A request costs more than recorded:\n{table}Find the cause, or, if it is worth it, run `make counts-record` and say why.");
    }
    if compare::fell(recorded, now) {
        say("Some counts fell: `make counts-record` keeps them from rising again.");
    }
    Ok(())
}

#[test]
fn one_more_allocation_per_request_fails_the_check() -> Result<()> {
    let Some(binary) = binary::release()? else { return Ok(()) };
    assert_eq!(what_rises_with(Extra::Allocation, &binary)?, ["allocations"]);
    Ok(())
}

#[test]
fn one_more_system_call_per_request_fails_the_check() -> Result<()> {
    let Some(binary) = binary::release()? else { return Ok(()) };
    assert_eq!(what_rises_with(Extra::SystemCall, &binary)?, ["system calls"]);
    Ok(())
}

/// What the check's own verdict names when the plain scenario has a probe in it. Both tests share the measurement without.
fn what_rises_with(extra: Extra, binary: &Path) -> Result<Vec<&'static str>> {
    static BEFORE: Mutex<Option<Counts>> = Mutex::new(None);
    let plain = scenario::ALL[0];
    let mut shared = BEFORE.lock().expect("the other test did not panic while it held this");
    let before = match *shared {
        Some(before) => before,
        None => *shared.insert(measure::per_request(binary, plain, None)?.counts),
    };
    drop(shared);
    let now = measure::per_request(binary, plain, Some(extra))?.counts;
    let table = |counts| Table::from([(plain.name.to_owned(), counts)]);
    let (before, now) = (table(before), table(now));
    assert!(verdict(&before, &before).is_ok() && verdict(&before, &now).is_err(), "{}", compare::render(&[plain.name], &before, &now));
    Ok(compare::rises(&before, &now).into_iter().map(|rise| rise.quantity).collect())
}

/// Measures, and once more what rose: on a machine so busy that the proxy waits in vain for seconds, its timers wake it more often.
/// A rise of the code's own is there both times.
fn confirmed(binary: &Path, recorded: &Table) -> Result<Table> {
    let mut now = measure_all(binary)?;
    let suspects = [compare::rises(recorded, &now), compare::over_budget(&now)].concat();
    let suspects: BTreeSet<String> = suspects.into_iter().map(|rise| rise.scenario).collect();
    for scenario in scenario::ALL.iter().filter(|scenario| suspects.contains(scenario.name)) {
        let again = measure::per_request(binary, *scenario, None)?.counts;
        now.entry(scenario.name.to_owned()).and_modify(|counts| *counts = counts.least(&again));
    }
    Ok(now)
}

/// Every scenario, or those that `COUNTS_ONLY=name,name` names, two at a time. With `COUNTS_DETAILS` set, tells where their
/// instructions and allocations come from.
fn measure_all(binary: &Path) -> Result<Table> {
    let only = std::env::var("COUNTS_ONLY").unwrap_or_default();
    let wanted = |scenario: &&Scenario| only.is_empty() || only.split(',').any(|name| name == scenario.name);
    let scenarios: Vec<&Scenario> = scenario::ALL.iter().filter(wanted).collect();
    let details = std::env::var_os("COUNTS_DETAILS").is_some();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            let measured = measure::per_request(binary, **scenario, None);
            if let Some(measured) = measured.as_ref().ok().filter(|_| details) {
                say(&format!("\n{}:\n{}", scenario.name, compare::render_details(&measured.areas, &measured.callers)));
            }
            let counts = measured.map(|measured| (scenario.name.to_owned(), measured.counts));
            found.lock().expect("no thread panics while it holds this").push(counts);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().expect("all threads have ended").into_iter().collect()
}

/// To the terminal, also from a test that passes.
fn say(text: &str) {
    let _closed = writeln!(std::io::stderr(), "{text}");
}
