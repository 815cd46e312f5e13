//! Values that make no sense are refused, with a message that names the value and says what to do.

use serde_json::{Value, json};

use crate::cases::{self, HUB};

#[test]
fn bad_values_are_refused_by_name() {
    let table = table();
    let cases: serde_json::Map<String, Value> =
        table.iter().enumerate().map(|(index, (values, _))| (index.to_string(), json!({"values": with_hub(values)}))).collect();
    let rendered = cases::render(&Value::Object(cases));
    for (index, (values, said)) in table.iter().enumerate() {
        let error = rendered[&index.to_string()].error.as_deref().unwrap_or_else(|| panic!("accepted: {values}"));
        for part in *said {
            assert!(error.contains(part), "{values}: no {part:?} in: {error}");
        }
    }
}

fn with_hub(values: &Value) -> Value {
    let mut values = values.clone();
    if values["global"]["hub"].is_null() {
        values["global"]["hub"] = HUB.into();
    }
    values
}

fn table() -> Vec<(Value, &'static [&'static str])> {
    let port = |text: &str| json!({"ingressGateway": {"service": {"ports": [serde_json::from_str::<Value>(text).expect("JSON")]}}});
    vec![
        (json!({"global": {"hub": ""}}), &["global.hub is not set", "--set global.hub=", "docs/install-eks.md"]),
        (json!({"global": {"hub": "registry.example.com/"}}), &["/global/hub", "does not match"]),
        (json!({"global": {"hub": "https://registry.example.com"}}), &["/global/hub", "does not match"]),
        (json!({"replicas": 3}), &["'replicas' not allowed"]),
        (json!({"injector": {"replica": 3}}), &["/injector", "'replica' not allowed"]),
        (json!({"injector": {"replicas": "2"}}), &["/injector/replicas", "want integer"]),
        (json!({"injector": {"replicas": 0}}), &["/injector/replicas", "minimum"]),
        (json!({"injector": {"resources": {"requests": {"cpu": "a lot"}}}}), &["/injector/resources/requests/cpu"]),
        (json!({"revision": "Upper_case"}), &["/revision", "does not match"]),
        (json!({"sidecarInjectorWebhook": {"failurePolicy": "fail"}}), &["/sidecarInjectorWebhook/failurePolicy", "'Fail', 'Ignore'"]),
        (json!({"sidecarInjectorWebhook": {"timeoutSeconds": 60}}), &["/sidecarInjectorWebhook/timeoutSeconds", "30"]),
        (json!({"sidecarInjectorWebhook": {"policy": "on"}}), &["/sidecarInjectorWebhook/policy", "'enabled', 'disabled'"]),
        (json!({"sidecarInjectorWebhook": {"injectionPath": "/mutate"}}), &["/sidecarInjectorWebhook/injectionPath"]),
        (
            json!({"sidecarInjectorWebhook": {"neverInjectSelector": [{"matchExpressions": [{"key": "a", "operator": "Equals"}]}]}}),
            &["/sidecarInjectorWebhook/neverInjectSelector/0/matchExpressions/0/operator"],
        ),
        (
            json!({"sidecarInjectorWebhook": {"defaultTemplates": ["sidecar", "mine"]}}),
            &["defaultTemplates names mine", "templates or aliases"],
        ),
        (
            json!({"revision": "a", "sidecarInjectorWebhook": {"enableNamespacesByDefault": true}}),
            &["enableNamespacesByDefault", "revision is a"],
        ),
        (json!({"pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "yes"}}}), &["/pilot/env/ENABLE_NATIVE_SIDECARS", "'auto', 'true', 'false'"]),
        (json!({"global": {"proxy": {"logLevel": "warn"}}}), &["/global/proxy/logLevel", "'warning'"]),
        (json!({"injector": {"certificate": {"mode": "secret"}}}), &["injector.certificate.secretName is empty", "tls.crt and tls.key"]),
        (json!({"injector": {"certificate": {"mode": "secret", "secretName": "a"}}}), &["injector.certificate.caBundle is empty"]),
        (json!({"injector": {"certificate": {"caBundle": "Y2E="}}}), &["caBundle has no effect with injector.certificate.mode self"]),
        (
            json!({"injector": {"certificate": {"issuerRef": {"name": "a"}}}}),
            &["issuerRef has no effect with injector.certificate.mode self"],
        ),
        (json!({"ingressGateway": {"service": {"type": "Loadbalancer"}}}), &["/ingressGateway/service/type", "'LoadBalancer'"]),
        (
            json!({"ingressGateway": {"autoscaling": {"enabled": true, "minReplicas": 6, "maxReplicas": 5}}}),
            &["ingressGateway.autoscaling.minReplicas is 6", "maxReplicas, which is 5"],
        ),
        (json!({"egressGateway": {"enabled": true, "name": "istio-ingressgateway"}}), &["are both istio-ingressgateway"]),
        (
            json!({"egressGateway": {"service": {"ports": [{"name": "a", "port": 80, "nodePort": 30080}]}}}),
            &["egressGateway.service.ports: port a has a nodePort", "set egressGateway.service.type to NodePort"],
        ),
        (port(r#"{"name": "metrics", "port": 15090}"#), &["port metrics would lead to 15090, which the proxy keeps for itself"]),
        (port(r#"{"name": "a", "port": 65536}"#), &["/ingressGateway/service/ports/0/port"]),
        (port(r#"{"port": 80}"#), &["/ingressGateway/service/ports/0", "missing property 'name'"]),
        (port(r#"{"name": "more-than-15-characters", "port": 80}"#), &["/ingressGateway/service/ports/0/name"]),
        (json!({"monitoring": {"podMonitor": {"interval": 15}}}), &["/monitoring/podMonitor/interval", "want string"]),
    ]
}
