//! What a pod's annotations ask for, checked (contract 2.9, 3.3, 3.12). A value that cannot be understood counts as not given.
//!
//! Capture annotations are checked by the very code that will read them in the pod's init container, so what passes here cannot fail there.

use std::collections::BTreeMap;

use outrigger_iptables_init::{Args, Error as CaptureError, settings};
use serde_json::{Map, Value};

use crate::complaints::Complaints;
use crate::settings::{Probes, Settings};
use crate::{known, quantity};

/// The annotation by which the proxy of a pod that runs to completion ends with the application. It changes the user's pod: all containers
/// then share one process namespace.
pub const EXIT_WITH_APPLICATION: &str = "proxy.outrigger.io/exitWithApplication";
/// ConfigMap with a patch for Envoy's bootstrap.
pub(crate) const BOOTSTRAP_OVERRIDE: &str = "sidecar.istio.io/bootstrapOverride";

/// The capture annotations as flags; `None` is "not annotated".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// `-i`
    pub include_outbound_ranges: Option<String>,
    /// `-x`
    pub exclude_outbound_ranges: Option<String>,
    /// `-b`
    pub include_inbound_ports: Option<String>,
    /// `-d`, before the proxy's own ports are added
    pub exclude_inbound_ports: Option<String>,
    /// `-q`
    pub include_outbound_ports: Option<String>,
    /// `-o`
    pub exclude_outbound_ports: Option<String>,
    /// `-c`
    pub exclude_interfaces: Option<String>,
    /// `-k`
    pub virtual_interfaces: Option<String>,
}

/// The four resource annotations; each changes what it names and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceOverrides {
    /// `sidecar.istio.io/proxyCPU`
    pub cpu: Option<String>,
    /// `sidecar.istio.io/proxyMemory`
    pub memory: Option<String>,
    /// `sidecar.istio.io/proxyCPULimit`
    pub cpu_limit: Option<String>,
    /// `sidecar.istio.io/proxyMemoryLimit`
    pub memory_limit: Option<String>,
}

/// All annotations that shape the injected pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// `inject.istio.io/templates`, if given.
    pub templates: Option<String>,
    /// `sidecar.istio.io/interceptionMode`, if given.
    pub interception_mode: Option<String>,
    /// Capture flags, those of the settings where the pod has none.
    pub capture: Capture,
    /// `status.sidecar.istio.io/port`, if given; 0 means no status server.
    pub status_port: Option<u16>,
    /// `sidecar.istio.io/discoveryAddress`, if given.
    pub discovery_address: Option<String>,
    /// The proxy's probes.
    pub probes: Probes,
    /// Resources.
    pub resources: ResourceOverrides,
    /// `sidecar.istio.io/proxyImage`, if it is a whole image name.
    pub image: Option<String>,
    /// Envoy log level.
    pub log_level: String,
    /// Component log levels.
    pub component_log_level: String,
    /// Agent log level.
    pub agent_log_level: String,
    /// Whether application probes are rewritten.
    pub rewrite_probes: bool,
    /// Whether the proxy is a native sidecar, if the pod says.
    pub native: Option<bool>,
    /// Whether the proxy may bind ports below 1024.
    pub bind_low_ports: bool,
    /// Whether metrics are merged.
    pub merge_metrics: bool,
    /// Whether the proxy ends with the application's containers.
    pub exit_with_application: bool,
    /// ConfigMap with a patch for Envoy's bootstrap.
    pub bootstrap_override: Option<String>,
    /// Further volumes by name.
    pub user_volumes: Map<String, Value>,
    /// Further mounts of the proxy by volume name.
    pub user_volume_mounts: Map<String, Value>,
    /// What has no effect or is mistyped.
    pub warnings: Vec<String>,
}

/// Reads and checks the annotations of a pod.
pub(crate) fn read(annotations: &BTreeMap<String, String>, settings: &Settings, complaints: &mut Complaints) -> Wishes {
    let mut reader = Reader { annotations, complaints };
    let text = |name: &str| annotations.get(name).cloned();
    Wishes {
        templates: text(crate::templates::ANNOTATION),
        interception_mode: reader.interception_mode(),
        capture: reader.capture(&settings.capture),
        status_port: reader.number("status.sidecar.istio.io/port", u16::MAX),
        discovery_address: text("sidecar.istio.io/discoveryAddress").filter(|address| !address.is_empty()),
        probes: reader.probes(&settings.probes),
        resources: reader.resources(),
        image: text("sidecar.istio.io/proxyImage").filter(|image| image.contains('/')),
        log_level: text("sidecar.istio.io/logLevel").unwrap_or_else(|| settings.log_level.clone()),
        component_log_level: text("sidecar.istio.io/componentLogLevel").unwrap_or_else(|| settings.component_log_level.clone()),
        agent_log_level: text("sidecar.istio.io/agentLogLevel").unwrap_or_else(|| settings.agent_log_level.clone()),
        rewrite_probes: reader.boolean("sidecar.istio.io/rewriteAppHTTPProbers").unwrap_or(settings.rewrite_app_http_probe),
        native: reader.boolean("sidecar.istio.io/nativeSidecar"),
        bind_low_ports: reader.boolean("sidecar.istio.io/capNetBindService").unwrap_or(false),
        merge_metrics: reader.boolean("prometheus.istio.io/merge-metrics").unwrap_or(settings.enable_prometheus_merge),
        exit_with_application: reader.boolean(EXIT_WITH_APPLICATION).unwrap_or(false),
        bootstrap_override: text(BOOTSTRAP_OVERRIDE).filter(|name| !name.is_empty()),
        user_volumes: reader.json("sidecar.istio.io/userVolume"),
        user_volume_mounts: reader.json("sidecar.istio.io/userVolumeMount"),
        warnings: warnings(annotations),
    }
}

