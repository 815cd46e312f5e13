//! The objects fit together: what one names, another one is.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PodTemplateSpec, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::cases::{self, Rendered};
use crate::security::pod;

type Labels = BTreeMap<String, String>;

fn deployments(rendered: &Rendered) -> Vec<Deployment> {
    rendered.of_kind("Deployment").map(|object| serde_json::from_value(object.object.clone()).expect("typed")).collect()
}

fn template(deployment: &Deployment) -> &PodTemplateSpec {
    &deployment.spec.as_ref().expect("given").template
}

fn labels(template: &PodTemplateSpec) -> Labels {
    template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).expect("given")
}

fn selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[test]
fn names_are_unique_and_every_object_is_in_the_release_s_namespace_or_the_cluster_s() {
    let cluster = ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "MutatingWebhookConfiguration", "Namespace"];
    for (name, rendered) in cases::accepted() {
        let mut seen = BTreeSet::new();
        for object in rendered.objects() {
            let namespace = object.object["metadata"]["namespace"].as_str();
            assert!(seen.insert((object.kind(), namespace, object.name())), "{name}: {} stands twice", object.label());
            assert_eq!(namespace.is_none(), cluster.contains(&object.kind()), "{name}: {}", object.label());
            assert!(object.name().len() <= 63 || object.kind() == "CustomResourceDefinition", "{name}: {}", object.label());
        }
    }
}

#[test]
fn services_budgets_and_scalers_select_exactly_one_deployment_and_its_ports() {
    for (name, rendered) in cases::accepted() {
        let deployments = deployments(rendered);
        for object in rendered.of_kind("Service") {
            let service: Service = serde_json::from_value(object.object.clone()).expect("typed");
            let spec = service.spec.expect("given");
            let selected = the_one(&deployments, &spec.selector.expect("given"), &format!("{name}: {}", object.label()));
            let ports: Vec<_> = template(selected).spec.as_ref().expect("given").containers[0].ports.clone().expect("given");
            for port in spec.ports.expect("given") {
                let declared = match port.target_port.as_ref().expect("given") {
                    IntOrString::Int(number) => ports.iter().any(|port| port.container_port == *number),
                    IntOrString::String(named) => ports.iter().any(|port| port.name.as_ref() == Some(named)),
                };
                assert!(declared, "{name}: {}: {port:?}", object.label());
            }
        }
        for object in rendered.of_kind("PodDisruptionBudget") {
            let selector: Labels = serde_json::from_value(object.object["spec"]["selector"]["matchLabels"].clone()).expect("labels");
            the_one(&deployments, &selector, &format!("{name}: {}", object.label()));
            assert_eq!(object.object["spec"]["maxUnavailable"], 1, "{name}: a single replica must not keep a node from being drained");
        }
        for object in rendered.of_kind("HorizontalPodAutoscaler") {
            let target = rendered.one("Deployment", object.object["spec"]["scaleTargetRef"]["name"].as_str().expect("given"));
            assert!(target["spec"]["replicas"].is_null(), "{name}: {}: an upgrade would undo the scaling", object.label());
        }
    }
}

fn the_one<'a>(deployments: &'a [Deployment], selector: &Labels, about: &str) -> &'a Deployment {
    let selected: Vec<_> = deployments.iter().filter(|deployment| selects(selector, &labels(template(deployment)))).collect();
    assert_eq!(selected.len(), 1, "{about} selects {} Deployments", selected.len());
    selected[0]
}

#[test]
fn deployments_select_their_own_pods_and_nobody_injects_these() {
    for (name, rendered) in cases::accepted() {
        let deployments = deployments(rendered);
        for deployment in &deployments {
            let spec = deployment.spec.as_ref().expect("given");
            let about = format!("{name}: {:?}", deployment.metadata.name);
            let own = the_one(&deployments, spec.selector.match_labels.as_ref().expect("given"), &about);
            assert_eq!(own.metadata.name, deployment.metadata.name);
            assert_eq!(labels(&spec.template)["sidecar.istio.io/inject"], "false", "{about}");
        }
    }
}

