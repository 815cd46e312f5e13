//! What a pod's annotations ask for, checked (contract 2.9, 3.3, 3.12).
//!
//! Capture annotations are checked by the very code that will read them in the pod's init container, so what passes here cannot fail there.

use std::collections::BTreeMap;

use outrigger_iptables_init::{Args, Error as CaptureError, settings};
use serde_json::{Map, Value};

use crate::InjectError;
use crate::known;
use crate::settings::Settings;

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
}

/// Numbers of the proxy's readiness probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Seconds before the first probe. Default 0.
    pub initial_delay: u32,
    /// Seconds between probes. Default 15.
    pub period: u32,
    /// Failures in a row that count. Default 4.
    pub failure_threshold: u32,
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
    /// `sidecar.istio.io/interceptionMode`, if given.
    pub interception_mode: Option<String>,
    /// Capture flags.
    pub capture: Capture,
    /// `status.sidecar.istio.io/port`, if given; 0 means no status server.
    pub status_port: Option<u16>,
    /// Readiness probe.
    pub readiness: Readiness,
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
    /// Whether the proxy is a native sidecar.
    pub native: bool,
    /// Whether the proxy may bind ports below 1024.
    pub bind_low_ports: bool,
    /// Whether metrics are merged.
    pub merge_metrics: bool,
    /// Further volumes by name.
    pub user_volumes: Map<String, Value>,
    /// Further mounts of the proxy by volume name.
    pub user_volume_mounts: Map<String, Value>,
    /// What has no effect or is mistyped.
    pub warnings: Vec<String>,
}

/// Reads and checks the annotations of a pod.
///
/// # Errors
/// The first value that cannot be understood, or a feature that is not there yet.
pub fn read(annotations: &BTreeMap<String, String>, settings: &Settings) -> Result<Wishes, InjectError> {
    let reader = Reader { annotations };
    reader.refuse_unsupported()?;
    Ok(Wishes {
        interception_mode: reader.interception_mode()?,
        capture: reader.capture()?,
        status_port: reader.number("status.sidecar.istio.io/port", u16::MAX)?,
        readiness: reader.readiness()?,
        resources: reader.resources()?,
        image: reader.text("sidecar.istio.io/proxyImage").filter(|image| image.contains('/')),
        log_level: reader.text("sidecar.istio.io/logLevel").unwrap_or_else(|| settings.log_level.clone()),
        component_log_level: reader.text("sidecar.istio.io/componentLogLevel").unwrap_or_else(|| settings.component_log_level.clone()),
        agent_log_level: reader.text("sidecar.istio.io/agentLogLevel").unwrap_or_else(|| settings.agent_log_level.clone()),
        rewrite_probes: reader.boolean("sidecar.istio.io/rewriteAppHTTPProbers")?.unwrap_or(settings.rewrite_app_http_probe),
        native: reader.boolean("sidecar.istio.io/nativeSidecar")?.unwrap_or(settings.native_sidecars),
        bind_low_ports: reader.boolean("sidecar.istio.io/capNetBindService")?.unwrap_or(false),
        merge_metrics: reader.boolean("prometheus.istio.io/merge-metrics")?.unwrap_or(settings.enable_prometheus_merge),
        user_volumes: reader.json("sidecar.istio.io/userVolume")?,
        user_volume_mounts: reader.json("sidecar.istio.io/userVolumeMount")?,
        warnings: reader.warnings(),
    })
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.annotations.get(name).cloned()
    }

    fn refuse(&self, name: &str, reason: &str) -> InjectError {
        InjectError::Annotation { name: name.to_owned(), value: self.text(name).unwrap_or_default(), reason: reason.to_owned() }
    }

    fn refuse_unsupported(&self) -> Result<(), InjectError> {
        let unsupported =
            |name: &str, instead: &str| InjectError::Unsupported { what: format!("annotation {name}"), instead: instead.to_owned() };
        for name in ["istio.io/reroute-virtual-interfaces", "traffic.sidecar.istio.io/kubevirtInterfaces"] {
            if self.text(name).is_some_and(|value| !value.is_empty()) {
                return Err(unsupported(name, "remove it; traffic of nested machines is then treated as inbound"));
            }
        }
        match self.text("inject.istio.io/templates").as_deref() {
            None | Some("" | "sidecar") => Ok(()),
            Some(_) => Err(unsupported("inject.istio.io/templates", "only the template `sidecar` exists")),
        }
    }

    fn interception_mode(&self) -> Result<Option<String>, InjectError> {
        const NAME: &str = "sidecar.istio.io/interceptionMode";
        match self.text(NAME) {
            Some(mode) if !matches!(mode.as_str(), "REDIRECT" | "TPROXY" | "NONE") => {
                Err(self.refuse(NAME, "expected REDIRECT, TPROXY or NONE"))
            }
            mode => Ok(mode),
        }
    }

    fn capture(&self) -> Result<Capture, InjectError> {
        let flag = |annotation: &str, set: fn(&mut Args, Option<String>)| self.flag(annotation, set);
        Ok(Capture {
            include_outbound_ranges: flag("includeOutboundIPRanges", |args, value| args.istio_service_cidr = value)?,
            exclude_outbound_ranges: flag("excludeOutboundIPRanges", |args, value| args.istio_service_exclude_cidr = value)?,
            include_inbound_ports: flag("includeInboundPorts", |args, value| args.istio_inbound_ports = value)?,
            exclude_inbound_ports: flag("excludeInboundPorts", |args, value| args.istio_local_exclude_ports = value)?,
            include_outbound_ports: flag("includeOutboundPorts", |args, value| args.istio_outbound_ports = value)?,
            exclude_outbound_ports: flag("excludeOutboundPorts", |args, value| args.istio_local_outbound_ports_exclude = value)?,
            exclude_interfaces: flag("excludeInterfaces", |args, value| args.istio_exclude_interfaces = value)?,
        })
    }

    /// One capture annotation, tried alone as the flag it becomes.
    fn flag(&self, name: &str, set: fn(&mut Args, Option<String>)) -> Result<Option<String>, InjectError> {
        let name = format!("traffic.sidecar.istio.io/{name}");
        let value = self.text(&name);
        let mut args = Args::default();
        set(&mut args, value.clone());
        match settings::read(&args) {
            Err(CaptureError::Setting { value, reason, .. }) => Err(InjectError::Annotation { name, value, reason }),
            Err(other) => Err(self.refuse(&name, &other.to_string())),
            Ok(_) => Ok(value),
        }
    }

    fn readiness(&self) -> Result<Readiness, InjectError> {
        let number = |name: &str, default: u32| -> Result<u32, InjectError> {
            Ok(self.number(&format!("readiness.status.sidecar.istio.io/{name}"), u32::MAX)?.unwrap_or(default))
        };
        Ok(Readiness {
            initial_delay: number("initialDelaySeconds", 0)?,
            period: number("periodSeconds", 15)?,
            failure_threshold: number("failureThreshold", 4)?,
        })
    }

    fn resources(&self) -> Result<ResourceOverrides, InjectError> {
        let quantity = |name: &str| {
            let name = format!("sidecar.istio.io/{name}");
            match self.text(&name) {
                Some(text) if !is_quantity(&text) => Err(self.refuse(&name, "expected a quantity such as 100m, 2 or 128Mi")),
                value => Ok(value),
            }
        };
        Ok(ResourceOverrides {
            cpu: quantity("proxyCPU")?,
            memory: quantity("proxyMemory")?,
            cpu_limit: quantity("proxyCPULimit")?,
            memory_limit: quantity("proxyMemoryLimit")?,
        })
    }

    fn number<T: std::str::FromStr + std::fmt::Display>(&self, name: &str, max: T) -> Result<Option<T>, InjectError> {
        let parsed = self.annotations.get(name).map(|text| text.parse());
        parsed.transpose().map_err(|_| self.refuse(name, &format!("expected a number from 0 to {max}")))
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, InjectError> {
        match self.annotations.get(name).map(String::as_str) {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(Some(false)),
            Some(_) => Err(self.refuse(name, "expected true or false")),
        }
    }

    fn json(&self, name: &str) -> Result<Map<String, Value>, InjectError> {
        match self.annotations.get(name) {
            None => Ok(Map::new()),
            Some(text) => serde_json::from_str(text).map_err(|_| self.refuse(name, "expected a JSON object keyed by volume name")),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = known::mistyped(self.annotations);
        if self.text("sidecar.istio.io/proxyImage").is_some_and(|image| !image.contains('/')) {
            warnings.push("annotation sidecar.istio.io/proxyImage has no effect: expected a whole image name, with a `/`".to_owned());
        }
        for (name, reason) in [
            ("sidecar.istio.io/proxyImageType", "Outrigger's image has no variants"),
            ("sidecar.istio.io/bootstrapOverride", "it patches Envoy's bootstrap, and Outrigger has none"),
            ("readiness.status.sidecar.istio.io/applicationPorts", "Istio no longer uses it either"),
        ] {
            if self.annotations.contains_key(name) {
                warnings.push(format!("annotation {name} has no effect: {reason}"));
            }
        }
        warnings
    }
}

/// A Kubernetes quantity: a decimal number with a decimal, binary or exponent suffix.
fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|digits| digits.parse::<i32>().is_ok());
    number.parse::<f64>().is_ok() && (SUFFIXES.contains(&suffix) || exponent)
}

