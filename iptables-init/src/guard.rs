//! Temporary rules that drop everything, for replacements which no single transaction can do (contract 2.7).

use std::fmt::Write as _;

use crate::Error;
use crate::native::Nftables;
use crate::tool::Tool;

/// The chains that see every packet, by their hooks.
const HOOKS: [&str; 3] = ["input", "forward", "output"];

/// Stands while it is alive; packets that it drops are sent again by whoever wants them to arrive.
pub(crate) enum Guard {
    Iptables(Vec<Tool>),
    Native(Nftables),
}

impl Guard {
    /// Drops all TCP and UDP in the families of these tools from now on.
    pub(crate) fn by_iptables(tools: &[Tool]) -> Result<Self, Error> {
        let mut raised = Vec::new();
        for tool in tools {
            if let Err(error) = tool.restore(&batch("-I", " 1")) {
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
}

impl Drop for Guard {
    fn drop(&mut self) {
        let lowered = match self {
            Self::Iptables(tools) => tools.iter().try_for_each(|tool| tool.restore(&batch("-D", ""))),
            Self::Native(nftables) => nftables.lower_guard(),
        };
        if let Err(error) = lowered {
            tracing::error!("the temporary rules that drop everything could not be removed: {error}");
        }
    }
}

fn batch(verb: &str, place: &str) -> String {
    let mut text = "*filter\n".to_owned();
    for hook in HOOKS {
        for protocol in ["tcp", "udp"] {
            let _ = writeln!(text, "{verb} {}{place} -p {protocol} -j DROP", hook.to_uppercase());
        }
    }
    text + "COMMIT\n"
}
