//! What each proxy occupies between rounds, and whether it grew.

use std::fs;

use anyhow::{Context, Result};

use crate::bed::Bed;
use crate::flows::Sent;

/// Growth over the level after the first round that is still flat.
const FLAT: f64 = 0.05;
/// In a run of a minute the first round is too short for every code path and pool to have been used: this many MiB more.
const SHORT_RUN: f64 = 1.5;
/// Descriptors that idle connections may come to between rounds; a leak of one per connection is thousands.
const FILES: usize = 32;

/// A proxy between rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    resident_mib: f64,
    anonymous_mib: f64,
    files: usize,
    threads: usize,
}

#[derive(Debug)]
struct Watched {
    name: String,
    pid: i32,
    levels: Vec<Level>,
}

/// The levels of all proxies.
#[derive(Debug)]
pub struct Levels(Vec<Watched>);

impl Levels {
    /// Of the proxies of a mesh.
    pub fn new(bed: &Bed) -> Result<Levels> {
        let labels = [("istio", "ingressgateway"), ("app", "client"), ("app", "server")];
        let pods = labels.iter().flat_map(|(name, value)| bed.testbed.pods_labelled(name, value));
        let watched = pods.map(|pod| {
            let pid = bed.pid(&pod.name, Some("istio-proxy"))?;
            Ok(Watched { name: pod.name, pid, levels: Vec::new() })
        });
        Ok(Levels(watched.collect::<Result<_>>()?))
    }

    /// The heading of the table.
    pub fn heading(&self) -> String {
        let names = self.0.iter().map(|watched| format!("{:>32}", watched.name)).collect::<String>();
        let columns = self.0.iter().map(|_| format!("{:>14}{:>8}{:>10}", "MiB (anon.)", "files", "threads")).collect::<String>();
        format!("{:>5}{:>10}{names}\n{:>5}{:>10}{columns}", "", "", "round", "requests")
    }

    /// Reads all levels; the row of the table.
    pub fn read(&mut self, round: u32, sent: &Sent) -> Result<String> {
        let mut row = format!("{round:>5}{:>10}", sent.all());
        for watched in &mut self.0 {
            let level = Level::of(watched.pid).with_context(|| format!("the proxy of {} has ended", watched.name))?;
            watched.levels.push(level);
            let memory = format!("{:.1} ({:.1})", level.resident_mib, level.anonymous_mib);
            row += &format!("{memory:>14}{:>8}{:>10}", level.files, level.threads);
        }
        Ok(row)
    }

    /// What grew.
    pub fn judge(&self, short: bool) -> Vec<String> {
        self.0.iter().flat_map(|watched| watched.judge(short)).collect()
    }
}

impl Watched {
    fn judge(&self, short: bool) -> Vec<String> {
        let (Some(first), Some(last)) = (self.levels.first(), self.levels.last()) else { return Vec::new() };
        let allowed = first.resident_mib * (1.0 + FLAT) + if short { SHORT_RUN } else { 0.0 };
        let mut grown = Vec::new();
        let mut grew = |what: &str, from: String, to: String, allowed: String| {
            grown.push(format!("{}: {what} grew from {from} after the first round to {to} (at most {allowed})", self.name));
        };
        if last.resident_mib > allowed {
            let mib = |value: f64| format!("{value:.1} MiB");
            grew("memory", mib(first.resident_mib), mib(last.resident_mib), mib(allowed));
        }
        if last.files > first.files + FILES {
            grew("open files", first.files.to_string(), last.files.to_string(), (first.files + FILES).to_string());
        }
        if last.threads > first.threads {
            grew("threads", first.threads.to_string(), last.threads.to_string(), first.threads.to_string());
        }
        grown
    }
}

impl Level {
    fn of(pid: i32) -> Result<Level> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |name: &str| -> Result<u32> {
            let line = status.lines().find(|line| line.starts_with(name)).with_context(|| name.to_owned())?;
            Ok(line.chars().filter(char::is_ascii_digit).collect::<String>().parse()?)
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        let mib = |name| number(name).map(|kib| f64::from(kib) / 1024.0);
        Ok(Level { resident_mib: mib("VmRSS:")?, anonymous_mib: mib("RssAnon:")?, files, threads: number("Threads:")? as usize })
    }
}