/// Puts a value where the init container's command line has it.
pub(crate) type Flag = fn(&mut Args, Option<String>);

/// What the init container would say to a value, tried alone.
pub(crate) fn flag_problem(set: Flag, value: &str) -> Option<String> {
    let mut args = Args::default();
    set(&mut args, Some(value.to_owned()));
    match settings::read(&args) {
        Err(CaptureError::Setting { value, reason, .. }) => Some(format!("{reason}, not `{value}`")),
        Err(other) => Some(other.to_string()),
        Ok(_) => None,
    }
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    complaints: &'a mut Complaints,
}

impl Reader<'_> {
    fn complain<T>(&mut self, name: &str, reason: &str) -> Option<T> {
        let value = self.annotations.get(name).map_or("", String::as_str);
        self.complaints.annotation(name, value, reason);
        None
    }

    fn interception_mode(&mut self) -> Option<String> {
        const NAME: &str = "sidecar.istio.io/interceptionMode";
        let mode = self.annotations.get(NAME)?;
        let known = matches!(mode.as_str(), "REDIRECT" | "TPROXY" | "NONE");
        if known { Some(mode.clone()) } else { self.complain(NAME, "expected REDIRECT, TPROXY or NONE") }
    }

    fn capture(&mut self, default: &Capture) -> Capture {
        let mut flag = |annotation: &str, set: Flag, default: &Option<String>| {
            self.flag(&format!("traffic.sidecar.istio.io/{annotation}"), set).or_else(|| default.clone())
        };
        let interfaces: Flag = |args, value| args.kube_virt_interfaces = value;
        let set_outbound_ports: Flag = |args, value| args.istio_outbound_ports = value;
        let deprecated = flag("kubevirtInterfaces", interfaces, &default.virtual_interfaces);
        Capture {
            include_outbound_ranges: flag(
                "includeOutboundIPRanges",
                |args, value| args.istio_service_cidr = value,
                &default.include_outbound_ranges,
            ),
            exclude_outbound_ranges: flag(
                "excludeOutboundIPRanges",
                |args, value| args.istio_service_exclude_cidr = value,
                &default.exclude_outbound_ranges,
            ),
            include_inbound_ports: flag(
                "includeInboundPorts",
                |args, value| args.istio_inbound_ports = value,
                &default.include_inbound_ports,
            ),
            exclude_inbound_ports: flag(
                "excludeInboundPorts",
                |args, value| args.istio_local_exclude_ports = value,
                &default.exclude_inbound_ports,
            ),
            include_outbound_ports: flag("includeOutboundPorts", set_outbound_ports, &default.include_outbound_ports),
            exclude_outbound_ports: flag(
                "excludeOutboundPorts",
                |args, value| args.istio_local_outbound_ports_exclude = value,
                &default.exclude_outbound_ports,
            ),
            exclude_interfaces: flag("excludeInterfaces", |args, value| args.istio_exclude_interfaces = value, &default.exclude_interfaces),
            virtual_interfaces: self.flag("istio.io/reroute-virtual-interfaces", interfaces).or(deprecated),
        }
    }

    /// One capture annotation, tried alone as the flag it becomes.
    fn flag(&mut self, name: &str, set: Flag) -> Option<String> {
        let value = self.annotations.get(name)?;
        match flag_problem(set, value) {
            None => Some(value.clone()),
            Some(reason) => self.complain(name, &reason),
        }
    }

    fn probes(&mut self, default: &Probes) -> Probes {
        let mut number = |name: &str, default: u32| {
            let name = format!("readiness.status.sidecar.istio.io/{name}");
            self.number(&name, i32::MAX.unsigned_abs()).unwrap_or(default)
        };
        Probes {
            startup_failure_threshold: default.startup_failure_threshold,
            initial_delay: number("initialDelaySeconds", default.initial_delay),
            period: number("periodSeconds", default.period),
            failure_threshold: number("failureThreshold", default.failure_threshold),
        }
    }

    fn resources(&mut self) -> ResourceOverrides {
        let mut quantity = |name: &str| {
            let name = format!("sidecar.istio.io/{name}");
            let text = self.annotations.get(&name)?;
            if quantity::amount(text).is_some() { Some(text.clone()) } else { self.complain(&name, quantity::EXPECTED) }
        };
        ResourceOverrides {
            cpu: quantity("proxyCPU"),
            memory: quantity("proxyMemory"),
            cpu_limit: quantity("proxyCPULimit"),
            memory_limit: quantity("proxyMemoryLimit"),
        }
    }

    fn number<T>(&mut self, name: &str, max: T) -> Option<T>
    where
        T: std::str::FromStr + std::fmt::Display + PartialOrd,
    {
        let text = self.annotations.get(name)?;
        match text.parse().ok().filter(|number| *number <= max) {
            Some(number) => Some(number),
            None => self.complain(name, &format!("expected a number from 0 to {max}")),
        }
    }

    fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.annotations.get(name)?.as_str() {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
            _ => self.complain(name, "expected true or false"),
        }
    }

    fn json(&mut self, name: &str) -> Map<String, Value> {
        let Some(text) = self.annotations.get(name) else { return Map::new() };
        let parsed: Option<Map<String, Value>> = serde_json::from_str(text).ok();
        let sound = parsed.filter(|map| map.values().all(Value::is_object));
        sound.or_else(|| self.complain(name, "expected a JSON object keyed by volume name")).unwrap_or_default()
    }
}

