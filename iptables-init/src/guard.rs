//! Temporary rules that drop everything, for replacements which no single transaction can do (contract 2.7).
//!
//! They stand in a chain, or with nftables in a table, of their own. A run that is killed leaves them behind; the next one knows them by
//! that name, finishes what was begun, and takes them away.

use std::fmt::Write as _;

use crate::Error;
use crate::native::Nftables;
use crate::state::Ruleset;
use crate::tool::Tool;

/// The chain of the rules that drop, in table `filter`.
pub(crate) const CHAIN: &str = "ISTIO_GUARD";

/// The chains that see every packet.
const HOOKS: [&str; 3] = ["INPUT", "FORWARD", "OUTPUT"];

/// Stands while it is alive; packets that it drops are sent again by whoever wants them to arrive.
pub(crate) enum Guard {
    Iptables(Vec<Tool>),
    Native(Nftables),
}

impl Guard {
    /// Drops all TCP and UDP in the families of these tools from now on. Where an earlier run left the same rules, they serve.
    pub(crate) fn by_iptables(tools: &[Tool]) -> Result<Self, Error> {
        let mut raised = Vec::new();
        for tool in tools {
            if let Err(error) = raise(*tool) {
                drop(Self::Iptables(raised));
                return Err(error);
            }
            raised.push(*tool);
        }
        Ok(Self::Iptables(raised))
    }

    /// The same in both families.
    pub(crate) fn by_nftables(nftables: Nftables) -> Result<Self, Error> {
        nftables.raise_guard().map(|()| Self::Native(nftables))
    }

    /// Leaves the rules standing.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let lowered = match self {
            Self::Iptables(tools) => tools.iter().try_for_each(|tool| lower(*tool)),
            Self::Native(nftables) => nftables.lower_guard(),
        };
        if let Err(error) = lowered {
            tracing::error!("the temporary rules that drop everything could not be removed: {error}");
        }
    }
}

fn raise(tool: Tool) -> Result<(), Error> {
    if Ruleset::parse(&tool.save()?).has_guard() { Ok(()) } else { tool.restore(&batch()) }
}

/// Takes the rules away, as many as there are.
pub(crate) fn lower(tool: Tool) -> Result<(), Error> {
    let lines = Ruleset::parse(&tool.save()?).guard_removal();
    if lines.is_empty() { Ok(()) } else { tool.restore(&format!("*filter\n{}\nCOMMIT\n", lines.join("\n"))) }
}

fn batch() -> String {
    let mut text = format!("*filter\n-N {CHAIN}\n-A {CHAIN} -p tcp -j DROP\n-A {CHAIN} -p udp -j DROP\n");
    for hook in HOOKS {
        let _ = writeln!(text, "-I {hook} 1 -j {CHAIN}");
    }
    text + "COMMIT\n"
}
