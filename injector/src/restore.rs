//! Taking an injection out of a pod again. What Outrigger's injector changed it has written down in annotation [`RECORD`]; of a pod that
//! Istio's injected, only what its status, its proxy's variables and its well-known labels tell can be known.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::merge::{OVERRIDES, Overrides, STATUS, Status};
use crate::settings::Settings;
use crate::{InjectError, PROXY_CONTAINER, pod, probes, prometheus};

mod istio;

/// Written by the injector: what the pod said before, as far as nothing else in the pod tells.
pub const RECORD: &str = "proxy.outrigger.io/restore";

/// Lists of the pod's spec whose items are added and removed by name.
const LISTS: [&str; 4] = ["containers", "initContainers", "volumes", "imagePullSecrets"];

/// What was before: `null` for what was not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    #[serde(skip_serializing_if = "Map::is_empty")]
    labels: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    annotations: Map<String, Value>,
    /// Fields of `spec` but the [`LISTS`].
    #[serde(skip_serializing_if = "Map::is_empty")]
    spec: Map<String, Value>,
    /// Ports of probes that were names, by the path of the rewritten probe.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: probes::Ports,
    /// Names in `containers`, where the user's own were taken out to be merged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    /// The same in `initContainers`.
    #[serde(skip_serializing_if = "Vec::is_empty", rename = "initOrder")]
    pub init_order: Vec<String>,
}

impl Record {
    /// What has to be put back to come from `after` to `before`, lists and this annotation apart.
    pub(crate) fn of(before: &Value, after: &Value) -> Self {
        let at = |pod: &Value, pointer: &str| pod.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default();
        let reverse = |pointer: &str| reverse(&at(before, pointer), &at(after, pointer));
        let mut record = Self {
            labels: reverse("/metadata/labels"),
            annotations: reverse("/metadata/annotations"),
            spec: reverse("/spec"),
            ..Self::default()
        };
        record.spec.retain(|name, _| !LISTS.contains(&name.as_str()));
        record.annotations.retain(|name, value| !(value.is_null() && matches!(name.as_str(), STATUS | OVERRIDES)));
        record
    }
}

fn reverse(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let changed = names.filter(|name| before.get(*name) != after.get(*name));
    changed.map(|name| (name.clone(), before.get(name).cloned().unwrap_or_default())).collect()
}

/// The pod as it was before an injector changed it: its proxy and everything that came with it are gone, probes, scrape annotations and the
/// user's own fields are back. `None` if no injector has been there, or if what it left behind cannot be understood (see [`take_out`]).
///
/// Empty lists and maps are not restored as such, and fields that were `null` are absent. Of a pod injected by Istio, defaults that the
/// user had written out (such as label `security.istio.io/tlsMode: istio`) are taken for the injector's.
#[must_use]
pub fn uninject(pod: &Value) -> Option<Value> {
    take_out(pod).ok().flatten()
}

/// As [`uninject`], telling why not.
///
/// # Errors
/// An annotation of the injector's that is not what an injector writes, or a pod whose lists are no lists.
pub fn take_out(pod: &Value) -> Result<Option<Value>, InjectError> {
    restored(pod, |_| true)
}

/// As [`take_out`], for an injector with these settings. The record comes from whoever wrote the pod: of `spec` it brings back only what
/// this injector writes, so that nothing gets past the decision about the pod, such as `hostNetwork`.
pub(crate) fn take_out_before_injecting(pod: &Value, settings: &Settings) -> Result<Option<Value>, InjectError> {
    let by_template = |name: &str| settings.templates.values().any(|template| template.sets(name));
    restored(pod, |name| matches!(name, "shareProcessNamespace" | "securityContext") || by_template(name))
}

