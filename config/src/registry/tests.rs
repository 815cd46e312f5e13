//! Services with endpoints, lookups, policies, mesh settings.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::{Address, Health, Registry, Resolution};
use crate::api::peer_authentication::MutualTlsMode;
use crate::mesh::OutboundTrafficMode;
use crate::object::Object;
use crate::parse::parse;
use crate::string_map::StringMap;

fn objects(text: &str) -> Vec<Arc<Object>> {
    let parsed = parse(Path::new("test.yaml"), text);
    let errors: Vec<String> = parsed.diagnostics.iter().filter(|d| d.blocks_strict).map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:?}");
    parsed.objects
}

fn registry(text: &str) -> Registry {
    Registry::new(&objects(text))
}

fn labels(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec:
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, 'fd00::1']
  selector: {app: shop}
  ports:
  - {name: http-web, port: 80, targetPort: web}
  - {name: metrics, port: 9090}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-2, namespace: shop, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http-web, port: 8081}]
endpoints:
- {addresses: [10.1.0.9], zone: z1, conditions: {ready: false}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-1, namespace: shop, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http-web, port: 8080}]
endpoints:
- addresses: [10.1.0.3]
  conditions: {ready: true, terminating: true}
- addresses: [10.1.0.2]
  targetRef: {kind: Pod, name: shop-v1-abc-1, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata:
  name: shop-v1-abc-1
  namespace: shop
  labels: {app: shop, version: v1, pod-template-hash: abc, security.istio.io/tlsMode: istio, topology.kubernetes.io/region: r, topology.kubernetes.io/zone: z}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: shop-v1-abc, uid: u, controller: true}]
spec:
  serviceAccountName: shop-v1
  nodeName: node-1
  containers: [{name: app, image: shop}]
status:
  podIP: 10.1.0.2
  podIPs: [{ip: 10.1.0.2}, {ip: 'fd00::2'}]
  conditions: [{type: Ready, status: 'True'}]
";

#[test]
fn endpoints_are_joined_with_pods_by_port_name() {
    let registry = registry(SHOP);
    let service = registry.kubernetes_service("shop", "shop").expect("the service");
    assert_eq!(&*service.hostname, "shop.shop.svc.cluster.local");
    assert_eq!(service.addresses.len(), 2);
    assert_eq!(service.resolution, Resolution::ClientSide);
    let port = service.port(80).expect("the port");
    let seen: Vec<(Address, u16, Health)> = port.endpoints.iter().map(|e| (e.address.clone(), e.port, e.health)).collect();
    let ip = |text: &str| Address::Ip(text.parse().expect("an address"));
    assert_eq!(
        seen,
        [(ip("10.1.0.2"), 8080, Health::Ready), (ip("10.1.0.3"), 8080, Health::Terminating), (ip("10.1.0.9"), 8081, Health::NotReady)]
    );
    let workload = &port.endpoints[0].workload;
    assert_eq!((workload.workload_kind.as_str(), workload.workload_name.as_str()), ("Deployment", "shop-v1"));
    assert_eq!((workload.service_account.as_str(), workload.tls_mode_istio), ("shop-v1", true));
    assert_eq!((port.endpoints[0].locality.as_str(), port.endpoints[0].node.as_str()), ("r/z", "node-1"));
    assert_eq!(service.usable_endpoints(port).count(), 1);
    assert!(service.port(9090).expect("the port").endpoints.is_empty(), "no slice has this port name");
}

#[test]
fn pods_are_found_by_each_of_their_addresses() {
    let registry = registry(SHOP);
    for address in ["10.1.0.2", "fd00::2"] {
        let address: IpAddr = address.parse().expect("an address");
        assert_eq!(registry.workload_at(address).map(|workload| workload.pod.as_str()), Some("shop-v1-abc-1"));
    }
    assert!(registry.workload_at("10.1.0.3".parse().expect("an address")).is_none());
}

#[test]
fn owners_are_seen_through_replica_sets_and_jobs() {
    let pod = |name: &str, kind: &str, owner: &str, hash: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{pod-template-hash: '{hash}'}}, ownerReferences: [{{apiVersion: v1, kind: {kind}, name: {owner}, uid: u, controller: true}}]}}\nspec: {{containers: [{{name: a, image: a}}]}}\n---\n"
        )
    };
    let text = pod("a", "ReplicaSet", "web-5d", "5d")
        + &pod("b", "ReplicaSet", "plain", "")
        + &pod("c", "Job", "nightly-28000000", "")
        + &pod("d", "StatefulSet", "db", "");
    let registry = registry(&(text + "apiVersion: v1\nkind: Pod\nmetadata: {name: e}\nspec: {containers: [{name: a, image: a}]}\n"));
    let owners: Vec<String> = registry.workloads().iter().map(|w| format!("{}={}/{}", w.pod, w.workload_kind, w.workload_name)).collect();
    assert_eq!(owners, ["a=Deployment/web", "b=ReplicaSet/plain", "c=CronJob/nightly", "d=StatefulSet/db", "e=Pod/e"]);
}

