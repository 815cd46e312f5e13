//! Definitions of Istio's objects: the versions, names and columns that people's manifests and commands use.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};

use crate::cases;

fn definitions() -> Vec<CustomResourceDefinition> {
    let rendered = cases::case("default");
    rendered.of_kind("CustomResourceDefinition").map(|object| serde_json::from_value(object.object.clone()).expect("typed")).collect()
}

#[test]
fn kinds_are_served_in_the_versions_that_istio_serves() {
    let mut found: Vec<_> = definitions()
        .iter()
        .map(|definition| {
            let spec = &definition.spec;
            let versions: Vec<_> = spec.versions.iter().map(|version| version.name.as_str()).collect();
            format!("{} {} {}", spec.group, spec.names.kind, versions.join(","))
        })
        .collect();
    found.sort();
    let three = "v1,v1beta1,v1alpha3";
    let mut expected: Vec<String> =
        ["DestinationRule", "Gateway", "ServiceEntry", "Sidecar", "VirtualService", "WorkloadEntry", "WorkloadGroup"]
            .map(|kind| format!("networking.istio.io {kind} {three}"))
            .to_vec();
    expected.extend(
        ["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"].map(|kind| format!("security.istio.io {kind} v1,v1beta1")),
    );
    expected.extend(["networking.istio.io ProxyConfig v1beta1".to_owned(), "telemetry.istio.io Telemetry v1,v1alpha1".to_owned()]);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn each_definition_is_one_that_an_api_server_accepts() {
    for definition in definitions() {
        let (spec, name) = (definition.spec, definition.metadata.name.expect("given"));
        assert_eq!(name, format!("{}.{}", spec.names.plural, spec.group));
        assert_eq!(spec.scope, "Namespaced", "{name}");
        assert_eq!(spec.versions.iter().filter(|version| version.storage).count(), 1, "{name}");
        assert!(spec.versions.iter().all(|version| version.served), "{name}");
        for version in &spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).expect("a schema");
            structural(&name, schema);
            let spec = &schema.properties.as_ref().expect("given")["spec"];
            assert_eq!(spec.x_kubernetes_preserve_unknown_fields, Some(true), "{name}: unknown fields would be lost");
            assert_eq!(version.additional_printer_columns.iter().flatten().filter(|column| column.name == "Age").count(), 1, "{name}");
        }
    }
}

/// A schema is structural only if everything in it has a type, and lists say of what.
fn structural(name: &str, schema: &JSONSchemaProps) {
    assert!(schema.type_.is_some(), "{name}: a field without type");
    assert_eq!(schema.type_.as_deref() == Some("array"), schema.items.is_some(), "{name}: a list without items");
    for field in schema.properties.iter().flat_map(|properties| properties.values()) {
        structural(name, field);
    }
}

#[test]
fn deleting_the_release_keeps_everybody_s_objects() {
    for definition in definitions() {
        let annotations = definition.metadata.annotations.expect("given");
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
    }
    assert_eq!(cases::case("beside istiod").of_kind("CustomResourceDefinition").count(), 0);
}
