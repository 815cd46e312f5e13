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
    /// The process may not change the network.
    #[error(
        "this process lacks the capability NET_ADMIN: give the container `securityContext.capabilities.add: [NET_ADMIN, NET_RAW]` and runAsUser 0, or leave the rules to a CNI plugin; no rule was changed"
    )]
    Capability,
    /// No usable set of iptables programs.
    #[error("{family}: {wanted} not found in PATH; install the package `iptables` (Debian, Ubuntu, Alpine, Fedora: the same name)")]
    Missing {
        /// The family whose rules were to be written.
        family: Family,
        /// The program names tried.
        wanted: String,
    },
    /// The kernel refuses what nftables was asked by its own interface.
    #[error(
        "nftables: {0}; the kernel needs nf_tables with nat, redir, tproxy and ct expressions for family inet (Linux 5.2 or later); the program `nft`, if installed, would say more"
    )]
    Nftables(std::io::Error),
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
    /// The kernel lacks something the flags ask for.
    #[error("{flags} needs {feature}, which this kernel refuses ({module}): {detail}; no rule was changed")]
    Kernel {
        /// The flags that ask for it.
        flags: &'static str,
        /// What it is.
        feature: &'static str,
        /// The kernel module that provides it.
        module: &'static str,
        /// What the program said.
        detail: String,
    },
    /// The lock file of the legacy programs cannot be written.
    #[error(
        "{program} cannot open its lock file {file}: {detail}; mount something writable at its folder (an emptyDir will do), or use iptables 1.8.6 or later, which can keep it elsewhere; no rule was changed"
    )]
    Lock {
        /// Name of the program.
        program: String,
        /// The file.
        file: String,
        /// What the program said.
        detail: String,
    },
    /// The rules were written, yet others stand there.
    #[error("{place}: the rules that stand are not those that were written ({detail}); they were taken back")]
    NotAsWritten {
        /// Where: a family, or nftables.
        place: String,
        /// The first difference.
        detail: String,
    },
    /// The routing that TPROXY needs could not be changed.
    #[error("`{command}`, or taking that back: {source}; TPROXY needs it, and the kernel's policy routing (CONFIG_IP_MULTIPLE_TABLES)")]
    Routing {
        /// The command that would do the same.
        command: String,
        /// The system's reason.
        source: std::io::Error,
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
        "{place}: other capture rules stand here already ({detail}); --reconcile replaces them, --cleanup-only removes them; no rule was changed"
    )]
    Different {
        /// Where the first difference was found: a family, or nftables.
        place: String,
        /// The first difference.
        detail: String,
    },
    /// Rules were still there after removing them.
    #[error("{place}: capture rules remain after cleaning up: {detail}")]
    Remains {
        /// Where: a family, or nftables.
        place: String,
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
