//! What a pod can be told about itself and its surroundings: the downward API, ConfigMaps, Secrets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use outrigger_config::api::kubernetes::{ConfigMap, Container, ObjectFieldSelector, ObjectMeta, Quantity, ResourceFieldSelector, Secret};
use outrigger_config::object::{Body, Object};
use outrigger_config::string_map::StringMap;

/// Name of the ConfigMap that istiod writes into every namespace.
const CA_ROOT_CONFIG_MAP: &str = "istio-ca-root-cert";

/// ConfigMaps and Secrets by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    config_maps: BTreeMap<(String, String), Arc<ConfigMap>>,
    secrets: BTreeMap<(String, String), Arc<Secret>>,
    ca_root: Arc<ConfigMap>,
}

impl Sources {
    /// Those among `objects`, and in every namespace the ConfigMap with the mesh's root certificate.
    pub fn new<'a>(objects: impl Iterator<Item = &'a Arc<Object>>, ca_root: &str) -> Sources {
        let data = StringMap::from([("root-cert.pem".to_owned(), ca_root.to_owned())]);
        let mut sources = Sources { ca_root: Arc::new(ConfigMap { data, ..ConfigMap::default() }), ..Sources::default() };
        for object in objects {
            let key = (object.id.namespace.to_string(), object.id.name.to_string());
            match &object.body {
                Body::ConfigMap(map) => drop(sources.config_maps.insert(key, map.clone())),
                Body::Secret(secret) => drop(sources.secrets.insert(key, secret.clone())),
                _ => {}
            }
        }
        sources
    }

    /// All keys of a ConfigMap with their content.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let found = self.config_maps.get(&(namespace.to_owned(), name.to_owned()));
        let map = found.or((name == CA_ROOT_CONFIG_MAP).then_some(&self.ca_root))?;
        let texts = map.data.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
        let binaries = map.binary_data.iter().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
        Some(texts.chain(binaries).collect())
    }

    /// All keys of a Secret with their content, decoded.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let secret = self.secrets.get(&(namespace.to_owned(), name.to_owned()))?;
        let keys = secret.data.keys().chain(secret.string_data.keys());
        Some(keys.filter_map(|key| Some((key.clone(), secret.get(key)?.to_vec()))).collect())
    }
}

/// A pod as the downward API shows it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Name, namespace, labels, annotations, uid.
    pub meta: ObjectMeta,
    /// Name of the node.
    pub node_name: String,
    /// The pod's account.
    pub service_account: String,
    /// The pod's addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// The node's address.
    pub host: IpAddr,
}

impl Facts {
    /// The value of a `fieldRef`.
    ///
    /// # Errors
    /// When the downward API has no such field.
    pub fn field(&self, selector: &ObjectFieldSelector) -> Result<String, String> {
        let path = selector.field_path.as_str();
        let value = match path {
            "metadata.name" => self.meta.name.clone(),
            "metadata.namespace" => self.meta.namespace.clone(),
            "metadata.uid" => self.meta.uid.clone(),
            "metadata.labels" => listing(&self.meta.labels),
            "metadata.annotations" => listing(&self.meta.annotations),
            "spec.nodeName" => self.node_name.clone(),
            "spec.serviceAccountName" => self.service_account.clone(),
            "status.podIP" => self.addresses.first().map(ToString::to_string).unwrap_or_default(),
            "status.podIPs" => self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            "status.hostIP" | "status.hostIPs" => self.host.to_string(),
            _ => return self.entry(path).ok_or_else(|| format!("fieldRef {path:?}: the downward API has no such field")),
        };
        Ok(value)
    }

    /// `metadata.labels['app']`; an absent key gives the empty text, as in Kubernetes.
    fn entry(&self, path: &str) -> Option<String> {
        let (map, rest) = match path.strip_prefix("metadata.labels[") {
            Some(rest) => (&self.meta.labels, rest),
            None => (&self.meta.annotations, path.strip_prefix("metadata.annotations[")?),
        };
        let key = rest.strip_suffix(']')?.trim_matches(['\'', '"']);
        Some(map.get(key).cloned().unwrap_or_default())
    }
}

/// The form of the downward API's files: one `key="value"` per line.
fn listing(map: &StringMap) -> String {
    map.iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
}

/// The value of a `resourceFieldRef`: the amount divided by the divisor, rounded up. What the container does not
/// limit is limited by the machine.
///
/// # Errors
/// When the resource is neither CPU nor memory, or an amount is unreadable.
pub fn resource(selector: &ResourceFieldSelector, container: &Container) -> Result<String, String> {
    let (kind, name) = selector.resource.split_once('.').unwrap_or(("limits", &selector.resource));
    let resources = container.resources.clone().unwrap_or_default();
    let written = if kind == "requests" { resources.requests.get(name) } else { resources.limits.get(name) };
    let amount = match (written.and_then(Quantity::milli), name) {
        (Some(milli), _) => milli,
        (None, "cpu") => std::thread::available_parallelism().map_or(1, |n| n.get() as i64) * 1000,
        (None, "memory" | "ephemeral-storage") => total_memory().saturating_mul(1000),
        _ => return Err(format!("resourceFieldRef {:?}: neither cpu nor memory", selector.resource)),
    };
    let divisor = selector.divisor.milli().filter(|divisor| *divisor > 0).unwrap_or(1000);
    Ok((amount + divisor - 1).div_euclid(divisor).to_string())
}

/// Bytes of memory of this machine.
fn total_memory() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let meta = ObjectMeta {
            name: "v1-x".into(),
            namespace: "shop".into(),
            labels: StringMap::from([("app".into(), "shop".into()), ("version".into(), "v1".into())]),
            ..ObjectMeta::default()
        };
        let addresses = vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
        let host = "10.0.0.1".parse().unwrap();
        Facts { meta, node_name: "n".into(), service_account: "v1".into(), addresses, host }
    }

    fn field(path: &str) -> Result<String, String> {
        facts().field(&ObjectFieldSelector { field_path: path.into(), ..ObjectFieldSelector::default() })
    }

    #[test]
    fn fields_of_the_downward_api() {
        assert_eq!(field("metadata.name").unwrap(), "v1-x");
        assert_eq!(field("status.podIPs").unwrap(), "10.0.0.7,fd00::7");
        assert_eq!(field("metadata.labels['version']").unwrap(), "v1");
        assert_eq!(field("metadata.annotations['none']").unwrap(), "");
        assert_eq!(field("metadata.labels").unwrap(), "app=\"shop\"\nversion=\"v1\"");
        assert!(field("spec.tolerations").unwrap_err().contains("spec.tolerations"));
    }

    #[test]
    fn a_cpu_limit_is_rounded_up_to_whole_cores() {
        let mut container = Container::default();
        container.resources.get_or_insert_default().limits.insert("cpu".into(), Quantity("1500m".into()));
        let selector =
            ResourceFieldSelector { resource: "limits.cpu".into(), divisor: Quantity("1".into()), ..ResourceFieldSelector::default() };
        assert_eq!(resource(&selector, &container).unwrap(), "2");
    }
}
