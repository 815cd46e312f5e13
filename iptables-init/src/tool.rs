//! The iptables programs of one family and flavour: reading all rules, writing a batch.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::Error;
use crate::rule::Family;
use crate::settings::Flavour;

/// How long to wait for another process's xtables lock, in seconds (contract 2.7).
const LOCK_WAIT_SECONDS: &str = "30";

/// One family in one flavour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Which kernel tables.
    pub family: Family,
    /// Which programs.
    pub flavour: Flavour,
}

impl Tool {
    /// Name of one of the programs; `purpose` is `save` or `restore`.
    #[must_use]
    pub fn program(self, purpose: &str) -> String {
        let family = match self.family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        match self.flavour {
            Flavour::Legacy => format!("{family}-legacy-{purpose}"),
            Flavour::Nft => format!("{family}-nft-{purpose}"),
            Flavour::Plain => format!("{family}-{purpose}"),
        }
    }

    /// Whether both programs are in `PATH`.
    #[must_use]
    pub fn is_installed(self) -> bool {
        ["save", "restore"].iter().all(|purpose| in_path(&self.program(purpose)))
    }

    /// All rules of all tables that exist. Naming no table matters: asking the legacy flavour for one would create it.
    ///
    /// # Errors
    /// The program cannot be run or fails.
    pub fn save(self) -> Result<String, Error> {
        let program = self.program("save");
        let output = Command::new(&program).stdin(Stdio::null()).output();
        checked(program, output).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Carries out a batch; each table in it as one transaction.
    ///
    /// # Errors
    /// The program cannot be run or refuses the batch.
    pub fn restore(self, batch: &str) -> Result<(), Error> {
        let program = self.program("restore");
        let output = feed(&program, &["--noflush", "--wait", LOCK_WAIT_SECONDS], batch);
        checked(program, output).map(drop)
    }
}

fn feed(program: &str, arguments: &[&str], input: &str) -> std::io::Result<Output> {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // A program that dies at once closes its input; its exit status tells more than the broken pipe.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

fn checked(program: String, output: std::io::Result<Output>) -> Result<Output, Error> {
    let output = output.map_err(|source| Error::Spawn { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::Command { program, status: output.status.to_string(), stderr })
}

fn in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
