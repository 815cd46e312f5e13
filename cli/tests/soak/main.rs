//! `make soak`: mixed load for SOAK_MINUTES (default 1, as `make test` runs it) through a gateway and sidecars with mTLS, each
//! in a network namespace of its own, while connections and endpoints come and go.
//!
//! Ends with status 1 and says what grew when a proxy's memory is more than 5 % above its level after the first round, when its
//! descriptors or threads pile up, or when the totals of `istio_requests_total` differ from the requests that were sent.
//! A round is a minute, or a quarter of one when there is but one. Levels are taken between rounds, when nothing is in flight.

#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
#[path = "../namespaced/bed.rs"]
mod bed;
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
#[path = "../namespaced/exposition.rs"]
mod exposition;
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
#[path = "../namespaced/manifest.rs"]
mod manifest;

mod churn;
mod flows;
mod level;
mod totals;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use bed::Bed;
use flows::{Flow, Sent};
use level::Levels;

/// Between the end of a round's load and the reading of levels: buffers must be back after 5 s.
const SETTLE: Duration = Duration::from_secs(6);

fn main() -> ExitCode {
    match asked() {
        Asked::Nothing => return ExitCode::SUCCESS,
        Asked::List => {
            println!("soak: test");
            return ExitCode::SUCCESS;
        }
        Asked::Soak => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match runtime.block_on(soak(minutes())) {
        Ok(problems) if problems.is_empty() => {
            println!("soak: nothing grew, nothing was lost");
            ExitCode::SUCCESS
        }
        Ok(problems) => {
            problems.iter().for_each(|problem| println!("soak: {problem}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

enum Asked {
    Soak,
    List,
    Nothing,
}

/// What cargo's command line wants of this test: it has no harness to ask.
fn asked() -> Asked {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        return Asked::List;
    }
    let mut names = words.iter().filter(|word| !word.starts_with('-')).peekable();
    if words.iter().any(|word| word == "--ignored") || (names.peek().is_some() && !names.any(|name| "soak".contains(name.as_str()))) {
        return Asked::Nothing;
    }
    Asked::Soak
}

fn minutes() -> u32 {
    let asked = std::env::var("SOAK_MINUTES").ok().and_then(|text| text.trim().parse().ok());
    asked.unwrap_or(1).max(1)
}

/// Number and length of the rounds.
fn rounds(minutes: u32) -> (u32, Duration) {
    if minutes == 1 { (4, Duration::from_secs(15)) } else { (minutes, Duration::from_secs(60)) }
}

async fn soak(minutes: u32) -> Result<Vec<String>> {
    let bed = flows::bed().await?;
    let (count, length) = rounds(minutes);
    let mut levels = Levels::new(&bed)?;
    println!("soak: {count} rounds of {length:?}; memory is resident, of each proxy between rounds");
    println!("{}", levels.heading());
    let (mut sent, mut problems) = (Sent::default(), Vec::new());
    for round in 1..=count {
        sent.add(&run_round(&bed, length - SETTLE).await.with_context(|| format!("round {round}"))?);
        tokio::time::sleep(SETTLE).await;
        println!("{}", levels.read(round, &sent)?);
        problems.extend(totals::compare(&bed, &sent).await?.into_iter().map(|problem| format!("round {round}: {problem}")));
        if !problems.is_empty() {
            break;
        }
    }
    problems.extend(levels.judge(minutes == 1));
    bed.end().await?;
    Ok(problems)
}

/// All flows at once, and endpoints that come and go.
async fn run_round(bed: &Bed, length: Duration) -> Result<Sent> {
    let flows = Flow::all(bed, length)?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let churn = churn::endpoints(bed, stopped);
    let load = async {
        let sent = flows::carry_out(bed, flows).await;
        stop.send_replace(true);
        sent
    };
    let (churned, sent) = tokio::join!(churn, load);
    churned.context("rewriting the EndpointSlice")?;
    sent
}
