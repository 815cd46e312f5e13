//! Labels and annotations of an injected pod (contract 3.5).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::template::{Rendering, Role};
use crate::{InjectError, PROXY_CONTAINER, cni, pod};

/// Which revision injected the pod.
pub(crate) const REVISION: &str = "istio.io/rev";
/// Whose logs and shell `kubectl` means.
pub(crate) const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// The same for older versions of `kubectl`.
pub(crate) const DEFAULT_LOGS_CONTAINER: &str = "kubectl.kubernetes.io/default-logs-container";

/// Adds the labels; values the user wrote stay. A gateway is reached as what its Gateway objects say, not by mTLS of its own.
pub(crate) fn add_labels(pod: &mut Value, rendering: &Rendering<'_>) -> Result<(), InjectError> {
    let labels = pod::strings(pod, "labels");
    let first = |names: &[&str]| names.iter().find_map(|name| labels.get(*name)).cloned();
    let name = first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).unwrap_or_else(|| rendering.owner.name.clone());
    let revision =
        first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]).unwrap_or_else(|| "latest".to_owned());
    let target = pod::strings_mut(pod, "labels")?;
    let mut add = |label: &str, value: &str| {
        target.entry(label).or_insert_with(|| json!(value));
    };
    if rendering.role == Role::Sidecar {
        add("security.istio.io/tlsMode", "istio");
    }
    add("service.istio.io/canonical-name", label_value(&name));
    add("service.istio.io/canonical-revision", &revision);
    if let Some(network) = rendering.network() {
        add("topology.istio.io/network", &network);
    }
    Ok(())
}

/// A label value has at most 63 characters and ends in a letter or digit.
fn label_value(text: &str) -> &str {
    let end = text.char_indices().nth(63).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or(text).trim_matches(['-', '_', '.'])
}

/// Adds the annotations that every injected pod has, those of the settings included. What only the end of the work can tell comes later.
pub(crate) fn add_annotations(pod: &mut Value, rendering: &Rendering<'_>) -> Result<(), InjectError> {
    let settings = &rendering.context.settings;
    let mut applications = pod::list(pod, "containers").iter().map(pod::name).filter(|name| *name != PROXY_CONTAINER);
    let first = applications.next().map(str::to_owned);
    let mut written: BTreeMap<String, String> = settings.injected_annotations.clone();
    written.extend(cni::annotations(rendering, &pod::strings(pod, "annotations")));
    written.insert(REVISION.to_owned(), settings.revision.clone());
    let annotations = pod::strings_mut(pod, "annotations")?;
    annotations.extend(written.into_iter().map(|(name, value)| (name, json!(value))));
    for name in [DEFAULT_CONTAINER, DEFAULT_LOGS_CONTAINER] {
        if let Some(container) = &first {
            annotations.entry(name).or_insert_with(|| json!(container));
        }
    }
    Ok(())
}
