//! Flags as written become settings as needed: typed, checked, with Istio's defaults (contract 2.2, 2.3).
//!
//! The only looks at the machine are the user and group database, for names in place of numbers, and with `--redirect-dns` the
//! file that names the resolvers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use crate::Error;
use crate::args::Args;
use crate::tool::Lock;

use values::{
    boolean, duration, group_id, groups, ids, interfaces, items, loopback, number_or, port_or, ports, ranges, selection, setting, text,
    user_id,
};

mod resolvers;
mod values;

/// uid and gid of the proxy when nothing else is said.
const PROXY_ID: u32 = 1337;

/// Everything or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection<T> {
    /// `*`
    All,
    /// Exactly these; may be empty.
    Only(Vec<T>),
}

/// What the rules depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Port captured outbound connections go to.
    pub outbound_capture_port: u16,
    /// Port captured inbound connections go to.
    pub inbound_capture_port: u16,
    /// Port that is never captured: the tunnel listener's own.
    pub inbound_tunnel_port: u16,
    /// Users whose traffic is left alone; never empty.
    pub proxy_uids: Vec<u32>,
    /// Groups whose traffic is left alone; never empty.
    pub proxy_gids: Vec<u32>,
    /// Inbound ports captured.
    pub inbound_ports: Selection<u16>,
    /// Inbound ports left alone; counts only with all ports captured.
    pub inbound_exclude_ports: Vec<u16>,
    /// Interfaces left alone.
    pub exclude_interfaces: Vec<String>,
    /// Outbound ranges captured, both families mixed, host bits cleared.
    pub outbound_ranges: Selection<IpNet>,
    /// Outbound ranges left alone.
    pub outbound_exclude_ranges: Vec<IpNet>,
    /// Outbound ports captured whatever the address.
    pub outbound_ports: Vec<u16>,
    /// Outbound ports left alone.
    pub outbound_exclude_ports: Vec<u16>,
    /// Groups whose traffic is captured.
    pub owner_groups: Selection<u32>,
    /// Groups whose traffic is left alone; counts only with all groups captured.
    pub owner_groups_exclude: Vec<u32>,
    /// What is "localhost" in IPv4.
    pub loopback_v4: Ipv4Net,
    /// Drop packets which connection tracking calls invalid.
    pub drop_invalid: bool,
    /// Interfaces behind which nested machines live: what they send counts as outbound.
    pub reroute_interfaces: Vec<String>,
    /// Capture inbound traffic by TPROXY; `None` is REDIRECT.
    pub tproxy: Option<Tproxy>,
    /// DNS capture.
    pub dns: Dns,
    /// Where to do as Istio does although this program knows better.
    pub like_istio: LikeIstio,
}

/// Numbers of TPROXY mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tproxy {
    /// Packet mark that leads to [`Tproxy::route_table`]. The number after it marks the proxy calling its own pod.
    pub mark: u32,
    /// Routing table in which every address is local.
    pub route_table: u32,
}

impl Tproxy {
    /// Istio's numbers.
    pub const DEFAULT: Self = Self { mark: 1337, route_table: 133 };
}

/// Which DNS queries are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    /// None.
    Off,
    /// Those to these servers: the pod's resolvers. Never empty.
    Servers(Vec<IpAddr>),
    /// All.
    All,
}

impl Dns {
    /// Whether any query is captured.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self != Self::Off
    }
}

/// Behaviours of Istio's that `--like-istio` brings back, each by its name in that flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LikeIstio {
    /// `ipv6-detection`: IPv6 is left alone unless the first address of an interface is an IPv6 one (with `--dual-stack`: any).
    pub ipv6_detection: bool,
    /// `dns-by-group`: with DNS capture, queries of the proxy's group to a resolver in the pod count as self calls.
    pub dns_by_group: bool,
    /// `unordered`: rules that stand in another order count as the wanted ones.
    pub unordered: bool,
    /// `guards`: `--reconcile` drops all TCP and UDP while it works, even where one transaction does it all.
    pub guards: bool,
}

/// Which program, or none, writes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `iptables-restore` and `ip6tables-restore` of this flavour; `None` finds out which.
    Iptables(Option<Flavour>),
    /// nftables, in tables of its own that cover both families.
    Native,
}

/// Which iptables programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `iptables-legacy`: the x_tables kernel interface.
    Legacy,
    /// `iptables-nft`: iptables rules kept by nf_tables.
    Nft,
    /// Whatever `iptables` is.
    Plain,
}

/// What to do with the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write them.
    Apply,
    /// Remove them.
    CleanUp,
    /// Leave them to a CNI plugin.
    Skip,
}

/// How to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An aligned table, one line per rule.
    Text,
    /// JSON, one object per rule.
    Json,
}

/// The proof asked for by `--run-validation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Port that is dialled and on which nothing listens.
    pub port: u16,
    /// How long to try.
    pub timeout: Duration,
}

