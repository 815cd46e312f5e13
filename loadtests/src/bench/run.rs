//! A whole run: every test, in turns, with progress; and what is written at its end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use time::OffsetDateTime;

use super::cases::{self, Case, Method};
use super::machine::{self, Congestion, Quiet};
use super::measure::{Bench, Figures};
use super::peers::{self, Peer};
use super::results::{DIRECT, Header, Results, Row};
use super::table::number;
use super::{plot, process, report, stdio, sys};

/// The command line of `outrigger-bench run`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Tests, comma-separated, * for anything
    #[arg(long, default_value = "", value_name = "TESTS")]
    only: String,
    /// Proxies, comma-separated: outrigger, envoy, haproxy, nginx
    #[arg(long, default_value = "", value_name = "PROXIES")]
    peers: String,
    /// Turns of each test; from 5 on, latency gets at least 9, paced bulk 15, start 25
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=60), value_name = "N")]
    reps: u16,
    /// Seconds measured in each turn
    #[arg(long, default_value_t = 1.5, value_parser = seconds, value_name = "SECONDS")]
    duration: f64,
    /// Seconds of load before
    #[arg(long, default_value_t = 0.3, value_parser = seconds, value_name = "SECONDS")]
    warm_up: f64,
    /// CPU of the proxies
    #[arg(long, default_value_t = 1, value_name = "CPU")]
    proxy_cpu: usize,
    /// CPU of generator and origin
    #[arg(long, default_value_t = 0, value_name = "CPU")]
    load_cpu: usize,
    /// How long to wait for a quiet machine before each turn; 0 measures in any case
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    patience: u64,
    /// The working copy
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    root: PathBuf,
    /// Where results go [loadtests/results, or target/bench unless every test ran with at least 5 turns]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text}: expected seconds"))?;
    if (0.05..=600.0).contains(&value) { Ok(value) } else { Err(format!("{text}: expected 0.05 to 600 seconds")) }
}

/// Other programs may keep so many CPUs busy while something is measured; above, it is measured again.
const DISTURBED: f64 = 0.1;
/// And so many before it begins.
const CALM: f64 = 0.06;
const TRIES: usize = 3;
/// From so many on each test gets the turns that it needs at least.
const FULL: u16 = 5;

/// Something to be measured.
struct Step<'a> {
    case: Case,
    peer: Option<&'a Peer>,
    rep: usize,
}

impl Step<'_> {
    fn peer(&self) -> &'static str {
        self.peer.map_or(DIRECT, |peer| peer.kind.name())
    }
}

/// Measures everything and writes the results.
///
/// # Errors
/// Not root, programs missing, interrupted. A proxy that fails is a row with an error instead.
pub fn run(args: &Args) -> Result<()> {
    let mut selected = cases::select(&args.only);
    if selected.is_empty() {
        bail!("--only {}: no such test; `outrigger-bench list` has them", args.only);
    }
    let peers = chosen(peers::find(&args.root), &args.peers)?;
    if args.proxy_cpu == args.load_cpu {
        bail!("--proxy-cpu and --load-cpu are the same CPU {}: the generator would take the proxy's time", args.load_cpu);
    }
    if peers::in_path("perf").is_none() {
        selected.retain(|case| !matches!(case.method, Method::SystemCalls { .. }));
        stdio::print_line("perf is not here (Debian package linux-perf): system calls are not counted")?;
    }
    sys::catch_interrupts()?;
    let date = OffsetDateTime::now_utc();
    let (versions, revision) = (versions(&peers), machine::revision());
    machine::enter_namespace().context("outrigger-bench")?;
    if !Congestion::paces() {
        // They would be the rows without reno once more.
        selected.retain(|case| case.method != Method::Bulk { reno: true });
    }
    let machine = machine::description();
    let quiet = Quiet::begin();
    machine::pin(args.load_cpu);
    let _ = nix::sys::prctl::set_timerslack(1);
    let steps = steps(&selected, &peers, args.reps);
    announce(&steps, &peers, args)?;
    let header = Header {
        date: format!("{} {:02}:{:02} UTC", date.date(), date.hour(), date.minute()),
        revision,
        machine,
        versions,
        flags: flags(args, &quiet),
    };
    let rows = measure(&steps, args)?;
    drop(quiet);
    let full = args.only.is_empty() && args.peers.is_empty() && args.reps >= FULL;
    let default = if full { "loadtests/results" } else { "target/bench" };
    let out = args.out.clone().unwrap_or_else(|| args.root.join(default));
    let picture = if full && args.out.is_none() { args.root.join("docs/comparison.svg") } else { out.join("comparison.svg") };
    write(&Results { header, rows }, &out, &picture)
}