#[cfg(test)]
mod tests {
    use super::{is_quantity, read};
    use crate::Settings;

    fn refusal(name: &str, value: &str) -> String {
        read(&[(name.to_owned(), value.to_owned())].into(), &Settings::default()).unwrap_err().to_string()
    }

    #[test]
    fn values_that_cannot_be_understood_refuse_the_pod_and_name_the_annotation() {
        for (name, value, expected) in [
            ("traffic.sidecar.istio.io/includeOutboundPorts", "80,x", "expected a port from 1 to 65535 (got `x`)"),
            ("traffic.sidecar.istio.io/excludeInboundPorts", "0", "expected a port from 1 to 65535 (got `0`)"),
            ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/33", "expected a range such as"),
            ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "*", "`*` must stand alone"),
            ("traffic.sidecar.istio.io/excludeInterfaces", "a name too long for one", "expected an interface name"),
            ("sidecar.istio.io/interceptionMode", "redirect", "expected REDIRECT, TPROXY or NONE (got `redirect`)"),
            ("sidecar.istio.io/proxyMemory", "128MB", "expected a quantity such as 100m, 2 or 128Mi (got `128MB`)"),
            ("status.sidecar.istio.io/port", "70000", "expected a number from 0 to 65535"),
            ("readiness.status.sidecar.istio.io/periodSeconds", "-1", "expected a number from 0"),
            ("sidecar.istio.io/rewriteAppHTTPProbers", "maybe", "expected true or false"),
            ("sidecar.istio.io/userVolume", "[]", "expected a JSON object keyed by volume name"),
            ("inject.istio.io/templates", "gateway", "not supported yet: only the template `sidecar` exists"),
        ] {
            let said = refusal(name, value);
            assert!(said.contains(name) && said.contains(expected) && said.ends_with("the pod is refused"), "{said}");
        }
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for good in ["1", "0.5", "100m", "128Mi", "1e3", "2E", "1E6", ".5Gi"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "m", "1.2.3", "128MB", "12 Mi", "1ee3", "NaN", "1K"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }
}