#[test]
fn service_variants_keep_what_tells_them_apart() {
    let registry = registry(
        "
apiVersion: v1
kind: Service
metadata: {name: db, annotations: {networking.istio.io/exportTo: '., other'}}
spec: {clusterIP: None, publishNotReadyAddresses: true, ports: [{name: tcp, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: API.example.com., ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: tcp, port: 5432}]
endpoints: [{addresses: [10.1.0.7], hostname: db-0, conditions: {ready: false}}]
",
    );
    let db = registry.service("DB.default.svc.cluster.local").expect("case does not matter");
    assert!(db.is_headless());
    assert_eq!(db.export_to, [".", "other"]);
    let port = db.port(5432).expect("the port");
    assert_eq!(db.usable_endpoints(port).map(|endpoint| endpoint.hostname.as_deref()).collect::<Vec<_>>(), [Some("db-0")]);
    let alias = registry.service("alias.default.svc.cluster.local").expect("the alias");
    assert_eq!(alias.resolution, Resolution::Alias("api.example.com".into()));
    assert_eq!(alias.export_to, ["*"]);
}

#[test]
fn service_entries_become_services_per_host_and_unite_within_a_namespace() {
    let entry = |name: &str, namespace: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
        )
    };
    let text = entry(
        "a",
        "one",
        "{hosts: [api.example.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], endpoints: [{address: 10.0.0.2, weight: 3}, {address: 10.0.0.1, ports: {http: 81}, serviceAccount: x}]}",
    ) + &entry(
        "b",
        "one",
        "{hosts: [API.example.com, b.example.com], resolution: STATIC, addresses: [240.0.0.1], ports: [{number: 443, name: tls, protocol: TLS}, {number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.0.0.3}]}",
    ) + &entry(
        "c",
        "two",
        "{hosts: [api.example.com], location: MESH_INTERNAL, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
    );
    let registry = registry(&text);
    let found: Vec<_> = registry.services_named("api.example.com").collect();
    assert_eq!(found.iter().map(|service| &*service.namespace).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(found[0].ports.iter().map(|port| port.number).collect::<Vec<_>>(), [80, 443]);
    let endpoints: Vec<String> = found[0].ports[0]
        .endpoints
        .iter()
        .map(|e| format!("{:?} {} {} {}", e.address, e.port, e.weight, e.workload.tls_mode_istio))
        .collect();
    assert_eq!(endpoints, ["Ip(10.0.0.1) 81 1 true", "Ip(10.0.0.2) 8080 3 false", "Ip(10.0.0.3) 80 1 false"]);
    assert!(found[0].mesh_external && !found[1].mesh_external);
    assert_eq!(found[1].ports[0].endpoints[0].address, Address::Name("api.example.com".into()));
    assert_eq!(registry.service("b.example.com").expect("the second host").addresses.len(), 1);
}

#[test]
fn a_kubernetes_service_wins_over_a_service_entry_of_its_name() {
    let entry = "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a, namespace: shop}\nspec: {hosts: [shop.shop.svc.cluster.local], subjectAltNames: [x], ports: [{number: 81, name: http, protocol: HTTP}]}\n";
    let registry = registry(&format!("{SHOP}{entry}"));
    let found: Vec<_> = registry.services_named("shop.shop.svc.cluster.local").collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].is_kubernetes() && found[0].port(81).is_none());
    assert_eq!(found[0].subject_alt_names, ["x"]);
}

#[test]
fn lists_are_oldest_first_then_by_name_then_by_namespace() {
    let service = |name: &str, namespace: &str, time: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {time}}}\nspec: {{ports: [{{port: 80}}]}}\n---\n"
        )
    };
    let registry = registry(
        &(service("b", "ns", "'2024-01-01T00:00:00Z'")
            + &service("a", "ns", "'2024-01-01T02:00:00+02:00'")
            + &service("a", "ms", "'2024-01-01T00:00:00Z'")
            + &service("z", "ns", "null")
            + &service("a0", "ns", "'2025-01-01T00:00:00Z'")),
    );
    let order: Vec<String> =
        registry.kubernetes_services.iter().map(|service| format!("{}/{}", service.namespace(), service.name())).collect();
    assert_eq!(order, ["ns/z", "ms/a", "ns/a", "ns/b", "ns/a0"]);
    assert_eq!(registry.kubernetes_services.in_namespace("ns").count(), 4);
    assert!(registry.kubernetes_services.get("ms", "a").is_some());
    assert!(registry.kubernetes_services.get("ms", "b").is_none());
}