/// Writes the raw results, the tables and the picture, and prints the tables: each even if the other cannot be done, since it may
/// have taken an hour to measure them.
///
/// # Errors
/// Files that cannot be written, or else tables that cannot be printed.
pub fn write(results: &Results, out: &Path, picture: &Path) -> Result<()> {
    let saved = save(results, out, picture);
    let mut text: String = report::sections(results).into_iter().map(|(title, body)| format!("\n{title}\n\n{body}\n")).collect();
    for file in saved.iter().flatten() {
        text += &format!("written: {}\n", file.display());
    }
    let printed = stdio::print(&text);
    saved.and(printed)
}

/// The raw results first, from which `outrigger-bench report` makes the others again.
fn save(results: &Results, out: &Path, picture: &Path) -> Result<[PathBuf; 3]> {
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let files = [out.join("latest.jsonl"), out.join("latest.md"), picture.to_owned()];
    for (file, text) in files.iter().zip([results.to_lines()?, report::document(results), plot::svg(results)]) {
        fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    Ok(files)
}

fn chosen(found: Vec<Peer>, wanted: &str) -> Result<Vec<Peer>> {
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for name in &wanted {
        if !found.iter().any(|peer| peer.kind.name() == *name) {
            bail!("{name}: no such program here; `scripts/deps bench` installs the peers, `cargo build --release` makes outrigger");
        }
    }
    for kind in peers::Kind::ALL.into_iter().filter(|kind| wanted.is_empty() && !found.iter().any(|peer| peer.kind == *kind)) {
        stdio::print_line(&format!("{} is not here and is left out", kind.name()))?;
    }
    Ok(found.into_iter().filter(|peer| wanted.is_empty() || wanted.contains(&peer.kind.name())).collect())
}

fn versions(peers: &[Peer]) -> BTreeMap<String, String> {
    let mut versions: BTreeMap<String, String> = peers.iter().map(|peer| (peer.kind.name().to_owned(), peer.version())).collect();
    versions.extend(peers::in_path("h2load").map(|program| ("h2load".to_owned(), machine::version(&program, "--version"))));
    versions
}

fn flags(args: &Args, quiet: &Quiet) -> String {
    let polling = if quiet.polls() { ", idle CPUs poll for 1 ms before they halt" } else { "" };
    format!(
        "turns: {}{}; {} s each after {} s of load; proxy on CPU {}, generator and origin on CPU {}{polling}",
        args.reps,
        if args.reps >= FULL { " or more (latency 9, paced bulk 15, start 25)" } else { "" },
        args.duration,
        args.warm_up,
        args.proxy_cpu,
        args.load_cpu
    )
}

fn turns(case: &Case, reps: u16) -> u16 {
    if reps >= FULL { reps.max(case.least_turns()) } else { reps }
}

/// Test by test, in turns; every other turn goes through the proxies backwards, so that none always follows the same one.
fn steps<'a>(selected: &[Case], peers: &'a [Peer], reps: u16) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    for case in selected {
        let direct = case.has_direct().then_some(None);
        let able = peers.iter().filter(|peer| plays(peer, case)).map(Some);
        let order: Vec<Option<&Peer>> = direct.into_iter().chain(able).collect();
        for rep in 0..usize::from(turns(case, reps)) {
            let mut turn: Vec<Step<'a>> = order.iter().map(|peer| Step { case: *case, peer: *peer, rep }).collect();
            if rep % 2 == 1 {
                turn.reverse();
            }
            steps.append(&mut turn);
        }
    }
    steps
}

fn plays(peer: &Peer, case: &Case) -> bool {
    match case.chain {
        cases::Chain::One(mode) => peer.kind.plays(mode),
        cases::Chain::Two(client, server) => peer.kind.plays(client) && peer.kind.plays(server),
    }
}

/// About how long a step takes, the start and end of its proxies included.
fn estimate(step: &Step<'_>, args: &Args) -> f64 {
    let around = if args.patience > 0 { 0.7 } else { 0.4 };
    let load = args.warm_up + args.duration;
    around
        + match step.case.method {
            Method::Load { .. } | Method::Bulk { .. } => load,
            Method::Http2 { .. } => args.duration + 0.8,
            Method::Memory { .. } => 0.7,
            Method::Start => 0.0,
            Method::SystemCalls { .. } => args.duration + 0.3,
        }
}

