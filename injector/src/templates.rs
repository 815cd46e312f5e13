//! Which templates make up a pod, and templates of the user's own (contract 3.3).
//!
//! Istio's are programs in Go's template language. Ours are data: fragments of a pod, laid over it as `kubectl patch` would. Two are
//! built in, [`SIDECAR`] and [`GATEWAY`]; a fragment of one of these names is laid over the built-in one.

use std::collections::BTreeMap;

use outrigger_config::yaml;
use serde_json::Value;

use crate::InjectError;
use crate::settings::Settings;

/// The annotation that replaces the default templates.
pub const ANNOTATION: &str = "inject.istio.io/templates";
/// The proxy beside an application.
pub const SIDECAR: &str = "sidecar";
/// The proxy as router, in place of a container `istio-proxy` with image `auto`.
pub const GATEWAY: &str = "gateway";

/// Istio's further templates, for programs that Outrigger is not.
const ISTIOS: [&str; 6] = ["grpc-simple", "grpc-agent", "waypoint", "kube-gateway", "agentgateway", "agentgateway-waypoint"];

/// A template of the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    /// A pod fragment: `metadata` with labels and annotations, and `spec`.
    Fragment(Value),
    /// It cannot be used, and why. Only a pod that asks for it is refused.
    Unusable(String),
}

impl Template {
    /// Whether it has this field of `spec`.
    pub(crate) fn sets(&self, field: &str) -> bool {
        matches!(self, Self::Fragment(fragment) if fragment.get("spec").and_then(|spec| spec.get(field)).is_some())
    }

    /// Reads a template's text.
    #[must_use]
    pub fn read(text: &str) -> Self {
        if text.contains("{{") {
            let reason = "it is written in Go's template language, and Outrigger takes pod fragments in plain YAML";
            return Self::Unusable(reason.to_owned());
        }
        let node = match yaml::documents(text).into_iter().next().map(|document| document.node) {
            None => return Self::Fragment(Value::Object(serde_json::Map::new())),
            Some(Err(error)) => return Self::Unusable(format!("line {}: {}", error.position, error.message)),
            Some(Ok(node)) => node.to_json(),
        };
        match problem(&node) {
            None => Self::Fragment(node),
            Some(reason) => Self::Unusable(reason),
        }
    }
}

/// What is wrong with a fragment. Everything that merging relies on is checked here.
fn problem(fragment: &Value) -> Option<String> {
    let Some(fields) = fragment.as_object() else { return Some("expected a mapping with `metadata` and `spec`".to_owned()) };
    if let Some(other) = fields.keys().find(|name| !matches!(name.as_str(), "metadata" | "spec" | "apiVersion" | "kind")) {
        return Some(format!("{other}: expected only `metadata` and `spec`"));
    }
    metadata_problem(fields.get("metadata").unwrap_or(&Value::Null)).or_else(|| spec_problem(fields.get("spec").unwrap_or(&Value::Null)))
}

fn metadata_problem(metadata: &Value) -> Option<String> {
    let fields = match metadata {
        Value::Null => return None,
        Value::Object(fields) => fields,
        _ => return Some("metadata: expected a mapping".to_owned()),
    };
    fields.iter().find_map(|(name, map)| {
        if !matches!(name.as_str(), "labels" | "annotations") {
            return Some(format!("metadata.{name}: expected only `labels` and `annotations`"));
        }
        let texts = map.as_object().is_some_and(|map| map.values().all(Value::is_string));
        (!texts).then(|| format!("metadata.{name}: expected a mapping of strings"))
    })
}

fn spec_problem(spec: &Value) -> Option<String> {
    let fields = match spec {
        Value::Null => return None,
        Value::Object(fields) => fields,
        _ => return Some("spec: expected a mapping".to_owned()),
    };
    ["containers", "initContainers", "volumes", "imagePullSecrets"].into_iter().find_map(|name| {
        let items = fields.get(name)?;
        let named = items.as_array().is_some_and(|items| items.iter().all(|item| !crate::pod::name(item).is_empty()));
        (!named).then(|| format!("spec.{name}: expected a list of mappings with a `name`"))
    })
}

/// What a pod is rendered from.
#[derive(Debug, PartialEq)]
pub(crate) struct Selected<'s> {
    /// Whether the built-in gateway template is among them.
    pub gateway: bool,
    /// Whether the built-in sidecar template is among them.
    pub sidecar: bool,
    /// Fragments, in the order in which they are laid over the pod.
    pub fragments: Vec<&'s Value>,
}