/// Annotations that are read by nobody here: mistyped ones, and Istio's that have no meaning without Envoy.
fn warnings(annotations: &BTreeMap<String, String>) -> Vec<String> {
    let mut warnings = known::mistyped(annotations);
    if annotations.get("sidecar.istio.io/proxyImage").is_some_and(|image| !image.contains('/')) {
        warnings.push("annotation sidecar.istio.io/proxyImage has no effect: expected a whole image name, with a `/`".to_owned());
    }
    for (name, reason) in known::WITHOUT_EFFECT {
        if annotations.contains_key(*name) {
            warnings.push(format!("annotation {name} has no effect: {reason}"));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::Settings;
    use crate::complaints::Complaints;

    fn complaint(name: &str, value: &str) -> String {
        let mut complaints = Complaints::default();
        let wishes = read(&[(name.to_owned(), value.to_owned())].into(), &Settings::default(), &mut complaints);
        let plain = read(&[].into(), &Settings::default(), &mut Complaints::default());
        assert_eq!(wishes, plain, "{name}={value} must count as not given");
        complaints.settle(false).unwrap().join("\n")
    }

    #[test]
    fn values_that_cannot_be_understood_are_told_by_annotation_and_count_as_not_given() {
        for (name, value, expected) in [
            ("traffic.sidecar.istio.io/includeOutboundPorts", "80,x", "expected a port from 1 to 65535, not `x`"),
            ("traffic.sidecar.istio.io/excludeInboundPorts", "0", "expected a port from 1 to 65535, not `0`"),
            ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/33", "expected a range such as"),
            ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "*", "`*` must stand alone"),
            ("traffic.sidecar.istio.io/excludeInterfaces", "a name too long for one", "expected an interface name"),
            ("sidecar.istio.io/interceptionMode", "redirect", "expected REDIRECT, TPROXY or NONE (got `redirect`)"),
            ("sidecar.istio.io/proxyMemory", "128MB", "expected a quantity such as 100m, 2 or 128Mi (got `128MB`)"),
            ("status.sidecar.istio.io/port", "70000", "expected a number from 0 to 65535"),
            ("readiness.status.sidecar.istio.io/periodSeconds", "-1", "expected a number from 0"),
            ("readiness.status.sidecar.istio.io/failureThreshold", "4294967295", "expected a number from 0 to 2147483647"),
            ("sidecar.istio.io/rewriteAppHTTPProbers", "maybe", "expected true or false"),
            ("proxy.outrigger.io/exitWithApplication", "yes", "expected true or false"),
            ("sidecar.istio.io/userVolume", "[]", "expected a JSON object keyed by volume name"),
            ("sidecar.istio.io/userVolumeMount", "{\"a\": 1}", "expected a JSON object keyed by volume name"),
        ] {
            let said = complaint(name, value);
            assert!(said.contains(name) && said.contains(expected) && said.ends_with("it counts as not given"), "{said}");
        }
    }

    #[test]
    fn strict_refuses_what_is_otherwise_told() {
        let mut complaints = Complaints::default();
        read(&[("sidecar.istio.io/proxyCPU".to_owned(), "x".to_owned())].into(), &Settings::default(), &mut complaints);
        let said = complaints.settle(true).unwrap_err().to_string();
        assert!(said.contains("sidecar.istio.io/proxyCPU") && said.ends_with("because the injector is strict"), "{said}");
    }
}
