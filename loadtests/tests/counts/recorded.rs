//! `loadtests/counts.toml`: a section per machine key, a line per scenario.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::compare::Table;

const HEAD: &str = "\
# What one request costs the proxy: user instructions, heap allocations, system calls. ARCHITECTURE.md, Counts.
# `make counts` compares with this file, `make counts-record` writes it.
";

/// All sections.
pub type File = BTreeMap<String, Table>;

/// Reads the file; a missing one is empty.
pub fn load(path: &Path) -> Result<File> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("reading {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Puts these counts into the section `key`, leaving scenarios that were not measured and other sections as they are.
pub fn record(path: &Path, key: &str, now: &Table, order: &[&str]) -> Result<()> {
    let mut file = load(path)?;
    file.entry(key.to_owned()).or_default().extend(now.iter().map(|(name, counts)| (name.clone(), *counts)));
    std::fs::write(path, render(&file, order)).with_context(|| format!("writing {}", path.display()))
}

/// Scenarios that are no longer known are left out.
fn render(file: &File, order: &[&str]) -> String {
    let mut out = HEAD.to_owned();
    for (key, table) in file {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "\n[{key:?}]");
        for (name, counts) in order.iter().filter_map(|name| Some((*name, table.get(*name)?))) {
            let (instructions, allocations, system_calls) = (counts.instructions, counts.allocations, counts.system_calls);
            let counts = format!("instructions = {instructions:7.1}, allocations = {allocations:5.2}, system_calls = {system_calls:5.2}");
            let _infallible = writeln!(out, "{name:<11} = {{ {counts} }}");
        }
    }
    out
}

#[test]
fn a_section_is_written_and_the_others_are_kept() {
    use crate::compare::Counts;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("counts.toml");
    let table = |instructions| Table::from([("plain".to_owned(), Counts { instructions, allocations: 9.0, system_calls: 4.25 })]);
    for (key, instructions) in [("rustc 1, x86_64", 1000.0), ("rustc 2, x86_64", 2000.0), ("rustc 1, x86_64", 3000.0)] {
        record(&path, key, &table(instructions), &["plain"]).expect("recorded");
    }
    let expected = File::from([("rustc 1, x86_64".to_owned(), table(3000.0)), ("rustc 2, x86_64".to_owned(), table(2000.0))]);
    assert_eq!(load(&path).expect("read"), expected);
}