/// Resolves the annotation, else the default; aliases once, not again.
pub(crate) fn select<'s>(annotation: Option<&str>, settings: &'s Settings) -> Result<Selected<'s>, InjectError> {
    let listed: Vec<&str> = annotation.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let names = if listed.is_empty() { settings.default_templates.iter().map(String::as_str).collect() } else { listed };
    let mut selected = Selected { gateway: false, sidecar: false, fragments: Vec::new() };
    for name in names.iter().flat_map(|name| resolve(name, &settings.aliases)) {
        let built_in = matches!(name, SIDECAR | GATEWAY);
        selected.sidecar |= name == SIDECAR;
        selected.gateway |= name == GATEWAY;
        match settings.templates.get(name) {
            Some(Template::Fragment(fragment)) => selected.fragments.push(fragment),
            Some(Template::Unusable(_)) | None if built_in => {}
            Some(Template::Unusable(reason)) => return Err(refusal(name, reason.clone())),
            None => return Err(refusal(name, unknown(name, settings))),
        }
    }
    if selected.sidecar && selected.gateway {
        return Err(refusal("sidecar,gateway", "a pod is either beside an application or a gateway".to_owned()));
    }
    Ok(selected)
}

fn resolve<'a>(name: &'a str, aliases: &'a BTreeMap<String, Vec<String>>) -> Vec<&'a str> {
    aliases.get(name).map_or_else(|| vec![name], |names| names.iter().map(String::as_str).collect())
}

fn refusal(name: &str, reason: String) -> InjectError {
    InjectError::Template { name: name.to_owned(), reason }
}

fn unknown(name: &str, settings: &Settings) -> String {
    if ISTIOS.contains(&name) {
        return "it is Istio's and runs another program than Outrigger".to_owned();
    }
    let mut known: Vec<&str> = vec![SIDECAR, GATEWAY];
    let usable = settings.templates.iter().filter(|(_, template)| matches!(template, Template::Fragment(_))).map(|(name, _)| name);
    for name in usable.chain(settings.aliases.keys()) {
        if !known.contains(&name.as_str()) {
            known.push(name);
        }
    }
    format!("there is no such template; known are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Template, select};
    use crate::Settings;

    fn unusable(text: &str) -> String {
        match Template::read(text) {
            Template::Unusable(reason) => reason,
            Template::Fragment(fragment) => panic!("{fragment}"),
        }
    }

    #[test]
    fn a_template_that_is_no_pod_fragment_says_why() {
        for (text, expected) in [
            ("spec:\n  containers:\n  - name: {{ .X }}\n", "Go's template language"),
            ("spec: [", "did not find expected node content"),
            ("- a", "expected a mapping with `metadata` and `spec`"),
            ("status: {}", "status: expected only"),
            ("metadata: {name: x}", "metadata.name: expected only"),
            ("metadata: {labels: {a: 1}}", "metadata.labels: expected a mapping of strings"),
            ("spec: {containers: [{image: x}]}", "spec.containers: expected a list of mappings with a `name`"),
            ("spec: 1", "spec: expected a mapping"),
        ] {
            assert!(unusable(text).contains(expected), "{text}: {}", unusable(text));
        }
    }

    #[test]
    fn names_are_resolved_through_aliases_once_and_unknown_ones_list_the_known() {
        let mut settings = Settings::default();
        settings.templates.insert("extra".to_owned(), Template::read("spec: {nodeName: n}"));
        settings.templates.insert("go".to_owned(), Template::read("{{ . }}"));
        settings.templates.insert("sidecar".to_owned(), Template::read("{{ . }}"));
        settings.aliases.insert("both".to_owned(), vec!["sidecar".to_owned(), "extra".to_owned()]);
        let selected = select(Some("both"), &settings).unwrap();
        assert!(selected.sidecar && !selected.gateway && selected.fragments.len() == 1);
        assert!(select(Some(" , "), &settings).unwrap().sidecar);
        let said = |list| select(Some(list), &settings).unwrap_err().to_string();
        assert!(
            said("sidecar,nope").contains("template nope: there is no such template; known are sidecar, gateway, extra, both"),
            "{}",
            said("nope")
        );
        assert!(said("grpc-agent").contains("it is Istio's"));
        assert!(said("go").contains("Go's template language"));
        assert!(said("sidecar,gateway").contains("either"));
    }
}