fn announce(steps: &[Step<'_>], peers: &[Peer], args: &Args) -> Result<()> {
    let seconds: f64 = steps.iter().map(|step| estimate(step, args)).sum();
    let names: Vec<&str> = peers.iter().map(|peer| peer.kind.name()).collect();
    let (count, names, time) = (steps.len(), names.join(", "), minutes(seconds));
    stdio::print_line(&format!("{count} measurements of {names}: about {time}. Leave the machine alone meanwhile."))
}

fn minutes(seconds: f64) -> String {
    if seconds < 90.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

fn measure(steps: &[Step<'_>], args: &Args) -> Result<Vec<Row>> {
    let time = Duration::from_secs_f64;
    let folder = args.root.join("loadtests/peers");
    let mut bench = Bench::new(folder, args.proxy_cpu, args.load_cpu, time(args.warm_up), time(args.duration))?;
    let began = Instant::now();
    let total: f64 = steps.iter().map(|step| estimate(step, args)).sum();
    let (mut rows, mut expected, mut warned) = (Vec::new(), 0.0, false);
    for (index, step) in steps.iter().enumerate() {
        let row = attempt(&mut bench, step, args.patience)?;
        expected += estimate(step, args);
        let left = began.elapsed().as_secs_f64() / expected * (total - expected);
        let line = format!("[{}/{}, {} left] {}", index + 1, steps.len(), minutes(left), progress(step, &row));
        if let Err(error) = stdio::print_line(&line)
            && !std::mem::replace(&mut warned, true)
        {
            stdio::warn(&format!("outrigger-bench: {error:#}; the measurements go on"));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn progress(step: &Step<'_>, row: &Row) -> String {
    let name = format!("{} turn {} {}", row.test, row.rep + 1, row.peer);
    if let Some(error) = &row.error {
        return format!("{name}: FAILED: {error}");
    }
    let figures = [step.case.key(), "rps", "p50_us", "p99_us", "busy", "errors"].into_iter();
    let figures = figures.filter_map(|figure| Some(format!("{figure} {}", number(*row.figures.get(figure)?))));
    let noise = if row.foreign > DISTURBED { format!(", disturbed by {:.2} CPUs", row.foreign) } else { String::new() };
    format!("{name}: {}{noise}", figures.collect::<Vec<_>>().join(", "))
}

/// Measures, again if the machine was not quiet.
fn attempt(bench: &mut Bench, step: &Step<'_>, patience: u64) -> Result<Row> {
    let mut row = Row { test: step.case.name.to_owned(), peer: step.peer().to_owned(), rep: step.rep, ..Row::default() };
    for _ in 0..TRIES {
        settle(Duration::from_secs(patience))?;
        let (ticks, began) = (process::foreign_ticks(), Instant::now());
        let outcome: Result<Figures> = bench.once(&step.case, step.peer);
        sys::check_interrupt()?;
        row.foreign = cpus(ticks, began);
        match outcome {
            Ok(figures) => (row.figures, row.error) = (figures, None),
            Err(error) => (row.figures, row.error) = (Figures::new(), Some(format!("{error:#}"))),
        }
        if row.foreign <= DISTURBED || patience == 0 {
            break;
        }
    }
    Ok(row)
}

/// CPUs that others kept busy since then.
fn cpus(ticks: u64, since: Instant) -> f64 {
    // USER_HZ is 100 on every Linux that this program runs on.
    process::foreign_ticks().saturating_sub(ticks) as f64 / 100.0 / since.elapsed().as_secs_f64()
}

/// Waits until the machine is quiet, for at most so long.
fn settle(patience: Duration) -> Result<()> {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        let (ticks, began) = (process::foreign_ticks(), Instant::now());
        thread::sleep(Duration::from_millis(200));
        if cpus(ticks, began) < CALM {
            break;
        }
        sys::check_interrupt()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::Kind;

    #[test]
    fn proxies_take_turns_and_every_other_turn_goes_backwards() {
        let peers = [Kind::Outrigger, Kind::Nginx].map(|kind| Peer { kind, program: PathBuf::new() });
        let order = |only, reps| {
            let steps = steps(&cases::select(only), &peers, reps);
            steps.iter().map(|step| format!("{}{}", step.peer(), step.rep)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order("h1_sat_c64", 2), "direct0 outrigger0 nginx0 nginx1 outrigger1 direct1");
        assert_eq!(order("h2h2_c8", 2), "outrigger0 outrigger1", "nginx does not speak HTTP/2 to origins");
        assert_eq!(order("h1_r4k_c64", 5).matches("outrigger").count(), 9, "latency needs more turns to tell anything");
        assert_eq!(order("start", 5).matches("nginx").count(), 25);
        assert_eq!(order("h1_r4k_c64", 2).matches("outrigger").count(), 2);
    }
}
