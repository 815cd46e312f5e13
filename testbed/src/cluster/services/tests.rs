//! Which pods stand behind a Service, and what is published about them.

use super::*;
use crate::names::zone::Answer;

fn service(yaml: &str, addresses: &[&str]) -> ServiceView {
    let text = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: front, namespace: shop}}\nspec: {yaml}\n");
    let parsed = outrigger_config::parse::parse(std::path::Path::new("test.yaml"), &text);
    let outrigger_config::object::Body::Service(service) = &parsed.objects[0].body else { panic!("no Service") };
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    ServiceView { namespace: "shop".into(), name: "front".into(), service: service.clone(), addresses }
}

fn pod(number: u8, ready: bool, port: u16) -> PodView {
    PodView {
        key: PodKey { namespace: "shop".into(), name: format!("front-{number}") },
        uid: format!("uid-{number}"),
        labels: [("app".into(), "front".into())].into(),
        addresses: vec![IpAddr::from([10, 0, 0, number]), format!("fd00::{number}").parse().unwrap()],
        ready,
        terminating: false,
        host: Some((format!("front-{number}"), "front".into())),
        ports: vec![ContainerPort { name: "web".into(), container_port: port, ..ContainerPort::default() }],
    }
}

const SELECTOR: &str = "{selector: {app: front}, ports: [{name: http, port: 80, targetPort: web}]}";

#[test]
fn only_ready_pods_stand_behind_the_address_and_each_at_its_own_port() {
    let pods = [pod(1, true, 8080), pod(2, false, 8080), pod(3, true, 9090)];
    let derived = derive(&[service(SELECTOR, &["10.1.0.1"])], &pods, &[]);
    let backends: Vec<String> = derived.frontends[0].backends.iter().map(ToString::to_string).collect();
    assert_eq!(backends, ["10.0.0.1:8080", "10.0.0.3:9090"]);
    assert_eq!(derived.slices.len(), 2, "one slice per set of target ports");
}

#[test]
fn slices_say_of_every_pod_whether_it_is_ready() {
    let mut leaving = pod(2, true, 8080);
    leaving.terminating = true;
    let derived = derive(&[service(SELECTOR, &["10.1.0.1"])], &[pod(1, true, 8080), leaving], &[]);
    let slice = derived.slices.values().next().unwrap();
    assert_eq!(slice["endpoints"][0]["conditions"], json!({"ready": true, "serving": true, "terminating": false}));
    assert_eq!(slice["endpoints"][1]["conditions"], json!({"ready": false, "serving": true, "terminating": true}));
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(derived.frontends[0].backends.len(), 1);
}

#[test]
fn a_headless_service_names_its_ready_pods_together_and_one_by_one() {
    let headless = "{clusterIP: None, selector: {app: front}, ports: [{port: 80}]}";
    let zone = derive(&[service(headless, &[])], &[pod(1, true, 80), pod(2, false, 80)], &[]).zone;
    let one = Answer::Addresses(vec!["10.0.0.1".parse().unwrap()]);
    assert_eq!(zone.find("front.shop.svc.cluster.local"), one);
    assert_eq!(zone.find("front-1.front.shop.svc.cluster.local"), one);
    assert_eq!(zone.find("front-2.front.shop.svc.cluster.local"), Answer::NoSuchName);
}

#[test]
fn a_dual_stack_service_has_a_frontend_and_a_slice_per_family() {
    let both = "{ipFamilyPolicy: RequireDualStack, selector: {app: front}, ports: [{port: 80}]}";
    let derived = derive(&[service(both, &["10.1.0.1", "fd01::1"])], &[pod(1, true, 80)], &[]);
    let fronts: Vec<String> = derived.frontends.iter().map(|front| front.backends[0].to_string()).collect();
    assert_eq!(fronts, ["10.0.0.1:80", "[fd00::1]:80"]);
    assert_eq!(derived.slices.len(), 2);
}

#[test]
fn a_service_without_pods_has_an_empty_slice_and_refuses_connections() {
    let derived = derive(&[service(SELECTOR, &["10.1.0.1"])], &[], &[]);
    assert!(derived.frontends[0].backends.is_empty());
    assert_eq!(derived.slices.values().next().unwrap()["endpoints"], json!([]));
}

#[test]
fn an_external_name_is_an_alias() {
    let zone = derive(&[service("{type: ExternalName, externalName: example.org}", &[])], &[], &[]).zone;
    assert_eq!(zone.find("front.shop.svc.cluster.local"), Answer::Alias("example.org".into()));
}
