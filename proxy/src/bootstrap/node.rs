//! Who this proxy is: the node's identity from environment, downward API and interfaces (sidecar contract 6.7).

use std::net::IpAddr;

use outrigger_config::model::{Node, ProxyType};

use super::{Environment, PodInfo};

/// Addresses of this network namespace that a peer could dial: loopback and link-local ones left out, interface order kept.
pub fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    });
    addresses.filter(is_reachable).collect()
}

fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

/// Joins what is known about the pod. `interfaces` stand behind INSTANCE_IP, which names the primary address;
/// `domain` is the `--domain` flag (`<namespace>.svc.<cluster domain>`).
pub(super) fn resolve(
    proxy_type: ProxyType,
    environment: &Environment,
    pod: &PodInfo,
    domain: Option<&str>,
    interfaces: &[IpAddr],
) -> Node {
    let namespace = environment.get_or("POD_NAMESPACE", "default");
    let name = environment.get("POD_NAME").map_or_else(host_name, str::to_owned);
    let trust_domain = environment.get_or("TRUST_DOMAIN", "cluster.local");
    Node {
        proxy_type,
        service_account: environment.get_or("SERVICE_ACCOUNT", "default"),
        cluster_domain: cluster_domain(domain, &namespace),
        ip_addresses: addresses(environment, interfaces),
        labels: pod.labels.clone().into_iter().collect(),
        annotations: pod.annotations.clone().into_iter().collect(),
        workload_name: environment.get("ISTIO_META_WORKLOAD_NAME").unwrap_or(&name).to_owned(),
        owner: environment.get_or("ISTIO_META_OWNER", ""),
        cluster_id: environment.get_or("ISTIO_META_CLUSTER_ID", "Kubernetes"),
        mesh_id: environment.get_or("ISTIO_META_MESH_ID", &trust_domain),
        name,
        namespace,
        trust_domain,
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "unknown".to_owned())
}

/// The cluster domain inside `shop.svc.cluster.local`; a domain of another shape is taken as a whole.
fn cluster_domain(domain: Option<&str>, namespace: &str) -> String {
    match domain {
        None | Some("") => "cluster.local".to_owned(),
        Some(domain) => domain.strip_prefix(&format!("{namespace}.svc.")).unwrap_or(domain).to_owned(),
    }
}

fn addresses(environment: &Environment, interfaces: &[IpAddr]) -> Vec<IpAddr> {
    let written = ["INSTANCE_IP", "ISTIO_META_INSTANCE_IPS"].into_iter().filter_map(|name| environment.get(name));
    let named = written.flat_map(|list| list.split(',')).filter_map(|address| address.trim().parse().ok());
    let mut all: Vec<IpAddr> = Vec::new();
    for address in named.chain(interfaces.iter().copied()) {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(environment: &Environment, domain: Option<&str>) -> Node {
        let interfaces = ["10.0.0.9".parse().expect("address"), "fd00::9".parse().expect("address")];
        resolve(ProxyType::Sidecar, environment, &PodInfo::default(), domain, &interfaces)
    }

    #[test]
    fn the_node_id_has_the_form_istiod_expects() {
        let environment = Environment::from([("POD_NAME", "web-1"), ("POD_NAMESPACE", "shop"), ("INSTANCE_IP", "10.0.0.7")]);
        let node = node(&environment, Some("shop.svc.example.org"));
        assert_eq!(node.id(), "sidecar~10.0.0.7~web-1.shop~shop.svc.example.org");
        assert_eq!(node.cluster_domain, "example.org");
    }

    #[test]
    fn instance_ip_comes_first_and_interfaces_follow_without_repetition() {
        let addresses = node(&Environment::from([("INSTANCE_IP", "fd00::9")]), None).ip_addresses;
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["fd00::9", "10.0.0.9"]);
        assert_eq!(node(&Environment::default(), None).ip_addresses[0].to_string(), "10.0.0.9");
    }

    #[test]
    fn names_have_istios_defaults() {
        let node = node(&Environment::from([("POD_NAME", "web-1")]), None);
        assert_eq!((node.namespace.as_str(), node.service_account.as_str()), ("default", "default"));
        assert_eq!((node.trust_domain.as_str(), node.mesh_id.as_str()), ("cluster.local", "cluster.local"));
        assert_eq!((node.cluster_id.as_str(), node.workload_name.as_str()), ("Kubernetes", "web-1"));
        assert_eq!(node.spiffe_id(), "spiffe://cluster.local/ns/default/sa/default");
    }
}
