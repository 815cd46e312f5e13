//! Texts as Istio's chart writes them, and broken ones.

use super::Configuration;
use crate::settings::{Cni, NativeSidecars, Policy};
use crate::templates::Template;

fn read(config: &str, values: &str, mesh: &str) -> Configuration {
    Configuration::read(config, Some(values), Some(mesh)).unwrap()
}

#[test]
fn without_any_text_the_settings_are_the_defaults() {
    assert_eq!(Configuration::read("", None, None), Ok(Configuration::default()));
    assert_eq!(Configuration::read("# nothing\n", Some("{}"), Some("{}")), Ok(Configuration::default()));
}

#[test]
fn every_value_that_shapes_a_pod_is_taken() {
    let settings = read("", include_str!("../../tests/golden/full/configuration/values.yaml"), "").settings;
    assert_eq!(settings.image, "registry.example/mesh/outrigger:9");
    assert_eq!(settings.revision, "canary");
    assert_eq!((settings.native_sidecars, settings.cni), (NativeSidecars::Always, Cni::Off));
    assert_eq!(settings.ca_address(), "ca.example:443");
    assert_eq!(settings.resources.cpu.as_deref(), Some("20m"));
    assert_eq!(settings.resources.cpu_limit, None);
    assert_eq!(settings.capture.include_outbound_ranges.as_deref(), Some("10.0.0.0/8"));
    assert_eq!((settings.probes.period, settings.probes.startup_failure_threshold), (7, None));
    assert_eq!(settings.image_pull_secrets, ["pull-a", "pull-b"]);
    assert!(settings.log_as_json && !settings.hold_application_until_proxy_starts && settings.strict);
}

#[test]
fn mesh_gives_proxy_config_and_identity() {
    let mesh = "trustDomain: td\nrootNamespace: mesh\nenablePrometheusMerge: false\ninboundTrafficPolicy: {mode: LOCALHOST}\n\
                defaultConfig: {drain_duration: 9s, meshId: m, proxyMetadata: {A: b}}";
    let settings = read("", "", mesh).settings;
    assert_eq!((settings.trust_domain.as_str(), settings.istio_namespace.as_str()), ("td", "istio-system"));
    assert!(!settings.enable_prometheus_merge && settings.probe_localhost);
    assert_eq!(settings.proxy_config["drainDuration"], "9s");
    assert_eq!(settings.mesh_id.as_deref(), Some("m"));
}

/// The root namespace of the configuration need not be the one the control plane runs in.
#[test]
fn only_values_say_where_the_control_plane_is() {
    let mesh = "rootNamespace: mesh-config";
    assert_eq!(read("", "", mesh).settings.ca_address(), "istiod.istio-system.svc:15012");
    let values = "global: {istioNamespace: control}";
    assert_eq!(read("", values, mesh).settings.ca_address(), "istiod.control.svc:15012");
}

#[test]
fn config_gives_policy_selectors_and_templates() {
    let config = "policy: disabled\nstrict: true\nneverInjectSelector: [{matchLabels: {a: b}}]\n\
                  alwaysInjectSelector: [{matchExpressions: [{key: c, operator: Exists}]}]\n\
                  injectedAnnotations: {x: y}\naliases: {both: [sidecar, extra]}\n\
                  templates:\n  sidecar: '{{ go }}'\n  extra: |\n    spec: {nodeName: n}\n";
    let Configuration { settings, warnings } = read(config, "", "");
    assert_eq!(settings.policy, Policy::Disabled);
    assert_eq!((settings.never_inject.len(), settings.always_inject.len()), (1, 1));
    assert!(matches!(settings.templates["extra"], Template::Fragment(_)));
    assert_eq!(settings.aliases["both"], ["sidecar", "extra"]);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("Go's template language") && warnings[0].ends_with("the built-in template of that name is used"));
}

#[test]
fn what_has_no_effect_is_told_and_reading_goes_on() {
    let said = |config: &str, values: &str| read(config, values, "").warnings.join("\n");
    assert!(said("polcy: enabled", "").contains("polcy is not known"));
    assert!(said("policy: on", "").contains("expected `enabled` or `disabled`"));
    assert!(said("", "global: {hub: docker.io/istio, tag: 1, proxy: {image: proxyv2}}").contains("is Istio's proxy"));
    assert!(said("", "global: {proxy: {enableCoreDump: true}}").contains("enableCoreDump has no effect"));
}

#[test]
fn a_broken_text_names_its_part_and_field() {
    for (config, values, mesh, expected) in [
        ("policy: [", "", "", "config: line"),
        ("[]", "", "", "config: expected a mapping"),
        ("neverInjectSelector: {}", "", "", "config: neverInjectSelector: expected a list of label selectors"),
        ("templates: {a: {}}", "", "", "config: templates.a: expected text"),
        ("", "global: 1", "", "values: global: expected a mapping"),
        ("", "global: {logAsJson: maybe}", "", "values: global.logAsJson: expected true or false"),
        ("", "global: {proxy: {statusPort: 70000}}", "", "values: global.proxy.statusPort: expected a number"),
        ("", "global: {proxy: {includeIPRanges: 10.0.0.0/40}}", "", "values: global.proxy.includeIPRanges: expected a range"),
        ("", "global: {proxy: {resources: {limits: {cpu: lots}}}}", "", "values: global.proxy.resources.limits.cpu: expected a quantity"),
        ("", "pilot: {env: {ENABLE_NATIVE_SIDECARS: soon}}", "", "values: pilot.env.ENABLE_NATIVE_SIDECARS: expected auto, true or false"),
        ("", "", "connectTimeout: soon", "mesh: connectTimeout"),
    ] {
        let error = Configuration::read(config, Some(values), Some(mesh)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
