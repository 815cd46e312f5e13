//! Istio semantics 2.10: auto mTLS and what a DestinationRule orders instead.

use super::*;
use crate::model::{MeshTls, UpstreamTls};

/// Service `a` with a pod that has a proxy and one that has none.
fn mixed(cluster_ip: &str) -> String {
    let pod = |name: &str, address: &str, label: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}{label}}}}}\nspec: {{serviceAccountName: {name}, containers: [{{name: c, image: i}}]}}\nstatus: {{podIP: {address}}}\n"
        )
    };
    let slice = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a-1, namespace: shop, labels: {kubernetes.io/service-name: a}}\n\
        addressType: IPv4\nports: [{name: http, port: 8080}]\n\
        endpoints: [{addresses: [10.1.0.1], targetRef: {kind: Pod, name: with}}, {addresses: [10.1.0.2], targetRef: {kind: Pod, name: without}}]\n";
    service("a", "shop", cluster_ip, "http:80")
        + slice
        + &pod("with", "10.1.0.1", ", security.istio.io/tlsMode: istio")
        + &pod("without", "10.1.0.2", "")
}

fn flags(snapshot: &Snapshot) -> Vec<bool> {
    cluster(snapshot, "80||a.shop").endpoints.iter().map(|endpoint| endpoint.mtls).collect()
}

fn rule(tls: &str) -> String {
    istio("DestinationRule", "a", "shop", &format!("{{host: a, trafficPolicy: {{tls: {{{tls}}}}}}}"))
}

#[test]
fn auto_mtls_is_decided_for_each_endpoint() {
    let snapshot = sidecar(&mixed("10.96.0.1"), "shop", "");
    assert_eq!(flags(&snapshot), [true, false]);
    let expected = MeshTls {
        sni: "outbound_.80_._.a.shop.svc.cluster.local".to_owned(),
        sans: ["with", "without"].map(|account| format!("spiffe://cluster.local/ns/shop/sa/{account}")).to_vec(),
        explicit_sans: false,
    };
    assert_eq!(cluster(&snapshot, "80||a.shop").tls, UpstreamTls::Auto(expected));
}

#[test]
fn a_server_that_refuses_mtls_on_the_target_port_gets_plaintext() {
    let policy = |spec: &str| istio("PeerAuthentication", "p", "shop", spec);
    let at = |spec: &str| flags(&sidecar(&(mixed("10.96.0.1") + &policy(spec)), "shop", ""));
    assert_eq!(at("{mtls: {mode: DISABLE}}"), [false, false]);
    assert_eq!(at("{mtls: {mode: STRICT}}"), [true, false]);
    let port = |port| format!("{{selector: {{matchLabels: {{app: with}}}}, portLevelMtls: {{{port}: {{mode: DISABLE}}}}}}");
    assert_eq!(at(&port(8080)), [false, false], "the container port counts");
    assert_eq!(at(&port(80)), [true, false], "not the Service's");
}

#[test]
fn switching_auto_mtls_off_means_plaintext() {
    let snapshot = sidecar(&(mixed("10.96.0.1") + &mesh_config("enableAutoMtls: false")), "shop", "");
    assert_eq!(cluster(&snapshot, "80||a.shop").tls, UpstreamTls::Disabled);
}

#[test]
fn headless_services_use_mtls_only_if_all_endpoints_can() {
    let tls = |manifests: String| cluster(&sidecar(&manifests, "shop", ""), "80||a.shop").tls.clone();
    assert_eq!(tls(mixed("None")), UpstreamTls::Disabled);
    let all = mixed("None").replace("labels: {app: without}", "labels: {app: without, security.istio.io/tlsMode: istio}");
    assert!(matches!(tls(all), UpstreamTls::IstioMutual(_)));
}

#[test]
fn a_rules_tls_block_replaces_the_automatic_choice() {
    let tls = |text: &str| cluster(&sidecar(&(mixed("10.96.0.1") + &rule(text)), "shop", ""), "80||a.shop").tls.clone();
    assert_eq!(tls("mode: DISABLE"), UpstreamTls::Disabled);
    let UpstreamTls::IstioMutual(mesh) = tls("mode: ISTIO_MUTUAL, sni: x.com, subjectAltNames: ['spiffe://a/b']") else { panic!("mutual") };
    assert_eq!(mesh, MeshTls { sni: "x.com".to_owned(), sans: vec!["spiffe://a/b".to_owned()], explicit_sans: true });
    let UpstreamTls::Origination(simple) = tls("mode: SIMPLE, caCertificates: /etc/ca.pem, subjectAltNames: [x.com]") else {
        panic!("simple")
    };
    assert_eq!(
        (simple.sni.as_deref(), simple.ca.as_ref().map(|ca| ca.origin.as_str()), simple.client.is_none()),
        (None, Some("/etc/ca.pem"), true)
    );
    let UpstreamTls::Origination(mutual) = tls("mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem, sni: x.com") else {
        panic!("mutual")
    };
    assert_eq!(mutual.client.as_ref().map(|pair| (pair.chain.origin.as_str(), pair.key.origin.as_str())), Some(("/c.pem", "/k.pem")));
}

#[test]
fn secrets_serve_gateways_and_rules_bound_to_a_workload() {
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: c, namespace: shop}\nstringData: {ca.crt: A}\n";
    let plain = mixed("10.96.0.1") + secret + &rule("mode: SIMPLE, credentialName: c");
    assert_eq!(cluster(&sidecar(&plain, "shop", ""), "80||a.shop").tls, UpstreamTls::Disabled, "Istio sends plaintext");
    let spec = "{host: a, workloadSelector: {matchLabels: {app: x}}, trafficPolicy: {tls: {mode: SIMPLE, credentialName: c}}}";
    let bound = mixed("10.96.0.1") + secret + &istio("DestinationRule", "a", "shop", spec);
    let UpstreamTls::Origination(tls) = cluster(&sidecar(&bound, "shop", "app=x"), "80||a.shop").tls.clone() else { panic!("simple") };
    assert_eq!(tls.ca.as_ref().map(|ca| ca.origin.as_str()), Some("Secret shop/c key ca.crt"));
}

#[test]
fn mutual_without_its_secret_never_connects_without_a_certificate() {
    let rule = rule("mode: MUTUAL, credentialName: client-pair");
    let gateway = router(&(mixed("10.96.0.1") + &rule));
    let UpstreamTls::Origination(tls) = &cluster(&gateway, "80||a.shop").tls else { panic!("TLS is originated") };
    let client = tls.client.as_ref().expect("a certificate is asked for");
    assert_eq!(client.chain.bytes.as_deref(), Some([].as_slice()), "and cannot be had, so that connecting fails");
    assert!(client.chain.origin.contains("client-pair"));
}
