//! From text to objects.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::{from_json, parse};
use crate::diagnostic::Severity;
use crate::object::{Body, Kind};

const SHOP: &str = "apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: shop
spec:
  hosts: [shop]
  http:
  - route:
    - destination: {host: shop, subset: v1}
";

#[test]
fn objects_carry_identity_content_and_positions() {
    let text = format!("# first line\n---\n{SHOP}");
    let parsed = parse(Path::new("a.yaml"), &text);
    assert!(parsed.diagnostics.is_empty() && !parsed.syntax_error);
    let object = &parsed.objects[0];
    assert_eq!(object.id.to_string(), "VirtualService default/shop");
    assert_eq!(&*object.api_version, "networking.istio.io/v1alpha3");
    let Body::VirtualService(spec) = &object.body else { panic!("not a VirtualService") };
    assert_eq!(spec.http[0].route[0].destination.subset, "v1");
    assert_eq!(object.position("spec.http[0].route[0].destination.subset").to_string(), "11:41");
    let diagnostic = object.diagnostic(Severity::Error, "IST0101", "spec.hosts[0]", "expected something else");
    assert_eq!(
        diagnostic.to_string(),
        "a.yaml:8:11  Error    IST0101  VirtualService default/shop  spec.hosts[0]: expected something else"
    );
}

#[test]
fn lists_are_unwrapped_at_any_depth_and_positions_still_hold() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: a}\n- apiVersion: v1\n  kind: List\n  items:\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: b}\n    data: {k: v}\n";
    let parsed = parse(Path::new("a.yaml"), text);
    let ids: Vec<String> = parsed.objects.iter().map(|object| object.id.to_string()).collect();
    assert_eq!(ids, ["Namespace a", "ConfigMap default/b"]);
    assert_eq!(parsed.objects[1].position("data[k]").to_string(), "13:15");
    assert_eq!(parsed.objects[1].to_json()["data"], json!({"k": "v"}));
}

#[test]
fn all_served_versions_are_read_alike_and_no_other() {
    for kind in Kind::ALL {
        for version in kind.versions().iter().chain(&["v99"]) {
            let group = if kind.group().is_empty() { String::new() } else { format!("{}/", kind.group()) };
            let text = format!("apiVersion: {group}{version}\nkind: {kind}\nmetadata: {{name: x}}\n");
            let parsed = parse(Path::new("a.yaml"), &text);
            let known = parsed.objects.len() + parsed.invalid.len() == 1;
            assert_eq!(known, *version != "v99", "{text}{:?}", parsed.diagnostics);
        }
    }
}

#[test]
fn json_and_objects_made_by_programs_are_read_alike() {
    let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}], "hostIPC": true}});
    let object = from_json(Path::new("made"), &value).expect("valid");
    assert_eq!(object.to_json(), value, "fields that are not modelled survive");
    let Body::Pod(pod) = &object.body else { panic!("not a Pod") };
    assert_eq!(pod.spec.containers[0].ports[0].container_port, 80);
    let refused =
        from_json(Path::new("made"), &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}})).expect_err("invalid");
    assert_eq!(refused[0].field, "spec.containers");
}

#[test]
fn an_object_with_an_error_is_named_and_the_others_are_used() {
    let text = format!(
        "{SHOP}---\n{}",
        SHOP.replace("name: shop", "name: other").replace("subset: v1", "weight: 1").replace("hosts: [shop]", "hosts: 3")
    );
    let parsed = parse(Path::new("a.yaml"), &text);
    assert_eq!(parsed.objects.len(), 1);
    assert_eq!(parsed.invalid[0].to_string(), "VirtualService default/other");
    assert!(!parsed.syntax_error);
    assert!(parsed.diagnostics.iter().any(|diagnostic| diagnostic.line == 16 && diagnostic.blocks_strict));
}

#[test]
fn what_cannot_be_identified_counts_as_a_syntax_error() {
    for text in [
        "a: [",
        "just text",
        "- a list",
        "kind: Pod",
        "apiVersion: v1\nkind: Pod\n",
        "apiVersion: networking.istio.io/v7\nkind: Gateway\nmetadata: {name: a}",
    ] {
        let parsed = parse(Path::new("a.yaml"), text);
        assert!(parsed.syntax_error, "{text}");
        assert_eq!(parsed.diagnostics[0].severity, Severity::Error, "{text}");
    }
    let foreign = parse(Path::new("a.yaml"), "apiVersion: example.com/v1\nkind: Thing\n");
    assert!(!foreign.syntax_error);
    assert_eq!(foreign.diagnostics[0].severity, Severity::Info);
}

