//! What there is to work with: which iptables flavour, and whether the kernel speaks IPv6.

use std::net::IpAddr;
use std::path::Path;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::SockaddrStorage;

use crate::Error;
use crate::rule::Family;
use crate::settings::{Backend, Flavour, Options, Settings};
use crate::tool::{Lock, Tool};

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
/// `--like-istio ipv6-detection` looks at the addresses (contract 2.6).
#[must_use]
pub fn families(settings: &Settings, options: &Options) -> Vec<Family> {
    let families = kernel_families();
    if settings.like_istio.ipv6_detection && !istio_captures_ipv6(options) {
        tracing::info!("no IPv6 was detected as Istio detects it: only IPv4 is captured");
        return vec![Family::V4];
    }
    families
}

/// Whether Istio, or its CNI plugin, would write rules for IPv6 in this namespace (contract 2.6).
#[must_use]
pub fn istio_captures_ipv6(options: &Options) -> bool {
    istio_detects_ipv6(&interface_addresses(), options.dual_stack)
}

/// The families that the kernel speaks.
#[must_use]
pub fn kernel_families() -> Vec<Family> {
    if Path::new("/proc/sys/net/ipv6").exists() {
        Family::ALL.to_vec()
    } else {
        tracing::info!("this kernel has no IPv6: only IPv4 is captured");
        vec![Family::V4]
    }
}

/// Addresses in the order of interfaces; those of this thread's namespace.
fn interface_addresses() -> Vec<IpAddr> {
    let found = nix::ifaddrs::getifaddrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let address = |storage: SockaddrStorage| match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(v4), _) => Some(v4.ip().into()),
        (_, Some(v6)) => Some(v6.ip().into()),
        _ => None,
    };
    // getifaddrs lists all of IPv4 before IPv6; what is first is a question of interfaces.
    let mut numbered: Vec<(u32, IpAddr)> = Vec::new();
    for entry in found {
        let index = if_nametoindex(entry.interface_name.as_str()).unwrap_or(u32::MAX);
        numbered.extend(entry.address.and_then(address).map(|address| (index, address)));
    }
    numbered.sort_by_key(|(index, _)| *index);
    numbered.into_iter().map(|(_, address)| address).collect()
}

fn istio_detects_ipv6(addresses: &[IpAddr], dual_stack: bool) -> bool {
    let mut reaching = addresses.iter().filter(|address| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    });
    if dual_stack { reaching.any(IpAddr::is_ipv6) } else { reaching.next().is_some_and(IpAddr::is_ipv6) }
}

/// Whether an interface of this namespace has an IPv6 address that reaches beyond its link or machine.
#[must_use]
pub fn has_ipv6_address() -> bool {
    // Columns: address, interface index, prefix length, scope (00 is global), flags, name. A thread may be in another
    // namespace than its process, hence thread-self.
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().nth(3) == Some("00"))
}

/// What is to write: as asked, or where no iptables is installed at all, nftables, which needs no program.
#[must_use]
pub fn backend(options: &Options) -> Backend {
    if options.backend == Backend::Iptables(None) && Family::ALL.iter().all(|family| installed(*family, options.lock()).is_empty()) {
        tracing::info!("no iptables is installed: nftables is used directly");
        return Backend::Native;
    }
    options.backend
}

/// The flavour to use for a family: the forced one; else legacy if it already holds rules here; else nft; else plain
/// `iptables` (contract 2.7). A candidate counts only if the kernel accepts a harmless rule from it.
///
/// # Errors
/// [`Error::Missing`] names the package when nothing is installed, [`Error::Unusable`] what each candidate said.
pub fn choose(family: Family, forced: Option<Flavour>, lock: Lock) -> Result<Tool, Error> {
    let candidates = candidates(family, forced, lock);
    let mut complaints = Vec::new();
    for tool in candidates.iter().copied().filter(|tool| tool.is_installed()) {
        match try_out(tool) {
            Ok(tool) => return Ok(tool),
            Err(error @ Error::Lock { .. }) => return Err(error),
            Err(error) => complaints.push(error.to_string()),
        }
    }
    if complaints.is_empty() {
        let wanted = candidates.iter().map(|tool| tool.program("restore")).collect::<Vec<_>>().join(", ");
        return Err(Error::Missing { family, wanted });
    }
    Err(Error::Unusable { family, detail: complaints.join("; ") })
}

/// Where the usual lock file cannot be written, as on a read-only file system, the namespace gets one of its own.
fn try_out(tool: Tool) -> Result<Tool, Error> {
    match tool.restore(PROBE) {
        Err(error @ Error::Lock { .. }) if tool.lock == Lock::Usual => {
            let tool = Tool { lock: Lock::of_this_namespace(), ..tool };
            tracing::info!("{error}; trying another lock file");
            tool.restore(PROBE).map(|()| tool)
        }
        result => result.map(|()| tool),
    }
}

fn candidates(family: Family, forced: Option<Flavour>, lock: Lock) -> Vec<Tool> {
    let tool = |flavour| Tool { family, flavour, lock };
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
pub fn installed(family: Family, lock: Lock) -> Vec<Tool> {
    let all = [Flavour::Nft, Flavour::Legacy, Flavour::Plain].map(|flavour| Tool { family, flavour, lock });
    let named: Vec<Tool> = all.into_iter().filter(|tool| tool.flavour != Flavour::Plain && tool.is_installed()).collect();
    if named.is_empty() { all.into_iter().filter(|tool| tool.is_installed()).collect() } else { named }
}

#[cfg(test)]
mod tests {
    use super::istio_detects_ipv6;
    use std::net::IpAddr;

    fn detects(addresses: &[&str], dual_stack: bool) -> bool {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        istio_detects_ipv6(&addresses, dual_stack)
    }

    #[test]
    fn istio_looks_at_the_first_address_that_reaches_beyond_its_link_and_with_dual_stack_at_all() {
        assert!(detects(&["127.0.0.1", "::1", "fe80::1", "fd00::1", "10.0.0.1"], false));
        assert!(!detects(&["127.0.0.1", "10.0.0.1", "fd00::1"], false));
        assert!(detects(&["127.0.0.1", "10.0.0.1", "fd00::1"], true));
        assert!(!detects(&["127.0.0.1", "::1", "fe80::1"], true));
    }
}
