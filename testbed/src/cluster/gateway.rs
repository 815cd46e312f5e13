//! Gateways nobody wrote a Deployment for: in a cluster the mesh's installation brings them along. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outrigger_config::api::gateway::Gateway;
use outrigger_config::object::{Body, Object};
use outrigger_config::string_map::StringMap;
use serde_json::{Value, json};

/// Where generated gateways live.
pub const NAMESPACE: &str = "istio-system";
const NAME: &str = "istio-ingressgateway";

type Labels = StringMap;

/// A gateway to be generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Name of its Deployment and its Service.
    pub name: String,
    /// Labels that Gateway objects select.
    pub selector: Labels,
    /// Ports of all those objects' servers, with their names.
    pub ports: BTreeMap<u16, String>,
}

/// The gateways that the user's Gateway objects need and no pod of the manifests is.
pub fn missing<'a>(objects: impl Iterator<Item = &'a Arc<Object>> + Clone) -> Vec<Generated> {
    let present: Vec<&Labels> = objects.clone().filter_map(|object| template(&object.body)).collect();
    let mut selectors: BTreeMap<Labels, BTreeMap<u16, String>> = BTreeMap::new();
    for object in objects {
        let Body::Gateway(gateway) = &object.body else { continue };
        let any = StringMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
        let selector = if gateway.selector.is_empty() { &any } else { &gateway.selector };
        let served = present.iter().any(|labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value)));
        if !served {
            selectors.entry(selector.clone()).or_default().extend(server_ports(gateway));
        }
    }
    let mut names = BTreeSet::new();
    let generate = |(selector, ports): (Labels, BTreeMap<u16, String>)| {
        let mut name = wished_name(&selector);
        while !names.insert(name.clone()) {
            name.push_str("-2");
        }
        Generated { name, selector, ports }
    };
    selectors.into_iter().map(generate).collect()
}

fn wished_name(selector: &Labels) -> String {
    match selector.get("istio").or(selector.get("app")).map(String::as_str) {
        None | Some("ingressgateway") => NAME.to_owned(),
        Some(value) if value.starts_with("istio-") => value.to_owned(),
        Some(value) => format!("istio-{value}"),
    }
}

fn template(body: &Body) -> Option<&Labels> {
    match body {
        Body::Deployment(deployment) => Some(&deployment.spec.template.metadata.labels),
        Body::StatefulSet(set) => Some(&set.spec.template.metadata.labels),
        Body::DaemonSet(set) => Some(&set.spec.template.metadata.labels),
        Body::ReplicaSet(set) => Some(&set.spec.template.metadata.labels),
        _ => None,
    }
}

fn server_ports(gateway: &Gateway) -> impl Iterator<Item = (u16, String)> {
    gateway.servers.iter().filter_map(|server| {
        let port = server.port.as_ref()?;
        let number = u16::try_from(port.number).ok().filter(|number| *number > 0)?;
        Some((number, if port.name.is_empty() { format!("port-{number}") } else { port.name.to_lowercase() }))
    })
}

impl Generated {
    /// Labels of its pods.
    pub fn labels(&self) -> Labels {
        let mut labels = self.selector.clone();
        let own = [("app", self.name.as_str()), ("istio", self.name.trim_start_matches("istio-"))];
        for (key, value) in own {
            if !labels.contains_key(key) {
                labels.insert(key.to_owned(), value.to_owned());
            }
        }
        labels
    }

    /// Its Deployment's pod template. The container is filled by the injector's gateway template.
    pub fn template(&self) -> Value {
        json!({
            "metadata": {
                "labels": self.labels(),
                "annotations": {"inject.istio.io/templates": "gateway"},
            },
            "spec": {
                "serviceAccountName": format!("{}-service-account", self.name),
                "containers": [{"name": "istio-proxy", "image": "auto"}],
            },
        })
    }

    /// Its Deployment, for those who look for what a Gateway object selects.
    pub fn deployment(&self) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": self.labels()}, "template": self.template()},
        })
    }

    /// Its Service.
    pub fn service(&self) -> Value {
        let port = |(number, name): (&u16, &String)| json!({"name": format!("{name}-{number}"), "port": number, "targetPort": number});
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": NAMESPACE, "labels": self.labels()},
            "spec": {
                "type": "LoadBalancer",
                "selector": self.labels(),
                "ports": self.ports.iter().map(port).collect::<Vec<_>>(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(yaml: &str) -> Vec<Generated> {
        let objects = outrigger_config::parse::parse(std::path::Path::new("test.yaml"), yaml).objects;
        missing(objects.iter())
    }

    const GATEWAY: &str = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a, namespace: shop}\nspec:\n  \
        selector: {istio: ingressgateway}\n  servers:\n  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}\n---\n";

    #[test]
    fn gateways_with_one_selector_share_one_workload_with_all_their_ports() {
        let second = GATEWAY.replace("name: a,", "name: b,").replace("number: 80", "number: 443");
        let made = generated(&format!("{GATEWAY}{second}"));
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].name, "istio-ingressgateway");
        assert_eq!(made[0].ports.keys().copied().collect::<Vec<_>>(), [80, 443]);
        assert_eq!(made[0].labels().get("app").map(String::as_str), Some("istio-ingressgateway"));
    }

    #[test]
    fn a_gateway_whose_pods_are_in_the_manifests_is_not_generated() {
        let own = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: gw, namespace: shop}\nspec:\n  \
            selector: {matchLabels: {istio: ingressgateway}}\n  template:\n    metadata: {labels: {istio: ingressgateway}}\n    \
            spec: {containers: [{name: istio-proxy, image: auto}]}\n";
        assert_eq!(generated(&format!("{GATEWAY}{own}")), []);
    }
}