#[test]
fn an_empty_text_holds_nothing_and_says_nothing() {
    for text in ["", "---\n", "# comment\n\n---\n---\n", "\u{feff}\r\n"] {
        let parsed = parse(Path::new("a.yaml"), text);
        assert!(parsed.objects.is_empty() && parsed.diagnostics.is_empty(), "{text:?}");
    }
}

/// Pieces of manifests, to be put together wildly.
fn fragment() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "spec",
        "hosts",
        "http",
        "match",
        "uri",
        "prefix",
        "regex",
        "route",
        "destination",
        "host",
        "weight",
        "tls",
        "timeout",
        "retries",
        "ports",
        "number",
        "servers",
        "subsets",
        "labels",
        "containers",
        "env",
        "trafficPolicy",
        "endpoints",
        "portLevelMtls",
        "data",
        "metadata",
        "headers",
        "set",
        "mode",
        "replicas",
        "template",
        "selector",
        "matchLabels",
        "exportTo",
        "gateways",
    ]);
    let values = prop::sample::select(vec![
        "",
        "x",
        "1",
        "-1",
        "[]",
        "{}",
        "[a, b]",
        "{a: b}",
        "1s",
        "yes",
        "*",
        "'*'",
        "~",
        "9999999999",
        "\"%\"",
        "(",
        "unix:///a",
        "10.0.0.0/8",
    ]);
    (0_usize..5, keys, values, any::<bool>())
        .prop_map(|(depth, key, value, item)| format!("{}{}{key}: {value}\n", "  ".repeat(depth), if item { "- " } else { "" }))
}

proptest! {
    #[test]
    fn no_manifest_makes_reading_and_checking_panic(kind in prop::sample::select(Kind::ALL), lines in prop::collection::vec(fragment(), 0..25)) {
        let group = if kind.group().is_empty() { String::new() } else { format!("{}/", kind.group()) };
        let text = format!("apiVersion: {group}{}\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n{}", kind.versions()[0], lines.concat());
        parse(Path::new("a.yaml"), &text);
    }

    #[test]
    fn no_structure_makes_reading_and_checking_panic(kind in prop::sample::select(Kind::ALL), spec in any_value()) {
        let group = if kind.group().is_empty() { String::new() } else { format!("{}/", kind.group()) };
        let value = json!({"apiVersion": format!("{group}{}", kind.versions()[0]), "kind": kind.as_str(), "metadata": {"name": "x"}, "spec": spec});
        if let Ok(object) = from_json(Path::new("made"), &value) {
            crate::registry::Registry::new([&object]);
        }
    }
}

/// Values that use the API's names, of right and wrong types.
fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let names = prop::sample::select(vec![
        "hosts",
        "http",
        "match",
        "uri",
        "prefix",
        "exact",
        "regex",
        "route",
        "destination",
        "host",
        "weight",
        "tls",
        "tcp",
        "timeout",
        "retries",
        "retryOn",
        "attempts",
        "ports",
        "number",
        "protocol",
        "name",
        "servers",
        "port",
        "subsets",
        "labels",
        "containers",
        "image",
        "env",
        "trafficPolicy",
        "endpoints",
        "address",
        "addresses",
        "resolution",
        "headers",
        "request",
        "set",
        "mode",
        "replicas",
        "template",
        "metadata",
        "spec",
        "selector",
        "matchLabels",
        "exportTo",
        "gateways",
        "redirect",
        "rewrite",
        "fault",
        "delay",
        "percentage",
        "value",
        "mtls",
        "portLevelMtls",
        "connectionPool",
        "loadBalancer",
        "consistentHash",
        "localityLbSetting",
        "distribute",
        "from",
        "to",
        "sniHosts",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        "[a-z.*/:%é-]{0,8}".prop_map(Into::into),
        prop::sample::select(vec!["STATIC", "DNS", "HTTP", "SIMPLE", "MUTUAL", "1s", "*", "*.a.b", "unix:///x", "r/*", "ns/a.b"])
            .prop_map(Into::into),
    ];
    leaf.prop_recursive(7, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

#[test]
fn a_port_without_a_protocol_is_one_of_tcp_and_may_not_be_listed_twice() {
    let problems = |protocol: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec:\n  ports: [{{name: a, port: 80}}, {{name: b, port: 80, protocol: {protocol}}}]\n"
        );
        parse(Path::new("a.yaml"), &text).diagnostics.into_iter().map(|diagnostic| diagnostic.field).collect::<Vec<_>>()
    };
    assert_eq!(problems("TCP"), ["spec.ports[1].port"]);
    assert_eq!(problems("UDP"), [""; 0]);
}
