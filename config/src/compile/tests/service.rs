//! Istio semantics 4.2 and 5.4: ServiceEntries, ExternalName, visibility, conflicts between definitions.

use super::*;
use crate::model::{Discovery, DnsTarget};

fn entry(name: &str, namespace: &str, created: &str, spec: &str) -> String {
    aged("ServiceEntry", name, namespace, created, spec)
}

fn dns(host: &str, port: u16) -> Discovery {
    Discovery::StrictDns(vec![DnsTarget { host: host.to_owned(), port, weight: 1 }])
}

#[test]
fn resolution_decides_where_endpoints_come_from() {
    let ports = "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]";
    let discovery = |spec: &str| {
        cluster(&sidecar(&entry("e", "shop", "", &format!("{{hosts: [x.com], {ports}, {spec}}}")), "shop", ""), "80||x.com").clone()
    };
    assert_eq!(discovery("resolution: NONE").discovery, Discovery::OriginalDst { port: Some(8080) });
    assert_eq!(discovery("resolution: DNS").discovery, dns("x.com", 8080));
    assert_eq!(discovery("resolution: DNS, endpoints: [{address: y.com}]").discovery, dns("y.com", 8080));
    assert_eq!(discovery("resolution: DNS, endpoints: [{address: y.com, ports: {http: 81}}]").discovery, dns("y.com", 81));
    let fixed = discovery("resolution: STATIC, endpoints: [{address: 1.2.3.4, weight: 3}, {address: 1.2.3.5}]");
    assert_eq!(fixed.discovery, Discovery::Endpoints);
    let endpoints: Vec<_> = fixed.endpoints.iter().map(|endpoint| (endpoint.address.to_string(), endpoint.weight)).collect();
    assert_eq!(endpoints, [("1.2.3.4:8080".to_owned(), 3), ("1.2.3.5:8080".to_owned(), 1)]);
    assert!(fixed.external && fixed.tls == crate::model::UpstreamTls::Disabled);
}

#[test]
fn http_hosts_of_entries_are_routed_by_host_without_an_address() {
    let spec = "{hosts: [x.com, '*.y.com'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}";
    let snapshot = sidecar(&entry("e", "shop", "", spec), "shop", "");
    assert_eq!(get(&snapshot, 80, "x.com", "/"), "80||x.com");
    assert_eq!(get(&snapshot, 80, "a.y.com", "/"), "80||*.y.com");
    assert_eq!(get(&snapshot, 80, "y.com", "/"), "PassthroughCluster");
}

#[test]
fn what_is_not_exported_does_not_exist() {
    let spec = |export: &str| {
        format!("{{hosts: [x.com], exportTo: [{export}], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: DNS}}")
    };
    let at = |export: &str, namespace: &str| get(&sidecar(&entry("e", "shop", "", &spec(export)), namespace, ""), 80, "x.com", "/");
    assert_eq!(at("'.'", "shop"), "80||x.com");
    assert_eq!(at("'.'", "other"), "no table");
    assert_eq!(at("'~'", "shop"), "no table");
    let annotated = "---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop, annotations: {networking.istio.io/exportTo: 'shop, third'}}\n\
        spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}\n";
    assert_eq!(get(&sidecar(annotated, "third", ""), 80, "a.shop", "/"), "80||a.shop");
    assert_eq!(get(&sidecar(annotated, "other", ""), 80, "a.shop", "/"), "no table");
}

#[test]
fn of_two_definitions_the_clients_namespace_then_the_oldest_counts() {
    let one = |namespace: &str, created: &str, address: &str| {
        let spec = format!(
            "{{hosts: [x.com], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: STATIC, endpoints: [{{address: {address}}}]}}"
        );
        entry("e", namespace, created, &spec)
    };
    let all = one("one", "2024-01-01", "1.1.1.1") + &one("two", "2024-02-01", "2.2.2.2");
    let address = |namespace: &str| cluster(&sidecar(&all, namespace, ""), "80||x.com").endpoints[0].address.to_string();
    assert_eq!([address("one"), address("two"), address("three")], ["1.1.1.1:80", "2.2.2.2:80", "1.1.1.1:80"]);
}

#[test]
fn external_name_is_another_name_of_a_service_or_a_name_to_resolve() {
    let external = |target: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: ext, namespace: shop}}\nspec: {{type: ExternalName, externalName: {target}, ports: [{{name: http, port: 80}}]}}\n"
        )
    };
    let known = sidecar(&(service("a", "shop", "10.96.0.1", "http:80") + &external("a.shop.svc.cluster.local")), "shop", "");
    assert_eq!([get(&known, 80, "ext", "/"), get(&known, 80, "ext.shop", "/")], ["80||a.shop", "80||a.shop"]);
    let outside = sidecar(&external("api.example.com"), "shop", "");
    assert_eq!(get(&outside, 80, "ext", "/"), "80||ext.shop");
    assert_eq!(cluster(&outside, "80||ext.shop").discovery, dns("api.example.com", 80));
    let routed = service("a", "shop", "10.96.0.1", "http:80")
        + &external("a.shop.svc.cluster.local")
        + &service("b", "shop", "10.96.0.2", "http:80")
        + &istio("VirtualService", "v", "shop", "{hosts: [b], http: [{route: [{destination: {host: ext}}]}]}");
    assert_eq!(get(&sidecar(&routed, "shop", ""), 80, "b", "/"), "80||a.shop");
}

