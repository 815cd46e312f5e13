//! What docs/install-eks.md tells people to use: values are accepted, the gateway's files have nothing wrong.

use std::collections::BTreeSet;
use std::fs;

use outrigger_config::store::{FileChange, Store};
use outrigger_config::{compile::compile, load, model::Node, model::ProxyType, registry::Registry, string_map::StringMap};

use crate::cases;

#[test]
fn the_values_for_eks_give_the_gateway_a_load_balancer() {
    for case in ["eks", "flux"] {
        let service = cases::case(case).one("Service", "istio-ingressgateway");
        assert_eq!(service["spec"]["loadBalancerClass"], "service.k8s.aws/nlb", "{case}");
        let annotations = &service["metadata"]["annotations"];
        assert_eq!(annotations["service.beta.kubernetes.io/aws-load-balancer-healthcheck-port"], "15021", "{case}");
    }
    let service = cases::case("eks behind an ALB").one("Service", "istio-ingressgateway");
    assert_eq!(service["spec"]["type"], "NodePort");
    let ingress = fs::read_to_string(cases::folder("examples/eks/alb-ingress.yaml")).expect("readable");
    let status = service["spec"]["ports"][0]["nodePort"].as_i64().expect("given");
    assert!(ingress.contains(&format!("healthcheck-port: \"{status}\"")));
}

#[test]
fn flux_installs_what_the_production_profile_says() {
    assert_eq!(cases::case("flux").one("Deployment", "outrigger-injector")["spec"]["replicas"], 3);
    let monitor = cases::case("flux").one("PodMonitor", "outrigger-proxies");
    assert_eq!(monitor["metadata"]["labels"]["release"], "monitoring");
}

#[test]
fn the_files_of_gateway_and_sidecars_are_read_without_a_word_of_complaint() {
    let gateway = said(ProxyType::Router, "istio-system", &["examples/tasks/bookinfo/gateway.yaml", "examples/eks/gateway/services.yaml"]);
    assert!(gateway.is_empty(), "{gateway:?}");
    let sidecar = said(ProxyType::Sidecar, "bookinfo", &["examples/eks/sidecars/mesh.yaml"]);
    assert!(sidecar.is_empty(), "{sidecar:?}");
}

fn said(proxy_type: ProxyType, namespace: &str, paths: &[&str]) -> Vec<String> {
    let paths: Vec<_> = paths.iter().map(|path| cases::folder(path)).collect();
    let sources = load::read(&paths).expect("readable");
    let mut store = Store::new();
    store.apply(sources.into_iter().map(|source| FileChange { path: source.path, text: Some(source.text) }).collect());
    let compiled = compile(&Registry::new(store.objects()), &node(proxy_type, namespace));
    store.diagnostics().iter().chain(&compiled.diagnostics).map(ToString::to_string).collect()
}

fn node(proxy_type: ProxyType, namespace: &str) -> Node {
    Node {
        proxy_type,
        name: "any".into(),
        namespace: namespace.into(),
        ip_addresses: vec![[127, 0, 0, 1].into()],
        labels: StringMap::from([("istio".to_owned(), "ingressgateway".to_owned())]),
        workload_name: "any".into(),
        ..Node::default()
    }
}

#[test]
fn every_file_the_docs_point_to_is_there() {
    for page in ["docs/install-eks.md", "docs/beside-istiod.md", "README.md"] {
        let text = fs::read_to_string(cases::folder(page)).expect("readable");
        let folder = cases::folder(page).parent().expect("a folder").to_path_buf();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let missing: BTreeSet<_> = links.filter(|link| !link.is_empty() && !link.contains(':') && !folder.join(link).exists()).collect();
        assert!(missing.is_empty(), "{page}: {missing:?}");
        for word in text.split_whitespace().filter(|word| word.starts_with("examples/") || word.starts_with("charts/")) {
            let path = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(cases::folder(path).exists(), "{page}: {path}");
        }
    }
}
