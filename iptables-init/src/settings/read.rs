//! From flags to settings and options, with Istio's defaults. Every refusal names the flag.

use std::path::PathBuf;
use std::time::Duration;

use super::resolvers;
use super::values::{
    boolean, duration, group_id, groups, ids, interfaces, items, loopback, number_or, port_or, ports, ranges, selection, setting, text,
    user_id,
};
use super::{Action, Backend, Dns, Flavour, Format, LikeIstio, Options, Probe, Selection, Settings, Tproxy};
use crate::Error;
use crate::args::Args;

/// uid and gid of the proxy when nothing else is said.
const PROXY_ID: u32 = 1337;

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
    if given(&args.dns_capture_by_proxy) && !settings.dns.is_on() {
        tracing::warn!(
            "ISTIO_META_DNS_CAPTURE is ignored: this proxy has no resolver yet, and queries that nobody answers would break every name; --redirect-dns captures them all the same"
        );
    }
    if settings.dns.is_on() {
        tracing::warn!("--redirect-dns: queries go to port 15053, where this release's proxy does not listen; another resolver must");
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
