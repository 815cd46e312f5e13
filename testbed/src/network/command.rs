//! Runs `ip` and `nft` with a batch on standard input: one process for many changes, in the caller's namespace.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Applies lines of `ip` in order, stopping at the first that fails.
///
/// # Errors
/// When `ip` is not installed or refuses a line; the message quotes it.
pub fn ip_batch(lines: &str) -> Result<()> {
    batch("ip", &["-batch", "-"], "iproute2", lines)
}

/// Applies a ruleset as one transaction: all of it or nothing.
///
/// # Errors
/// When `nft` is not installed or refuses the text; the message quotes it.
pub fn nft(ruleset: &str) -> Result<()> {
    batch("nft", &["-f", "-"], "nftables", ruleset)
}

/// Output of `ip` with these arguments.
///
/// # Errors
/// When `ip` is not installed or ends with an error.
pub fn ip_output(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(arguments).output().context("running `ip`: install the package iproute2")?;
    if !output.status.success() {
        bail!("`ip {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn batch(program: &str, arguments: &[&str], package: &str, input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("running `{program}`: install the package {package}"))?;
    // The program may stop reading at its first error; what it says then is the better message.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    if !output.status.success() {
        tracing::debug!(program, input, "refused");
        bail!("`{program}` refused: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    written.unwrap_or(Ok(())).with_context(|| format!("writing to `{program}`"))
}
