//! Flags as written become settings as needed: typed, checked, with Istio's defaults (contract 2.2, 2.3).
//!
//! The only look at the machine is the user and group database, for names in place of numbers.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use crate::Error;
use crate::args::Args;

use values::{
    boolean, duration, group_id, groups, ids, interfaces, loopback, port_or, ports, ranges, selection, setting, text, unsupported, user_id,
};

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
    /// Flavour asked for; `None` finds out.
    pub flavour: Option<Flavour>,
    /// Namespace to work in; `None` is the caller's.
    pub network_namespace: Option<PathBuf>,
}

/// Reads the flags. Flags without effect are warned about in the log.
///
/// # Errors
/// [`Error::Setting`] for a value that cannot be understood, [`Error::Unsupported`] for a feature this version lacks.
pub fn read(args: &Args) -> Result<(Settings, Options), Error> {
    refuse_unsupported(args)?;
    warn_without_effect(args);
    Ok((read_settings(args)?, read_options(args)?))
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
    let flavour = match text(&args.force_iptables_binary) {
        "" => None,
        "legacy" => Some(Flavour::Legacy),
        "nft" => Some(Flavour::Nft),
        other => {
            return Err(setting("--force-iptables-binary", other, "expected `legacy` or `nft`"));
        }
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
        flavour,
        network_namespace: Some(text(&args.network_namespace)).filter(|path| !path.is_empty()).map(PathBuf::from),
    })
}

/// Features which would change what is captured are refused, not skipped: a pod that starts without them leaks traffic. DNS capture is
/// none of those: without it names are still resolved, only not by the proxy.
fn refuse_unsupported(args: &Args) -> Result<(), Error> {
    let mode = text(&args.istio_inbound_interception_mode);
    match mode {
        "" | "REDIRECT" => {}
        "TPROXY" => {
            return Err(unsupported("-m TPROXY", "use REDIRECT; the application then sees 127.0.0.6 as the peer of inbound connections"));
        }
        other => {
            return Err(setting("-m/--istio-inbound-interception-mode", other, "expected REDIRECT or TPROXY"));
        }
    }
    if boolean("--native-nftables", &args.native_nftables)? {
        return Err(unsupported("--native-nftables", "leave it out; iptables-nft writes the same rules into nf_tables"));
    }
    if !text(&args.kube_virt_interfaces).is_empty() {
        return Err(unsupported("-k/--kube-virt-interfaces", "leave it out; traffic of nested machines is then treated as inbound"));
    }
    Ok(())
}

fn warn_without_effect(args: &Args) {
    let without_effect: [(&Option<String>, &str); 5] = [
        (
            &args.redirect_dns,
            "--redirect-dns (REDIRECT_DNS, ISTIO_META_DNS_CAPTURE) has no effect yet: names are resolved by the pod's own nameserver",
        ),
        (&args.istio_inbound_tproxy_mark, "-t/--istio-inbound-tproxy-mark has no effect: it belongs to TPROXY mode"),
        (&args.istio_inbound_tproxy_route_table, "-r/--istio-inbound-tproxy-route-table has no effect: it belongs to TPROXY mode"),
        (&args.capture_all_dns, "--capture-all-dns has no effect without --redirect-dns"),
        (&args.cni_mode, "--cni-mode: the host's xtables lock is used, not one for this pod"),
    ];
    for (_, message) in without_effect.into_iter().filter(|(value, _)| !matches!(text(value), "" | "false" | "0")) {
        tracing::warn!("{message}");
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
