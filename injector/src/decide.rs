//! Should this pod get a sidecar? First what the webhook configurations' selectors say (contract 3.1), then the injector itself (3.2).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::pod;
use crate::selector::LabelSelector;
use crate::settings::{Context, Policy, Settings};

const INJECT: &str = "sidecar.istio.io/inject";
const NAMESPACE_LABEL: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";

/// Namespaces which `enableNamespacesByDefault` leaves out.
const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

type Labels = BTreeMap<String, String>;

/// The answer, with its reason in words and what the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the pod gets a sidecar.
    pub inject: bool,
    /// What decided.
    pub reason: String,
    /// Labels or annotations that do not mean what their author may think.
    pub warnings: Vec<String>,
}

/// Decides about a pod (or pod template) about to be created in the context's namespace.
#[must_use]
pub fn decide(pod: &Value, context: &Context) -> Decision {
    let labels = pod::strings(pod, "labels");
    match select(&context.namespace.labels, &labels, context) {
        Ok(selected) => {
            let mut decision = decide_selected(pod, context);
            if decision.inject && decision.reason.is_empty() {
                decision.reason = selected;
            }
            decision
        }
        Err(reason) => {
            let mut warnings = unclear_value(&labels, "label");
            if pod::strings(pod, "annotations").get(INJECT).is_some_and(|value| value == "true") {
                warnings.push(format!("annotation {INJECT}: \"true\" has no effect: {reason}; set the label of that name instead"));
            }
            Decision { inject: false, reason, warnings }
        }
    }
}

/// The second half alone, for pods that reach the injector some other way than through a webhook (`outrigger inject`). An empty reason
/// means that only the policy spoke for it.
#[must_use]
pub fn decide_selected(pod: &Value, context: &Context) -> Decision {
    let (labels, annotations) = (pod::strings(pod, "labels"), pod::strings(pod, "annotations"));
    let mut warnings = unclear_value(&labels, "label");
    if !labels.contains_key(INJECT) {
        warnings.extend(unclear_value(&annotations, "annotation"));
    }
    let settings = &context.settings;
    let (inject, reason) = if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
        (false, "the pod uses the host's network".to_owned())
    } else if settings.ignored_namespaces.contains(&context.namespace.name) {
        (false, format!("namespace {} is never injected into", context.namespace.name))
    } else {
        let explicit = asked(&labels, &annotations).or_else(|| by_selector(settings, &labels, &mut warnings));
        explicit.unwrap_or_else(|| by_policy(settings.policy))
    };
    Decision { inject, reason, warnings }
}

/// The pod's own word: the label, else the annotation, if it is exactly `true` or `false`.
fn asked(labels: &Labels, annotations: &Labels) -> Option<(bool, String)> {
    let (value, place) = match labels.get(INJECT) {
        Some(value) => (value, "label"),
        None => (annotations.get(INJECT)?, "annotation"),
    };
    let inject = value.parse().ok()?;
    Some((inject, format!("pod {place} {INJECT}={value}")))
}

fn by_selector(settings: &Settings, labels: &Labels, warnings: &mut Vec<String>) -> Option<(bool, String)> {
    let mut any = |selectors: &[LabelSelector], name: &str| {
        selectors.iter().filter(|selector| !selector.is_empty()).any(|selector| {
            selector.matches(labels).unwrap_or_else(|problem| {
                warnings.push(format!("{name}: {problem}; this selector is skipped"));
                false
            })
        })
    };
    if any(&settings.never_inject, "neverInjectSelector") {
        Some((false, "the pod's labels match neverInjectSelector".to_owned()))
    } else if any(&settings.always_inject, "alwaysInjectSelector") {
        Some((true, "the pod's labels match alwaysInjectSelector".to_owned()))
    } else {
        None
    }
}

fn by_policy(policy: Policy) -> (bool, String) {
    match policy {
        Policy::Enabled => (true, String::new()),
        Policy::Disabled => (false, "the injection policy is disabled and the pod does not ask for a sidecar".to_owned()),
    }
}

/// Which webhook would call the injector; the reason either way. Each case is one row of the contract's first table in 3.1.
fn select(namespace: &Labels, pod: &Labels, context: &Context) -> Result<String, String> {
    let revision = context.settings.revision.as_str();
    let is_default = revision == "default";
    let get = |labels: &Labels, key: &str| labels.get(key).cloned();
    if get(pod, INJECT).as_deref() == Some("false") {
        return Err(format!("pod label {INJECT}=false"));
    }
    match (get(namespace, NAMESPACE_LABEL), get(namespace, REVISION)) {
        (Some(value), _) if value == "enabled" && is_default => Ok(format!("namespace label {NAMESPACE_LABEL}=enabled")),
        (Some(value), _) if value == "enabled" => {
            Err(format!("namespace label {NAMESPACE_LABEL}=enabled belongs to revision default, not {revision}"))
        }
        (Some(value), _) => Err(format!("namespace label {NAMESPACE_LABEL}={value}")),
        (None, Some(value)) if value == revision => Ok(format!("namespace label {REVISION}={value}")),
        (None, Some(value)) => Err(format!("namespace label {REVISION}={value} belongs to another revision than {revision}")),
        (None, None) => select_unlabelled(pod, context),
    }
}

fn select_unlabelled(pod: &Labels, context: &Context) -> Result<String, String> {
    let Settings { revision, enable_namespaces_by_default, .. } = &context.settings;
    let is_default = revision == "default";
    match (pod.get(REVISION), pod.get(INJECT)) {
        (Some(value), _) if value == revision => Ok(format!("pod label {REVISION}={value}")),
        (Some(value), _) => Err(format!("pod label {REVISION}={value} belongs to another revision than {revision}")),
        (None, Some(value)) if value == "true" && is_default => Ok(format!("pod label {INJECT}=true")),
        (None, None) if is_default && *enable_namespaces_by_default && !SYSTEM_NAMESPACES.contains(&context.namespace.name.as_str()) => {
            Ok("namespaces are injected into by default".to_owned())
        }
        _ => Err(format!(
            "namespace {} has no label {NAMESPACE_LABEL} or {REVISION}, and the pod no label {INJECT}=true",
            context.namespace.name
        )),
    }
}

fn unclear_value(values: &Labels, place: &str) -> Vec<String> {
    let unclear = values.get(INJECT).filter(|value| !matches!(value.as_str(), "true" | "false"));
    unclear
        .map(|value| format!("{place} {INJECT}: expected \"true\" or \"false\", got `{value}`; it counts as not set"))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests;
