//! Should this pod get a sidecar? First what the webhook configurations' selectors say (contract 3.1), then the injector itself (3.2).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::selector::LabelSelector;
use crate::settings::{Context, Policy, Settings};
use crate::{pod, restore};

const INJECT: &str = "sidecar.istio.io/inject";
const NAMESPACE_LABEL: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";

/// Namespaces which `enableNamespacesByDefault` leaves out.
const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

type Labels = BTreeMap<String, String>;

/// What decided about a pod. [`Cause::id`] never changes: audit annotations, metrics and scripts may rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is what its id says")]
pub enum Cause {
    HostNetwork,
    IgnoredNamespace,
    PodLabel,
    PodAnnotation,
    NeverInjectSelector,
    AlwaysInjectSelector,
    PolicyEnabled,
    PolicyDisabled,
    PolicyUnknown,
    NamespaceLabel,
    NamespaceRevision,
    OtherNamespaceRevision,
    PodRevision,
    OtherPodRevision,
    NamespacesByDefault,
    NoLabel,
}

impl Cause {
    /// The stable name, in kebab case.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::HostNetwork => "host-network",
            Self::IgnoredNamespace => "ignored-namespace",
            Self::PodLabel => "pod-label",
            Self::PodAnnotation => "pod-annotation",
            Self::NeverInjectSelector => "never-inject-selector",
            Self::AlwaysInjectSelector => "always-inject-selector",
            Self::PolicyEnabled => "policy-enabled",
            Self::PolicyDisabled => "policy-disabled",
            Self::PolicyUnknown => "policy-unknown",
            Self::NamespaceLabel => "namespace-label",
            Self::NamespaceRevision => "namespace-revision",
            Self::OtherNamespaceRevision => "other-namespace-revision",
            Self::PodRevision => "pod-revision",
            Self::OtherPodRevision => "other-pod-revision",
            Self::NamespacesByDefault => "namespaces-by-default",
            Self::NoLabel => "no-label",
        }
    }
}

/// The answer, with its reason in words and what the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the pod gets a sidecar.
    pub inject: bool,
    /// What decided, by its stable name.
    pub cause: Cause,
    /// What decided, in words.
    pub reason: String,
    /// Labels or annotations that do not mean what their author may think.
    pub warnings: Vec<String>,
}

/// What speaks for or against a sidecar.
type Why = (Cause, String);

/// Decides about a pod (or pod template) about to be created in the context's namespace, webhook selectors included.
#[must_use]
pub fn decide(pod: &Value, context: &Context) -> Decision {
    let labels = pod::strings(pod, "labels");
    match select(&context.namespace.labels, &labels, context) {
        Ok((cause, reason)) => {
            let decision = decide_selected(pod, context);
            if decision.cause == Cause::PolicyEnabled { Decision { cause, reason, ..decision } } else { decision }
        }
        Err((cause, reason)) => {
            let mut warnings = unclear_value(&labels, "label");
            if pod::strings(pod, "annotations").get(INJECT).is_some_and(|value| value == "true") {
                warnings.push(format!("annotation {INJECT}: \"true\" has no effect: {reason}; set the label of that name instead"));
            }
            Decision { inject: false, cause, reason, warnings }
        }
    }
}

/// The second half alone (contract 3.2), for pods that a webhook's selectors have let through already, or that never meet one
/// (`outrigger inject`).
#[must_use]
pub fn decide_selected(pod: &Value, context: &Context) -> Decision {
    // An injected pod is decided about as its author wrote it, for that is the pod that would be injected again.
    let restored = restore::take_out_before_injecting(pod, &context.settings).ok().flatten();
    let pod = restored.as_ref().unwrap_or(pod);
    let (labels, annotations) = (pod::strings(pod, "labels"), pod::strings(pod, "annotations"));
    let mut warnings = unclear_value(&labels, "label");
    if !labels.contains_key(INJECT) {
        warnings.extend(unclear_value(&annotations, "annotation"));
    }
    let settings = &context.settings;
    let namespace = &context.namespace.name;
    let (inject, (cause, reason)) = if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
        (false, (Cause::HostNetwork, "the pod uses the host's network".to_owned()))
    } else if settings.ignored_namespaces.contains(namespace) {
        (false, (Cause::IgnoredNamespace, format!("namespace {namespace} is never injected into")))
    } else if settings.policy == Policy::Unknown {
        (false, (Cause::PolicyUnknown, "the configured injection policy is neither `enabled` nor `disabled`".to_owned()))
    } else {
        let explicit = asked(&labels, &annotations).or_else(|| by_selector(settings, &labels, &mut warnings));
        explicit.unwrap_or_else(|| by_policy(settings.policy))
    };
    Decision { inject, cause, reason, warnings }
}

