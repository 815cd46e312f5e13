//! Containers: command, environment, ports, mounts, security.

use super::probe::{Lifecycle, Probe};
use crate::decode::{Decode, Decoder, Path, api_struct};
use crate::string_map::StringMap;
use crate::yaml::{Node, Scalar};

api_struct! {
    /// A container.
    pub struct Container {
        /// Name, unique in the pod.
        pub name: String,
        /// Image; required.
        pub image: String,
        /// Replaces the image's entry point.
        pub command: Vec<String>,
        /// Arguments.
        pub args: Vec<String>,
        /// Working directory.
        pub working_dir: String,
        /// Declared ports.
        pub ports: Vec<ContainerPort>,
        /// Environment from whole ConfigMaps and Secrets.
        pub env_from: Vec<EnvFromSource>,
        /// Environment.
        pub env: Vec<EnvVar>,
        /// Requests and limits.
        pub resources: Option<ResourceRequirements>,
        /// Mounts.
        pub volume_mounts: Vec<VolumeMount>,
        /// Restarts the container when it fails.
        pub liveness_probe: Option<Box<Probe>>,
        /// Decides whether the pod gets traffic.
        pub readiness_probe: Option<Box<Probe>>,
        /// Holds back the other probes.
        pub startup_probe: Option<Box<Probe>>,
        /// Hooks.
        pub lifecycle: Option<Box<Lifecycle>>,
        /// Security settings.
        pub security_context: Option<SecurityContext>,
        /// For init containers: `Always` makes a native sidecar.
        pub restart_policy: String,
        /// When to pull.
        pub image_pull_policy: String,
    }
    also [
        "resizePolicy", "restartPolicyRules", "stdin", "stdinOnce", "terminationMessagePath", "terminationMessagePolicy",
        "tty", "volumeDevices",
    ]
}

api_struct! {
    /// A declared port.
    pub struct ContainerPort {
        /// Name.
        pub name: String,
        /// Number.
        pub container_port: u16,
        /// Number on the node; 0 means none.
        pub host_port: u16,
        /// `TCP` (also when empty), `UDP` or `SCTP`.
        pub protocol: String,
    }
    also ["hostIP"]
}

api_struct! {
    /// An environment variable.
    pub struct EnvVar {
        /// Name.
        pub name: String,
        /// Value; `$(NAME)` refers to earlier variables.
        pub value: String,
        /// Where else the value comes from.
        pub value_from: Option<EnvVarSource>,
    }
}

api_struct! {
    /// The source of a variable.
    pub struct EnvVarSource {
        /// A field of the pod.
        pub field_ref: Option<ObjectFieldSelector>,
        /// A limit or request.
        pub resource_field_ref: Option<ResourceFieldSelector>,
        /// A key of a ConfigMap.
        pub config_map_key_ref: Option<ConfigMapKeySelector>,
        /// A key of a Secret.
        pub secret_key_ref: Option<SecretKeySelector>,
    }
    also ["fileKeyRef"]
}

api_struct! {
    /// A field of the pod, such as `metadata.name` or `metadata.labels['app']`.
    pub struct ObjectFieldSelector {
        /// Version of the path.
        pub api_version: String,
        /// The path.
        pub field_path: String,
    }
}

api_struct! {
    /// A limit or request of a container.
    pub struct ResourceFieldSelector {
        /// Container; empty means this one.
        pub container_name: String,
        /// Such as `limits.cpu`.
        pub resource: String,
        /// Unit of the result.
        pub divisor: Quantity,
    }
}

api_struct! {
    /// A key of a ConfigMap.
    pub struct ConfigMapKeySelector {
        /// ConfigMap.
        pub name: String,
        /// Key.
        pub key: String,
        /// Whether it may be missing.
        pub optional: bool,
    }
}

api_struct! {
    /// A key of a Secret.
    pub struct SecretKeySelector {
        /// Secret.
        pub name: String,
        /// Key.
        pub key: String,
        /// Whether it may be missing.
        pub optional: bool,
    }
}

