//! Pods that an injector has been at before: Istio's, an older one of ours, or none that can be made out. Each is rendered anew or refused;
//! never are there two proxies.

use outrigger_injector::{Context, InjectError, inject, take_out, uninject};
use serde_json::{Value, json};

fn read(text: &str) -> Value {
    let document = outrigger_config::yaml::documents(text).into_iter().next().expect("one document");
    document.node.expect("YAML").to_json()
}

fn before() -> Value {
    read(include_str!("reinjection/before.yaml"))
}

fn istios() -> Value {
    read(include_str!("reinjection/istio.yaml"))
}

/// Moves Istio's proxy to where a native sidecar is.
fn natively(mut pod: Value) -> Value {
    let containers = pod["spec"]["containers"].as_array_mut().unwrap();
    let mut proxy = containers.remove(1);
    proxy["restartPolicy"] = json!("Always");
    let inits = pod["spec"]["initContainers"].as_array_mut().unwrap();
    inits.rotate_right(1);
    inits.insert(1, proxy);
    let status = pod["metadata"]["annotations"]["sidecar.istio.io/status"].as_str().unwrap();
    let status = status.replace(r#"["istio-init"],"containers":["istio-proxy"]"#, r#"["istio-init","istio-proxy"],"containers":null"#);
    pod["metadata"]["annotations"]["sidecar.istio.io/status"] = json!(status);
    pod
}

#[test]
fn a_pod_that_istio_injected_is_rendered_anew() {
    let expected = inject(&before(), &Context::default()).unwrap();
    for injected in [istios(), natively(istios())] {
        assert_eq!(uninject(&injected), Some(before()));
        assert_eq!(inject(&injected, &Context::default()), Ok(expected.clone()));
    }
}

#[test]
fn istios_record_of_the_users_own_proxy_is_heeded() {
    let own = json!({ "name": "istio-proxy", "image": "auto", "resources": { "limits": { "cpu": "3" } } });
    let mut injected = istios();
    injected["metadata"]["annotations"]["proxy.istio.io/overrides"] = json!(json!({ "containers": [own] }).to_string());
    let mut expected = before();
    expected["spec"]["containers"].as_array_mut().unwrap().push(own);
    assert_eq!(uninject(&injected), Some(expected.clone()));
    assert_eq!(inject(&injected, &Context::default()), inject(&expected, &Context::default()));
}

#[test]
fn a_pod_whose_record_was_lost_is_taken_for_istios() {
    let mut injected = inject(&before(), &Context::default()).unwrap().pod;
    injected["metadata"]["annotations"].as_object_mut().unwrap().remove("proxy.outrigger.io/restore");
    assert_eq!(uninject(&injected), Some(before()));
}

#[test]
fn probes_that_somebody_changed_since_stay_as_they_are() {
    let mut injected = inject(&before(), &Context::default()).unwrap().pod;
    let changed = json!({ "httpGet": { "path": "/new", "port": 1 } });
    let containers = injected["spec"]["containers"].as_array_mut().unwrap();
    containers.iter_mut().find(|container| container["name"] == "reviews").unwrap()["livenessProbe"] = changed.clone();
    assert_eq!(uninject(&injected).unwrap()["spec"]["containers"][0]["livenessProbe"], changed);
}

#[test]
fn what_cannot_be_made_out_is_refused_with_the_annotation_at_fault() {
    for (name, value) in [
        ("sidecar.istio.io/status", "injected"),
        ("proxy.istio.io/overrides", "{"),
        ("proxy.outrigger.io/restore", r#"{"labels": 1}"#),
        ("sidecar.istio.io/status", r#"{"containers": {}}"#),
    ] {
        let mut injected = inject(&before(), &Context::default()).unwrap().pod;
        injected["metadata"]["annotations"][name] = json!(value);
        let error = inject(&injected, &Context::default()).unwrap_err();
        assert!(matches!(error, InjectError::Unclear(_)), "{error}");
        assert!(error.to_string().contains(&format!("annotation {name}: expected the JSON an injector wrote")), "{error}");
        assert_eq!((uninject(&injected), take_out(&injected).is_err()), (None, true));
    }
}

#[test]
fn a_rendered_proxy_without_status_is_refused_rather_than_taken_for_the_users_own_fields() {
    for name in ["istio-proxy", "istio-init"] {
        let mut copied = istios();
        copied["metadata"]["annotations"].as_object_mut().unwrap().remove("sidecar.istio.io/status");
        for list in ["containers", "initContainers"] {
            let others =
                ["istio-proxy", "istio-init"].map(|other| other.to_owned()).into_iter().filter(|other| other != name).collect::<Vec<_>>();
            copied["spec"][list].as_array_mut().unwrap().retain(|container| !others.iter().any(|other| container["name"] == *other));
        }
        let said = inject(&copied, &Context::default()).unwrap_err().to_string();
        assert!(said.starts_with(&format!("container {name}: it looks like one that an injector added")), "{said}");
    }
}

#[test]
fn a_pod_that_no_injector_has_seen_has_nothing_to_take_out() {
    assert_eq!(uninject(&before()), None);
    assert_eq!(uninject(&json!([])), None);
}
