//! How a command fails: what is wrong on standard error, and an exit status that tells a wrong command line, which no second attempt
//! can mend, from everything else.

use std::fmt;
use std::process::ExitCode;

use crate::stdio;

/// As clap has it for the command lines that it refuses itself.
const WRONG_USAGE: u8 = 2;

/// A command line that clap takes and the command cannot.
#[derive(Debug)]
pub struct WrongUsage(String);

impl WrongUsage {
    /// With what is wrong about it.
    pub fn new(what: impl Into<String>) -> WrongUsage {
        WrongUsage(what.into())
    }

    /// What a parser of the command's own complains about.
    pub fn from_parser(error: &anyhow::Error) -> WrongUsage {
        WrongUsage(format!("{error:#}"))
    }
}

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// Tells what ended a command.
pub fn report(error: &anyhow::Error) -> ExitCode {
    stdio::warn(&format!("outrigger: {error:#}"));
    if error.is::<WrongUsage>() { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
}