#[test]
fn short_names_are_completed_with_the_namespace_of_the_rule_and_others_are_not() {
    let registry = Registry::with_domain(&[], "mesh.local");
    assert_eq!(registry.resolve_host("Shop", "ns"), "shop.ns.svc.mesh.local");
    for host in ["reviews.prod", "*", "10.0.0.1", "::1", "*.example.com"] {
        assert_eq!(registry.resolve_host(host, "ns"), host);
    }
}

fn policy(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
    )
}

#[test]
fn the_mtls_mode_is_the_first_defined_from_port_to_mesh() {
    let mesh = policy("mesh", "istio-system", "{mtls: {mode: STRICT}}")
        + &policy("gateways-only", "istio-system", "{selector: {matchLabels: {app: shop}}, mtls: {mode: DISABLE}}");
    let namespace = policy("ns", "shop", "{mtls: {mode: PERMISSIVE}}");
    let workload = policy(
        "w",
        "shop",
        "{selector: {matchLabels: {app: shop}}, mtls: {mode: UNSET}, portLevelMtls: {8080: {mode: DISABLE}, 9090: {mode: UNSET}}}",
    );
    let shop = labels(&[("app", "shop"), ("version", "v1")]);
    let other = labels(&[("app", "other")]);
    let all = registry(&(mesh.clone() + &namespace + &workload));
    assert_eq!(all.mtls_mode("shop", &shop, Some(8080)), MutualTlsMode::Disable);
    assert_eq!(all.mtls_mode("shop", &shop, Some(9090)), MutualTlsMode::Permissive);
    assert_eq!(all.mtls_mode("shop", &shop, None), MutualTlsMode::Permissive);
    assert_eq!(all.mtls_mode("elsewhere", &shop, None), MutualTlsMode::Strict, "a selector in the root namespace acts there only");
    assert_eq!(all.mtls_ports("shop", &shop), [8080, 9090]);
    assert!(all.mtls_ports("shop", &other).is_empty());
    assert_eq!(registry("").mtls_mode("shop", &shop, None), MutualTlsMode::Permissive);
}

#[test]
fn of_two_policies_at_one_level_the_oldest_counts() {
    let registry = registry(&(policy("b", "shop", "{mtls: {mode: DISABLE}}") + &policy("a", "shop", "{mtls: {mode: STRICT}}")));
    assert_eq!(registry.mtls_mode("shop", &labels(&[]), None), MutualTlsMode::Strict);
}

#[test]
fn mesh_and_proxy_settings_are_layered() {
    let text = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |-
    trustDomain: example.org
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
    defaultConfig: {concurrency: 1, drainDuration: 30s, proxyMetadata: {A: mesh, B: mesh}}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: root, namespace: istio-system}
spec: {concurrency: 2, environmentVariables: {B: root}}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: workload, namespace: shop}
spec: {selector: {matchLabels: {app: shop}}, concurrency: 3}
";
    let registry = registry(text);
    assert_eq!(registry.mesh().trust_domain, "example.org");
    assert_eq!(registry.mesh().outbound_traffic_policy, OutboundTrafficMode::RegistryOnly);
    assert_eq!(registry.mesh().connect_timeout.as_secs(), 10);
    let (other, _) = registry.proxy_config("shop", &labels(&[]), None);
    assert_eq!((other.concurrency, other.drain_duration.as_secs(), other.termination_drain_duration.as_secs()), (Some(2), 30, 5));
    assert_eq!(other.proxy_metadata, labels(&[("A", "mesh"), ("B", "root")]));
    let (shop, problems) = registry.proxy_config("shop", &labels(&[("app", "shop")]), Some("concurrency: 0\nproxyMetadata: {A: pod}"));
    assert_eq!((shop.concurrency, shop.proxy_metadata.get("A").map(String::as_str), problems.len()), (Some(0), Some("pod"), 0));
    let (broken, problems) = registry.proxy_config("shop", &labels(&[]), Some("concurrency: many"));
    assert_eq!((broken.concurrency, problems.len()), (Some(2), 1), "an annotation that cannot be read is left out");
}

#[test]
fn registries_of_equal_objects_are_equal_whatever_the_order() {
    let mut all = objects(SHOP);
    let forward = format!("{:?}", Registry::new(&all).services());
    all.reverse();
    assert_eq!(forward, format!("{:?}", Registry::new(&all).services()));
}
