//! What a MutatingWebhookConfiguration's selectors say about a pod (contract 3.1, 3.11).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use outrigger_injector::selector::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use super::super::input::Object;

type Map = BTreeMap<String, String>;

/// Labels by which an injector finds its pods.
const INJECTION: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";
const INJECT: &str = "sidecar.istio.io/inject";
/// Key of the selector that a deactivated configuration has, and no object.
const DEACTIVATED: &str = "istio.io/deactivated";

/// One configuration that injects.
pub struct Configuration {
    /// Its name.
    pub name: String,
    /// Its label `istio.io/rev`; empty without.
    pub revision: String,
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    name: String,
    #[serde(default)]
    namespace_selector: LabelSelector,
    #[serde(default)]
    object_selector: LabelSelector,
}

/// Whether a configuration calls its injector for a pod, and why.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Matches(String),
    /// It does not.
    Passes(String),
}

/// The configurations of the input that have an injection webhook.
///
/// # Errors
/// One that cannot be understood.
pub fn configurations(objects: &[Object]) -> Result<Vec<Configuration>> {
    let of_kind = |object: &&Object| object.value["kind"] == "MutatingWebhookConfiguration";
    let mut found = Vec::new();
    for object in objects.iter().filter(of_kind) {
        let name = object.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let entries = object.value.get("webhooks").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        let webhooks: Vec<Webhook> =
            serde_json::from_value(entries).with_context(|| format!("{}: MutatingWebhookConfiguration {name}: webhooks", object.place))?;
        let webhooks: Vec<Webhook> = webhooks.into_iter().filter(|webhook| webhook.name.ends_with("istio.io")).collect();
        let revision = object.value.pointer("/metadata/labels").and_then(|labels| labels.get(REVISION)).and_then(Value::as_str);
        if !webhooks.is_empty() {
            found.push(Configuration { name, revision: revision.unwrap_or_default().to_owned(), webhooks });
        }
    }
    Ok(found)
}

impl Configuration {
    /// The verdict about a pod with these labels in a namespace with those. The first webhook that matches speaks.
    pub fn judge(&self, namespace: &Map, pod: &Map) -> Verdict {
        if self.webhooks.iter().all(Webhook::is_deactivated) {
            return Verdict::Passes("the webhook is deactivated".to_owned());
        }
        match self.webhooks.iter().find(|webhook| webhook.matches(namespace, pod)) {
            Some(webhook) => Verdict::Matches(webhook.because(namespace, pod)),
            None => Verdict::Passes(self.why_not(namespace, pod)),
        }
    }

    fn why_not(&self, namespace: &Map, pod: &Map) -> String {
        // Was it the one label by which people opt out? Then some webhook matches once the label is gone.
        let matches_without = |namespace: &Map, pod: &Map| self.webhooks.iter().any(|webhook| webhook.matches(namespace, pod));
        if let Some(value) = pod.get(INJECT)
            && matches_without(namespace, &without(pod, INJECT))
        {
            return format!("pod has label {INJECT}={value}, preventing injection");
        }
        if let Some(value) = namespace.get(INJECTION).filter(|value| *value != "enabled") {
            return format!("namespace has label {INJECTION}={value}, preventing injection");
        }
        let wanted = |selector: fn(&Webhook) -> &LabelSelector| {
            let mut wanted: Vec<String> =
                self.webhooks.iter().flat_map(|webhook| positive(selector(webhook))).map(|(text, _)| text).collect();
            wanted.sort();
            wanted.dedup();
            if wanted.is_empty() { "none wanted".to_owned() } else { wanted.join(", ") }
        };
        let namespaces = wanted(|webhook| &webhook.namespace_selector);
        let pods = wanted(|webhook| &webhook.object_selector);
        format!("no matching namespace labels ({namespaces}) or pod labels ({pods})")
    }
}

impl Webhook {
    /// An operator nobody knows matches nothing; the API server would not have taken it.
    fn matches(&self, namespace: &Map, pod: &Map) -> bool {
        self.namespace_selector.matches(namespace).unwrap_or(false) && self.object_selector.matches(pod).unwrap_or(false)
    }

    fn is_deactivated(&self) -> bool {
        [&self.namespace_selector, &self.object_selector].into_iter().any(|selector| positive(selector).any(|(_, key)| key == DEACTIVATED))
    }

    /// The labels that are there and wanted.
    fn because(&self, namespace: &Map, pod: &Map) -> String {
        let labels = |what: &str, selector: &LabelSelector, labels: &Map| {
            let present: Vec<String> = positive(selector).filter_map(|(_, key)| Some(format!("{key}={}", labels.get(key)?))).collect();
            (!present.is_empty()).then(|| format!("{what} label {}", present.join(", ")))
        };
        let reasons = [labels("namespace", &self.namespace_selector, namespace), labels("pod", &self.object_selector, pod)];
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        match reasons.len() {
            0 => "nothing prevents it, and no label is needed".to_owned(),
            1 => format!("{} matches", reasons.join("")),
            _ => format!("{} match", reasons.join(" and ")),
        }
    }
}

/// What a selector wants to be there: in words, and the key.
fn positive(selector: &LabelSelector) -> impl Iterator<Item = (String, &str)> {
    let labels = selector.match_labels.iter().map(|(key, value)| (format!("{key}={value}"), key.as_str()));
    let expressions = selector.match_expressions.iter().filter(|requirement| matches!(requirement.operator.as_str(), "In" | "Exists"));
    labels.chain(expressions.map(|requirement| match requirement.values.as_slice() {
        [] => (requirement.key.clone(), requirement.key.as_str()),
        values => (format!("{}={}", requirement.key, values.join("|")), requirement.key.as_str()),
    }))
}

fn without(labels: &Map, key: &str) -> Map {
    labels.iter().filter(|(name, _)| *name != key).map(|(name, value)| (name.clone(), value.clone())).collect()
}
