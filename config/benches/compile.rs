//! How long a snapshot takes to compile, and a request to find its route: `cargo bench -p outrigger-config`.
//!
//! Times depend on the machine; what counts is that compiling grows in proportion to the services, and that a lookup
//! hardly grows with the rules.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use http::HeaderMap;
use outrigger_config::compile::compile;
use outrigger_config::matcher::RequestHead;
use outrigger_config::model::{Node, ProxyType, RouteConfiguration, Snapshot};
use outrigger_config::parse::parse;
use outrigger_config::registry::Registry;

fn main() {
    println!("{:>8}  {:>12}  {:>14}", "services", "compile", "host lookup");
    for count in [10, 100, 1000, 2000] {
        let registry = Registry::new(&parse(Path::new("services.yaml"), &services(count)).objects);
        let elapsed = time(20, || drop(black_box(compile(&registry, &node()))));
        let snapshot = compile(&registry, &node()).snapshot;
        let host = format!("s{}.shop.svc.cluster.local", count / 2);
        let lookup = table(&snapshot).map(|table| time(100_000, || _ = black_box(table.virtual_host(black_box(&host)))));
        println!("{count:>8}  {elapsed:>12.1?}  {:>14.1?}", lookup.unwrap_or_default());
    }
    println!("\n{:>8}  {:>12}  {:>12}", "rules", "last rule", "no rule");
    for count in [1, 10, 100, 1000] {
        let registry = Registry::new(&parse(Path::new("rules.yaml"), &rules(count)).objects);
        let snapshot = compile(&registry, &node()).snapshot;
        let found = |path: &str| {
            let headers = HeaderMap::new();
            let head = RequestHead { method: "GET", scheme: "http", authority: "s0", path, query: None, headers: &headers };
            table(&snapshot).map(|table| time(100_000, || _ = black_box(table.find(black_box(&head)).is_some()))).unwrap_or_default()
        };
        println!("{count:>8}  {:>12.1?}  {:>12.1?}", found(&format!("/api/v1/resource-{}", count - 1)), found("/other"));
    }
}

/// Mean CPU time of one call, so that other programs on the machine do not count.
fn time(rounds: u32, mut call: impl FnMut()) -> Duration {
    let start = cpu();
    (0..rounds).for_each(|_| call());
    cpu().saturating_sub(start) / rounds
}

/// CPU time of this thread, as Linux tells it.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default())
}

fn table(snapshot: &Snapshot) -> Option<&RouteConfiguration> {
    snapshot.outbound.by_port.get(&80).and_then(|listener| listener.http.as_deref())
}

/// Services with endpoints, a DestinationRule and a VirtualService each.
fn services(count: usize) -> String {
    let mut text = String::new();
    for index in 0..count {
        let (name, address) = (format!("s{index}"), format!("10.96.{}.{}", index / 256, index % 256));
        let _ = writeln!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
            spec: {{clusterIP: {address}, ports: [{{name: http, port: 80}}]}}\n\
            ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
            metadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}\n\
            addressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{{addresses: [10.1.0.1]}}, {{addresses: [10.1.0.2]}}]\n\
            ---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: shop}}\n\
            spec: {{host: {name}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}\n\
            ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\n\
            spec: {{hosts: [{name}], http: [{{route: [{{destination: {{host: {name}, subset: v1}}}}]}}]}}"
        );
    }
    text
}

/// One service whose VirtualService has many rules: a third each of exact paths, prefixes and expressions.
fn rules(count: usize) -> String {
    let mut text = services(1).split("---\napiVersion: networking").next().unwrap_or_default().to_owned();
    text.push_str("---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: many, namespace: shop}\nspec:\n");
    text.push_str("  hosts: [s0]\n  http:\n");
    for index in 0..count {
        let kind = ["exact", "prefix", "regex"][index % 3];
        let _ = writeln!(text, "  - match: [{{uri: {{{kind}: /api/v1/resource-{index}}}}}]\n    route: [{{destination: {{host: s0}}}}]");
    }
    text
}

fn node() -> Node {
    Node {
        proxy_type: ProxyType::Sidecar,
        name: "client".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "default".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        ip_addresses: Vec::new(),
        labels: Default::default(),
        annotations: Default::default(),
        workload_name: "client".to_owned(),
        owner: String::new(),
        cluster_id: "Kubernetes".to_owned(),
        mesh_id: "cluster.local".to_owned(),
    }
}
