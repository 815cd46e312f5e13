//! Many services: the work grows in proportion, and nothing is lost.

use super::*;

fn many(count: usize) -> String {
    let one = |index: usize| {
        let name = format!("s{index}");
        let address = format!("10.{}.{}.{}", 96 + index / 65_536, index / 256 % 256, index % 256);
        let slice = format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}\n\
            addressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{{addresses: [10.1.0.1]}}, {{addresses: [10.1.0.2]}}]\n"
        );
        let rule = istio("DestinationRule", &name, "shop", &format!("{{host: {name}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}"));
        let routes = format!("{{hosts: [{name}], http: [{{route: [{{destination: {{host: {name}, subset: v1}}}}]}}]}}");
        service(&name, "shop", &address, "http:80") + &slice + &rule + &istio("VirtualService", &name, "shop", &routes)
    };
    (0..count).map(one).collect()
}

#[test]
fn a_thousand_services_each_keep_their_routes() {
    let snapshot = sidecar(&many(1000), "shop", "");
    for index in [0, 500, 999] {
        assert_eq!(get(&snapshot, 80, &format!("s{index}"), "/"), format!("80|v1|s{index}.shop"));
    }
    let names: std::collections::HashSet<&str> = snapshot.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    assert_eq!(names.len(), snapshot.clusters.len());
    assert_eq!(snapshot.route_count, 1002, "one for each service, the catch-all and the inbound default");
}
