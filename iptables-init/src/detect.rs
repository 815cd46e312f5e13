//! What there is to work with: which iptables flavour, and whether the kernel speaks IPv6.

use std::path::Path;

use crate::Error;
use crate::rule::Family;
use crate::settings::Flavour;
use crate::tool::Tool;

/// A batch that adds a redirecting rule and takes it away again, all in one transaction: it changes nothing, and fails where
/// the kernel lacks what capture needs.
const PROBE: &str = "*nat
-N OUTRIGGER_PROBE
-A OUTRIGGER_PROBE -p tcp -m owner --uid-owner 1337 -j REDIRECT --to-ports 15001
-F OUTRIGGER_PROBE
-X OUTRIGGER_PROBE
COMMIT
";

/// The families to write rules for. IPv6 always belongs to them where the kernel knows it, whether an interface has such an
/// address by now or not: one could be added later, and its traffic would bypass the proxy (contract section 8, item 4).
#[must_use]
pub fn families() -> Vec<Family> {
    if Path::new("/proc/sys/net/ipv6").exists() {
        Family::ALL.to_vec()
    } else {
        tracing::info!("this kernel has no IPv6: only IPv4 is captured");
        vec![Family::V4]
    }
}

/// Whether an interface of this namespace has an IPv6 address that reaches beyond its link or machine.
#[must_use]
pub fn has_ipv6_address() -> bool {
    // Columns: address, interface index, prefix length, scope (00 is global), flags, name. A thread may be in another
    // namespace than its process, hence thread-self.
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().nth(3) == Some("00"))
}

/// The flavour to use for a family: the forced one; else legacy if it already holds rules here; else nft; else plain
/// `iptables` (contract 2.7). A candidate counts only if the kernel accepts a harmless rule from it.
///
/// # Errors
/// [`Error::Missing`] names the package when nothing is installed, [`Error::Unusable`] what each candidate said.
pub fn choose(family: Family, forced: Option<Flavour>) -> Result<Tool, Error> {
    let candidates = candidates(family, forced);
    let mut complaints = Vec::new();
    for tool in candidates.iter().copied().filter(|tool| tool.is_installed()) {
        match tool.restore(PROBE) {
            Ok(()) => return Ok(tool),
            Err(error) => complaints.push(error.to_string()),
        }
    }
    if complaints.is_empty() {
        let wanted = candidates.iter().map(|tool| tool.program("restore")).collect::<Vec<_>>().join(", ");
        return Err(Error::Missing { family, wanted });
    }
    Err(Error::Unusable { family, detail: complaints.join("; ") })
}

fn candidates(family: Family, forced: Option<Flavour>) -> Vec<Tool> {
    let tool = |flavour| Tool { family, flavour };
    if let Some(flavour) = forced {
        return vec![tool(flavour)];
    }
    let mut found = vec![tool(Flavour::Nft), tool(Flavour::Plain), tool(Flavour::Legacy)];
    let legacy = tool(Flavour::Legacy);
    if legacy.is_installed() && holds_rules(legacy) {
        found.rotate_right(1);
    }
    found
}

fn holds_rules(tool: Tool) -> bool {
    tool.save().is_ok_and(|text| text.lines().any(|line| line.starts_with("-A ") || line.starts_with(":ISTIO_")))
}

/// Every installed flavour of a family, for finding what another run may have left. Plain `iptables` is one of the other two
/// wherever those exist.
#[must_use]
pub fn installed(family: Family) -> Vec<Tool> {
    let all = [Flavour::Nft, Flavour::Legacy, Flavour::Plain].map(|flavour| Tool { family, flavour });
    let named: Vec<Tool> = all.into_iter().filter(|tool| tool.flavour != Flavour::Plain && tool.is_installed()).collect();
    if named.is_empty() { all.into_iter().filter(|tool| tool.is_installed()).collect() } else { named }
}
