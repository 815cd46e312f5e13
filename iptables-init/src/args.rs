//! The command line of `outrigger iptables`, flag for flag that of `istio-iptables` (contract 2.3), and its environment variables.
//!
//! Values stay text here; [`crate::settings`] reads them, so that a bad value is reported in one form whether it came from
//! a flag, a variable or a caller in Rust.

/// Flags as written. `None` is "not given". Lists are comma separated; booleans are Go's (`1`, `t`, `true`, ... `0`, `f`, `false`).
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(args_override_self = true)]
pub struct Args {
    /// Port of the proxy that receives captured outbound connections [default: 15001]
    #[arg(short = 'p', long, value_name = "PORT")]
    pub envoy_port: Option<String>,
    /// Port of the proxy that receives captured inbound connections [default: 15006]
    #[arg(short = 'z', long, value_name = "PORT")]
    pub inbound_capture_port: Option<String>,
    /// Port of the tunnel (HBONE) listener, which is never captured [default: 15008]
    #[arg(short = 'e', long, value_name = "PORT")]
    pub inbound_tunnel_port: Option<String>,
    /// Users whose traffic is left alone: the proxy's [default: the user named by ENVOY_USER, istio-proxy, else 1337]
    #[arg(short = 'u', long, value_name = "UID,...")]
    pub proxy_uid: Option<String>,
    /// Groups whose traffic is left alone [default: the value of --proxy-uid]
    #[arg(short = 'g', long, value_name = "GID,...")]
    pub proxy_gid: Option<String>,
    /// How inbound traffic is captured: REDIRECT, or TPROXY, which keeps the client's address [default: REDIRECT]
    #[arg(short = 'm', long, value_name = "MODE")]
    pub istio_inbound_interception_mode: Option<String>,
    /// Inbound ports to capture: `*` for all, a list, or nothing for none [default: none]
    #[arg(short = 'b', long, value_name = "PORT,...|*")]
    pub istio_inbound_ports: Option<String>,
    /// Inbound ports left alone when all others are captured
    #[arg(short = 'd', long, value_name = "PORT,...")]
    pub istio_local_exclude_ports: Option<String>,
    /// Interfaces whose traffic is left alone
    #[arg(short = 'c', long, value_name = "NAME,...")]
    pub istio_exclude_interfaces: Option<String>,
    /// Outbound address ranges to capture: `*` for all, a list, or nothing for none [default: none]
    #[arg(short = 'i', long, value_name = "CIDR,...|*")]
    pub istio_service_cidr: Option<String>,
    /// Outbound address ranges left alone
    #[arg(short = 'x', long, value_name = "CIDR,...")]
    pub istio_service_exclude_cidr: Option<String>,
    /// Outbound ports captured whatever the address
    #[arg(short = 'q', long, value_name = "PORT,...")]
    pub istio_outbound_ports: Option<String>,
    /// Outbound ports left alone
    #[arg(short = 'o', long, value_name = "PORT,...")]
    pub istio_local_outbound_ports_exclude: Option<String>,
    /// Interfaces of nested virtual machines or containers: what they send counts as outbound
    #[arg(short = 'k', long, value_name = "NAME,...")]
    pub kube_virt_interfaces: Option<String>,
    /// Packet mark of TPROXY mode [default: 1337]
    #[arg(short = 't', long, value_name = "MARK")]
    pub istio_inbound_tproxy_mark: Option<String>,
    /// Routing table of TPROXY mode [default: 133]
    #[arg(short = 'r', long, value_name = "TABLE")]
    pub istio_inbound_tproxy_route_table: Option<String>,
    /// Capture DNS queries to the servers of /etc/resolv.conf: they go to port 15053, where this release's proxy does not listen
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub redirect_dns: Option<String>,
    /// With --redirect-dns: capture queries to any server
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub capture_all_dns: Option<String>,
    /// Drop packets which connection tracking calls invalid
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub drop_invalid: Option<String>,
    /// IPv6 is always covered; counts only with `--like-istio ipv6-detection`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub dual_stack: Option<String>,
    /// Say what each rule is for, one line each, and execute nothing
    #[arg(long, value_name = "text|json", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub explain: Option<String>,
    /// Do as Istio does, though this program knows better: ipv6-detection, dns-by-group, unordered, guards, or all
    #[arg(long, value_name = "BEHAVIOUR,...")]
    pub like_istio: Option<String>,
    /// Print the rules, execute nothing
    #[arg(short = 'n', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub dry_run: Option<String>,
    /// Prove afterwards that connections are redirected; exit code 126 if not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub run_validation: Option<String>,
    /// Port dialled by --run-validation [default: 15002]
    #[arg(long, value_name = "PORT")]
    pub iptables_probe_port: Option<String>,
    /// How long --run-validation tries: 5s, 500ms, 1m [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub probe_timeout: Option<String>,
    /// Write no rule: a CNI plugin did
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub skip_rule_apply: Option<String>,
    /// Replace rules of another configuration, if there are any
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub reconcile: Option<String>,
    /// Only remove the rules
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub cleanup_only: Option<String>,
    /// Write the rules even if they stand already
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub force_apply: Option<String>,
    /// Write nftables rules in tables of their own; no iptables needed
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub native_nftables: Option<String>,
    /// Which iptables: `legacy` or `nft` [default: legacy if it holds rules already, else nft, else plain iptables]
    #[arg(long, value_name = "FLAVOUR")]
    pub force_iptables_binary: Option<String>,
    /// Path of the network namespace to work in [default: the caller's]
    #[arg(long, value_name = "PATH")]
    pub network_namespace: Option<String>,
    /// Host files with a pod's network, as under a CNI plugin: the xtables lock is the pod's own
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub cni_mode: Option<String>,
    /// Log level in Istio's form, `scope:level,...`
    #[arg(long = "log_output_level", value_name = "LEVELS")]
    pub log_output_level: Option<String>,
    /// Log as JSON
    #[arg(long = "log_as_json", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub log_as_json: Option<String>,
    /// Only the traffic of these groups is captured (names or numbers); env ISTIO_OUTBOUND_OWNER_GROUPS alone sets it
    #[arg(skip)]
    pub outbound_owner_groups: Option<String>,
    /// The traffic of these groups is left alone; env ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE alone sets it
    #[arg(skip)]
    pub outbound_owner_groups_exclude: Option<String>,
    /// What counts as "localhost" in IPv4; env ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR alone sets it
    #[arg(skip)]
    pub outbound_ipv4_loopback_cidr: Option<String>,
    /// Whether the mesh wants DNS capture by the proxy, which has no resolver: nothing follows but a warning; env
    /// ISTIO_META_DNS_CAPTURE alone sets it
    #[arg(skip)]
    pub dns_capture_by_proxy: Option<String>,
    /// File that names the resolvers [default: /etc/resolv.conf]; for callers in Rust
    #[arg(skip)]
    pub resolv_conf: Option<String>,
    /// Name of the proxy's user when --proxy-uid is not given; env ENVOY_USER alone sets it
    #[arg(skip)]
    pub envoy_user: Option<String>,
}

