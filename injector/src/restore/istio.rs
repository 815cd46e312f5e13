//! Taking out what Istio's injector added to labels and annotations, as far as it can be told from what the user wrote.

use serde_json::{Map, Value, json};

use crate::merge::Status;
use crate::metadata::{DEFAULT_CONTAINER, DEFAULT_LOGS_CONTAINER, REVISION};
use crate::{InjectError, PROXY_CONTAINER, pod};

const SCRAPE: [&str; 3] = ["scrape", "port", "path"];

/// `scraping` is what the proxy knew of the user's scrape annotations.
pub(super) fn put_back(pod: &mut Value, status: &Status, scraping: Option<Map<String, Value>>) -> Result<(), InjectError> {
    let mut applications = pod::list(pod, "containers").iter().map(pod::name).filter(|name| *name != PROXY_CONTAINER);
    let first = applications.next().unwrap_or_default().to_owned();
    let annotations = pod::strings_mut(pod, "annotations")?;
    let mut remove = |name: &str, value: &str| {
        if annotations.get(name).is_some_and(|written| written == value) {
            annotations.remove(name);
        }
    };
    remove(REVISION, &status.revision);
    remove(DEFAULT_CONTAINER, &first);
    remove(DEFAULT_LOGS_CONTAINER, &first);
    restore_scraping(annotations, &scraping.unwrap_or_default());
    remove_labels(pod::strings_mut(pod, "labels")?);
    Ok(())
}

fn restore_scraping(annotations: &mut Map<String, Value>, scraping: &Map<String, Value>) {
    let merged = annotations.get("prometheus.io/path").is_some_and(|path| path == "/stats/prometheus")
        && annotations.get("prometheus.io/scrape").is_some_and(|scrape| scrape == "true");
    for field in SCRAPE.iter().filter(|_| merged) {
        let name = format!("prometheus.io/{field}");
        match scraping.get(*field).and_then(Value::as_str).filter(|text| !text.is_empty()) {
            Some(value) => annotations.insert(name, json!(value)),
            None => annotations.remove(&name),
        };
    }
}

/// A label goes if the injector would write the same again from the labels that stay.
fn remove_labels(labels: &mut Map<String, Value>) {
    if labels.get("security.istio.io/tlsMode").is_some_and(|mode| mode == "istio") {
        labels.remove("security.istio.io/tlsMode");
    }
    for (label, sources, default) in [
        ("service.istio.io/canonical-name", ["app.kubernetes.io/name", "app"], None),
        ("service.istio.io/canonical-revision", ["app.kubernetes.io/version", "version"], Some(json!("latest"))),
    ] {
        let written = sources.iter().find_map(|source| labels.get(*source)).cloned().or(default);
        if written.is_some() && labels.get(label) == written.as_ref() {
            labels.remove(label);
        }
    }
}
