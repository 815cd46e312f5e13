//! Labels and annotations of an injected pod (contract 3.5).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::merge::{OVERRIDES, Overrides, STATUS, Status};
use crate::owner::Owner;
use crate::settings::Context;
use crate::{InjectError, pod};

/// Adds the labels; values the user wrote stay.
pub(crate) fn add_labels(pod: &mut Value, owner: &Owner, context: &Context) -> Result<(), InjectError> {
    let labels = pod::strings(pod, "labels");
    let first = |names: &[&str]| names.iter().find_map(|name| labels.get(*name)).cloned();
    let name = first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).unwrap_or_else(|| owner.name.clone());
    let revision =
        first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]).unwrap_or_else(|| "latest".to_owned());
    let target = pod::strings_mut(pod, "labels")?;
    let mut add = |label: &str, value: &str| {
        target.entry(label).or_insert_with(|| json!(value));
    };
    add("security.istio.io/tlsMode", "istio");
    add("service.istio.io/canonical-name", label_value(&name));
    add("service.istio.io/canonical-revision", &revision);
    if let Some(network) = &context.settings.network {
        add("topology.istio.io/network", network);
    }
    Ok(())
}

/// A label value has at most 63 characters and ends in a letter or digit.
fn label_value(text: &str) -> &str {
    let end = text.char_indices().nth(63).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or(text).trim_matches(['-', '_', '.'])
}

/// Adds the annotations, those of the settings included.
pub(crate) fn add_annotations(pod: &mut Value, context: &Context, overrides: &Overrides, status: &Status) -> Result<(), InjectError> {
    let first_container = pod::list(pod, "containers").first().map(|container| pod::name(container).to_owned());
    let mut written: BTreeMap<String, String> = context.settings.injected_annotations.clone();
    written.insert("istio.io/rev".to_owned(), context.settings.revision.clone());
    written.insert(STATUS.to_owned(), serde_json::to_string(status).unwrap_or_default());
    if !overrides.is_empty() {
        written.insert(OVERRIDES.to_owned(), serde_json::to_string(overrides).unwrap_or_default());
    }
    let annotations = pod::strings_mut(pod, "annotations")?;
    annotations.extend(written.into_iter().map(|(name, value)| (name, json!(value))));
    for name in ["kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"] {
        if let Some(container) = &first_container {
            annotations.entry(name).or_insert_with(|| json!(container));
        }
    }
    Ok(())
}