/// How to go about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Only tell.
    pub dry_run: bool,
    /// Apply, remove or neither.
    pub action: Action,
    /// Replace rules that differ.
    pub reconcile: bool,
    /// Replace rules without looking.
    pub force_apply: bool,
    /// Prove redirection afterwards.
    pub validation: Option<Probe>,
    /// What writes the rules.
    pub backend: Backend,
    /// Every address of an interface counts for `ipv6-detection`, not only the first.
    pub dual_stack: bool,
    /// Only say what each rule is for.
    pub explain: Option<Format>,
    /// The files are the host's, the network is a pod's: the xtables lock must be the pod's own.
    pub cni_mode: bool,
    /// Namespace to work in; `None` is the caller's.
    pub network_namespace: Option<PathBuf>,
}

impl Options {
    /// The lock that legacy programs are to take.
    #[must_use]
    pub fn lock(&self) -> Lock {
        if self.cni_mode { Lock::of_this_namespace() } else { Lock::Usual }
    }
}

/// Reads the flags, and the file of resolvers if DNS is to be captured. Flags without effect are warned about in the log.
///
/// # Errors
/// [`Error::Setting`] for a value that cannot be understood.
pub fn read(args: &Args) -> Result<(Settings, Options), Error> {
    let settings = read_settings(args)?;
    let options = read_options(args)?;
    warn_without_effect(args, &settings);
    Ok((settings, options))
}

fn read_settings(args: &Args) -> Result<Settings, Error> {
    let proxy_uids = proxy_uids(args)?;
    let proxy_gids = match text(&args.proxy_gid) {
        "" => proxy_uids.clone(),
        list => ids("-g/--proxy-gid", list, group_id)?,
    };
    Ok(Settings {
        outbound_capture_port: port_or("-p/--envoy-port", &args.envoy_port, 15001)?,
        inbound_capture_port: port_or("-z/--inbound-capture-port", &args.inbound_capture_port, 15006)?,
        inbound_tunnel_port: port_or("-e/--inbound-tunnel-port", &args.inbound_tunnel_port, 15008)?,
        proxy_uids,
        proxy_gids,
        inbound_ports: selection(text(&args.istio_inbound_ports), |list| ports("-b/--istio-inbound-ports", list))?,
        inbound_exclude_ports: ports("-d/--istio-local-exclude-ports", text(&args.istio_local_exclude_ports))?,
        exclude_interfaces: interfaces("-c/--istio-exclude-interfaces", text(&args.istio_exclude_interfaces))?,
        outbound_ranges: selection(text(&args.istio_service_cidr), |list| ranges("-i/--istio-service-cidr", list))?,
        outbound_exclude_ranges: ranges("-x/--istio-service-exclude-cidr", text(&args.istio_service_exclude_cidr))?,
        outbound_ports: ports("-q/--istio-outbound-ports", text(&args.istio_outbound_ports))?,
        outbound_exclude_ports: ports("-o/--istio-local-outbound-ports-exclude", text(&args.istio_local_outbound_ports_exclude))?,
        owner_groups: owner_groups(args)?,
        owner_groups_exclude: groups("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", text(&args.outbound_owner_groups_exclude))?,
        loopback_v4: loopback(text(&args.outbound_ipv4_loopback_cidr))?,
        drop_invalid: boolean("--drop-invalid", &args.drop_invalid)?,
        reroute_interfaces: interfaces("-k/--kube-virt-interfaces", text(&args.kube_virt_interfaces))?,
        tproxy: tproxy(args)?,
        dns: dns(args)?,
        like_istio: like_istio(args)?,
    })
}

fn read_options(args: &Args) -> Result<Options, Error> {
    let action = if boolean("--cleanup-only", &args.cleanup_only)? {
        Action::CleanUp
    } else if boolean("--skip-rule-apply", &args.skip_rule_apply)? {
        Action::Skip
    } else {
        Action::Apply
    };
    let validation = if boolean("--run-validation", &args.run_validation)? && action != Action::CleanUp {
        Some(Probe {
            port: port_or("--iptables-probe-port", &args.iptables_probe_port, 15002)?,
            timeout: duration("--probe-timeout", text(&args.probe_timeout), Duration::from_secs(5))?,
        })
    } else {
        None
    };
    Ok(Options {
        dry_run: boolean("-n/--dry-run", &args.dry_run)?,
        action,
        reconcile: boolean("--reconcile", &args.reconcile)?,
        force_apply: boolean("--force-apply", &args.force_apply)?,
        validation,
        backend: backend(args)?,
        dual_stack: boolean("--dual-stack", &args.dual_stack)?,
        explain: explain(args)?,
        cni_mode: boolean("--cni-mode", &args.cni_mode)?,
        network_namespace: Some(text(&args.network_namespace)).filter(|path| !path.is_empty()).map(PathBuf::from),
    })
}