impl Args {
    /// Fills every value not given on the command line from its environment variable. An empty variable counts as unset.
    #[must_use]
    pub fn with_environment(mut self, lookup: impl Fn(&str) -> Option<String>) -> Self {
        for (value, variables) in self.variables() {
            if value.is_none() {
                *value = variables.iter().filter_map(|name| lookup(name)).find(|text| !text.is_empty());
            }
        }
        self
    }

    /// Each value with the variables that set it, in order of precedence. `--envoy-port` has none, as in Istio.
    fn variables(&mut self) -> Vec<(&mut Option<String>, &'static [&'static str])> {
        vec![
            (&mut self.inbound_capture_port, &["INBOUND_CAPTURE_PORT"]),
            (&mut self.inbound_tunnel_port, &["INBOUND_TUNNEL_PORT"]),
            (&mut self.proxy_uid, &["PROXY_UID"]),
            (&mut self.proxy_gid, &["PROXY_GID"]),
            (&mut self.istio_inbound_interception_mode, &["ISTIO_INBOUND_INTERCEPTION_MODE"]),
            (&mut self.istio_inbound_ports, &["ISTIO_INBOUND_PORTS"]),
            (&mut self.istio_local_exclude_ports, &["ISTIO_LOCAL_EXCLUDE_PORTS"]),
            (&mut self.istio_exclude_interfaces, &["ISTIO_EXCLUDE_INTERFACES"]),
            (&mut self.istio_service_cidr, &["ISTIO_SERVICE_CIDR"]),
            (&mut self.istio_service_exclude_cidr, &["ISTIO_SERVICE_EXCLUDE_CIDR"]),
            (&mut self.istio_outbound_ports, &["ISTIO_OUTBOUND_PORTS"]),
            (&mut self.istio_local_outbound_ports_exclude, &["ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE"]),
            (&mut self.kube_virt_interfaces, &["KUBE_VIRT_INTERFACES"]),
            (&mut self.istio_inbound_tproxy_mark, &["ISTIO_INBOUND_TPROXY_MARK"]),
            (&mut self.istio_inbound_tproxy_route_table, &["ISTIO_INBOUND_TPROXY_ROUTE_TABLE"]),
            (&mut self.redirect_dns, &["REDIRECT_DNS"]),
            (&mut self.dns_capture_by_proxy, &["ISTIO_META_DNS_CAPTURE"]),
            (&mut self.capture_all_dns, &["CAPTURE_ALL_DNS"]),
            (&mut self.drop_invalid, &["DROP_INVALID", "INVALID_DROP"]),
            (&mut self.dual_stack, &["DUAL_STACK", "ISTIO_DUAL_STACK"]),
            (&mut self.like_istio, &["LIKE_ISTIO"]),
            (&mut self.dry_run, &["DRY_RUN"]),
            (&mut self.run_validation, &["RUN_VALIDATION"]),
            (&mut self.iptables_probe_port, &["IPTABLES_PROBE_PORT"]),
            (&mut self.probe_timeout, &["PROBE_TIMEOUT"]),
            (&mut self.skip_rule_apply, &["SKIP_RULE_APPLY"]),
            (&mut self.reconcile, &["RECONCILE"]),
            (&mut self.cleanup_only, &["CLEANUP_ONLY"]),
            (&mut self.force_apply, &["FORCE_APPLY"]),
            (&mut self.native_nftables, &["NATIVE_NFTABLES"]),
            (&mut self.force_iptables_binary, &["FORCE_IPTABLES_BINARY"]),
            (&mut self.network_namespace, &["NETWORK_NAMESPACE"]),
            (&mut self.cni_mode, &["CNI_MODE"]),
            (&mut self.outbound_owner_groups, &["ISTIO_OUTBOUND_OWNER_GROUPS"]),
            (&mut self.outbound_owner_groups_exclude, &["ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"]),
            (&mut self.outbound_ipv4_loopback_cidr, &["ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"]),
            (&mut self.envoy_user, &["ENVOY_USER"]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &[&str]) -> Args {
        Command::parse_from(std::iter::once("istio-iptables").chain(line.iter().copied())).args
    }

    #[test]
    fn the_arguments_of_istios_template_are_understood() {
        let args = parse(&[
            "-p",
            "15001",
            "-z",
            "15006",
            "-u",
            "1337",
            "-m",
            "REDIRECT",
            "-i",
            "*",
            "-x",
            "",
            "-b",
            "*",
            "-d",
            "15090,15021,15020",
            "--log_output_level=default:info",
        ]);
        assert_eq!(args.envoy_port.as_deref(), Some("15001"));
        assert_eq!(args.istio_service_exclude_cidr.as_deref(), Some(""));
        assert_eq!(args.istio_local_exclude_ports.as_deref(), Some("15090,15021,15020"));
    }

    #[test]
    fn a_boolean_flag_stands_alone_or_takes_a_value_after_an_equals_sign() {
        let args = parse(&["--dry-run", "--reconcile=false", "-i", "*"]);
        assert_eq!(args.dry_run.as_deref(), Some("true"));
        assert_eq!(args.reconcile.as_deref(), Some("false"));
    }

    #[test]
    fn the_last_of_a_repeated_flag_wins() {
        assert_eq!(parse(&["-u", "1", "-u", "2"]).proxy_uid.as_deref(), Some("2"));
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_an_empty_variable_is_unset() {
        let environment = |name: &str| match name {
            "PROXY_UID" => Some("1000".to_owned()),
            "INVALID_DROP" | "ISTIO_INBOUND_PORTS" => Some("true".to_owned()),
            "DROP_INVALID" => Some(String::new()),
            _ => None,
        };
        let args = parse(&["-b", ""]).with_environment(environment);
        assert_eq!(args.proxy_uid.as_deref(), Some("1000"));
        assert_eq!(args.drop_invalid.as_deref(), Some("true"));
        assert_eq!(args.istio_inbound_ports.as_deref(), Some(""), "an explicit empty value is a value");
    }
}
