//! The program `nft`: reading our tables, carrying out a batch.

use std::process::{Command, Stdio};

use super::PREFIX;
use crate::Error;
use crate::tool::{checked, feed, in_path};

const NAME: &str = "nft";

/// Whether it is in `PATH`.
pub(crate) fn is_installed() -> bool {
    in_path(NAME)
}

/// Carries out a batch as one transaction.
///
/// # Errors
/// The program cannot be run or refuses the batch, in which case nothing has changed.
pub(crate) fn load(batch: &str) -> Result<(), Error> {
    checked(NAME, feed(Command::new(NAME).args(["-f", "-"]), batch)).map(drop)
}

/// Our tables as text; empty if there are none.
///
/// # Errors
/// The program cannot be run or fails.
pub(crate) fn list() -> Result<String, Error> {
    let tables = output(&["list", "tables", "inet"])?;
    let names = tables.lines().filter_map(|line| line.strip_prefix("table inet ")).filter(|name| name.starts_with(PREFIX));
    names.map(|name| output(&["-n", "list", "table", "inet", name])).collect()
}

/// Whether there is a table of this name.
///
/// # Errors
/// The program cannot be run or fails.
pub(crate) fn has_table(name: &str) -> Result<bool, Error> {
    output(&["list", "tables", "inet"]).map(|tables| tables.lines().any(|line| line.strip_prefix("table inet ") == Some(name)))
}

fn output(arguments: &[&str]) -> Result<String, Error> {
    let output = Command::new(NAME).args(arguments).stdin(Stdio::null()).output();
    checked(NAME, output).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}
