//! What a thousand services take of the heap, most of which this workload never calls.
//!
//! One test in a process of its own: the counts are the process's. They are bytes asked for; what is resident is the
//! allocator's matter and measured in ARCHITECTURE.md.

#[path = "../budget/sys.rs"]
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
mod sys;

use std::sync::Arc;
use std::time::Instant;

use outrigger_config::model::{Node, ProxyType};
use outrigger_config::store::FileChange;
use outrigger_proxy::discovery::{DiscoveryStatus, Outcome, Overrides, Publisher};

const SERVICES: usize = 1000;
/// Objects, compiled model and run-time state together, in bytes.
const HEAP: usize = 3_000_000;

#[test]
fn a_thousand_services_keep_to_the_budget_of_heap_and_a_reload_leaves_no_second_copy() {
    let before = sys::live();
    let mut publisher = Publisher::new(node(), Overrides::default(), Arc::new(DiscoveryStatus::default()));
    let draft = publisher.compile((0..SERVICES).map(|number| file(number, 37)).collect());
    let handle = publisher.publish_first(draft, Instant::now());
    publisher.settle();
    assert!(handle.load().clusters().count() > SERVICES);
    let loaded = sys::live() - before;
    println!("{loaded} bytes");
    assert!(loaded <= HEAP, "{loaded} bytes after the first load");

    for weight in [38, 39] {
        assert_eq!(publisher.update(vec![file(0, weight)], &handle, Instant::now()), Outcome::Published);
    }
    let reloaded = sys::live() - before;
    assert!(reloaded < loaded + loaded / 50, "{loaded} bytes after the first load, {reloaded} after two more");
}

/// A service with a pod; every fifth has rules, with weights whose schedule is a large one.
fn file(number: usize, weight: u32) -> FileChange {
    let rules = if number.is_multiple_of(5) { rules(number, weight) } else { String::new() };
    FileChange { path: format!("service-{number}.yaml").into(), text: Some(service(number) + &rules) }
}

fn service(number: usize) -> String {
    let (a, b) = (number / 250, number % 250 + 1);
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: svc-{number}, namespace: shop, labels: {{app: svc-{number}}}}}
spec:
  clusterIP: 10.96.{a}.{b}
  selector: {{app: svc-{number}}}
  ports: [{{name: http-web, port: 80, targetPort: 8080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: svc-{number}-x, namespace: shop, labels: {{kubernetes.io/service-name: svc-{number}}}}}
addressType: IPv4
ports: [{{name: http-web, port: 8080, protocol: TCP}}]
endpoints:
- addresses: [10.244.{a}.{b}]
  conditions: {{ready: true}}
  targetRef: {{kind: Pod, name: svc-{number}-x, namespace: shop}}
---
apiVersion: v1
kind: Pod
metadata:
  name: svc-{number}-x
  namespace: shop
  labels: {{app: svc-{number}, version: v1, security.istio.io/tlsMode: istio}}
spec:
  serviceAccountName: svc-{number}
  containers: [{{name: app, image: example.com/app:v1, ports: [{{containerPort: 8080}}]}}]
status:
  podIP: 10.244.{a}.{b}
  conditions: [{{type: Ready, status: 'True'}}]
"
    )
}

fn rules(number: usize, weight: u32) -> String {
    let rest = 100 - weight;
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: svc-{number}, namespace: shop}}
spec:
  hosts: [svc-{number}]
  http:
  - route:
    - {{destination: {{host: svc-{number}, subset: v1}}, weight: {weight}}}
    - {{destination: {{host: svc-{number}}}, weight: {rest}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: svc-{number}, namespace: shop}}
spec:
  host: svc-{number}
  subsets: [{{name: v1, labels: {{version: v1}}}}]
"
    )
}

fn node() -> Node {
    Node {
        proxy_type: ProxyType::Sidecar,
        name: "client".into(),
        namespace: "shop".into(),
        service_account: "client".into(),
        trust_domain: "cluster.local".into(),
        cluster_domain: "cluster.local".into(),
        ip_addresses: vec![std::net::Ipv4Addr::new(10, 0, 0, 9).into()],
        labels: Default::default(),
        annotations: Default::default(),
        workload_name: "client".into(),
        owner: String::new(),
        cluster_id: "Kubernetes".into(),
        mesh_id: "cluster.local".into(),
    }
}
