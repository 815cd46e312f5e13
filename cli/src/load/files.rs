//! Reports in files.

use std::{fs, io::Read, path::Path};

use anyhow::{Context, bail};
use outrigger_loadtests::{
    Report,
    report::{OLDEST_SCHEMA, SCHEMA},
};

/// Reads a report as `-o json` printed it; `-` is standard input.
///
/// # Errors
/// A file that cannot be read, or that is no report of a schema this program knows; the message names the file.
pub fn read(path: &Path) -> anyhow::Result<Report> {
    let name = path.display();
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    }
    let report: Report = serde_json::from_str(&text).with_context(|| format!("{name} is no report of outrigger load -o json"))?;
    if !(OLDEST_SCHEMA..=SCHEMA).contains(&report.schema) {
        bail!("{name} has schema {}, expected {OLDEST_SCHEMA} to {SCHEMA}: it was written by another version of outrigger", report.schema);
    }
    Ok(report)
}

/// Makes sure that a file can be written; what it contains stays.
///
/// # Errors
/// Those of the file system.
pub fn writable(path: &Path) -> anyhow::Result<()> {
    let opened = fs::OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file, naming it when that fails.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