/// The pod's own word: the label, else the annotation, if it is exactly `true` or `false`.
fn asked(labels: &Labels, annotations: &Labels) -> Option<(bool, Why)> {
    let (value, place, cause) = match labels.get(INJECT) {
        Some(value) => (value, "label", Cause::PodLabel),
        None => (annotations.get(INJECT)?, "annotation", Cause::PodAnnotation),
    };
    let inject = value.parse().ok()?;
    Some((inject, (cause, format!("pod {place} {INJECT}={value}"))))
}

fn by_selector(settings: &Settings, labels: &Labels, warnings: &mut Vec<String>) -> Option<(bool, Why)> {
    let mut any = |selectors: &[LabelSelector], name: &str| {
        selectors.iter().filter(|selector| !selector.is_empty()).any(|selector| {
            selector.matches(labels).unwrap_or_else(|problem| {
                warnings.push(format!("{name}: {problem}; this selector is skipped"));
                false
            })
        })
    };
    if any(&settings.never_inject, "neverInjectSelector") {
        Some((false, (Cause::NeverInjectSelector, "the pod's labels match neverInjectSelector".to_owned())))
    } else if any(&settings.always_inject, "alwaysInjectSelector") {
        Some((true, (Cause::AlwaysInjectSelector, "the pod's labels match alwaysInjectSelector".to_owned())))
    } else {
        None
    }
}

fn by_policy(policy: Policy) -> (bool, Why) {
    match policy {
        Policy::Enabled => (true, (Cause::PolicyEnabled, "the injection policy is enabled".to_owned())),
        Policy::Disabled => {
            (false, (Cause::PolicyDisabled, "the injection policy is disabled and the pod does not ask for a sidecar".to_owned()))
        }
        Policy::Unknown => (false, (Cause::PolicyUnknown, "the injection policy is not known".to_owned())),
    }
}

/// Which webhook would call the injector; the reason either way. Each case is one row of the contract's first table in 3.1.
fn select(namespace: &Labels, pod: &Labels, context: &Context) -> Result<Why, Why> {
    let revision = context.settings.revision.as_str();
    let is_default = revision == "default";
    let get = |labels: &Labels, key: &str| labels.get(key).cloned();
    if get(pod, INJECT).as_deref() == Some("false") {
        return Err((Cause::PodLabel, format!("pod label {INJECT}=false")));
    }
    match (get(namespace, NAMESPACE_LABEL), get(namespace, REVISION)) {
        (Some(value), _) if value == "enabled" && is_default => {
            Ok((Cause::NamespaceLabel, format!("namespace label {NAMESPACE_LABEL}=enabled")))
        }
        (Some(value), _) if value == "enabled" => {
            let reason = format!("namespace label {NAMESPACE_LABEL}=enabled belongs to revision default, not {revision}");
            Err((Cause::OtherNamespaceRevision, reason))
        }
        (Some(value), _) => Err((Cause::NamespaceLabel, format!("namespace label {NAMESPACE_LABEL}={value}"))),
        (None, Some(value)) if value == revision => Ok((Cause::NamespaceRevision, format!("namespace label {REVISION}={value}"))),
        (None, Some(value)) => {
            let reason = format!("namespace label {REVISION}={value} belongs to another revision than {revision}");
            Err((Cause::OtherNamespaceRevision, reason))
        }
        (None, None) => select_unlabelled(pod, context),
    }
}

fn select_unlabelled(pod: &Labels, context: &Context) -> Result<Why, Why> {
    let Settings { revision, enable_namespaces_by_default, .. } = &context.settings;
    let is_default = revision == "default";
    let namespace = context.namespace.name.as_str();
    match (pod.get(REVISION), pod.get(INJECT)) {
        (Some(value), _) if value == revision => Ok((Cause::PodRevision, format!("pod label {REVISION}={value}"))),
        (Some(value), _) => {
            Err((Cause::OtherPodRevision, format!("pod label {REVISION}={value} belongs to another revision than {revision}")))
        }
        (None, Some(value)) if value == "true" && is_default => Ok((Cause::PodLabel, format!("pod label {INJECT}=true"))),
        (None, None) if is_default && *enable_namespaces_by_default && !SYSTEM_NAMESPACES.contains(&namespace) => {
            Ok((Cause::NamespacesByDefault, "namespaces are injected into by default".to_owned()))
        }
        _ => {
            let reason = format!("namespace {namespace} has no label {NAMESPACE_LABEL} or {REVISION}, and the pod no label {INJECT}=true");
            Err((Cause::NoLabel, reason))
        }
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