fn backend(args: &Args) -> Result<Backend, Error> {
    const FLAG: &str = "--force-iptables-binary";
    let flavour = match text(&args.force_iptables_binary) {
        "" => None,
        "legacy" => Some(Flavour::Legacy),
        "nft" => Some(Flavour::Nft),
        other => return Err(setting(FLAG, other, "expected `legacy` or `nft`")),
    };
    match (boolean("--native-nftables", &args.native_nftables)?, flavour) {
        (false, flavour) => Ok(Backend::Iptables(flavour)),
        (true, None) => Ok(Backend::Native),
        (true, Some(_)) => Err(setting(FLAG, text(&args.force_iptables_binary), "--native-nftables uses no iptables; give one of them")),
    }
}

fn explain(args: &Args) -> Result<Option<Format>, Error> {
    match text(&args.explain) {
        "" | "false" => Ok(None),
        "text" | "true" => Ok(Some(Format::Text)),
        "json" => Ok(Some(Format::Json)),
        other => Err(setting("--explain", other, "expected `text` or `json`")),
    }
}

/// `NONE` never comes here: such a pod has no init container.
fn tproxy(args: &Args) -> Result<Option<Tproxy>, Error> {
    let mark = number_or("-t/--istio-inbound-tproxy-mark", &args.istio_inbound_tproxy_mark, Tproxy::DEFAULT.mark, u32::MAX - 1)?;
    let route_table =
        number_or("-r/--istio-inbound-tproxy-route-table", &args.istio_inbound_tproxy_route_table, Tproxy::DEFAULT.route_table, u32::MAX)?;
    match text(&args.istio_inbound_interception_mode) {
        "" | "REDIRECT" => Ok(None),
        "TPROXY" => Ok(Some(Tproxy { mark, route_table })),
        other => Err(setting("-m/--istio-inbound-interception-mode", other, "expected REDIRECT or TPROXY")),
    }
}

fn dns(args: &Args) -> Result<Dns, Error> {
    let all = boolean("--capture-all-dns", &args.capture_all_dns)?;
    if !boolean("--redirect-dns", &args.redirect_dns)? {
        return Ok(Dns::Off);
    }
    if all {
        return Ok(Dns::All);
    }
    let file = match text(&args.resolv_conf) {
        "" => resolvers::FILE,
        file => file,
    };
    let servers = resolvers::read(file.as_ref());
    if servers.is_empty() {
        tracing::warn!(
            "--redirect-dns: {file} names no server, so no DNS query is captured; --capture-all-dns captures those to any server"
        );
        return Ok(Dns::Off);
    }
    Ok(Dns::Servers(servers))
}

fn like_istio(args: &Args) -> Result<LikeIstio, Error> {
    let mut found = LikeIstio::default();
    for item in items(text(&args.like_istio)) {
        match item {
            "ipv6-detection" => found.ipv6_detection = true,
            "dns-by-group" => found.dns_by_group = true,
            "unordered" => found.unordered = true,
            "guards" => found.guards = true,
            "all" => found = LikeIstio { ipv6_detection: true, dns_by_group: true, unordered: true, guards: true },
            other => {
                return Err(setting("--like-istio", other, "expected ipv6-detection, dns-by-group, unordered, guards or all"));
            }
        }
    }
    Ok(found)
}

fn warn_without_effect(args: &Args, settings: &Settings) {
    let given = |value: &Option<String>| !matches!(text(value), "" | "false" | "0");
    let tproxy_numbers = given(&args.istio_inbound_tproxy_mark) || given(&args.istio_inbound_tproxy_route_table);
    if settings.tproxy.is_none() && tproxy_numbers {
        tracing::info!("-t and -r have no effect: they belong to -m TPROXY");
    }
    if given(&args.capture_all_dns) && !settings.dns.is_on() {
        tracing::warn!("--capture-all-dns has no effect without --redirect-dns");
    }
    if !settings.inbound_exclude_ports.is_empty() && settings.inbound_ports != Selection::All {
        tracing::info!("-d has no effect: it counts only with `-b *`");
    }
    if !settings.owner_groups_exclude.is_empty() && settings.owner_groups != Selection::All {
        tracing::warn!("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE has no effect beside ISTIO_OUTBOUND_OWNER_GROUPS");
    }
}

fn proxy_uids(args: &Args) -> Result<Vec<u32>, Error> {
    let list = text(&args.proxy_uid);
    if !list.is_empty() {
        return ids("-u/--proxy-uid", list, user_id);
    }
    let name = match text(&args.envoy_user) {
        "" => "istio-proxy",
        name => name,
    };
    Ok(vec![user_id(name).unwrap_or(PROXY_ID)])
}

fn owner_groups(args: &Args) -> Result<Selection<u32>, Error> {
    match text(&args.outbound_owner_groups) {
        "" | "*" => Ok(Selection::All),
        list => Ok(Selection::Only(groups("ISTIO_OUTBOUND_OWNER_GROUPS", list)?)),
    }
}

#[cfg(test)]
mod tests;