#[test]
fn containers_mount_volumes_that_are_there_and_run_one_image() {
    for (name, rendered) in cases::accepted() {
        let mut images = BTreeSet::new();
        for object in rendered.objects() {
            let Some(pod) = pod(object) else { continue };
            let volumes: BTreeSet<_> = pod.volumes.iter().flatten().map(|volume| volume.name.clone()).collect();
            let mut mounted = BTreeSet::new();
            for container in &pod.containers {
                mounted.extend(container.volume_mounts.iter().flatten().map(|mount| mount.name.clone()));
                images.extend((object.kind() == "Deployment").then(|| container.image.clone().expect("given")));
            }
            assert_eq!(volumes, mounted, "{name}: {}", object.label());
            let account = pod.service_account_name.expect("given");
            assert_eq!(rendered.one("ServiceAccount", &account)["metadata"]["namespace"], object.object["metadata"]["namespace"], "{name}");
        }
        let tag = if name == "everything said" { "1.5" } else { env!("CARGO_PKG_VERSION") };
        let of_eks = ["eks", "eks behind an ALB", "flux"].contains(&name);
        let hub = if of_eks { "123456789012.dkr.ecr.eu-central-1.amazonaws.com" } else { cases::HUB };
        assert_eq!(images, BTreeSet::from([format!("{hub}/outrigger:{tag}")]), "{name}");
    }
}

#[test]
fn gateways_have_the_ports_that_istio_s_have() {
    for (name, rendered) in cases::accepted() {
        for object in rendered.of_kind("Service").filter(|object| object.name().ends_with("gateway")) {
            let ports: Vec<Value> = object.object["spec"]["ports"].as_array().expect("given").clone();
            let ports: Vec<_> =
                ports.iter().map(|port| (port["name"].as_str(), port["port"].as_i64(), port["targetPort"].as_i64())).collect();
            let same = |name, port| (Some(name), Some(port), Some(port));
            assert_eq!(ports, [same("status-port", 15021), same("http2", 80), same("https", 443)], "{name}: {}", object.label());
            assert_eq!(object.object["spec"]["selector"]["istio"], object.name().trim_start_matches("istio-"), "{name}");
        }
        let injector = rendered.of_kind("Service").find(|object| object.name().starts_with("outrigger-injector")).expect("one");
        assert_eq!(injector.object["spec"]["ports"][0]["port"], 443);
        let deployment = rendered.one("Deployment", injector.name());
        let ports = &deployment["spec"]["template"]["spec"]["containers"][0]["ports"];
        assert_eq!((ports[0]["name"].as_str(), ports[0]["containerPort"].as_i64()), (Some("https-webhook"), Some(15017)), "{name}");
    }
}

#[test]
fn a_node_port_for_an_alb_is_what_was_asked_for() {
    let service = cases::case("behind an ALB").one("Service", "istio-ingressgateway");
    assert_eq!(service["spec"]["type"], "NodePort");
    let ports: Vec<_> = service["spec"]["ports"].as_array().expect("given").iter().map(|port| port["nodePort"].as_i64()).collect();
    assert_eq!(ports, [Some(30521), Some(30080), Some(30443)]);
}

#[test]
fn replicas_of_one_deployment_prefer_different_nodes_and_zones() {
    for (name, rendered) in cases::accepted() {
        for deployment in deployments(rendered) {
            let spec = template(&deployment).spec.as_ref().expect("given");
            let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref()).expect("given");
            let term = &affinity.preferred_during_scheduling_ignored_during_execution.as_ref().expect("given")[0].pod_affinity_term;
            assert_eq!(term.topology_key, "kubernetes.io/hostname", "{name}");
            let spread = &spec.topology_spread_constraints.as_ref().expect("given")[0];
            assert_eq!(
                (spread.topology_key.as_str(), spread.when_unsatisfiable.as_str()),
                ("topology.kubernetes.io/zone", "ScheduleAnyway")
            );
            for selector in [&term.label_selector, &spread.label_selector] {
                let selector = selector.as_ref().and_then(|selector| selector.match_labels.as_ref()).expect("given");
                assert!(selects(selector, &labels(template(&deployment))), "{name}");
            }
        }
    }
    assert_eq!(cases::case("default").one("Deployment", "outrigger-injector")["spec"]["replicas"], 2);
    assert_eq!(cases::case("production").one("Deployment", "outrigger-injector")["spec"]["replicas"], 3);
}

#[test]
fn monitors_select_what_they_are_for() {
    let rendered = cases::case("production");
    let service = &rendered.one("ServiceMonitor", "outrigger-injector")["spec"];
    let injector = rendered.one("Service", "outrigger-injector");
    for (key, value) in service["selector"]["matchLabels"].as_object().expect("labels") {
        assert_eq!(&injector["metadata"]["labels"][key], value);
    }
    let port = service["endpoints"][0]["port"].as_str();
    assert!(injector["spec"]["ports"].as_array().expect("ports").iter().any(|named| named["name"].as_str() == port));
    let port = rendered.one("PodMonitor", "outrigger-proxies")["spec"]["podMetricsEndpoints"][0]["port"].clone();
    let gateway = rendered.one("Deployment", "istio-ingressgateway");
    let ports = gateway["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().expect("ports");
    assert!(ports.iter().any(|named| named["name"] == port && named["containerPort"] == 15090));
}
