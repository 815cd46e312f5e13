//! What can go wrong, in words that name the flag, the program or the package concerned.

use std::path::PathBuf;

use crate::rule::Family;

/// Why the capture rules could not be written, removed or proven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag or environment variable has a value that cannot be understood.
    #[error("{flag}: {reason} (got `{value}`); no rule was changed")]
    Setting {
        /// The flag, with its short form where it has one.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What was expected.
        reason: String,
    },
    /// A flag of Istio's that this version recognises but cannot act on.
    #[error("{flag} is not supported yet: {instead}; no rule was changed")]
    Unsupported {
        /// The flag, with its value where that matters.
        flag: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// No usable set of iptables programs.
    #[error("{family}: {wanted} not found in PATH; install the package `iptables` (Debian, Ubuntu, Alpine, Fedora: the same name)")]
    Missing {
        /// The family whose rules were to be written.
        family: Family,
        /// The program names tried.
        wanted: String,
    },
    /// The programs exist but the kernel refuses a harmless nat rule.
    #[error(
        "{family}: no installed iptables can write a nat rule here: {detail}; this needs root (or NET_ADMIN and NET_RAW) and the kernel's nat, owner and redirect modules"
    )]
    Unusable {
        /// The family whose rules were to be written.
        family: Family,
        /// What each candidate said.
        detail: String,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {stderr}")]
    Command {
        /// Name of the program.
        program: String,
        /// Exit status as text.
        status: String,
        /// What it wrote to its error output, trimmed.
        stderr: String,
    },
    /// A program could not be started, or its pipes broke.
    #[error("{program} could not be run: {source}")]
    Spawn {
        /// Name of the program.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Rules of another configuration stand in this namespace.
    #[error(
        "{family}: other capture rules stand here already ({detail}); --reconcile replaces them, --cleanup-only removes them; no rule was changed"
    )]
    Different {
        /// The family in which the first difference was found.
        family: Family,
        /// The first difference.
        detail: String,
    },
    /// Rules were still there after removing them.
    #[error("{family}: capture rules remain after cleaning up: {detail}")]
    Remains {
        /// The family concerned.
        family: Family,
        /// What is left.
        detail: String,
    },
    /// The network namespace cannot be entered.
    #[error("--network-namespace {path}: {source}")]
    Namespace {
        /// The path given.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// `::6/128` could not be put on (or taken off) the loopback interface.
    #[error("address ::6/128 on lo: {0}; inbound IPv6 traffic is delivered from that address")]
    Address(std::io::Error),
    /// The rules stand but do not redirect (contract 2.8).
    #[error("{family}: validation failed: {detail}")]
    Validation {
        /// The family whose probe failed.
        family: Family,
        /// What happened instead.
        detail: String,
    },
}

impl Error {
    /// The exit code of the command: 126 for a failed validation, which Istio's CNI repair controller looks for, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Validation { .. } => 126,
            _ => 1,
        }
    }
}