fn restored(pod: &Value, may_restore: impl Fn(&str) -> bool) -> Result<Option<Value>, InjectError> {
    let Some(status) = annotation::<Status>(pod, STATUS)? else { return Ok(None) };
    let overrides: Overrides = annotation(pod, OVERRIDES)?.unwrap_or_default();
    let mut record: Option<Record> = annotation(pod, RECORD)?;
    if let Some(record) = &mut record {
        record.spec.retain(|name, _| may_restore(name) && !LISTS.contains(&name.as_str()));
    }
    let mut pod = pod.clone();
    let annotations = pod::strings_mut(&mut pod, "annotations")?;
    [STATUS, OVERRIDES, RECORD].iter().for_each(|name| drop(annotations.remove(*name)));
    let proxy = remove_added(&mut pod, &status)?;
    let probers = variable(&proxy, probes::VARIABLE).unwrap_or_default();
    let ports = record.as_ref().map(|record| record.ports.clone()).unwrap_or_default();
    for list in ["containers", "initContainers"] {
        probes::restore(pod::list_mut(&mut pod, list)?, &probers, &ports);
    }
    pod::list_mut(&mut pod, "containers")?.extend(overrides.containers);
    pod::list_mut(&mut pod, "initContainers")?.extend(overrides.init_containers);
    match record {
        Some(record) => put_back(&mut pod, &record)?,
        None => istio::put_back(&mut pod, &status, variable(&proxy, prometheus::VARIABLE))?,
    }
    drop_empty(&mut pod);
    Ok(Some(pod))
}

fn annotation<T: serde::de::DeserializeOwned>(pod: &Value, name: &str) -> Result<Option<T>, InjectError> {
    let Some(text) = pod::strings(pod, "annotations").remove(name) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|_| {
        InjectError::Unclear(format!("annotation {name}: expected the JSON an injector wrote; remove it if the pod was never injected"))
    })
}

/// Removes what the status lists; returns the proxy, whose variables hold some of what the pod said before.
fn remove_added(pod: &mut Value, status: &Status) -> Result<Option<Value>, InjectError> {
    let listed = [&status.containers, &status.init_containers, &status.volumes, &status.image_pull_secrets];
    let mut proxy = None;
    for (field, names) in LISTS.into_iter().zip(listed) {
        let names: HashSet<&str> = names.iter().flatten().map(String::as_str).collect();
        let items = pod::list_mut(pod, field)?;
        let (removed, kept) = std::mem::take(items).into_iter().partition(|item| names.contains(pod::name(item)));
        *items = kept;
        let removed: Vec<Value> = removed;
        proxy = proxy.or_else(|| removed.into_iter().find(|item| pod::name(item) == PROXY_CONTAINER));
    }
    Ok(proxy)
}

/// JSON in a variable of the proxy.
fn variable<T: serde::de::DeserializeOwned>(proxy: &Option<Value>, name: &str) -> Option<T> {
    let variables = proxy.as_ref()?.get("env")?.as_array()?;
    let text = variables.iter().find(|variable| pod::name(variable) == name)?.get("value")?.as_str()?;
    serde_json::from_str(text).ok()
}

fn put_back(pod: &mut Value, record: &Record) -> Result<(), InjectError> {
    let lay = |target: &mut Map<String, Value>, before: &Map<String, Value>| {
        for (name, value) in before {
            match value {
                Value::Null => drop(target.remove(name)),
                value => drop(target.insert(name.clone(), value.clone())),
            }
        }
    };
    lay(pod::strings_mut(pod, "labels")?, &record.labels);
    lay(pod::strings_mut(pod, "annotations")?, &record.annotations);
    lay(pod::object_mut(pod, "spec")?, &record.spec);
    for (list, order) in [("containers", &record.order), ("initContainers", &record.init_order)] {
        let places: HashMap<&str, usize> = order.iter().enumerate().rev().map(|(place, name)| (name.as_str(), place)).collect();
        let position = |item: &Value| places.get(pod::name(item)).copied().unwrap_or(order.len());
        pod::list_mut(pod, list)?.sort_by_key(position);
    }
    Ok(())
}

/// Lists and maps which only an injection needed.
fn drop_empty(pod: &mut Value) {
    let is_empty = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        value => value.is_null(),
    };
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|name, value| name == "containers" || !LISTS.contains(&name.as_str()) || !is_empty(value));
    }
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, value| !matches!(name.as_str(), "labels" | "annotations") || !is_empty(value));
    }
    if let Some(fields) = pod.as_object_mut().filter(|fields| fields.get("metadata").is_some_and(is_empty)) {
        fields.remove("metadata");
    }
}