#[test]
fn udp_ports_are_not_handled() {
    let udp = "---\napiVersion: v1\nkind: Service\nmetadata: {name: dns, namespace: shop}\nspec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 53, protocol: UDP}]}\n";
    let snapshot = sidecar(udp, "shop", "");
    assert!(snapshot.outbound.by_port.is_empty() && snapshot.outbound.by_address.is_empty());
    assert_eq!(snapshot.clusters.iter().filter(|cluster| cluster.name.starts_with("outbound")).count(), 0);
}

#[test]
fn subsets_choose_endpoints_by_labels() {
    let pod = |name: &str, address: &str, version: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{version: {version}}}}}\nspec: {{containers: [{{name: c, image: i}}]}}\nstatus: {{podIP: {address}}}\n"
        )
    };
    let slice = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a-1, namespace: shop, labels: {kubernetes.io/service-name: a}}\n\
        addressType: IPv4\nports: [{name: http, port: 8080}]\n\
        endpoints: [{addresses: [10.1.0.1], targetRef: {kind: Pod, name: p1}}, {addresses: [10.1.0.2], targetRef: {kind: Pod, name: p2}},\n  \
        {addresses: [10.1.0.3], conditions: {terminating: true}}]\n";
    let rule = "{host: a, subsets: [{name: v1, labels: {version: v1}}, {name: none, labels: {version: v9}}, {name: all}]}";
    let manifests = service("a", "shop", "10.96.0.1", "http:80")
        + slice
        + &pod("p1", "10.1.0.1", "v1")
        + &pod("p2", "10.1.0.2", "v2")
        + &istio("DestinationRule", "a", "shop", rule);
    let snapshot = sidecar(&manifests, "shop", "");
    let addresses =
        |name: &str| -> Vec<String> { cluster(&snapshot, name).endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect() };
    assert_eq!(addresses("80||a.shop"), ["10.1.0.1:8080", "10.1.0.2:8080"]);
    assert_eq!(addresses("80|v1|a.shop"), ["10.1.0.1:8080"]);
    assert_eq!(addresses("80|none|a.shop"), Vec::<String>::new());
    assert_eq!(addresses("80|all|a.shop"), ["10.1.0.1:8080", "10.1.0.2:8080"]);
}

#[test]
fn selectors_find_workload_entries_and_pods() {
    let machine = |name: &str, address: &str, more: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}, namespace: shop, labels: {{app: vm}}}}\nspec: {{address: {address}, {more}}}\n"
        )
    };
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop, labels: {app: vm}}\nspec: {containers: [{name: c, image: i}]}\n\
        status: {podIP: 10.1.0.1, conditions: [{type: Ready, status: 'True'}]}\n";
    let by_entry = "{hosts: [vm.internal], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], location: MESH_INTERNAL, resolution: STATIC, workloadSelector: {labels: {app: vm}}}";
    let by_service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: vm, namespace: shop}\nspec: {clusterIP: 10.96.0.1, selector: {app: vm}, ports: [{name: http, port: 80, targetPort: 9090}]}\n";
    let machines = machine("one", "10.5.0.1", "ports: {http: 81}, weight: 4") + &machine("two", "10.5.0.2", "serviceAccount: vm");
    let snapshot = sidecar(&(machines + pod + &entry("e", "shop", "", by_entry) + by_service), "shop", "");
    let endpoints = |name: &str| -> Vec<(String, u32, bool)> {
        let endpoints = &cluster(&snapshot, name).endpoints;
        endpoints.iter().map(|endpoint| (endpoint.address.to_string(), endpoint.weight, endpoint.mtls)).collect()
    };
    let machines = |second: &str| vec![("10.5.0.1:81".to_owned(), 4, false), (second.to_owned(), 1, true)];
    let mut all = vec![("10.1.0.1:8080".to_owned(), 1, false)];
    all.extend(machines("10.5.0.2:8080"));
    assert_eq!(endpoints("80||vm.internal"), all);
    assert_eq!(endpoints("80||vm.shop"), machines("10.5.0.2:9090"), "pods of a Service come from its EndpointSlices only");
}

#[test]
fn local_traffic_stays_on_the_clients_node() {
    let pod = |name: &str, node: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{nodeName: {node}, containers: [{{name: c, image: i}}]}}\n"
        )
    };
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\n\
        spec: {clusterIP: 10.96.0.1, internalTrafficPolicy: Local, ports: [{name: http, port: 80}]}\n\
        ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a-1, namespace: shop, labels: {kubernetes.io/service-name: a}}\n\
        addressType: IPv4\nports: [{name: http, port: 80}]\nendpoints: [{addresses: [10.1.0.1], nodeName: n1}, {addresses: [10.1.0.2], nodeName: n2}]\n";
    let addresses = |manifests: String| -> Vec<String> {
        cluster(&sidecar(&manifests, "shop", ""), "80||a.shop").endpoints.iter().map(|endpoint| endpoint.address.ip().to_string()).collect()
    };
    assert_eq!(addresses(service.to_owned() + &pod("client", "n2")), ["10.1.0.2"]);
    assert_eq!(addresses(service.to_owned() + &pod("other", "n2")), ["10.1.0.1", "10.1.0.2"], "the own node is unknown");
    let cluster_wide = service.replace("internalTrafficPolicy: Local, ", "");
    assert_eq!(addresses(cluster_wide + &pod("client", "n2")), ["10.1.0.1", "10.1.0.2"]);
}
