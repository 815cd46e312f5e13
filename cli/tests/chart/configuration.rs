//! What the chart writes into ConfigMaps is what the injector reads, without a warning.

use outrigger_injector::configuration::Configuration;
use outrigger_injector::settings::{NativeSidecars, Policy, Settings};
use outrigger_injector::{Context, inject};
use serde_json::{Value, json};

use crate::arguments::of_the_injector;
use crate::cases::{self, Rendered};

/// The ConfigMap named by this flag.
fn config_map<'a>(rendered: &'a Rendered, flag: &str) -> &'a Value {
    let name = of_the_injector(rendered).iter().find_map(|argument| Some(argument.strip_prefix(flag)?.to_owned())).expect("given");
    &rendered.one("ConfigMap", &name)["data"]
}

fn read(rendered: &Rendered) -> Configuration {
    let injection = config_map(rendered, "--config-map=");
    let mesh = config_map(rendered, "--mesh-config-map=");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    Configuration::read(&text(&injection["config"]), Some(&text(&injection["values"])), Some(&text(&mesh["mesh"]))).expect("readable")
}

#[test]
fn every_configuration_is_read_without_a_warning() {
    for (name, rendered) in cases::accepted() {
        assert_eq!(read(rendered).warnings, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn values_left_alone_give_the_injector_s_own_defaults() {
    let settings = read(cases::case("default")).settings;
    let own = Settings::default();
    assert_eq!(settings.image, format!("{}/outrigger:{}", cases::HUB, env!("CARGO_PKG_VERSION")));
    let discovery = serde_json::json!({"discoveryAddress": "istiod.istio-system.svc:15012"});
    assert_eq!(settings.ca_address(), "istiod.istio-system.svc:15012");
    let mut left = settings.clone();
    left.image.clone_from(&own.image);
    left.ca_address.clone_from(&own.ca_address);
    assert_eq!(Value::Object(left.proxy_config.clone()), discovery);
    left.proxy_config.clone_from(&own.proxy_config);
    assert_eq!(left, own);
}

#[test]
fn values_arrive_in_the_pods() {
    let settings = read(cases::case("everything said")).settings;
    assert_eq!(settings.image, format!("{}/outrigger:1.5", cases::HUB));
    assert_eq!((settings.image_pull_policy.as_deref(), settings.image_pull_secrets.as_slice()), (Some("Always"), &["pull".to_owned()][..]));
    assert_eq!((settings.policy, settings.strict, settings.native_sidecars), (Policy::Disabled, true, NativeSidecars::Always));
    assert!(!settings.hold_application_until_proxy_starts && settings.log_as_json && !settings.rewrite_app_http_probe);
    assert_eq!(
        (settings.trust_domain.as_str(), settings.mesh_id.as_deref(), settings.network.as_deref()),
        ("example.org", Some("m"), Some("east"))
    );
    assert_eq!((settings.cluster_id.as_str(), settings.ca_address().as_str()), ("eks-1", "istiod.mesh.svc:15012"));
    assert_eq!(settings.injected_annotations["team"], "mesh");
    assert_eq!((settings.never_inject.len(), settings.always_inject.len()), (1, 1));
    assert_eq!(settings.default_templates, ["sidecar", "extra"]);
    assert_eq!(settings.aliases["both"], ["sidecar", "extra"]);
    assert_eq!(read(cases::case("beside istiod")).settings.revision, "outrigger");
    let demo = read(cases::case("demo")).settings;
    assert_eq!(demo.proxy_config["proxyMetadata"]["OUTRIGGER_CONFIG"], "/etc/outrigger/config");
}

/// The container with the proxy of a plain pod with these annotations, and its volumes.
fn injected(case: &str, annotations: &Value) -> (Value, Value) {
    let pod = json!({"metadata": {"name": "a", "annotations": annotations}, "spec": {"containers": [{"name": "app", "image": "example.com/app"}]}});
    let context = Context { settings: read(cases::case(case)).settings, ..Context::default() };
    let injected = inject(&pod, &context).expect("injected");
    assert_eq!(injected.warnings, Vec::<String>::new(), "{case}");
    let mut containers =
        ["initContainers", "containers"].into_iter().flat_map(|list| injected.pod["spec"][list].as_array().into_iter().flatten());
    let proxy = containers.find(|container| container["name"] == "istio-proxy").expect("a proxy").clone();
    (proxy, injected.pod["spec"]["volumes"].clone())
}

#[test]
fn every_case_injects_a_pod_with_the_chart_s_image() {
    for (name, rendered) in cases::accepted().filter(|(name, _)| *name != "everything said") {
        let (proxy, _) = injected(name, &json!({}));
        let injector = &rendered.of_kind("Deployment").find(|object| object.name().starts_with("outrigger-injector")).expect("one").object;
        assert_eq!(proxy["image"], injector["spec"]["template"]["spec"]["containers"][0]["image"], "{name}");
    }
}

#[test]
fn the_annotations_for_eks_mount_a_folder_and_tell_the_proxy_of_it() {
    let patch = std::fs::read_to_string(cases::folder("examples/eks/sidecars/annotations.yaml")).expect("readable");
    let (mut annotations, mut config) = (serde_json::Map::new(), String::new());
    for line in patch.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        match line.split_once(": ") {
            Some((key @ ("sidecar.istio.io/userVolume" | "sidecar.istio.io/userVolumeMount"), value)) => {
                annotations.insert(key.to_owned(), value.trim_matches('\'').into());
            }
            Some(("OUTRIGGER_CONFIG", folder)) => config = format!("proxyMetadata:\n  OUTRIGGER_CONFIG: {folder}\n"),
            _ => {}
        }
    }
    annotations.insert("proxy.istio.io/config".to_owned(), config.clone().into());
    let (proxy, volumes) = injected("eks", &Value::Object(annotations));
    let mounts = proxy["volumeMounts"].as_array().expect("given");
    let mount = mounts.iter().find(|mount| mount["name"] == "mesh-files").expect("mounted");
    assert!(config.contains(mount["mountPath"].as_str().expect("text")), "{mount}");
    assert!(
        volumes.as_array().expect("given").iter().any(|volume| volume["name"] == "mesh-files" && volume["configMap"]["optional"] == true)
    );
    let told = proxy["env"].as_array().expect("given").iter().any(|variable| variable.to_string().contains("OUTRIGGER_CONFIG"));
    assert!(told, "{}", proxy["env"]);
}
