//! Istio semantics 5.6, 5.8, 6.1: the ports of the own pod and their mTLS mode.

use super::*;
use crate::model::{InboundChain, ListenerProtocol, MtlsMode};

const POD: &str = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: client, namespace: shop, labels: {app: x}}\n\
    spec: {containers: [{name: c, image: i, ports: [{name: web, containerPort: 8081}]}]}\nstatus: {podIP: 10.1.0.99}\n";

fn selecting(name: &str, created: &str, ports: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop, creationTimestamp: '{created}T00:00:00Z'}}\n\
        spec: {{selector: {{app: x}}, ports: [{ports}]}}\n"
    )
}

fn chain(snapshot: &Snapshot, port: u16) -> InboundChain {
    let inbound = snapshot.inbound.as_ref().expect("a sidecar");
    InboundChain::clone(inbound.find(port))
}

fn cluster_name(snapshot: &Snapshot, chain: &InboundChain) -> String {
    snapshot.cluster(chain.cluster).map(|cluster| cluster.name.clone()).unwrap_or_default()
}

#[test]
fn targeted_container_ports_have_chains_and_others_the_default() {
    let ports = "{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 90, targetPort: web}, {name: tcp, port: 70}, {name: https, port: 443}";
    let snapshot = sidecar(&(POD.to_owned() + &selecting("s", "2024-01-01", ports)), "shop", "app=x");
    for (port, protocol, cluster, service_port) in [
        (8080, ListenerProtocol::Http, "inbound|8080||", 80),
        (8081, ListenerProtocol::Http, "inbound|8081||", 90),
        (70, ListenerProtocol::Tcp, "inbound|70||", 70),
        (443, ListenerProtocol::Tcp, "inbound|443||", 443),
        (80, ListenerProtocol::Auto, "InboundPassthroughCluster", 0),
    ] {
        let chain = chain(&snapshot, port);
        assert_eq!((chain.protocol, cluster_name(&snapshot, &chain)), (protocol, cluster.to_owned()), "{port}");
        assert_eq!(snapshot.cluster(chain.cluster).map(|cluster| cluster.port), Some(service_port), "{port}");
        assert_eq!(chain.service.is_some(), service_port != 0, "{port}");
    }
    let retries = |port| chain(&snapshot, port).http.virtual_hosts[0].routes[0].retry.is_some();
    assert_eq!((retries(8080), retries(8081)), (true, false), "gRPC ports are not retried inbound");
}

#[test]
fn the_oldest_service_decides_about_a_shared_port() {
    let young = selecting("young", "2024-02-01", "{name: tcp, port: 1, targetPort: 8080}");
    let old = selecting("old", "2024-01-01", "{name: http, port: 2, targetPort: 8080}");
    let snapshot = sidecar(&(POD.to_owned() + &young + &old), "shop", "app=x");
    let chain = chain(&snapshot, 8080);
    assert_eq!((chain.protocol, chain.service.map(|service| service.name)), (ListenerProtocol::Http, Some("old".to_owned())));
}

#[test]
fn services_of_other_pods_or_namespaces_do_not_count() {
    let service = selecting("s", "2024-01-01", "{name: http, port: 8080}");
    let is_default = |namespace, labels| {
        let snapshot = sidecar(&service, namespace, labels);
        cluster_name(&snapshot, &chain(&snapshot, 8080)) == "InboundPassthroughCluster"
    };
    assert!(is_default("shop", "app=y") && is_default("other", "app=x") && !is_default("shop", "app=x"));
}

#[test]
fn the_first_defined_mode_wins_from_port_to_mesh() {
    let policy = |name: &str, namespace: &str, created: &str, spec: &str| aged("PeerAuthentication", name, namespace, created, spec);
    let mesh = policy("mesh", "istio-system", "", "{mtls: {mode: STRICT}}");
    let namespace = policy("ns", "shop", "", "{mtls: {mode: DISABLE}}");
    let unset = policy("unset", "shop", "", "{mtls: {mode: UNSET}}");
    let workload = policy(
        "w",
        "shop",
        "2024-01-01",
        "{selector: {matchLabels: {app: x}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {8080: {mode: DISABLE}, 9999: {mode: STRICT}}}",
    );
    let younger = policy("younger", "shop", "2024-02-01", "{selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}}");
    let stray = policy("stray", "istio-system", "", "{selector: {matchLabels: {app: x}}, mtls: {mode: DISABLE}}");
    let service = POD.to_owned() + &selecting("s", "2024-01-01", "{name: http, port: 8080}, {name: tcp, port: 70}");
    use MtlsMode::{Disable, Permissive, Strict};
    for (policies, labels, expected) in [
        (vec![], "app=x", [Permissive; 4]),
        (vec![&stray], "app=x", [Permissive; 4]),
        (vec![&mesh], "app=x", [Strict; 4]),
        (vec![&mesh, &unset], "app=x", [Strict; 4]),
        (vec![&mesh, &namespace], "app=x", [Disable; 4]),
        (vec![&mesh, &namespace, &workload], "app=x", [Disable, Permissive, Permissive, Strict]),
        (vec![&mesh, &younger, &workload], "app=x", [Disable, Permissive, Permissive, Strict]),
        (vec![&mesh, &workload], "app=z", [Strict; 4]),
    ] {
        let manifests = service.clone() + &policies.iter().map(|policy| policy.as_str()).collect::<String>();
        let snapshot = sidecar(&manifests, "shop", labels);
        assert_eq!([8080, 70, 1234, 9999].map(|port| chain(&snapshot, port).mtls), expected, "{manifests}");
    }
}