api_struct! {
    /// All keys of a ConfigMap or Secret as variables.
    pub struct EnvFromSource {
        /// Put before each key.
        pub prefix: String,
        /// From a ConfigMap.
        pub config_map_ref: Option<EnvReference>,
        /// From a Secret.
        pub secret_ref: Option<EnvReference>,
    }
}

api_struct! {
    /// A ConfigMap or Secret.
    pub struct EnvReference {
        /// Name.
        pub name: String,
        /// Whether it may be missing.
        pub optional: bool,
    }
}

/// An amount such as `500m`, `2` or `128Mi`, as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Quantity(pub String);

impl Quantity {
    /// The amount in thousandths of the unit, rounded up: `500m` is 500, `2` is 2000. `None` when it is not a quantity.
    pub fn milli(&self) -> Option<i64> {
        let end = self.0.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+')).unwrap_or(self.0.len());
        let (number, suffix) = self.0.split_at(end);
        let factor = match suffix {
            "n" => 1e-9,
            "u" => 1e-6,
            "m" => 1e-3,
            "" => 1.0,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "T" => 1e12,
            "Ki" => 1024.0,
            "Mi" => 1_048_576.0,
            "Gi" => 1_073_741_824.0,
            "Ti" => 1_099_511_627_776.0,
            _ => suffix.strip_prefix(['e', 'E']).and_then(|power| power.parse().ok()).map(|power| 10f64.powi(power))?,
        };
        let milli = number.parse::<f64>().ok()? * factor * 1000.0;
        // Binary fractions of decimal numbers must not round 0.1 up to 101.
        (milli.abs() < 9e15).then_some((milli - 1e-6).ceil() as i64)
    }
}

impl Decode for Quantity {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        let text = match (node.scalar(), &node.value) {
            (Some(Scalar::String(_) | Scalar::Int(_) | Scalar::UInt(_) | Scalar::Float(_)), crate::yaml::Value::Scalar { text, .. }) => {
                Quantity(text.to_string())
            }
            _ => Quantity::default(),
        };
        if text.milli().is_none() {
            cx.mismatch(node, path, "an amount such as \"500m\", \"2\" or \"128Mi\"");
        }
        text
    }
}

api_struct! {
    /// Requests and limits by resource (`cpu`, `memory`).
    pub struct ResourceRequirements {
        /// Most that may be used.
        pub limits: StringMap<Quantity>,
        /// What is reserved.
        pub requests: StringMap<Quantity>,
    }
    also ["claims"]
}

api_struct! {
    /// A mount of a volume.
    pub struct VolumeMount {
        /// Volume.
        pub name: String,
        /// Where.
        pub mount_path: String,
        /// Part of the volume.
        pub sub_path: String,
        /// Part of the volume, with variables.
        pub sub_path_expr: String,
        /// Whether writing is refused.
        pub read_only: bool,
    }
    also ["mountPropagation", "recursiveReadOnly"]
}

api_struct! {
    /// Security settings of a container.
    pub struct SecurityContext {
        /// User id.
        pub run_as_user: Option<i64>,
        /// Group id.
        pub run_as_group: Option<i64>,
        /// Whether root is refused.
        pub run_as_non_root: Option<bool>,
        /// Whether the container has all rights.
        pub privileged: Option<bool>,
        /// Whether set-user-id works.
        pub allow_privilege_escalation: Option<bool>,
        /// Whether the root file system is read-only.
        pub read_only_root_filesystem: Option<bool>,
        /// Capabilities.
        pub capabilities: Option<Capabilities>,
    }
    also ["appArmorProfile", "procMount", "seLinuxOptions", "seccompProfile", "windowsOptions"]
}

api_struct! {
    /// Changes to the set of capabilities.
    pub struct Capabilities {
        /// Added.
        pub add: Vec<String>,
        /// Dropped.
        pub drop: Vec<String>,
    }
}
