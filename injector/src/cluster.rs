//! What the cluster is, as far as a pod's proxy depends on it. Whoever calls the injector finds it out; unknown is a valid answer.

use std::fmt;
use std::str::FromStr;

/// Facts about the cluster. The default knows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The oldest kubelet the pod may meet: that of its node, else of all nodes, else the API server's version.
    pub kubernetes: Option<KubernetesVersion>,
    /// Proxies end with their applications without anybody asking. Kubernetes does that for native sidecars alone, the testbed for all.
    pub ends_sidecars: bool,
}

/// Version of Kubernetes, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubernetesVersion {
    /// 1
    pub major: u32,
    /// 33
    pub minor: u32,
}

impl KubernetesVersion {
    /// From here on an init container may restart always without anybody switching that on.
    pub const NATIVE_SIDECARS: Self = Self { major: 1, minor: 29 };
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for KubernetesVersion {
    type Err = String;

    /// Takes what clusters say of themselves: `1.33`, `v1.33.2-eks-1234567`, `1.33+`.
    fn from_str(text: &str) -> Result<Self, String> {
        let leading = |part: Option<&str>| {
            let part = part?;
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..end)?.parse().ok()
        };
        let mut parts = text.trim().trim_start_matches('v').split('.');
        let version = (|| Some(Self { major: leading(parts.next())?, minor: leading(parts.next())? }))();
        version.ok_or_else(|| format!("expected a version of Kubernetes such as 1.33 or v1.33.2, got `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::KubernetesVersion;

    #[test]
    fn versions_are_read_as_clusters_write_them_and_compare_by_number() {
        for (text, minor) in [("1.33", 33), ("v1.29.7-eks-2f46c53", 29), ("1.9+", 9), (" 1.30.0\n", 30)] {
            assert_eq!(text.parse(), Ok(KubernetesVersion { major: 1, minor }), "{text}");
        }
        for text in ["", "1", "one.two", "1.x", "v"] {
            assert!(text.parse::<KubernetesVersion>().unwrap_err().contains("such as 1.33"), "{text}");
        }
        assert!("1.9".parse::<KubernetesVersion>() < "1.29".parse());
    }
}
